"""Plays episodes: many environments at once on one side, one actor on the other, neither waiting for the other.

    simulators of some slots step ──▶ ready slots ──▶ the actor answers a full batch of one shape ──▶ they step …

Simulators step in the pool's processes, driven from one background thread, while the actor answers for the slots that
are ready; a slot whose episode ended takes the next one at once, so both sides stay full until the work runs out. A
batch is made of situations of one shape (prompts of like length), since a generator pads a short batch to its size.
Which episode shares a batch with which depends on timing alone and changes nothing: an answer depends on its own
situation, an episode on its own seed.
Does not own what is stored (collect.py) or how an actor is asked (selu/actor.py).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from selu_hpc.config import EnvConfig, StopMode
from selu_hpc.envs.base import Observation, StepResult
from selu_hpc.records import Action, Ended, Episode, FrameHWC, Task, Truth, clean
from selu_hpc.selu.actor import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One episode to play. explore: the actor is asked to try things, as in the first round."""

    episode_id: str
    task: Task
    seed: int
    explore: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A finished episode and what the simulator knows of it; the two part ways at once (collect.py)."""

    episode: Episode
    truth: Truth


class Pool(Protocol):
    """What playing needs of envs.pool.EnvironmentPool."""

    num_slots: int

    def reset_many(self, episodes: dict[int, tuple[Task, int]]) -> dict[int, Observation]: ...

    def step(self, texts: dict[int, str]) -> dict[int, StepResult]: ...

    def truth(self, slot: int, episode_id: str) -> Truth: ...


class Speaker(Protocol):
    """What playing needs of an actor. batch_size: situations it answers best at once; shape: which go together."""

    @property
    def batch_size(self) -> int: ...

    def shape(self, situation: Situation) -> Hashable: ...

    def act(self, situations: Sequence[Situation]) -> list[str]: ...


@dataclass(slots=True)
class _Running:
    """An episode under way in a slot."""

    place: int
    work: Work
    tells_hand: bool
    frames: list[tuple[FrameHWC, FrameHWC]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    said_done: bool = False

    def look(self, observation: Observation) -> None:
        self.frames.append((observation.first_person, observation.third_person))
        self.seen.append(observation.text if self.tells_hand else "")
        self.times.append(time.time())

    def take(self, text: str, result: StepResult) -> None:
        self.actions.append(Action(text=clean(text), parsed=result.parsed, ok=result.ok, error=clean(result.error)))
        self.look(result.observation)
        self.said_done = result.said_done

    def situation(self) -> Situation:
        return Situation(
            instruction=self.work.task.instruction,
            first_person=self.frames[-1][0],
            seen=self.seen[-1],
            history=tuple(action.parsed for action in self.actions),
            seed=self.work.seed,
            explore=self.work.explore,
        )


_Advanced = tuple[list[tuple[int, Played]], list[int]]
"""What a job of the background thread came to: episodes that ended, and the slots that are ready."""


class Players:
    """`for played in Players(pool, actor, config.env, model="pocket", adapter="r01/actor").play(work)`"""

    def __init__(self, pool: Pool, actor: Speaker, config: EnvConfig, *, model: str, adapter: str) -> None:
        self._pool = pool
        self._actor = actor
        self._config = config
        self._names = {"model": model, "adapter": adapter}
        self.num_steps = 0
        self.waited_s = 0.0

    def play(self, work: Sequence[Work]) -> Iterator[Played]:
        """Every episode, in the order of the work."""
        self._waiting = iter(enumerate(work))
        self._running: dict[int, _Running] = {}
        finished: dict[int, Played] = {}
        next_place = 0
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="environments") as thread:
            slots = list(range(self._pool.num_slots))
            at_once = max(1, min(self._actor.batch_size, len(slots) // 2))
            jobs = [thread.submit(self._advance, slots[at : at + at_once], {}) for at in range(0, len(slots), at_once)]
            ready: dict[int, Situation] = {}
            try:
                while next_place < len(work):
                    batch = self._full_batch(ready)
                    if batch or not jobs:
                        texts = self._speak(batch or self._best_batch(ready), ready)
                        jobs.append(thread.submit(self._advance, list(texts), texts))
                    else:
                        finished.update(self._wait(jobs.pop(0), ready))
                    while jobs and jobs[0].done():
                        finished.update(self._wait(jobs.pop(0), ready))
                    while next_place in finished:
                        yield finished.pop(next_place)
                        next_place += 1
            finally:
                for job in jobs:
                    job.cancel()

    def _full_batch(self, ready: dict[int, Situation]) -> list[int]:
        """Slots that fill a batch of one shape, or none."""
        batch = self._best_batch(ready)
        return batch if len(batch) == self._actor.batch_size else []

    def _best_batch(self, ready: dict[int, Situation]) -> list[int]:
        shapes: dict[Hashable, list[int]] = defaultdict(list)
        for slot, situation in ready.items():
            shapes[self._actor.shape(situation)].append(slot)
        return max(shapes.values(), key=len, default=[])[: self._actor.batch_size]

    def _wait(self, job: Future[_Advanced], ready: dict[int, Situation]) -> list[tuple[int, Played]]:
        begun = time.perf_counter()
        finished, slots = job.result()
        self.waited_s += time.perf_counter() - begun
        ready.update({slot: self._running[slot].situation() for slot in slots})
        return finished

    def _speak(self, slots: Sequence[int], ready: dict[int, Situation]) -> dict[int, str]:
        """The actor's words for these slots; here the model works."""
        self.num_steps += len(slots)
        return dict(zip(slots, self._actor.act([ready.pop(slot) for slot in slots]), strict=True))

    def _advance(self, slots: Sequence[int], texts: dict[int, str]) -> _Advanced:
        """Step some slots, end what has ended, start what is next; here the simulators work."""
        for slot, result in (self._pool.step(texts) if texts else {}).items():
            self._running[slot].take(texts[slot], result)
        ended = [(slot, self._running[slot]) for slot in slots if slot in self._running and self._is_over(slot)]
        finished = [(running.place, self._finish(slot, running)) for slot, running in ended]
        for slot, _ in ended:
            del self._running[slot]
        fresh: dict[int, _Running] = {}
        for slot in slots:
            if slot not in self._running:
                place, one = next(self._waiting, (None, None))
                if place is None or one is None:
                    break
                fresh[slot] = _Running(place, one, self._config.tells_hand)
        if fresh:
            seen = self._pool.reset_many({slot: (one.work.task, one.work.seed) for slot, one in fresh.items()})
            for slot, running in fresh.items():
                running.look(seen[slot])
            self._running.update(fresh)
        return finished, [slot for slot in slots if slot in self._running]

    def _is_over(self, slot: int) -> bool:
        running = self._running[slot]
        may_stop = self._config.stop is StopMode.DONE
        return len(running.actions) >= self._config.horizon or (may_stop and running.said_done)

    def _finish(self, slot: int, running: _Running) -> Played:
        work = running.work
        may_stop = self._config.stop is StopMode.DONE
        episode = Episode(
            episode_id=work.episode_id,
            seed=work.seed,
            task=work.task,
            actions=tuple(running.actions),
            ended=Ended.DONE if may_stop and running.said_done else Ended.LIMIT,
            seen=tuple(running.seen),
            frames_tvhwc=np.asarray(running.frames, dtype=np.uint8),
            timestamps_s=tuple(running.times),
            **self._names,
        )
        return Played(episode=episode, truth=self._pool.truth(slot, work.episode_id))
