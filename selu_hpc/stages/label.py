"""One shard of a round's labels: the last round's critic judges a finished shard of rollouts.

    python -m selu_hpc.stages.label --run RUN --round 1 --shard 3

What the simulator knows of success is closed to this process, except for the oracle control, which says so.
"""

from __future__ import annotations

import logging
from pathlib import Path

from selu_hpc.config import CriticMode, Hindsight, Learning, RunConfig
from selu_hpc.recipes import load_run
from selu_hpc.records import Label, Role, Task, Truth, View
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage
from selu_hpc.selu.baselines import judge_of
from selu_hpc.selu.critic import Judge
from selu_hpc.selu.interview import Case, critic_steps
from selu_hpc.stages import entry
from selu_hpc.stages.collect import TRUTH, adopt_newest, publish
from selu_hpc.stages.models import speak
from selu_hpc.store.lines import LineReader, LineWriter
from selu_hpc.store.trajectories import EpisodeReader
from selu_hpc.store.truth import TruthReader, forbid_truth

logger = logging.getLogger(__name__)

LABELS = "labels.zarr"
EPISODES_AT_ONCE = 32
"""Episodes whose questions are asked together, and whose labels become durable together."""
WITHOUT_A_MODEL = (CriticMode.RANDOM, CriticMode.ORACLE, CriticMode.NONE)


def run(*, run: str, round_id: int, shard: int, attempt: int) -> None:
    """Label a shard's episodes unless it is done."""
    folder = RunDir(Path(run))
    place = folder.shard(round_id, Stage.LABEL, shard)
    if place.read_marker() is not None:
        return
    config = load_run(run)
    rollout = folder.shard(round_id, Stage.ROLLOUT, shard)
    rollout.check()
    if config.critic.mode is CriticMode.ORACLE:
        logger.warning("critic.mode is oracle: this control reads the evaluation truth")
    else:
        forbid_truth(folder.truth)
    store = place.attempt(attempt) / LABELS
    adopt_newest(store, place.path, attempt)
    episodes = EpisodeReader(rollout.episodes)
    with LineWriter(store) as labels:
        if labels.num_committed < len(episodes):
            _label(_judge(rollout, config), episodes, config, labels, entry.Progress.of(place, attempt, len(episodes)))
        content = labels.finish()
    publish(store, place.path / LABELS)
    place.write_marker(content=content, names=[LABELS], summary={"episodes": len(episodes), "attempt": attempt})


def _judge(rollout: ShardDir, config: RunConfig) -> Judge:
    if config.critic.mode in WITHOUT_A_MODEL:
        return judge_of(config, None, adapter=None, truths=_truths(rollout, config))
    speaking = speak(rollout.run, config, after_round=rollout.round_id - 1, roles=(Role.CRITIC,))
    return judge_of(config, speaking.generator, adapter=speaking.adapters[Role.CRITIC])


def _truths(rollout: ShardDir, config: RunConfig) -> dict[str, Truth] | None:
    if config.critic.mode is not CriticMode.ORACLE:
        return None
    return {truth.episode_id: truth for truth in TruthReader(rollout.truth / TRUTH, purpose="oracle").truths}


def _label(
    judge: Judge, episodes: EpisodeReader, config: RunConfig, labels: LineWriter, progress: entry.Progress
) -> None:
    at_once = EPISODES_AT_ONCE
    if config.learning is Learning.SCORING:
        # It ranks episodes against one another, so it takes the shard whole; of a flush that a kill tore whole lines
        # are kept, and the others would be ranked among themselves.
        at_once = len(episodes)
        labels.rewind(0)
    for first in range(labels.num_committed, len(episodes), at_once):
        for label in judge.judge(cases(episodes, range(first, min(first + at_once, len(episodes))), config)):
            labels.append(label.to_json())
        labels.flush()
        progress.update(labels.num_committed)


def cases(episodes: EpisodeReader, indices: range, config: RunConfig) -> list[Case]:
    """What the critic may see of these episodes: the task and third-person frames; only those are read."""
    found = []
    for index in indices:
        meta = episodes.meta(index)
        steps = critic_steps(episodes.num_frames(index), config.critic.frames)
        looks_back = config.critic.hindsight is not Hindsight.OFF and config.critic.consistency_check
        found.append(
            Case(
                episode_id=meta["episode_id"],
                task=Task.from_json(meta["task"]),
                images=tuple(episodes.frame(index, step, View.THIRD_PERSON) for step in steps),
                before=episodes.frame(index, 0, View.THIRD_PERSON) if looks_back else None,
                said=tuple(action["parsed"] for action in meta["actions"]),
                seed=meta["seed"],
            )
        )
    return found


def read_labels(store: Path) -> list[Label]:
    return [Label.from_json(record) for record in LineReader(store).records]


if __name__ == "__main__":
    entry.main([Stage.LABEL])
