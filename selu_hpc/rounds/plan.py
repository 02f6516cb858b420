"""From a config to stages: what must run, how often, with what resources, after what. Pure.

testset[i] ─aftercorr▶ evaluate[i]                                     round 0, the base model
rollout[i] ─aftercorr▶ label[i] ─afterany▶ gate ─afterok▶ finetune_actor, finetune_critic ─afterok▶ evaluate[i]
    ▲ afterok finetune_actor of the round before      ▲ afterok finetune_critic of the round before

RL4VLM, from round 0, the warm-up, on:
rollout[i] ─afterany▶ gate ─afterok▶ finetune_actor ─afterok▶ evaluate[i]
    ▲ afterok finetune_actor of the round before
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from selu_hpc.rounds.rundir import Stage

if TYPE_CHECKING:  # status reads plans and must not load pydantic
    from selu_hpc.config import Resources, RunConfig


class After(StrEnum):
    """How a stage waits for another, in Slurm's words.

    CORR: shard i waits for shard i to succeed.  ANY: for all to end, however.  OK: for all to succeed.
    """

    CORR = "aftercorr"
    ANY = "afterany"
    OK = "afterok"


@dataclass(frozen=True, slots=True)
class Key:
    """A stage of a round: `Key(1, Stage.ROLLOUT)`, written r01/rollout."""

    round_id: int
    stage: Stage

    def __str__(self) -> str:
        return f"r{self.round_id:02d}/{self.stage}"


@dataclass(frozen=True, slots=True)
class Need:
    """One dependency of a stage."""

    on: Key
    after: After

    def __str__(self) -> str:
        return f"{self.after}:{self.on}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage of one round: an array of `num_shards` equal tasks, each of `num_ranks` processes."""

    key: Key
    num_shards: int
    resources: Resources
    needs: tuple[Need, ...] = ()
    num_ranks: int = 1
    in_image: bool = True

    @property
    def worst_core_hours(self) -> float:
        return self.num_shards * self.num_ranks * self.resources.cpus * self.resources.timeout_min / 60

    @property
    def worst_gpu_hours(self) -> float:
        return self.num_shards * self.resources.gpus * self.resources.timeout_min / 60


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages of a run, each after everything it needs."""

    stages: tuple[StagePlan, ...]
    max_attempts: int = 1

    def __iter__(self) -> Iterator[StagePlan]:
        return iter(self.stages)

    def __getitem__(self, key: Key) -> StagePlan:
        return next(stage for stage in self.stages if stage.key == key)

    @property
    def num_tasks(self) -> int:
        return sum(stage.num_shards for stage in self.stages)

    @property
    def worst_core_hours(self) -> float:
        """Every task at its time limit, in every attempt it is allowed."""
        return self.max_attempts * sum(stage.worst_core_hours for stage in self.stages)

    @property
    def worst_gpu_hours(self) -> float:
        return self.max_attempts * sum(stage.worst_gpu_hours for stage in self.stages)


def make_plan(config: RunConfig) -> Plan:
    """The plan of a config: round 0 measures the base, rounds 1 … N learn."""
    from selu_hpc.config import Learning

    stages: list[StagePlan] = []
    if config.learning is Learning.RL4VLM:
        for round_id in range(config.rounds + 1):
            stages += _game_round(config, round_id)
        return Plan(tuple(stages), max_attempts=1 + config.retry.max_retries)
    stages += _base_round(config)
    if config.learning is not Learning.ZERO_SHOT:
        for round_id in range(1, config.rounds + 1):
            stages += _learning_round(config, round_id)
    return Plan(tuple(stages), max_attempts=1 + config.retry.max_retries)


def _base_round(config: RunConfig) -> Iterator[StagePlan]:
    testset = Key(0, Stage.TESTSET)
    shards = config.evaluate.num_shards
    yield StagePlan(key=testset, num_shards=shards, resources=config.resources.testset)
    yield StagePlan(
        key=Key(0, Stage.EVALUATE),
        num_shards=shards,
        resources=config.resources.evaluate,
        needs=(Need(testset, After.CORR),),
    )


def _learning_round(config: RunConfig, round_id: int) -> Iterator[StagePlan]:
    rollout, label, gate = (Key(round_id, s) for s in (Stage.ROLLOUT, Stage.LABEL, Stage.GATE))
    trained = _finetune_stages(config)
    before = {stage: Need(Key(round_id - 1, stage), After.OK) for stage in trained} if round_id > 1 else {}
    actor, critic = before.get(trained[0]), before.get(trained[-1])
    shards, ask = config.rollout.num_shards, config.resources
    yield StagePlan(key=rollout, num_shards=shards, resources=ask.rollout, needs=(actor,) if actor else ())
    yield StagePlan(
        key=label,
        num_shards=shards,
        resources=ask.label,
        needs=(Need(rollout, After.CORR), *((critic,) if critic and critic != actor else ())),
    )
    yield StagePlan(key=gate, num_shards=1, resources=ask.gate, needs=(Need(label, After.ANY),), in_image=False)
    for stage in trained:
        yield StagePlan(
            key=Key(round_id, stage),
            num_shards=1,
            resources=ask.finetune,
            needs=(Need(gate, After.OK),),
            num_ranks=config.finetune.num_ranks,
        )
    if round_id % config.evaluate.every and round_id < config.rounds:
        return
    yield StagePlan(
        key=Key(round_id, Stage.EVALUATE),
        num_shards=config.evaluate.num_shards,
        resources=ask.evaluate,
        needs=(*(Need(Key(round_id, s), After.OK) for s in trained), Need(Key(0, Stage.TESTSET), After.OK)),
    )


def _game_round(config: RunConfig, round_id: int) -> Iterator[StagePlan]:
    """RL4VLM: play, seal, learn, measure. In round 0 the expert plays, to warm the actor up."""
    rollout, gate, actor = (Key(round_id, s) for s in (Stage.ROLLOUT, Stage.GATE, Stage.FINETUNE_ACTOR))
    ask = config.resources
    before = (Need(Key(round_id - 1, Stage.FINETUNE_ACTOR), After.OK),) if round_id else ()
    yield StagePlan(key=rollout, num_shards=config.rollout.num_shards, resources=ask.rollout, needs=before)
    yield StagePlan(key=gate, num_shards=1, resources=ask.gate, needs=(Need(rollout, After.ANY),), in_image=False)
    yield StagePlan(
        key=actor,
        num_shards=1,
        resources=ask.finetune,
        needs=(Need(gate, After.OK),),
        num_ranks=config.finetune.num_ranks,
    )
    if not round_id % config.evaluate.every or round_id == config.rounds:
        yield StagePlan(
            key=Key(round_id, Stage.EVALUATE),
            num_shards=config.evaluate.num_shards,
            resources=ask.evaluate,
            needs=(Need(actor, After.OK),),
        )


def _finetune_stages(config: RunConfig) -> tuple[Stage, ...]:
    """SELU-One trains one adapter on both sets; its stage is the actor's."""
    if config.model.shared_adapter:
        return (Stage.FINETUNE_ACTOR,)
    return (Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC)
