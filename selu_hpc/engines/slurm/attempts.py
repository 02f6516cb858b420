"""What attempts left behind: their records, how and how often and why shards failed.

Reads attempt-*/job.json, written by slurm/stage.sh on the node. Counting is pure.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selu_hpc.engines.slurm.ledger import Ledger, Live
from selu_hpc.engines.slurm.reconcile import Failures
from selu_hpc.engines.slurm.state import Cause, QueueRow, SacctRow, causes
from selu_hpc.errors import EXIT_REQUEUE
from selu_hpc.rounds.plan import After, Key
from selu_hpc.rounds.rundir import RunDir, Stage

FAST_S = 60.0
MAX_STOPS = 100
"""So often may a shard end with its work saved, or be preempted, and be sent again before that counts; as often as
slurm/stage.sh has one job start again."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of one shard: on which node, in which job, how it ended; `code` None when nobody could write it.

    told: the signal its wrapper was sent and passed on.
    """

    name: str
    job: str
    node: str
    begun: float
    ended: float | None
    code: int | None
    state: str
    oom: bool
    requeued: bool
    told: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Attempt:
        return cls(
            name=value["name"],
            job=str(value["job"]),
            node=value["node"],
            begun=float(value["begun"]),
            ended=value.get("ended"),
            code=value.get("code"),
            state=value.get("state", ""),
            oom=value.get("oom", False),
            requeued=value.get("requeued", False),
            told=value.get("signal", ""),
        )

    @property
    def cause(self) -> Cause:
        if self.oom or self.state == "OUT_OF_MEMORY":
            return Cause.OOM
        if self.state in ("TIMEOUT", "DEADLINE"):
            return Cause.TIMEOUT
        if self.state == "CANCELLED":
            return Cause.CANCELLED
        return Cause.FAILED if self.code and self.code != EXIT_REQUEUE else Cause.UNKNOWN

    @property
    def failed_fast(self) -> bool:
        """By itself: one that was cancelled or preempted was told to end, or asks to be started again."""
        quick = self.ended is not None and self.ended - self.begun < FAST_S
        return quick and not (self.requeued or self.told) and self.cause is Cause.FAILED


def read_attempts(run: RunDir, key: Key, shard: int) -> list[Attempt]:
    place = run.shard(key.round_id, key.stage, shard)
    found = (read_attempt(place.record(number)) for number in place.attempts)
    return [attempt for attempt in found if attempt]


def read_attempt(record: Path) -> Attempt | None:
    """An attempt's record; None where there is none, as with the local engine, or it is no record."""
    try:
        return Attempt.from_json(json.loads(record.read_bytes()))
    except (ValueError, TypeError, KeyError, OSError):
        return None


def tried_in_vain(
    ledger: Ledger, due: Mapping[Key, Collection[int]], live: Mapping[str, Live]
) -> dict[tuple[Key, int], list[str]]:
    """Due shards, with their jobs, that were sent since a person last said submit and are not in the queue any more."""
    if not any(entry.epoch == ledger.epoch for entry in ledger.entries.values()):
        return {}
    covered = {(one.entry.key, shard) for one in live.values() for shard in one.alive}
    wanted = {(key, shard) for key, shards in due.items() for shard in shards} - covered
    found: dict[tuple[Key, int], list[str]] = {}
    for entry in ledger.entries.values():
        for shard in entry.shards if entry.epoch == ledger.epoch else ():
            if entry.key and (entry.key, shard) in wanted:
                found.setdefault((entry.key, shard), []).append(entry.name)
    return found


def count_failures(
    ledger: Ledger,
    key: Key,
    shard: int,
    attempts: Iterable[Attempt],
    *,
    alive: Iterable[str] = (),
    known: Mapping[str, Cause] | None = None,
) -> Failures:
    """Failures of a shard since a person last said submit.

    alive: names of jobs still in the queue, and elements that run this code.  known: what Slurm said, by job name.
    A job that never started because what it waited for failed does not count; one that vanished without does, and so
    does one that asked for what no node has. Nor does one that was preempted, or that saved its work and was not
    started again by Slurm: whose time was over in vain time after time has TIMEOUT in its record (slurm/stage.sh).
    """
    skip, known = set(alive), known or {}
    found: list[Cause] = []
    num_stops = 0
    started = set()
    attempts = list(attempts)
    last = {(attempt.name, attempt.job): attempt for attempt in attempts}
    for attempt in attempts:
        entry = ledger.entries.get(attempt.name)
        if entry is None or entry.epoch != ledger.epoch:
            continue
        started.add(attempt.name)
        went_on = attempt.requeued or last[attempt.name, attempt.job] is not attempt  # Slurm started it once more
        harmless = went_on or (key.stage is Stage.GATE and attempt.code == 0)
        if harmless or attempt.name in skip or attempt.job in skip:
            continue
        cause = attempt.cause
        if cause in (Cause.UNKNOWN, Cause.FAILED):
            cause = known.get(attempt.name, cause)
        saved = attempt.code == EXIT_REQUEUE and cause in (Cause.UNKNOWN, Cause.FAILED)  # so Slurm calls any code
        if (saved or cause is Cause.PREEMPTED) and num_stops < MAX_STOPS:
            num_stops += 1
            continue
        found.append(cause)
    for entry in ledger.entries.values():
        mine = entry.key == key and shard in entry.shards and entry.epoch == ledger.epoch and bool(entry.job_id)
        waited = any(wait.after is not After.ANY for wait in entry.waits)
        if mine and (not waited or shard in entry.unfit) and entry.name not in started and entry.name not in skip:
            found.append(known.get(entry.name, Cause.UNKNOWN))
    return Failures(len(found), found.count(Cause.OOM), found.count(Cause.TIMEOUT))


def known_causes(
    ledger: Ledger, names: Iterable[str], rows: Iterable[QueueRow], accounted: Iterable[SacctRow]
) -> dict[str, dict[int, Cause]]:
    """By job name and shard: squeue remembers an ended job for some minutes, accounting for good."""
    names, accounted = set(names), list(accounted)
    found: dict[str, dict[int, Cause]] = {}
    by_state = {
        "TIMEOUT": Cause.TIMEOUT,
        "OUT_OF_MEMORY": Cause.OOM,
        "NODE_FAIL": Cause.NODE,
        "PREEMPTED": Cause.PREEMPTED,
        "CANCELLED": Cause.CANCELLED,
    }
    for row in rows:
        if row.name in names and row.state in by_state:
            offset = ledger.entries[row.name].offset
            found.setdefault(row.name, {}).update({offset + i: by_state[row.state] for i in row.indices})
    for entry in (ledger.entries[name] for name in names if ledger.entries[name].job_id):
        ended = causes(accounted, job_id=entry.job_id, name=entry.name)
        found.setdefault(entry.name, {}).update({entry.offset + i: cause for i, cause in ended.items()})
    return found


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"killed by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")
