"""One update by PPO without a run: turns, an adapter to begin with, and drawn frames."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from selu_hpc.config import FinetuneConfig, GameConfig, ModelConfig
from selu_hpc.models.backbone import find
from selu_hpc.models.vlm import load_backbone
from selu_hpc.records import FrameRef, View
from selu_hpc.rl4vlm.turns import Turn, lines
from selu_hpc.rl4vlm.update import Job, update
from selu_hpc.train import adapter, ranks
from selu_hpc.train.stop import StopWish

SMALL = {
    "model": {"lora_rank": 4, "max_new_tokens": 6},
    "finetune": {"global_batch": 8, "micro_batch": 4, "max_grad_norm": 1.0},
    "game": {"batch": 8, "epochs": 2, "temperature": 1.0, "learning_rate": 3e-3, "last_learning_rate": 1e-3},
}


class Shown:
    """Frames by number."""

    def read(self, ref):
        return np.random.default_rng(ref.episode).integers(0, 255, (60, 60, 3), dtype=np.uint8)


def ref(number):
    return FrameRef(store="s", episode=number, step=0, view=View.FIRST_PERSON)


def turn(number, ids, *, thoughts=0, prompt="what colour is the apple?", reward=1.0, **more):
    return Turn(
        episode_id=f"e{number}",
        step=0,
        prompt=prompt,
        answer_ids=tuple(ids),
        num_thought_tokens=thoughts,
        action="+",
        said=True,
        reward=reward,
        last=True,
        image=ref(number),
        **more,
    )


def drawn_turns(count=24, *, different=20):
    """Answers of two lengths, paid by chance; the later ones are the first ones again."""
    draw = np.random.default_rng(0)
    said = [draw.integers(5, 30, 3 + 3 * (n % 2)).tolist() for n in range(different)]
    rewards = draw.choice([-1.0, 1.0], count)
    alike = [turn(n % different, said[n % different], thoughts=2, reward=float(rewards[n])) for n in range(count)]
    return [replace(one, episode_id=f"e{n}") for n, one in enumerate(alike)]


@dataclass
class Updater:
    """`Updater.make(folder, base, {"game": {"epochs": 1}})()` learns in this process, or as one of its ranks."""

    job: Job

    @classmethod
    def make(cls, folder, base, changes=None, *, turns=None):
        """What an update needs, in the folder; what is there already is used."""
        parts = {name: {**small, **(changes or {}).get(name, {})} for name, small in SMALL.items()}
        model = ModelConfig(base=str(base), **parts["model"])
        folder = Path(folder)
        if not (folder / "start").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            begin_with(folder / "start", model)
            (folder / "actor.jsonl").write_text(lines(turns or drawn_turns()))
        game = GameConfig(**parts["game"])
        job = Job(
            name="r01/actor",
            round_id=1,
            turns=folder / "actor.jsonl",
            folder=folder / "made",
            start=folder / "start",
            state=None,
            model=model,
            finetune=FinetuneConfig(**{**parts["finetune"], "global_batch": game.batch}),
            game=game,
            seed=7,
        )
        job.folder.mkdir(exist_ok=True)
        return cls(job)

    def __call__(self, *, wish=None, on_step=lambda done, total: None):
        me = ranks.find_place(os.environ)
        with ranks.meet(me, meeting_file=self.job.folder / "meeting.json") as team:
            return update(self.job, team, Shown(), StopWish() if wish is None else wish, on_step)


def begin_with(folder, config):
    """An adapter that changes something."""
    model, _ = load_backbone(config)
    model = adapter.put_on(model, config, seed=1)
    torch.manual_seed(2)
    for name, param in adapter.trainable(model).items():
        if "lora_B" in name:
            param.data.normal_(std=0.05)
    adapter.write(folder, model, adapter.trainable(model), base=config.base, base_folder=find(config.base))
