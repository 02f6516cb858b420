"""Which nodes a run keeps away from: tasks fail on them at once, and succeed on others that serve the same. Pure.

Counts shards, not starts: one that fails wherever it runs says nothing of a node. Tells pools apart, a partition's
tasks with so many GPUs: a success on a CPU node says nothing of a GPU node, and a node is excluded from the pool it
failed in. The last node of a pool never is: another that succeeded and is not excluded must be left. A person's
submit begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selu_hpc.engines.slurm.attempts import FAST_S, Attempt
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.state import QueueRow, SacctRow
from selu_hpc.rounds.plan import Key, Plan
from selu_hpc.rounds.rundir import Stage

if TYPE_CHECKING:
    from selu_hpc.site import Site

FAST_FAILURES = 2
Place = tuple[Key, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a shard, as far as it speaks for or against a node."""

    place: Place
    pool: str
    node: str
    succeeded: bool = False
    failed_fast: bool = False


def failing_nodes(starts: Iterable[Start], excluded: Collection[tuple[str, str]] = ()) -> dict[tuple[str, str], str]:
    """(pool, node) to exclude beside those that are, with the reason."""
    fast: dict[tuple[str, str], set[Place]] = {}
    good: dict[str, set[str]] = {}
    for start in starts:
        if start.succeeded:
            good.setdefault(start.pool, set()).add(start.node)
        elif start.failed_fast:
            fast.setdefault((start.pool, start.node), set()).add(start.place)
    found = {}
    for (pool, node), places in fast.items():
        well = good.get(pool, set())
        is_left = any((pool, other) not in excluded for other in well)
        if len(places) >= FAST_FAILURES and is_left and node not in well and (pool, node) not in excluded:
            found[pool, node] = (
                f"{len(places)} tasks failed on it within {FAST_S:.0f} s and none succeeded, elsewhere in partition "
                f"{pool} they do"
            )
    return found


def suspects(ledger: Ledger, due: Mapping[Key, Collection[int]], plan: Plan, site: Site) -> list[Place]:
    """All shards of the stages that were sent since a person last said submit and are not finished."""
    keys = {entry.key for entry in ledger.entries.values() if entry.epoch == ledger.epoch and entry.key}
    if not site.kill_on_invalid_dep:  # labels whose rollout is missing fail fast on any node
        keys = {key for key in keys if key.stage is not Stage.LABEL}
    return [(stage.key, shard) for stage in plan if stage.key in keys and due.get(stage.key)
            for shard in range(stage.num_shards)]  # fmt: skip


def starts(
    attempts: Mapping[Place, Iterable[Attempt]],
    ledger: Ledger,
    pools: Mapping[Key | None, str],
    rows: Iterable[QueueRow],
    accounted: Iterable[SacctRow],
) -> list[Start]:
    """Starts since a person last said submit: by their records, else by what Slurm says of those that left none."""
    ours = {name: entry for name, entry in ledger.entries.items() if entry.epoch == ledger.epoch}
    found = [
        Start(
            place=place,
            pool=pools[place[0]],
            node=attempt.node,
            succeeded=attempt.code == 0,
            failed_fast=attempt.failed_fast,
        )
        for place, made in attempts.items()
        for attempt in made
        if attempt.name in ours
    ]
    recorded = {(place, attempt.name) for place, made in attempts.items() for attempt in made}
    for name, job_id, index, node in _failed(rows, accounted):
        entry = ours.get(name)
        if entry is None or entry.key is None or entry.job_id != job_id:
            continue
        place = entry.key, entry.offset + index
        if place in attempts and (place, name) not in recorded:  # not even its record could be written there
            found.append(Start(place=place, pool=pools[entry.key], node=node, failed_fast=True))
    return found


def _failed(rows: Iterable[QueueRow], accounted: Iterable[SacctRow]) -> Iterable[tuple[str, str, int, str]]:
    """Name, job id, index and node of what failed as Slurm has it."""
    for row in rows:
        if row.state == "FAILED" and row.node:
            yield from ((row.name, row.job_id, index, row.node) for index in row.indices)
    for done in accounted:
        if done.state == "FAILED" and done.node and not done.step:
            yield done.name, done.job_id, done.index or 0, done.node


def by_pool(quarantined: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for pool, node in sorted(quarantined):
        found[pool] = (*found.get(pool, ()), node)
    return found


def pools_of(plan: Plan, site: Site) -> dict[Key | None, str]:
    """The pool of each stage; None: of the run's last job."""
    served: dict[Key | None, str] = {stage.key: site.pool(stage.resources) for stage in plan}
    return served | {None: site.pool(plan.asks_of_close)}
