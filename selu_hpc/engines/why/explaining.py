"""One explanation from beginning to end: what is asked about, the facts that takes, the findings."""

from __future__ import annotations

from dataclasses import dataclass, field

from selu_hpc.engines.overview import ShardState
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.why.damage import Broken, Damage, wrong_sizes
from selu_hpc.engines.why.facts import (
    MOST_LOOKED_AT,
    Facts,
    Noted,
    ShardFacts,
    account,
    gather,
    look_into,
)
from selu_hpc.engines.why.findings import ShardWhy, StageWhy, tell_broken, tell_shard, tell_stage
from selu_hpc.engines.why.needs import holders, upstream
from selu_hpc.engines.why.next_step import next_step, tell_trouble
from selu_hpc.engines.why.target import Target, find_target
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import RunDir


@dataclass(slots=True)
class Explanation:
    """What explain prints: of the whole run the stages that hold it up, else one stage or one shard.

    trouble: a line each, of the run as a whole.
    """

    run: RunDir
    engine: str
    what: str
    next: str
    trouble: list[str]
    stages: list[StageWhy] = field(default_factory=list)
    shard: ShardWhy | None = None


def explain(run: RunDir, what: str, calls: Calls) -> Explanation:
    """Raises UnknownWhatError before anything is asked of Slurm."""
    noted = Noted.read(run)
    target = find_target(what, noted.shape, noted.ledger)
    facts = gather(run, noted, calls)
    if target.key is not None and target.shard is not None:
        return _shard(facts, target.key, target.shard, calls)
    return _stages(facts, target, calls)


def _shard(facts: Facts, key: Key, shard: int, calls: Calls) -> Explanation:
    looked = look_into(facts, key, [shard], hashes=True)
    account(facts, looked, calls)
    why = tell_shard(facts, looked[0])
    behind = _broken(facts, key, looked) if why.state in ("failed", "open") else {}
    broken: Broken = {key: {shard: looked[0].damage}} if looked[0].damage else behind
    told = next_step(facts, [why], broken)
    trouble = [f"{group.shards} is broken: {group.reason}" for group in tell_broken(behind)]
    trouble += tell_trouble(facts, told)
    return Explanation(facts.run, facts.engine, str(looked[0]), told, trouble, shard=why)


def _stages(facts: Facts, target: Target, calls: Calls) -> Explanation:
    keys = [target.key] if target.key else holders(facts)
    looked = {key: _look(facts, key) for key in keys}
    account(facts, [one for some in looked.values() for one in some], calls)
    broken = {key: _broken(facts, key, some) for key, some in looked.items()}
    stages = [tell_stage(facts, key, looked[key], broken[key]) for key in keys]
    shards = [why for stage in stages for why in stage.shards]
    told = next_step(facts, shards, {key: one for some in broken.values() for key, one in some.items()})
    what = str(target.key) if target.key else _close(facts, target) if target.entry else "run"
    return Explanation(facts.run, facts.engine, what, told, tell_trouble(facts, told), stages)


def _look(facts: Facts, key: Key) -> list[ShardFacts]:
    """The shards that nothing in the queue covers; those that failed come first where not all can be looked into."""
    wanted = [
        shard
        for state in (ShardState.FAILED, ShardState.OPEN)
        for shard, one in facts.states.get(key, {}).items()
        if one is state
    ]
    return look_into(facts, key, sorted(wanted[:MOST_LOOKED_AT]))


def _broken(facts: Facts, key: Key, looked: list[ShardFacts]) -> Broken:
    """Sizes are compared where something failed, or everything has a marker and a person asks all the same."""
    if any(one.starts for one in looked):
        suspects = list(dict.fromkeys(upstream(facts, key)))
    else:
        suspects = [key] if key not in facts.unfinished else []
    found = {other: _wrong_sizes(facts, other) for other in suspects}
    return {other: shards for other, shards in found.items() if shards}


def _wrong_sizes(facts: Facts, key: Key) -> dict[int, Damage]:
    unfinished = {*facts.unfinished.get(key, ()), *facts.left_out.get(key, ())}
    return wrong_sizes(facts.run, key, [shard for shard in range(facts.shape[key]) if shard not in unfinished])


def _close(facts: Facts, target: Target) -> str:
    """The job behind everything has no stage; what holds the run up is what it waits for."""
    assert target.entry
    live = facts.known.queue.live.get(target.entry.name)
    is_ = "is not in the queue" if live is None else "is at work" if live.running else "waits until all have ended"
    return f"job {target.entry.job_id} is the run's last job, which retries what no gate came after; it {is_}"
