"""From facts to findings: why a shard, a stage or the run is where it is, and what to type next. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from selu_hpc.engines.overview import ShardState
from selu_hpc.engines.slurm.ledger import Entry
from selu_hpc.engines.slurm.sbatch import array_text
from selu_hpc.engines.slurm.state import QueueRow
from selu_hpc.engines.why.damage import Broken
from selu_hpc.engines.why.facts import Facts, ShardFacts
from selu_hpc.engines.why.needs import NeedWhy, tell_chain, tell_needs
from selu_hpc.engines.why.retries import Retry, tell_retry
from selu_hpc.engines.why.tries import Try, tell_tries
from selu_hpc.engines.why.words import ENDS, ONE_PARTITION, How, Words, pending_words
from selu_hpc.rounds.plan import Key

QUORUM = re.compile(r"(\d+) of (\d+) shards are whole")


@dataclass(slots=True)
class ShardWhy:
    """One shard: `reason` in a sentence, `do` what a person can do about it."""

    shard: str
    state: str
    reason: str
    do: str
    needs: list[NeedWhy]
    tries: list[Try]
    retry: Retry
    job: str = ""
    folder: str = ""
    facts: ShardFacts | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Shards of a stage that are where they are for one reason."""

    shards: str
    state: str
    reason: str
    do: str


@dataclass(frozen=True, slots=True)
class JobWhy:
    """A job that serves a stage: its shards in the queue and Slurm's own log."""

    job: str
    name: str
    shards: str
    waiting: int
    running: int
    stuck: int
    log: str


@dataclass(slots=True)
class StageWhy:
    """One stage. `counts` are shards by state; `shards` what was looked into, `unseen` how many were not."""

    stage: str
    counts: dict[str, int]
    needs: list[NeedWhy]
    groups: list[Group]
    jobs: list[JobWhy]
    chain: list[str]
    logs: str
    shards: list[ShardWhy]
    unseen: int = 0

    @property
    def is_at_work(self) -> bool:
        """Whether every shard that is not finished is running."""
        left = self.counts.keys() - {ShardState.DONE, ShardState.LEFT_OUT}
        return {state for state in left if self.counts[state]} == {ShardState.RUNNING}

    @property
    def headline(self) -> str:
        total, done = sum(self.counts.values()), self.counts.get("done", 0)
        without = self.counts.get(ShardState.LEFT_OUT, 0)
        if done + without == total:
            return f"{self.stage} is finished: {_shards(done)}" + (
                f", its round did without {without}" if without else ""
            )
        parts = ", ".join(f"{number} {state}" for state, number in self.counts.items() if state != "done" and number)
        return f"{self.stage}: {total - done} of {_shards(total)} unfinished ({parts})"


def tell_shard(facts: Facts, one: ShardFacts) -> ShardWhy:
    tries, needs = tell_tries(facts, one), tell_needs(facts, one.key, one.shard)
    words = _reason(facts, one, tries, needs)
    retry = tell_retry(facts, one)
    job = one.row.job_id if one.row else one.entries[-1].job_id if one.entries else ""
    state = "broken" if one.damage else str(one.state)
    return ShardWhy(str(one), state, words.means, words.do, needs, tries, retry, job, str(one.place.path), one)


def _reason(facts: Facts, one: ShardFacts, tries: list[Try], needs: list[NeedWhy]) -> Words:
    last = tries[-1] if tries else None
    if one.damage:
        return Words(one.damage.why, ENDS[How.CORRUPT].do)
    if one.state is ShardState.DONE:
        return Words("it is finished", "nothing")
    if one.state is ShardState.LEFT_OUT:
        return Words("its round was sealed without it, as retry.quorum allows", "nothing")
    if one.state is ShardState.RUNNING:
        return Words(f"it is at work{f', {math.floor(100 * one.part)}% done' if one.part else ''}", "wait")
    if one.row:
        return queue_words(facts, one.row, last)
    if last and last.how is not How.RUNNING:
        return _of_last(last)
    if missing := [need for need in needs if not need.met]:
        told = ", ".join(f"{need.on} ({need.words})" for need in missing)
        return Words(f"it waits for {told}", "look at what it waits for")
    if facts.known.local:
        return Words("it waits for a free core of the local run at work", "wait")
    if not facts.known.answered:
        return Words("it has not begun, and whether it is in the queue is not known", "ask again where squeue answers")
    return Words("it has not begun and nothing that could start it is on its way", "submit")


def _of_last(last: Try) -> Words:
    number = "its job" if last.number is None else f"attempt {last.number}"
    said = f"; it said: {last.said}" if last.said else ""
    do = ENDS[last.how].do
    if last.how is How.QUORUM and (found := QUORUM.search(last.said)):
        share = math.floor(100 * int(found[1]) / int(found[2])) / 100
        do += f" to what is there (--set retry.quorum={share})" if share else ""
    return Words(f"{number}: {last.sentence}{said}", do)


