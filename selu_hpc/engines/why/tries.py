"""How each attempt of a shard went: from its traces and what Slurm said to one word, a sentence and figures. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from selu_hpc.engines.overview import ShardState
from selu_hpc.engines.slurm.attempts import Attempt, describe_exit
from selu_hpc.engines.slurm.ledger import BY_PERSON, Entry
from selu_hpc.engines.slurm.state import Cause, SacctRow
from selu_hpc.engines.why.facts import Facts, ShardFacts, Start
from selu_hpc.engines.why.words import ENDS, How
from selu_hpc.errors import EXIT_REQUEUE
from selu_hpc.rounds.plan import After
from selu_hpc.rounds.rundir import Stage

KILLED = (-9, 137)
TOLD_TO_END = (-15, 143)
CLOCKS_S = 5.0
"""So far may the clocks of a login node and a compute node be apart."""
GPU_OOM = re.compile(r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|HIP out of memory")
BY_CAUSE = {Cause.OOM: How.OOM, Cause.TIMEOUT: How.TIMEOUT, Cause.NODE: How.NODE, Cause.CANCELLED: How.CANCELLED,
            Cause.PREEMPTED: How.PREEMPTED}  # fmt: skip
BY_WORDS = (
    ("retry.quorum asks for", How.QUORUM),
    ("its marker says", How.CORRUPT),
    ("No space left on device", How.DISK),
    ("Disk quota exceeded", How.DISK),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt, or a job that left none (number None).

    begun, ended, last_sign: seconds since 1970, None when nobody wrote it down; the last is its log's.
    peak_gb, asked_gb: memory.  said: the last error of its log.  note: what else is to be said about the end.
    """

    number: int | None
    how: How
    job: str = ""
    node: str = ""
    begun: float | None = None
    ended: float | None = None
    last_sign: float | None = None
    code: int | None = None
    slurm: str = ""
    said: str = ""
    note: str = ""
    peak_gb: float | None = None
    asked_gb: float | None = None
    asked_min: int | None = None
    log: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.how}, {self.note or ENDS[self.how].means}"

    @property
    def is_failure(self) -> bool:
        return self.how not in (
            How.RUNNING,
            How.DONE,
            How.SENT_AGAIN,
            How.REQUEUED,
            How.PREEMPTED,
            How.STOPPED,
            How.UNSEEN,
        )


def tell_tries(facts: Facts, one: ShardFacts) -> list[Try]:
    """Every attempt in order, then jobs of the shard that ended and left none."""
    tries = [_try(facts, one, at) for at in range(len(one.starts))]
    seen = {start.record.name for start in one.starts if start.record}
    return tries + list(_without_attempt(facts, one, seen))


def _try(facts: Facts, one: ShardFacts, at: int) -> Try:
    start = one.starts[at]
    record, event = start.record, start.ended
    how, note = _how(facts, one, at)
    row = _accounted(facts, one, record) if _is_last_of_its_job(one, at) else None
    asked = facts.asked.get(record.name) if record else None
    begun = record.begun if record else float(event["time"]) - float(event["seconds"]) if event else start.said.begun
    ended = record.ended if record else float(event["time"]) if event else None
    return Try(
        number=start.number,
        how=how,
        note=note,
        job=record.job if record else "",
        node=record.node if record else "",
        begun=begun,
        ended=_time(row.ended) if row and ended is None and how is not How.RUNNING else ended,
        last_sign=start.said.written,
        code=_code(start),
        slurm=row.state if row else "",
        said=start.said.error if how not in (How.DONE, How.RUNNING) else "",
        peak_gb=_peak_gb(facts, row),
        asked_gb=row.req_mem_mb / 1024 if row and row.req_mem_mb else asked.mem_gb if asked else None,
        asked_min=asked.timeout_min if asked else None,
        log=start.said.file,
    )


def _how(facts: Facts, one: ShardFacts, at: int) -> tuple[How, str]:
    start, is_last = one.starts[at], at == len(one.starts) - 1
    record, code = start.record, _code(start)
    if start.number == one.done_by:  # whoever watched it may have gone before it could write down the end
        return How.DONE, ""
    if code == 0:
        return _ended_well(one, is_last=is_last), ""
    if is_last and code is None and one.state is ShardState.RUNNING:
        return How.RUNNING, ""
    if record and (record.requeued or not _is_last_of_its_job(one, at)):
        return _went_on(record)
    cause = _cause(facts, one, record) if record else Cause.UNKNOWN
    if cause in (Cause.OOM, Cause.FAILED, Cause.UNKNOWN) and GPU_OOM.search(start.said.error):
        return How.GPU_OOM, ""
    if cause is Cause.CANCELLED and record:
        return How.CANCELLED, _who_cancelled(facts, record.name, record.ended)
    if cause in BY_CAUSE:
        return BY_CAUSE[cause], ""
    if code is None and record:
        return _no_end(facts, record)
    return _by_exit(start, code)


