"""One shard of a round's rollouts: the last round's actor plays tasks of the training scenes.

    python -m selu_hpc.stages.rollout --run RUN --round 1 --shard 3

Owns which episodes a shard has and their seeds. Does not own playing (playing.py) or storing (collect.py).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path

from selu_hpc.config import RunConfig
from selu_hpc.envs.splits import train_scenes, train_seed
from selu_hpc.envs.tasks import Look, sample_tasks
from selu_hpc.recipes import load_run
from selu_hpc.records import Role, derive_seed
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage
from selu_hpc.stages import entry
from selu_hpc.stages.collect import EPISODES, collect, lost_steps
from selu_hpc.stages.playing import Played, Players, Work
from selu_hpc.stages.scenes import RememberedScenes
from selu_hpc.store.truth import forbid_truth

logger = logging.getLogger(__name__)


def run(*, run: str, round_id: int, shard: int, attempt: int) -> None:
    """Play and store a shard's episodes unless it is there."""
    place = RunDir(Path(run)).shard(round_id, Stage.ROLLOUT, shard)
    if place.read_marker() is not None:
        return
    config = load_run(run)
    if config.plays_games:
        from selu_hpc.stages.games import rollout

        rollout.run(place, attempt, config)
        return
    forbid_truth(place.run.truth, but=place.truth)
    total = config.rollout.episodes_per_shard
    content = collect(place, attempt, config, total=total, play_from=lambda first: _play(place, config, first))
    summary = {"episodes": total, **lost_steps(place.episodes), "attempt": attempt}
    place.write_marker(content=content, names=[EPISODES], summary=summary)


def episodes_of(config: RunConfig, round_id: int, shard: int, *, look: Look | None = None) -> list[Work]:
    """The shard's episodes: the same for the same config, whatever was played before."""
    count = config.rollout.episodes_per_shard
    tasks = sample_tasks(
        config.env,
        scenes=train_scenes(config.env),
        count=count,
        seed=train_seed(config.seed, round_id, shard),
        first=(round_id * config.rollout.num_shards + shard) * count,
        look=look,
    )
    seeds = [train_seed(config.seed, round_id, shard, index) for index in range(len(tasks))]
    return [
        Work(
            episode_id=f"r{round_id:02d}-s{shard:04d}-e{index:04d}",
            task=task,
            seed=seed,
            explore=round_id == 1 and explores(seed, config.rollout.explore_share),
        )
        for index, (task, seed) in enumerate(zip(tasks, seeds, strict=True))
    ]


def explores(seed: int, share: float) -> bool:
    """Whether an episode is among the share that explores; its seed alone decides."""
    return random.Random(derive_seed("explore", seed)).random() < share


def _play(place: ShardDir, config: RunConfig, first: int) -> Iterator[Played]:
    from selu_hpc.envs.pool import EnvironmentPool
    from selu_hpc.selu.actor import Actor
    from selu_hpc.stages.models import speak

    with RememberedScenes(place.run) as look:
        work = episodes_of(config, place.round_id, place.shard, look=look)[first:]
    if config.rollout.num_slots < config.model.batch_size:
        logger.warning(
            "rollout.num_slots %s never fills model.batch_size %s: the other rows are computed for nothing; set "
            "num_slots to twice the batch, or lower the batch",
            config.rollout.num_slots, config.model.batch_size,
        )  # fmt: skip
    speaking = speak(place.run, config, after_round=place.round_id - 1, roles=(Role.ACTOR,))
    actor = Actor.of(config, speaking.generator, adapter=speaking.adapters[Role.ACTOR])
    with EnvironmentPool(config.env, num_slots=min(config.rollout.num_slots, len(work))) as pool:
        players = Players(pool, actor, config.env, model=config.model.base, adapter=speaking.names[Role.ACTOR])
        yield from players.play(work)
        logger.info("%s steps, the model waited %.1f s", players.num_steps, players.waited_s)


if __name__ == "__main__":
    entry.main([Stage.ROLLOUT])
