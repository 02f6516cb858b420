"""Decides what must be submitted, re-pointed or cancelled so that a run reaches its end. Pure.

The same decision serves the first submission, a resume after any mixture of failures, and a gate that retries what is
missing: look at markers and at the queue, cover every due shard with exactly one job, and let every job wait for what
covers what it needs. Needs that are met by markers are left out: an id that ended long ago is no dependency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from selu_hpc.engines.slurm.ledger import Ledger, Live
from selu_hpc.engines.slurm.sbatch import JobSpec, Wait, chunks, escalate
from selu_hpc.rounds.plan import After, Key, Need, Plan, StagePlan

if TYPE_CHECKING:
    from selu_hpc.resources import Resources
    from selu_hpc.site import Site

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a shard failed since a person last said submit, and of what."""

    count: int = 0
    num_oom: int = 0
    num_timeout: int = 0

    def may_retry(self, max_retries: int) -> bool:
        return self.count <= max_retries


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision is made from.

    excluded: the nodes to keep away from, by pool (quarantine.py).
    """

    plan: Plan
    due: Mapping[Key, Sequence[int]]
    ledger: Ledger
    live: Mapping[str, Live]
    failures: Mapping[tuple[Key, int], Failures]
    site: Site
    max_retries: int
    max_array_size: int
    last_round: int
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Decision:
    """What to do, in this order: cancel, submit, rewire.

    gave_up: shards that failed too often.  impossible: shards that wait for one of those.
    cover: the job that every due shard on its way belongs to, by stage.
    """

    cancel: dict[str, set[int]] = field(default_factory=dict)
    submit: list[JobSpec] = field(default_factory=list)
    rewire: dict[str, tuple[Wait, ...]] = field(default_factory=dict)
    gave_up: dict[tuple[Key, int], str] = field(default_factory=dict)
    impossible: set[tuple[Key, int]] = field(default_factory=set)
    cover: dict[Key, dict[int, str]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.cancel or self.submit or self.rewire or self.gave_up)


def decide(now: Situation) -> Decision:
    return _Decider(now).decide()


class _Decider:
    """One walk over the plan, upstream first. Tables are by stage, then by shard: runs have 10,000 shards."""

    def __init__(self, now: Situation) -> None:
        self.now = now
        self.made = Decision()
        self.cover: dict[Key, dict[int, str]] = {}
        self.due = {key: set(shards) for key, shards in now.due.items()}
        self.failures = _by_stage(now.failures)
        self.gave_up = _by_stage(now.ledger.gave_up)
        for name, live in now.live.items():
            if live.entry.key:
                self.cover.setdefault(live.entry.key, {}).update(dict.fromkeys(live.alive, name))

    def decide(self) -> Decision:
        self._cancel_stuck()
        self._cancel_unplanned()
        for stage in self.now.plan:
            if stage.key.round_id <= self.now.last_round:
                self._stage(stage)
        self._close()
        for key, covered in self.cover.items():
            due = self.due.get(key, set())
            if still_due := {shard: name for shard, name in covered.items() if shard in due}:
                self.made.cover[key] = still_due
        return self.made

    def _cancel_stuck(self) -> None:
        for name, live in self.now.live.items():
            if live.stuck:
                self.made.cancel[name] = set(live.stuck)

    def _cancel_unplanned(self) -> None:
        for name, shards in unplanned(self.now.plan, self.now.live).items():
            self.made.cancel.setdefault(name, set()).update(shards)

    def _stage(self, stage: StagePlan) -> None:
        covered, gave_up = self.cover.setdefault(stage.key, {}), self.gave_up.get(stage.key, {})
        failures = self.failures.get(stage.key, {})
        is_new = not (covered or gave_up or failures)
        wanted: dict[str, dict[int, tuple[Wait, ...]]] = {}
        fresh: dict[tuple[Wait, ...], list[int]] = {}
        for waits, shards in self._waits(stage, sorted(self.due.get(stage.key, ()))):
            if is_new and waits is not None:
                fresh.setdefault(waits, []).extend(shards)
                continue
            for shard in shards:
                name = covered.get(shard)
                if waits is None or shard in gave_up:
                    self._give_up_hope(stage.key, shard, name)
                elif name is None:
                    if shard not in failures or self._may_retry(stage.key, shard, failures[shard]):
                        fresh.setdefault(waits, []).append(shard)
                elif shard in self.now.live[name].waiting:
                    wanted.setdefault(name, {})[shard] = waits
        for name, by_shard in wanted.items():
            for shard, waits in self._point(name, by_shard).items():
                fresh.setdefault(waits, []).append(shard)
        self._submit(stage, fresh)

    def _give_up_hope(self, key: Key, shard: int, name: str | None) -> None:
        self.made.impossible.add((key, shard))
        if name and shard in self.now.live[name].waiting:
            self.made.cancel.setdefault(name, set()).add(shard)
            del self.cover[key][shard]

    def _may_retry(self, key: Key, shard: int, failed: Failures) -> bool:
        if failed.may_retry(self.now.max_retries):
            return True
        self.made.gave_up[key, shard] = f"failed {failed.count} times"
        self.made.impossible.add((key, shard))
        return False

    def _waits(self, stage: StagePlan, shards: list[int]) -> Iterable[tuple[tuple[Wait, ...] | None, list[int]]]:
        """What shards must wait for, by jobs' names, with the shards that wait for it; None: they can't ever start."""
        needs = stage.needs if self.now.site.kill_on_invalid_dep else tuple(_patient(need) for need in stage.needs)
        shared = [need.after is After.CORR or self._wait(need) for need in needs]
        if not shards or any(one is False for one in shared):
            return [(None, shards)]
        if not any(need.after is After.CORR for need in needs):
            return [(tuple(one for one in shared if isinstance(one, Wait)), shards)]
        columns = [self._covering(need.on, shards) if need.after is After.CORR else [""] * len(shards)
                   for need in needs]  # fmt: skip
        by_names: dict[tuple[str | None, ...], list[int]] = {}
        for shard, names in zip(shards, zip(*columns, strict=True), strict=True):
            by_names.setdefault(names, []).append(shard)
        after = After.OK if stage.num_shards == 1 else After.CORR
        return [(_own(names, shared, after), some) for names, some in by_names.items()]

    def _covering(self, on: Key, shards: list[int]) -> list[str | None]:
        """The job each of these shards of a stage belongs to: "" where it is finished, None where there is none."""
        due, covered = self.due.get(on, set()), self.cover.get(on, {})
        return [covered.get(shard) if shard in due else "" for shard in shards]

    def _wait(self, need: Need) -> Wait | bool | None:
        """The wait for all of a need's open shards: None when it is met, False when it can't ever be."""
        open_shards, covered = self.due.get(need.on, set()), self.cover.get(need.on, {})
        names = sorted({covered[shard] for shard in open_shards if shard in covered})
        hopeless = not names and len(open_shards) == self.now.plan[need.on].num_shards
        if hopeless if need.after is After.ANY else not open_shards <= covered.keys():
            return False
        return Wait(need.after, tuple(names)) if names else None

    def _point(self, name: str, by_shard: dict[int, tuple[Wait, ...]]) -> dict[int, tuple[Wait, ...]]:
        """Re-point a waiting job when what it waits for has gone; shards that differ among themselves start anew."""
        recorded = _tokens(self.now.live[name].entry.waits)
        stale = {shard: waits for shard, waits in by_shard.items() if not _tokens(waits) <= recorded}
        if not stale:
            return {}
        if len(stale) == len(by_shard) and len(set(stale.values())) == 1:
            self.made.rewire[name] = next(iter(stale.values()))
            return {}
        self.made.cancel.setdefault(name, set()).update(stale)
        return stale

    def _submit(self, stage: StagePlan, fresh: dict[tuple[Wait, ...], list[int]]) -> None:
        label = f"r{stage.key.round_id:02d}-{stage.key.stage}"
        generation = self.now.ledger.next_generation(label)
        number = 0
        for waits, asks, shards in self._by_asks(stage, fresh):
            for offset, part in chunks(shards, self.now.max_array_size).items():
                name = f"selu-{self.now.ledger.run_id}-{label}-g{generation}c{number}"
                number += 1
                self.made.submit.append(
                    JobSpec(
                        name=name,
                        label=label,
                        key=stage.key,
                        shards=tuple(part),
                        resources=asks,
                        command=(),
                        num_ranks=stage.num_ranks,
                        offset=offset,
                        is_array=stage.num_shards > 1,
                        waits=waits,
                        excluded=self._excluded(asks),
                    )
                )
                self.cover.setdefault(stage.key, {}).update(dict.fromkeys(part, name))

    def _by_asks(
        self, stage: StagePlan, fresh: dict[tuple[Wait, ...], list[int]]
    ) -> Iterable[tuple[tuple[Wait, ...], Resources, list[int]]]:
        """Shards that wait for the same, apart when some ask for more than others."""
        failures = self.failures.get(stage.key)
        if not failures:
            return [(waits, stage.resources, shards) for waits, shards in fresh.items()]
        groups: dict[tuple[tuple[Wait, ...], int, int], tuple[tuple[Wait, ...], Resources, list[int]]] = {}
        for waits, shards in fresh.items():
            for shard in shards:
                asks = self._more(stage, failures[shard]) if shard in failures else stage.resources
                groups.setdefault((waits, asks.mem_gb, asks.timeout_min), (waits, asks, []))[2].append(shard)
        return groups.values()

    def _more(self, stage: StagePlan, failed: Failures) -> Resources:
        partition = self.now.site.partitions.get(stage.resources.partition)
        return escalate(stage.resources, num_oom=failed.num_oom, num_timeout=failed.num_timeout, partition=partition)

    def _excluded(self, asks: Resources) -> tuple[str, ...]:
        return self.now.excluded.get(self.now.site.pool(asks), ())

    def _close(self) -> None:
        """The last job looks once more at everything: it retries what no gate came after, and ends the journal."""
        due = ((self.cover.get(key, {}), shards) for key, shards in self.due.items())
        names = sorted({covered[shard] for covered, shards in due for shard in shards if shard in covered})
        present = next((name for name, live in self.now.live.items() if live.entry.key is None and live.waiting), None)
        if not names:
            return
        waits = (Wait(After.ANY, tuple(names)),)
        if present is None:
            generation = self.now.ledger.next_generation("close")
            name = f"selu-{self.now.ledger.run_id}-close-g{generation}c0"
            asks = self.now.plan.asks_of_close
            self.made.submit.append(
                JobSpec(
                    name=name,
                    label="close",
                    key=None,
                    shards=(0,),
                    resources=asks,
                    command=(),
                    waits=waits,
                    excluded=self._excluded(asks),
                )
            )
        elif not _tokens(waits) <= _tokens(self.now.live[present].entry.waits):
            self.made.rewire[present] = waits


def unplanned(plan: Plan, live: Mapping[str, Live]) -> dict[str, set[int]]:
    """What waits for a stage that the plan has no more, by job: with more rounds, or evaluations farther apart, one
    that was sent may fall out."""
    planned = {None, *(stage.key for stage in plan)}
    return {name: set(one.waiting) for name, one in live.items() if one.waiting and one.entry.key not in planned}


def _own(names: Sequence[str | None], shared: Sequence[Wait | bool | None], after: After) -> tuple[Wait, ...] | None:
    """What shards wait for whose own upstream shards are covered by these jobs, beside what their stage waits for."""
    if None in names:
        return None
    both = [Wait(after, (name,)) if name else one for name, one in zip(names, shared, strict=True)]
    return tuple(one for one in both if isinstance(one, Wait))


def _patient(need: Need) -> Need:
    """Where Slurm may not cancel what can't start, an element behind a failed one would pend for ever, and so its gate.

    There it starts when all of the other array have ended, and fails at once if its own is missing.
    """
    return Need(need.on, After.ANY) if need.after is After.CORR else need


def _by_stage(table: Mapping[tuple[Key, int], Value]) -> dict[Key, dict[int, Value]]:
    found: dict[Key, dict[int, Value]] = {}
    for (key, shard), value in table.items():
        found.setdefault(key, {})[shard] = value
    return found


def _tokens(waits: Iterable[Wait]) -> set[tuple[After, str]]:
    return {(wait.after, name) for wait in waits for name in wait.names}


def with_commands(specs: Iterable[JobSpec], commands: Mapping[Key | None, tuple[str, ...]]) -> list[JobSpec]:
    """Fill in what each job runs."""
    return [replace(spec, command=commands[spec.key]) for spec in specs]