def _by_exit(start: Start, code: int | None) -> tuple[How, str]:
    if code is None and start.said.error:
        return How.FAILED, "its log has an error and nobody wrote down its end, as where a stage is run by hand"
    if code is None:
        return How.VANISHED, "the local run that watched it was killed, or this machine stopped"
    if code == EXIT_REQUEUE:
        return How.STOPPED, ""
    how = next((how for words, how in BY_WORDS if words in start.said.error), None)
    if how:
        return how, ""
    if code in TOLD_TO_END:
        return How.KILLED, f"somebody or Slurm told it to end (SIGTERM), {describe_exit(code)}"
    return (How.KILLED if code in KILLED else How.FAILED), describe_exit(code)


def _no_end(facts: Facts, record: Attempt) -> tuple[How, str]:
    """Gone only where the queue was asked and does not have it."""
    if not facts.known.answered:
        return How.UNSEEN, "no end of it is written down, and the queue, where it may still be at work, did not answer"
    if record.name not in facts.ledger.entries:
        return (
            How.UNSEEN,
            f"no end of it is written down; its job {record.job} was submitted by hand, squeue may have it",
        )
    return How.VANISHED, ""


def _ended_well(one: ShardFacts, *, is_last: bool) -> How:
    """Of an attempt that the marker does not name."""
    if one.key.stage is Stage.GATE:
        return How.SENT_AGAIN
    return How.DONE if one.state is ShardState.DONE or not is_last else How.UNMARKED


def _went_on(record: Attempt) -> tuple[How, str]:
    """Slurm started the same job once more: told by TERM it was preempted, by USR2 its time was nearly over."""
    if record.told == "USR2":
        return How.REQUEUED, "its time was nearly over, so it saved its work and Slurm put it back into the queue"
    if record.told == "TERM":
        return How.PREEMPTED, ""
    if record.code is None:
        return How.REQUEUED, "Slurm took it from its node and started it again, after a preemption or a node's failure"
    return How.REQUEUED, ""


def _cause(facts: Facts, one: ShardFacts, record: Attempt) -> Cause:
    """As retries are counted: the wrapper's record first, what Slurm says where that knows no reason."""
    cause = record.cause
    if cause in (Cause.UNKNOWN, Cause.FAILED):
        return facts.causes.get(record.name, {}).get(one.shard, cause)
    return cause


def _who_cancelled(facts: Facts, name: str, ended: float | None = None) -> str:
    """By the journal, unless the attempt had ended before that."""
    event = facts.cancelled.get(name)
    why = event["why"] if event and (ended is None or ended > event["time"] - CLOCKS_S) else ""
    if why == BY_PERSON:
        return "a person stopped the run with selu_hpc.cancel"
    return f"this project cancelled its job: {why}" if why else "a person cancelled its job with scancel"


def _without_attempt(facts: Facts, one: ShardFacts, seen: set[str]) -> Iterator[Try]:
    """Jobs since the last submit that are neither in the queue nor in any attempt's record."""
    for entry in one.entries:
        in_queue = one.row is not None and one.row.job_id == entry.job_id
        if entry.name in seen or in_queue or entry.epoch != facts.ledger.epoch or one.state is ShardState.DONE:
            continue
        if not facts.known.answered:
            continue
        cause = facts.causes.get(entry.name, {}).get(one.shard, Cause.UNKNOWN)
        how, note = _never_began(facts, entry, cause)
        yield Try(number=None, how=how, note=note, job=_element(entry, one.shard))


def _never_began(facts: Facts, entry: Entry, cause: Cause) -> tuple[How, str]:
    waited = any(wait.after is not After.ANY for wait in entry.waits)
    if cause is Cause.CANCELLED:
        if waited and entry.name not in facts.cancelled:
            return How.DEPENDENCY, ""
        return How.CANCELLED, _who_cancelled(facts, entry.name)
    if cause in BY_CAUSE:
        return BY_CAUSE[cause], ""
    if cause is Cause.FAILED:
        return How.FAILED, "it failed before it could make a folder for its attempt"
    if entry.name in facts.cancelled:
        return How.CANCELLED, _who_cancelled(facts, entry.name)
    return How.VANISHED, "its job is not in the queue, began no attempt, and accounting knows no end of it"


def _element(entry: Entry, shard: int) -> str:
    return f"{entry.job_id}_{shard - entry.offset}" if len(entry.shards) > 1 else entry.job_id


def _is_last_of_its_job(one: ShardFacts, at: int) -> bool:
    record = one.starts[at].record
    return not record or all(
        (later.record.name, later.record.job) != (record.name, record.job)
        for later in one.starts[at + 1 :]
        if later.record
    )


def _code(start: Start) -> int | None:
    if start.record:
        return start.record.code
    return int(start.ended["code"]) if start.ended else None


def _accounted(facts: Facts, one: ShardFacts, record: Attempt | None) -> SacctRow | None:
    """Accounting's row of this attempt's job; ids are reused, names are not."""
    if record is None:
        return None
    job_id, _, index = record.job.partition("_")
    rows = (row for row in facts.accounted if row.job_id == job_id and row.name == record.name and not row.step)
    return next((row for row in rows if not index or row.index == int(index)), None)


def _peak_gb(facts: Facts, row: SacctRow | None) -> float | None:
    if row is None:
        return None
    steps = [one.max_rss_mb for one in facts.accounted if (one.job_id, one.index) == (row.job_id, row.index)]
    return max(steps) / 1024 if any(steps) else None


def _time(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
