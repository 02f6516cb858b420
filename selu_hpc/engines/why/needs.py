"""What a stage or shard waits for and whether it is there; which stages hold a run up. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from selu_hpc.engines.overview import ShardState, counted
from selu_hpc.engines.why.facts import Facts
from selu_hpc.rounds.plan import After, Key, Need


@dataclass(frozen=True, slots=True)
class NeedWhy:
    """One dependency: what of it is there, in words."""

    on: str
    after: str
    met: bool
    words: str


def tell_needs(facts: Facts, key: Key, shard: int | None = None) -> list[NeedWhy]:
    return [_need(facts, need, shard) for need in facts.needs(key)]


def _need(facts: Facts, need: Need, shard: int | None) -> NeedWhy:
    if need.after is After.CORR and shard is not None:
        state = facts.state(need.on, shard)
        return NeedWhy(f"{need.on}/{shard}", str(need.after), state is ShardState.DONE, str(state))
    total, unfinished = facts.shape[need.on], facts.states.get(need.on, {})
    if need.after is After.ANY:
        left = sum(state is not ShardState.FAILED for state in unfinished.values())
        return NeedWhy(str(need.on), str(need.after), not left, _ended(total, left, len(unfinished) - left))
    words = f"{len(unfinished)} of {counted(total, 'shard')} unfinished" if unfinished else "done"
    if need.after is After.CORR and unfinished:
        words += ", each shard waits for its own"
    return NeedWhy(str(need.on), str(need.after), not unfinished, words)


def _ended(total: int, left: int, failed: int) -> str:
    """`1 of 2 shards not ended, 1 ended badly`."""
    if left:
        return f"{left} of {counted(total, 'shard')} not ended" + (f", {failed} ended badly" if failed else "")
    if total == 1:
        return "its shard has ended" + (" badly" if failed else "")
    return f"all {total} shards have ended" + (f", {failed} of them badly" if failed else "")


def holders(facts: Facts) -> list[Key]:
    """The stages that hold the run up, the one to begin with first: it waits for nothing, or has shards that failed.

    They come in the plan's order; but what nothing waits for (an evaluation, a shard that its round went on without)
    holds nothing up and comes behind.
    """
    found = []
    for key in facts.unfinished:
        waits = any(need.on in facts.unfinished for need in facts.needs(key))
        if not waits or any(state is ShardState.FAILED for state in facts.states[key].values()):
            found.append(key)
    awaited = {need.on for key in facts.unfinished for need in facts.needs(key)}
    return sorted(found, key=lambda key: key not in awaited)


def tell_chain(facts: Facts, key: Key) -> list[str]:
    """What waits for a stage, one line a stage up to the round after it, the rest in one."""
    behind, lines, later = {key}, [], []
    for other in facts.unfinished:
        needs = [need for need in facts.needs(other) if need.on in behind]
        if not needs:
            continue
        behind.add(other)
        if other.round_id > key.round_id + 1:
            later.append(other)
        else:
            lines.append(f"{other} waits for {'; '.join(_open(facts, need.on) for need in needs)}")
    if later:
        some = f"{len(later)} stages of later rounds, up to {later[-1]}, wait"
        lines.append(f"{some if len(later) > 1 else f'{later[0]}, of a later round, waits'} for these")
    return lines


def _open(facts: Facts, key: Key) -> str:
    total = facts.shape[key]
    return str(key) if total == 1 else f"{key}: {len(facts.unfinished[key])} of {total} shards unfinished"


def upstream(facts: Facts, key: Key) -> Iterator[Key]:
    """What a stage reads, as far back as broken files can make it fail: its needs and theirs, within the round."""
    for need in facts.needs(key):
        if need.on.round_id == key.round_id:
            yield need.on
            yield from upstream(facts, need.on)
