"""Which shards may start now, given what is finished and what has given up. Pure bookkeeping over a plan.

Used by the local engine; Slurm has its own dependencies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from selu_hpc.rounds.plan import After, Key, Need, Plan
from selu_hpc.rounds.rundir import Stage


class State(StrEnum):
    """What became of one shard, as far as this process knows."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    GAVE_UP = "gave up"
    IMPOSSIBLE = "impossible"


ENDED = (State.DONE, State.GAVE_UP, State.IMPOSSIBLE)


@dataclass(slots=True)
class Frontier:
    """States of all shards of a plan; `ready()` yields what may start, the critical path first."""

    plan: Plan
    states: dict[tuple[Key, int], State] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, due: dict[Key, list[int]]) -> Frontier:
        waiting = {key: set(shards) for key, shards in due.items()}
        states = {
            (stage.key, shard): State.WAITING if shard in waiting.get(stage.key, ()) else State.DONE
            for stage in plan
            for shard in range(stage.num_shards)
        }
        return cls(plan, states)

    def set(self, key: Key, shard: int, state: State) -> None:
        self.states[key, shard] = state
        if state is State.GAVE_UP:
            self._mark_impossible()

    def ready(self) -> Iterator[tuple[Key, int]]:
        """Evaluation comes last: nothing learns from it, so it fills cores that would idle."""
        for stage in sorted(self.plan, key=lambda stage: stage.key.stage is Stage.EVALUATE):
            for shard in range(stage.num_shards):
                if self.states[stage.key, shard] is State.WAITING and all(
                    self._met(need, shard) for need in stage.needs
                ):
                    yield stage.key, shard

    def count(self, key: Key, *states: State) -> int:
        return sum(self.states[key, shard] in states for shard in range(self.plan[key].num_shards))

    @property
    def finished(self) -> bool:
        return all(state in ENDED for state in self.states.values())

    def _needed(self, need: Need, shard: int) -> list[State]:
        if need.after is After.CORR:
            return [self.states[need.on, shard]]
        return [self.states[need.on, other] for other in range(self.plan[need.on].num_shards)]

    def _met(self, need: Need, shard: int) -> bool:
        wanted = ENDED if need.after is After.ANY else (State.DONE,)
        return all(state in wanted for state in self._needed(need, shard))

    def _mark_impossible(self) -> None:
        """What can never start because something it needs gave up; a gate (afterany) still runs."""
        lost = (State.GAVE_UP, State.IMPOSSIBLE)
        for stage in self.plan:
            for shard in range(stage.num_shards):
                hopeless = any(
                    state in lost
                    for need in stage.needs
                    if need.after is not After.ANY
                    for state in self._needed(need, shard)
                )
                if self.states[stage.key, shard] is State.WAITING and hopeless:
                    self.states[stage.key, shard] = State.IMPOSSIBLE
