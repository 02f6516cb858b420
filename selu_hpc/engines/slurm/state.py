"""What Slurm's answers mean: rows of squeue and sacct, and why an array element ended. Pure.

Markers come first, the queue second, accounting last; a job that is nowhere has not succeeded. Job ids are reused, so
a row counts for a job only when id and name agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from selu_hpc.engines.slurm.sbatch import read_array_text

SQUEUE_FORMAT = "--format=%F|%K|%i|%T|%V|%j|%r|%N|%E|%P"
SACCT_FORMAT = "--format=JobID,JobName,State,ExitCode,Submit,Start,End,NodeList,MaxRSS,ReqMem"

ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"),
        *("BOOT_FAIL", "DEADLINE", "REVOKED"),
    }
)
KEPT = frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "LAUNCH_FAILED", "RECONFIG_FAIL"})
"""States of an element that waits for a person. Any that is neither here nor in ENDED, a newer Slurm's too, ends
without our doing."""
UNFIT = re.compile(
    r"BadConstraints|(Assoc|QOS)Max\w*Per(Job|Node)\w*|MaxMemPerLimit|PartitionTimeLimit|PartitionNodeLimit"
)
"""Reasons of a job that asks for what no node has or no job may have: Slurm took it on hold; once released it pends
for ever."""
OF_ONE_PARTITION = re.compile(r"(QOS|MaxMem|Partition)\w+")
"""Of a job for several partitions Slurm says what is true of the last one it looked at; a partition may bring a QOS."""
STUCK = re.compile(r"DependencyNeverSatisfied|JobHoldMaxRequeue|.*(requeued[ _]held|in[ _]held[ _]state)")


class Cause(StrEnum):
    """Why an element ended without a marker."""

    OOM = "out of memory"
    TIMEOUT = "time limit"
    NODE = "node failure"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One line of squeue: an element, or the elements of an array that still wait together."""

    job_id: str
    indices: tuple[int, ...]
    state: str
    submitted: str
    name: str
    reason: str
    node: str
    dependency: str
    partition: str = ""
    """All that it may start in, as long as it waits."""

    @property
    def will_run(self) -> bool:
        return self.state not in ENDED and not self.is_stuck

    @property
    def is_stuck(self) -> bool:
        """In the queue for ever: waits for what can't come, asks for what it can't have, or is held by Slurm."""
        held = self.state in KEPT or bool(STUCK.fullmatch(self.reason))
        return self.is_unfit or (held and self.state not in ENDED)

    @property
    def is_unfit(self) -> bool:
        return self.state == "PENDING" and bool(UNFIT.fullmatch(self.reason)) and not self.fits_elsewhere

    @property
    def fits_elsewhere(self) -> bool:
        """One of its partitions does not allow what it asks for; another may."""
        one = "," in self.partition and UNFIT.fullmatch(self.reason) and OF_ONE_PARTITION.fullmatch(self.reason)
        return self.state == "PENDING" and bool(one)

    @property
    def waits(self) -> bool:
        return self.state == "PENDING"

    @property
    def is_held(self) -> bool:
        return self.state == "PENDING" and self.reason == "JobHeldUser"


@dataclass(frozen=True, slots=True)
class SacctRow:
    """One line of sacct: an element or one of its steps."""

    job_id: str
    index: int | None
    step: str
    name: str
    state: str
    exit_code: str
    submitted: str
    started: str
    ended: str
    node: str
    max_rss_mb: float
    req_mem_mb: float


def read_squeue(text: str) -> list[QueueRow]:
    """Rows of SQUEUE_FORMAT; an array's waiting elements come as one row."""
    rows = []
    for line in filter(None, text.split("\n")):
        parts = line.split("|")
        job_id, index, element, state, submitted, name, reason, node, dependency = parts[:9]
        indices = tuple(read_array_text(index)) if "_" in element and index not in ("", "N/A") else (0,)
        rows.append(QueueRow(job_id, indices, state, submitted, name, reason, node, dependency, *parts[9:10]))
    return rows


def read_sacct(text: str) -> list[SacctRow]:
    """Rows of SACCT_FORMAT."""
    rows = []
    for line in filter(None, text.split("\n")):
        parts = line.split("|")
        element, _, step = parts[0].partition(".")
        job_id, _, index = element.partition("_")
        name, tail = "|".join(parts[1:-8]), parts[-8:]
        for number in read_array_text(index) if index else [None]:
            state, code, submitted, started, ended, node, rss, memory = tail
            rows.append(
                SacctRow(
                    job_id, number, step, name, state.split()[0] if state else "", code,
                    submitted, started, ended, node, _megabytes(rss), _megabytes(memory),
                )
            )  # fmt: skip
    return rows


def read_config(text: str) -> dict[str, str]:
    """What `scontrol show config` says, as a table."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def causes(rows: Iterable[SacctRow], *, job_id: str, name: str) -> dict[int, Cause]:
    """Why each element of a job ended, by index (0 for a plain job); rows of another job with this id are left out."""
    ours = [row for row in rows if row.job_id == job_id]
    found: dict[int, Cause] = {}
    requested = {row.index: row.req_mem_mb for row in ours if not row.step}
    for row in ours:
        index = row.index or 0
        if not row.step:
            if row.name == name and row.state in _CAUSES and found.get(index) is not Cause.OOM:
                found[index] = _CAUSES[row.state]
        elif row.state == "OUT_OF_MEMORY" or _above(row.max_rss_mb, requested.get(row.index, 0.0), row.state):
            found[index] = Cause.OOM
    named = {row.index or 0 for row in ours if not row.step and row.name == name}
    return {index: cause for index, cause in found.items() if index in named}


def _above(max_rss_mb: float, req_mem_mb: float, state: str) -> bool:
    """A step that was killed above its memory, where the site's Slurm does not call that OUT_OF_MEMORY."""
    return state in ("CANCELLED", "FAILED") and 0 < req_mem_mb <= max_rss_mb


_CAUSES = {
    "OUT_OF_MEMORY": Cause.OOM,
    "TIMEOUT": Cause.TIMEOUT,
    "DEADLINE": Cause.TIMEOUT,
    "NODE_FAIL": Cause.NODE,
    "BOOT_FAIL": Cause.NODE,
    "CANCELLED": Cause.CANCELLED,
    "PREEMPTED": Cause.PREEMPTED,
    "FAILED": Cause.FAILED,
}


def _megabytes(text: str) -> float:
    """`627676K`, `4Gn`, `200M` → MB."""
    match = re.match(r"([\d.]+)([KMGTP]?)", text)
    if not match:
        return 0.0
    return (
        float(match[1]) * {"": 1 / 2**20, "K": 1 / 2**10, "M": 1.0, "G": 2.0**10, "T": 2.0**20, "P": 2.0**30}[match[2]]
    )
