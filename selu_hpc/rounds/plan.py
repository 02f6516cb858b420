"""From a config to stages: what must run, how often, with what resources, after what. Pure.

testset[i] ─aftercorr▶ evaluate[i]                                     round 0, the base model
rollout[i] ─aftercorr▶ label[i] ─afterany▶ gate ─afterok▶ finetune_actor, finetune_critic ─afterok▶ evaluate[i]
    ▲ afterok finetune_actor of the round before      ▲ afterok finetune_critic of the round before

RL4VLM, from round 0, the warm-up, on:
rollout[i] ─afterany▶ gate ─afterok▶ finetune_actor ─afterok▶ evaluate[i]
    ▲ afterok finetune_actor of the round before
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from selu_hpc.rounds.rundir import Stage

if TYPE_CHECKING:  # status reads plans and must not load msgspec
    from selu_hpc.config import RunConfig
    from selu_hpc.resources import Resources


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
    asks_of_close: Resources
    """What the run's last job asks for: as much as a gate, which needs no image either."""
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
        """Every task at its time limit in every attempt it is allowed, each with twice the time of the one before.

        A partition's limit may forbid the doubling. What is requeued after preemption, or goes on after a time limit
        with its work saved, is no attempt and comes on top.
        """
        return self._attempts * sum(stage.worst_core_hours for stage in self.stages)

    @property
    def worst_gpu_hours(self) -> float:
        return self._attempts * sum(stage.worst_gpu_hours for stage in self.stages)

    @property
    def _attempts(self) -> int:
        """What all attempts take, counted in first ones."""
        return (1 << self.max_attempts) - 1


SEALED = (Stage.ROLLOUT, Stage.LABEL)
"""The stages that a gate decides over, where the plan has them."""
TRAINED = (Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC)


def needs_of(key: Key, keys: Collection[Key]) -> tuple[Need, ...]:
    """What a stage waits for; the keys of all stages say it, so that who has read no config can ask too.

    Where one adapter serves both roles (SELU-One) there is no stage that trains the critic; games (RL4VLM) have neither
    labels nor a test set that must be made.
    """
    this, before = (
        [Key(round_id, stage) for stage in TRAINED if Key(round_id, stage) in keys]
        for round_id in (key.round_id, key.round_id - 1)
    )
    match key.stage:
        case Stage.ROLLOUT:
            return tuple(Need(actor, After.OK) for actor in before[:1])
        case Stage.LABEL:
            played = Need(Key(key.round_id, Stage.ROLLOUT), After.CORR)
            return (played, *(Need(critic, After.OK) for critic in before[1:]))
        case Stage.GATE:
            label, rollout = Key(key.round_id, Stage.LABEL), Key(key.round_id, Stage.ROLLOUT)
            return (Need(label if label in keys else rollout, After.ANY),)
        case Stage.FINETUNE_ACTOR | Stage.FINETUNE_CRITIC:
            return (Need(Key(key.round_id, Stage.GATE), After.OK),)
        case Stage.EVALUATE:
            testset = Key(0, Stage.TESTSET)
            made = (Need(testset, After.OK if key.round_id else After.CORR),) if testset in keys else ()
            return (*(Need(one, After.OK) for one in this), *made)
    return ()


def make_plan(config: RunConfig) -> Plan:
    """The plan of a config: round 0 measures the base, rounds 1 … N learn."""
    from selu_hpc.config import Learning

    stages: list[StagePlan] = []
    if config.plays_games:
        for round_id in range(config.rounds + 1):
            stages += _game_round(config, round_id)
    else:
        stages += _base_round(config)
        learning = config.rounds if config.learning is not Learning.ZERO_SHOT else 0
        for round_id in range(1, learning + 1):
            stages += _learning_round(config, round_id)
    keys = {stage.key for stage in stages}
    stages = [replace(stage, needs=needs_of(stage.key, keys)) for stage in stages]
    return Plan(tuple(stages), config.resources.gate, max_attempts=1 + config.retry.max_retries)


def _base_round(config: RunConfig) -> Iterator[StagePlan]:
    shards, ask = config.evaluate.num_shards, config.resources
    yield StagePlan(key=Key(0, Stage.TESTSET), num_shards=shards, resources=ask.testset)
    yield StagePlan(key=Key(0, Stage.EVALUATE), num_shards=shards, resources=ask.evaluate)


def _learning_round(config: RunConfig, round_id: int) -> Iterator[StagePlan]:
    rollout, label, gate = (Key(round_id, s) for s in (Stage.ROLLOUT, Stage.LABEL, Stage.GATE))
    shards, ask = config.rollout.num_shards, config.resources
    yield StagePlan(key=rollout, num_shards=shards, resources=ask.rollout)
    yield StagePlan(key=label, num_shards=shards, resources=ask.label)
    yield StagePlan(key=gate, num_shards=1, resources=ask.gate, in_image=False)
    for stage in TRAINED[:1] if config.model.shared_adapter else TRAINED:
        yield StagePlan(
            key=Key(round_id, stage), num_shards=1, resources=ask.finetune, num_ranks=config.finetune.num_ranks
        )
    if round_id % config.evaluate.every and round_id < config.rounds:
        return
    yield StagePlan(key=Key(round_id, Stage.EVALUATE), num_shards=config.evaluate.num_shards, resources=ask.evaluate)


def _game_round(config: RunConfig, round_id: int) -> Iterator[StagePlan]:
    """RL4VLM: play, seal, learn, measure. In round 0 the expert plays, to warm the actor up."""
    ask, ranks = config.resources, config.finetune.num_ranks
    yield StagePlan(key=Key(round_id, Stage.ROLLOUT), num_shards=config.rollout.num_shards, resources=ask.rollout)
    yield StagePlan(key=Key(round_id, Stage.GATE), num_shards=1, resources=ask.gate, in_image=False)
    yield StagePlan(key=Key(round_id, Stage.FINETUNE_ACTOR), num_shards=1, resources=ask.finetune, num_ranks=ranks)
    if not round_id % config.evaluate.every or round_id == config.rounds:
        yield StagePlan(
            key=Key(round_id, Stage.EVALUATE), num_shards=config.evaluate.num_shards, resources=ask.evaluate
        )
