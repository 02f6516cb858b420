"""Where a run's time went: seconds of work by round and stage, from what engines leave behind.

The local engine writes an attempt's end into the journal, a Slurm job into attempt-*/job.json (slurm/stage.sh).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.rundir import MARKER, RunDir

SAVED = 75
"""An attempt's exit code when its work is saved and another goes on with it (stages/entry.py: EXIT_REQUEUE)."""
Place = tuple[int, str]
"""A round and a stage's name."""


@dataclass(slots=True)
class Spent:
    """Seconds of attempts that finished or saved their work, and of those that failed or were killed."""

    useful_s: float = 0.0
    failed_s: float = 0.0

    @property
    def all_s(self) -> float:
        return self.useful_s + self.failed_s


@dataclass(slots=True)
class Times:
    """num_open: attempts that are at work, or were killed before anybody could write down their end. What finished its
    shard is none of them, though no end of it is here: a test set may be another run's work."""

    spent: dict[Place, Spent] = field(default_factory=dict)
    num_open: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended; the folder is the attempt's."""

    folder: Path
    seconds: float
    code: int


def read_times(run: RunDir) -> Times:
    """Every attempt once, whichever engine started it."""
    ends = {end.folder: end for end in (*_in_journal(run), *_of_jobs(run))}
    times = Times()
    for end in ends.values():
        spent = times.spent.setdefault(_place(end.folder), Spent())
        if end.code in (0, SAVED):
            spent.useful_s += end.seconds
        else:
            spent.failed_s += end.seconds
    endless = [folder for folder in run.path.glob("rounds/*/*/shard-*/attempt-*") if folder not in ends]
    finishers = {_finisher(shard) for shard in {folder.parent for folder in endless}}
    times.num_open = sum(folder not in finishers for folder in endless)
    return times


def _in_journal(run: RunDir) -> Iterator[End]:
    for event in Journal(run.journal_file):
        if event["event"] == "ended" and "seconds" in event:
            round_name, stage, shard_name = event["shard"].split("-")
            shard = run.path / "rounds" / round_name[1:] / stage / f"shard-{shard_name[1:]}"
            yield End(shard / f"attempt-{event['attempt']}", event["seconds"], event["code"])


def _of_jobs(run: RunDir) -> Iterator[End]:
    for file in run.path.glob("rounds/*/*/shard-*/attempt-*/job.json"):
        try:
            job = json.loads(file.read_bytes())
            yield End(file.parent, float(job["ended"]) - float(job["begun"]), int(job["code"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # at work, killed with its node, or no record


def _finisher(shard: Path) -> Path | None:
    """The attempt that a shard's marker names."""
    try:
        return shard / f"attempt-{json.loads((shard / MARKER).read_bytes())['summary']['attempt']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(folder: Path) -> Place:
    round_name, stage = folder.parts[-4:-2]
    return int(round_name), stage