def queue_words(facts: Facts, row: QueueRow, last: Try | None = None) -> Words:
    """A job's place in the queue."""
    words = ONE_PARTITION if row.fits_elsewhere else pending_words(row.reason)
    entry = facts.ledger.entries.get(row.name)
    if row.state != "PENDING":
        why = f", {row.reason}" if row.reason not in ("", "None") else ""
        held = (f": Slurm holds it for a person{why}", "submit cancels and resends it")
        more, do = held if row.is_stuck else ("", "wait")
        return Words(f"job {row.job_id} is {row.state}{more}", do)
    if row.is_held and entry:
        return _held(row, entry)
    told = f"job {row.job_id} is pending, {row.reason}: {words.means}"
    if row.reason.startswith("Dependency") and entry and (waits := told_waits(facts, entry)):
        told += f" ({waits})"
    if last and last.how in (How.REQUEUED, How.PREEMPTED):
        told += f"; attempt {last.number}: {last.sentence}"
    elif last and last.is_failure:
        told += f"; before that {_of_last(last).means}"
    return Words(told, words.do)


def _held(row: QueueRow, entry: Entry) -> Words:
    if entry.released:
        return Words(
            f"job {row.job_id} is pending, {row.reason}: a person put it on hold, or a controller that crashed forgot "
            "its release", f"`scontrol release {row.job_id}`, or submit, which releases it too",
        )  # fmt: skip
    return Words(
        f"job {row.job_id} is pending, {row.reason}: whoever submitted it ended before the release",
        "submit releases it",
    )


def told_waits(facts: Facts, entry: Entry) -> str:
    """`afterok on job 12, r01/gate`, from the journal."""
    parts = []
    for wait in entry.waits:
        jobs = [(facts.ledger.entries[name].job_id, facts.ledger.entries[name].key)
                for name in wait.names if name in facts.ledger.entries]  # fmt: skip
        parts += [f"{wait.after} on job {job_id}, {key or 'the last one'}" for job_id, key in jobs[:3]]
        parts += [f"{wait.after} on {len(jobs) - 3} more"] if len(jobs) > 3 else []
    return "; ".join(parts)


def tell_stage(facts: Facts, key: Key, looked: Iterable[ShardFacts], broken: Broken) -> StageWhy:
    """`broken`: of this stage and of what it reads."""
    shards = [tell_shard(facts, one) for one in looked]
    states = facts.states.get(key, {})
    left_out = len(facts.left_out.get(key, ()))
    counts = {"done": facts.shape[key] - len(states) - left_out}
    counts |= {str(state): sum(one is state for one in states.values()) for state in ShardState if state != "done"}
    counts |= {str(ShardState.LEFT_OUT): left_out}
    wanted = sum(state in (ShardState.FAILED, ShardState.OPEN) for state in states.values())
    seen = sum(why.state in ("failed", "open") for why in shards)
    return StageWhy(
        stage=str(key),
        counts={state: number for state, number in counts.items() if number or state == "done"},
        needs=tell_needs(facts, key),
        groups=[*_groups(shards), *_pending(facts, key), *tell_broken(broken)],
        jobs=list(_jobs(facts, key)),
        chain=tell_chain(facts, key) if key in facts.unfinished else [],
        logs=str(facts.run.stage(key.round_id, key.stage)),
        shards=shards,
        unseen=max(0, wanted - seen),
    )


def _groups(shards: Iterable[ShardWhy]) -> list[Group]:
    """Shards alike in state, reason and retry together, however many."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for why in shards:
        if why.state in ("failed", "open") and why.facts:
            reason = f"{why.reason}; retry: {why.retry.words}" if why.tries else why.reason
            alike.setdefault((why.state, reason, why.do), []).append(why.facts.shard)
    return [Group(array_text(some), state, reason, do) for (state, reason, do), some in alike.items()]


def _pending(facts: Facts, key: Key) -> Iterable[Group]:
    """What waits in the queue, by its job and Slurm's reason; no folder is looked into."""
    for entry in facts.entries(key):
        by_reason: dict[str, list[QueueRow]] = {}
        for row in facts.known.rows:
            if row.name == entry.name and row.job_id == entry.job_id and row.waits and row.will_run:
                by_reason.setdefault(row.reason, []).append(row)
        for rows in by_reason.values():
            words = queue_words(facts, rows[0])
            shards = array_text(entry.offset + index for row in rows for index in row.indices)
            yield Group(shards, "pending", words.means, words.do)


def tell_broken(broken: Broken) -> Iterable[Group]:
    for key, shards in broken.items():
        for shard, damage in shards.items():
            yield Group(f"{key}/{shard}", "broken", damage.why, ENDS[How.CORRUPT].do)


def _jobs(facts: Facts, key: Key) -> Iterable[JobWhy]:
    """Jobs that the queue has; where it has none, the last that was submitted."""
    entries = [entry for entry in facts.entries(key) if entry.job_id]
    live = facts.known.queue.live
    for entry in [one for one in entries if one.name in live] or entries[-1:]:
        one = live.get(entry.name)
        numbers = (len(one.waiting), len(one.running), len(one.stuck)) if one else (0, 0, 0)
        log = str(facts.run.jobs / f"{entry.name}.log")
        yield JobWhy(entry.job_id, entry.name, array_text(entry.shards), *numbers, log)


def _shards(count: int) -> str:
    return f"{count} shard{'' if count == 1 else 's'}"
