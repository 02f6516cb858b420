"""What a person sees while a run goes on: a bar per stage with ETA and failures, or plain lines without a terminal.

Owns the picture only; it reads markers' counts from a Frontier and attempts' progress files.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from selu_hpc.engines.base import Job
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.overview import counted, read_part
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import ShardDir

ROOM_FOR_BARS, ROOM_FOR_TIMES = 74, 63
"""Columns that a line with a bar of ten, or with both times and no bar, takes."""


class AtWork(Protocol):
    """A shard that runs now."""

    @property
    def key(self) -> Key: ...
    @property
    def place(self) -> ShardDir: ...
    @property
    def attempt(self) -> int: ...


class ProgressView:
    """Bars on a terminal, one line per finished stage elsewhere; always on stderr."""

    def __init__(self, job: Job, frontier: Frontier) -> None:
        self.job, self.frontier = job, frontier
        self.console = Console(stderr=True)
        self.bars = Progress(
            *columns_for(self.console.width),
            console=self.console,
            disable=not self.console.is_terminal,
            refresh_per_second=4,
        )
        self.rows: dict[Key, TaskID] = {}
        self.told: set[Key] = set()
        self.seconds: dict[Key, float] = {}
        self.begun = time.monotonic()

    def __enter__(self) -> ProgressView:
        self.bars.__enter__()
        done = sum(state is State.DONE for state in self.frontier.states.values())
        if done:
            self.say(f"{done} of {len(self.frontier.states)} shards are already there")
        self.told = {stage.key for stage in self.job.plan if self._is_done(stage.key)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.update(())
        self.bars.stop()

    def say(self, text: str) -> None:
        self.bars.console.print(text, highlight=False, markup=False, soft_wrap=True)  # a path stays one word

    def shard_done(self, key: Key, seconds: float) -> None:
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    def update(self, running: Iterable[AtWork]) -> None:
        partial: dict[Key, float] = {}
        for shard in running:
            partial[shard.key] = partial.get(shard.key, 0.0) + read_part(shard.place.progress(shard.attempt))
            if shard.key not in self.rows:
                total = self.job.plan[shard.key].num_shards
                self.rows[shard.key] = self.bars.add_task(_title(shard.key), total=total, shards="")
        for key, row in self.rows.items():
            done, lost = self.frontier.count(key, State.DONE), self.frontier.count(key, State.GAVE_UP)
            total = self.job.plan[key].num_shards
            note = f"{done}/{counted(total, 'shard')}" + (f", {lost} failed" if lost else "")
            self.bars.update(row, completed=done + min(partial.get(key, 0.0), total - done), shards=note)
        for stage in self.job.plan:
            if stage.key not in self.told and self._is_done(stage.key):
                self._tell(stage.key)

    def _tell(self, key: Key) -> None:
        self.told.add(key)
        if (row := self.rows.get(key)) is not None:  # the first row is 0
            self.bars.stop_task(row)
            self.bars.update(row, visible=False)
        at = time.monotonic() - self.begun
        work = f"{counted(self.job.plan[key].num_shards, 'shard')}, {self.seconds.get(key, 0):.1f} s of work"
        self.say(f"{at:7.1f} s  {_title(key):<24} {work}")

    def _is_done(self, key: Key) -> bool:
        return self.frontier.count(key, State.DONE) == self.job.plan[key].num_shards


def columns_for(width: int) -> list[ProgressColumn]:
    """A window too narrow for everything loses the bar first, then the time to come; rich would cut the times."""
    if width >= ROOM_FOR_BARS:
        words, bar = ("{task.description:<24}", "{task.fields[shards]:<22}"), [BarColumn(bar_width=28)]
    else:
        words, bar = ("{task.description}", "{task.fields[shards]}"), []
    to_come = [TimeRemainingColumn()] if width >= ROOM_FOR_TIMES else []
    return [TextColumn(words[0]), *bar, TextColumn(words[1]), TimeElapsedColumn(), *to_come]


def _title(key: Key) -> str:
    stage = str(key.stage).replace("_", " ")
    return f"round {key.round_id} {stage}" if key.round_id else f"base {stage}"
