"""A run folder with frames and fine-tuning sets, as a round's gate leaves it, for tests and benchmarks.

The answer to every question is the colour of the frame's patch: there is something to learn, and it takes looking.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from selu_hpc.config import RunConfig
from selu_hpc.recipes import to_yaml
from selu_hpc.records import (
    Action,
    Ended,
    Episode,
    FrameHWC,
    FrameRef,
    Goal,
    Role,
    Sample,
    Task,
    View,
    derive_seed,
)
from selu_hpc.rounds.rundir import RunDir, Stage

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (210, 200, 40)}
WORDS = ("apple", "fridge", "door", "cup")
NUM_STEPS = 5


@dataclass(frozen=True)
class DrawnFrames:
    """Frames made on demand: noise and a patch whose colour follows from the reference. A Frames of train.data."""

    height: int = 96
    width: int = 96

    def read(self, ref: FrameRef) -> FrameHWC:
        draw = np.random.default_rng(derive_seed(ref.episode, ref.step, str(ref.view)))
        frame = draw.integers(90, 110, (self.height, self.width, 3), dtype=np.uint8)
        top, left = self.height // 4, self.width // 4
        frame[top:-top, left:-left] = COLOURS[colour(ref)]
        return frame


def colour(ref: FrameRef) -> str:
    return list(COLOURS)[derive_seed("colour", ref.episode, ref.step, str(ref.view)) % len(COLOURS)]


def make_run(folder: Path, *, config: RunConfig, num_samples: int, num_episodes: int = 4, round_id: int = 1) -> RunDir:
    """Config and both roles' sets of a round; frames are written by `write_episodes` where a test reads them."""
    run = RunDir(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.config_file.write_text(to_yaml(config))
    store = run.relative(run.shard(round_id, Stage.ROLLOUT, 0).episodes)
    for role, view in ((Role.ACTOR, View.FIRST_PERSON), (Role.CRITIC, View.THIRD_PERSON)):
        write_dataset(run.dataset(round_id, role), make_samples(store, view, num_samples, num_episodes))
    mark_sets(run, round_id)
    return run


def mark_sets(run: RunDir, round_id: int = 1) -> None:
    """What the gate does last; to be done again by who has written other sets in their place."""
    gate = run.shard(round_id, Stage.GATE)
    gate.write_marker(content="sets", names=sorted(file.name for file in gate.path.glob("*.jsonl")), summary={})


def write_episodes(run: RunDir, config: RunConfig, *, num_episodes: int = 4, round_id: int = 1) -> None:
    """The frames a `make_run` refers to, in the real store."""
    from selu_hpc.store.trajectories import EpisodeWriter

    place = run.shard(round_id, Stage.ROLLOUT, 0)
    drawn = DrawnFrames(config.env.height, config.env.width)
    store = run.relative(place.episodes)
    size = {"height": config.env.height, "width": config.env.width}
    writer = EpisodeWriter(place.episodes, num_steps=NUM_STEPS, codec="lossless", **size)
    for number in range(num_episodes):
        frames = [
            [drawn.read(FrameRef(store=store, episode=number, step=step, view=view)) for view in View]
            for step in range(NUM_STEPS + 1)
        ]
        goals = (Goal(verb="pick up", target="Apple"),)
        writer.append(
            Episode(
                episode_id=f"r{round_id:02d}-s0000-e{number:04d}",
                seed=number,
                task=Task(instruction="pick up the apple", scene="FloorPlan1", goals=goals),
                actions=tuple(Action(text="move ahead", parsed="move ahead", ok=True) for _ in range(NUM_STEPS)),
                ended=Ended.LIMIT,
                model="test",
                adapter="none",
                frames_tvhwc=np.asarray(frames),
            )
        )
    writer.finish()


def make_samples(store: str, view: View, num_samples: int, num_episodes: int) -> list[Sample]:
    draw = np.random.default_rng(view.axis)
    samples = []
    for _ in range(num_samples):
        episode, step, word, length = (int(draw.integers(n)) for n in (num_episodes, NUM_STEPS + 1, len(WORDS), 4))
        ref = FrameRef(store=store, episode=episode, step=step, view=view)
        prompt = f"what colour is the {WORDS[word]}?" + " please" * length
        samples.append(Sample(prompt=prompt, answer=colour(ref), images=(ref,), source="test", verb="look"))
    return samples


def write_dataset(file: Path, samples: Sequence[Sample]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(sample.to_json()) + "\n" for sample in samples))


def tiny_config(base: Path, **changes: Any) -> RunConfig:
    """A recipe for a tiny model with dotted changes: `tiny_config(base, **{"finetune.zero_stage": 2})`."""
    dump = RunConfig().plain()
    small = {
        "model.base": str(base),
        "model.lora_rank": 4,
        "env.width": 64,
        "env.height": 64,
        "finetune.actor.epochs": 2,
        "finetune.critic.epochs": 2,
        "finetune.global_batch": 8,
        "finetune.micro_batch": 4,
        "finetune.actor.learning_rate": 0.01,
        "finetune.critic.learning_rate": 0.01,
    }
    for path, value in {**small, **changes}.items():
        *sections, name = path.split(".")
        at = dump
        for section in sections:
            at = at[section]
        at[name] = value
    return RunConfig.of(dump)


@dataclass
class Trainer:
    """`Trainer(run, config)("actor")` trains in this process on drawn frames; keywords change the job."""

    run: RunDir
    config: RunConfig

    @property
    def frames(self):
        return DrawnFrames(self.config.env.height, self.config.env.width)

    def place(self, role="actor", round_id=1):
        return self.run.shard(round_id, Stage(f"finetune_{role}"))

    def job(self, role="actor", round_id=1, **changes):
        from selu_hpc.stages.finetune import make_job

        return replace(make_job(self.place(role, round_id), self.config, Role(role)), **changes)

    def __call__(
        self,
        role="actor",
        *,
        round_id=1,
        wish=None,
        frames=None,
        on_step=lambda done, total: None,
        mark=lambda result: None,
        **changes,
    ):
        from selu_hpc.train import ranks, sft
        from selu_hpc.train.stop import StopWish

        job = self.job(role, round_id, **changes)
        me = ranks.find_place(os.environ)
        with ranks.meet(me, meeting_file=job.folder / "meeting.json") as team:
            return sft.train(job, team, frames or self.frames, StopWish() if wish is None else wish, on_step, mark)
