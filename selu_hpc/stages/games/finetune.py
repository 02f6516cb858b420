"""What the actor learns in a round of games: the expert's answers in round 0, then one update by PPO."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from selu_hpc.config import RunConfig
from selu_hpc.errors import CorruptShardError
from selu_hpc.records import Role, derive_seed
from selu_hpc.rl4vlm import update
from selu_hpc.rl4vlm.state import STATE
from selu_hpc.rounds.rundir import ShardDir, Stage
from selu_hpc.store.frames import FrameSource
from selu_hpc.train import checkpoint, sft
from selu_hpc.train.ranks import Team
from selu_hpc.train.result import Result
from selu_hpc.train.stop import StopWish


def learn(
    place: ShardDir,
    attempt: int,
    config: RunConfig,
    team: Team,
    wish: StopWish,
    on_step: Callable[[int, int], None],
    mark: Callable[[Result], None],
) -> Result:
    frames = FrameSource(place.run.path)
    own = place.attempt(attempt)
    if place.round_id == 0:
        return sft.train(replace(warmup_job(place, config), attempt=own), team, frames, wish, on_step, mark)
    result = update.update(replace(update_job(place, config), attempt=own), team, frames, wish, on_step, mark)
    if team.leads:
        drop_states(place)
    return result


def drop_states(place: ShardDir) -> None:
    """Remove the states that no round will go on from: those before the round that this one went on from.

    A marker of old still names its state among what must be there: that one stays.
    """
    for round_id in range(1, place.round_id - 1):
        before = place.run.shard(round_id, place.stage, place.shard)
        with suppress(CorruptShardError, OSError):
            marker = before.read_marker()
            if marker is not None and not any(name.startswith(f"{STATE}/") for name in marker.files):
                checkpoint.remove_all(before.path / STATE)


def warmup_job(place: ShardDir, config: RunConfig) -> sft.Job:
    return sft.Job(
        name="r00/actor",
        datasets=(place.run.dataset(0, Role.ACTOR),),
        folder=place.path,
        start=None,
        model=config.model,
        finetune=config.finetune,
        training=config.finetune.actor,
        seed=derive_seed(config.seed, 0, "finetune", "actor"),
        temperature=config.game.temperature,
    )


def update_job(place: ShardDir, config: RunConfig) -> update.Job:
    before = place.run.shard(place.round_id - 1, Stage.FINETUNE_ACTOR)
    before.check("adapter")  # the state beside it has marks of its own
    return update.Job(
        name=f"r{place.round_id:02d}/actor",
        round_id=place.round_id,
        turns=place.run.dataset(place.round_id, Role.ACTOR),
        folder=place.path,
        start=before.path / "adapter",
        state=before.path / STATE if place.round_id > 1 else None,
        content=before.require_marker().content,
        model=config.model,
        finetune=config.finetune.but(global_batch=config.game.batch),
        game=config.game,
        seed=derive_seed(config.seed, place.round_id, "update"),
    )
