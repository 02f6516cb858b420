"""Whether a shard is tried again, by whom and with what: the decision of reconcile.py or the local engine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from selu_hpc.engines.overview import ShardState, counted
from selu_hpc.engines.slurm.attempts import count_failures
from selu_hpc.engines.slurm.ledger import Live
from selu_hpc.engines.slurm.reconcile import Failures
from selu_hpc.engines.slurm.sbatch import grown
from selu_hpc.engines.why.facts import Facts, ShardFacts
from selu_hpc.engines.why.rules import Asked, section
from selu_hpc.engines.why.tries import Try
from selu_hpc.engines.why.words import How
from selu_hpc.errors import EXIT_REQUEUE
from selu_hpc.rounds.plan import SEALED, Key
from selu_hpc.rounds.rundir import Stage


@dataclass(frozen=True, slots=True)
class Retry:
    """`will`: without anybody's help; None when it can't be known.  asks: what the next attempt gets under Slurm."""

    will: bool | None
    words: str
    failures: int = 0
    asks: Asked | None = None


def tell_retry(facts: Facts, one: ShardFacts) -> Retry:
    if one.damage:
        return Retry(False, "no: its marker says that it is finished")
    if one.state is ShardState.DONE:
        return Retry(False, "it is finished")
    if one.state is ShardState.LEFT_OUT:
        return Retry(False, "no: its round was sealed without it")
    if one.state is ShardState.RUNNING:
        return Retry(True, "it is at work")
    if facts.engine == "local" or not one.entries:
        return _local(facts, one)
    if not facts.known.answered:
        return Retry(None, "whether it is on its way is not known: the queue did not answer")
    return _slurm(facts, one)


def _local(facts: Facts, one: ShardFacts) -> Retry:
    failed = sum(1 for start in one.starts if start.ended and _counts(facts, start.ended))
    if gave_up := facts.gave_up.get(one.place.name):
        count = int(gave_up["attempts"])
        return Retry(False, f"no: failed {counted(count, 'time')}, which is more than retry.max_retries allows", count)
    if facts.known.local:
        return Retry(True, "yes: the local run that is at work starts it when it is due", failed)
    nobody = "no local run" if facts.engine == "local" else "nothing that the journal knows of"
    return Retry(False, f"not by itself: {nobody} is at work", failed)


def _counts(facts: Facts, ended: dict[str, float]) -> bool:
    return ended["time"] >= facts.started.get("time", 0.0) and ended["code"] != EXIT_REQUEUE


def _slurm(facts: Facts, one: ShardFacts) -> Retry:
    failed = failures_of(facts, one)
    if one.row and not one.row.is_stuck:
        entry = next(entry for entry in one.entries if entry.job_id == one.row.job_id)
        asks = facts.asked.get(entry.name)
        return Retry(True, f"yes: job {one.row.job_id} is in the queue for it{_with(asks)}", failed.count, asks)
    why = facts.ledger.gave_up.get((one.key, one.shard))
    if why:
        return Retry(False, f"no: given up, {why}", failed.count)
    if not failed.may_retry(facts.rules.max_retries):
        why = f"no: failed {counted(failed.count, 'time')}, retry.max_retries is {facts.rules.max_retries}"
        return Retry(False, why, failed.count)
    asks = _grown(facts, one.key, failed)
    gate, close = Key(one.key.round_id, Stage.GATE), None
    for key in (gate, close) if one.key.stage in SEALED else (close,):
        live = next((live for live in _live(facts, key) if live.alive), None)
        if live and facts.rules.resubmits:
            who = f"{gate}, job {live.entry.job_id}," if key else f"the run's last job, {live.entry.job_id},"
            begins = "is at work and" if live.running else "when its turn comes,"
            return Retry(True, f"yes: {who} {begins} sends it again{_with(asks)}", failed.count, asks)
    return Retry(False, "not by itself: no job that could send it again is in the queue", failed.count)


def failures_of(facts: Facts, one: ShardFacts) -> Failures:
    """Counted as a gate counts them, which asks when all elements of the shard's job have ended."""
    known = {name: by_shard[one.shard] for name, by_shard in facts.causes.items() if one.shard in by_shard}
    mine = (live for live in facts.known.queue.live.values() if live.entry.key == one.key)
    alive = [live.entry.name for live in mine if one.shard in live.alive]
    records = [start.record for start in one.starts if start.record]
    return count_failures(facts.ledger, one.key, one.shard, records, alive=alive, known=known)


def more_of(facts: Facts, one: ShardFacts, tries: list[Try]) -> str:
    """The setting a person should raise before submitting: a person's submit asks for what the config says again."""
    last = next((one for one in reversed(tries) if one.is_failure), None)
    name = section(one.key.stage)
    has = facts.rules.asks.get(name)
    if last is None or has is None or not one.entries or (one.row and one.row.is_unfit):
        return ""
    if last.how is How.OOM:
        memory, limit = 2 * max(has.mem_gb, round(last.asked_gb or 0)), facts.rules.limits_gb.get(name, 0)
        return f"resources.{name}.mem_gb={min(memory, limit) if limit else memory}"
    if last.how is How.TIMEOUT:
        minutes = 2 * max(has.timeout_min, last.asked_min or 0)
        limit = facts.rules.limits_min.get(name, 0)
        return f"resources.{name}.timeout_min={min(minutes, limit) if limit else minutes}"
    return ""


def _grown(facts: Facts, key: Key, failed: Failures) -> Asked | None:
    name = section(key.stage)
    has = facts.rules.asks.get(name)
    if has is None:
        return None
    more = grown(
        has.mem_gb,
        has.timeout_min,
        num_oom=failed.num_oom,
        num_timeout=failed.num_timeout,
        limit_gb=facts.rules.limits_gb.get(name, 0),
        limit_min=facts.rules.limits_min.get(name, 0),
    )
    return Asked(*more)


def _live(facts: Facts, key: Key | None) -> Iterable[Live]:
    return (live for live in facts.known.queue.live.values() if live.entry.key == key)


def _with(asks: Asked | None) -> str:
    return f", with {asks.mem_gb} GB and {asks.timeout_min} minutes" if asks else ""
