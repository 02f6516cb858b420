"""How the built-in model is taught: dense labels for its tower, then, with the tower frozen, questions and answers.

    python -m selu_hpc.models.pocket.teaching.train --data FOLDER --out FOLDER --minutes 240

Owns the loop, its schedule, its checkpoints and the held-out accuracies. Deliberately one process on a CPU core or a
GPU; killed, it goes on at its last checkpoint. Every picture carries dense labels: which object each patch shows and
in which state. They take the tower over the plateaus that small towers have when only answers teach them, and a
frozen tower's features are computed once for all questions.

Shape legend: B pictures, K questions a picture, Q tokens a question, N patches, C classes, S states.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlavaForConditionalGeneration

from selu_hpc.errors import SeluError, TrainingError
from selu_hpc.logs import set_up_logging
from selu_hpc.models.pocket.lessons.shards import Array, open_all
from selu_hpc.models.pocket.teaching.align import ALIGNING_STEPS, WORD_SCALE, shard_targets, visual_words
from selu_hpc.models.pocket.teaching.feeder import LENGTHS, SHARES, WEIGHTS, Feeder
from selu_hpc.models.pocket.teaching.measure import accuracies, dense_accuracies
from selu_hpc.models.pocket.teaching.optim import Muon
from selu_hpc.models.pocket.teaching.taught import Taught, autocast
from selu_hpc.terminal import enter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything but the data that decides the weights.

    steps: optimiser steps; 0 means as many as fit into `minutes`, and the number is recorded.
    tower_share: part of the run in which the tower learns the dense labels; 0 with `Teacher.take_over`.
    pointing, knowing: weights of the losses that say which patches a name is about, and in which states they show it
        (pointing.py).
    """

    seed: int = 0
    steps: int = 0
    minutes: float = 240.0
    tower_share: float = 0.3
    tower_batch: int = 64
    batch: int = 10
    matrix_rate: float = 0.02
    other_rate: float = 2e-3
    weight_decay: float = 0.02
    decay_from: float = 0.4
    average: float = 0.99
    pointing: float = 0.2
    knowing: float = 0.3


class Teacher:
    """One pre-training run."""

    def __init__(self, recipe: Recipe, data: Path, out: Path) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        train = open_all(data / "train")
        if not train:
            raise TrainingError(
                f"{data / 'train'}: no lessons in it; `python -m selu_hpc.models.pocket --out FOLDER` without --pack "
                "draws them all, `python -m selu_hpc.models.pocket.lessons.data` some"
            )
        self.taught = Taught(
            seed=recipe.seed, num_classes=len(train[0].classes), num_states=len(train[0].states)
        ).train()
        self._reset_optimisers()
        self.feeder = Feeder(train, seed=recipe.seed, weights=WEIGHTS)
        self.features: list[Array] = []
        self.speaks = False
        self.step = 0
        self.elapsed_s = 0.0
        self.mean = {name: p.detach().clone() for name, p in self.taught.state_dict().items()}
        torch.manual_seed(recipe.seed)

    def take_over(self, packed: Path) -> None:
        """Begin the second phase with a packed model: its tower stays, its language model goes on learning."""
        model = LlavaForConditionalGeneration.from_pretrained(packed, dtype=torch.float32)
        self.taught.model.load_state_dict(model.state_dict())
        self._only_language()
        self._reset_optimisers()
        self.mean = {name: value.detach().clone() for name, value in self.taught.state_dict().items()}
        self.speaks = True

    @property
    def progress(self) -> float:
        if self.recipe.steps:
            return min(1.0, self.step / self.recipe.steps)
        return min(1.0, self.elapsed_s / 60 / self.recipe.minutes)

    def run(self, *, checkpoint_s: float = 180.0, report_steps: int = 50) -> None:
        last_save = last = time.monotonic()
        seen: dict[str, list[float]] = {}
        while self.progress < 1.0:
            for name, value in self._one_step().items():
                seen.setdefault(name, []).append(value)
            self.step += 1
            now = time.monotonic()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            if self.step % report_steps == 0:
                shown = " ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in sorted(seen.items()))
                logger.info("step %s progress %.3f %s", self.step, self.progress, shown)
                seen = {}
            if now - last_save > checkpoint_s:
                self.save()
                self.check()
                self.feeder.refresh(open_all(self.data / "train"))
                if self.features:
                    self._look()
                last_save = time.monotonic()
                self.elapsed_s, last = self.elapsed_s + last_save - now, last_save
        self.save()
        self.check(pictures=1500)

    def check(self, *, pictures: int = 256) -> dict[str, float]:
        """Accuracy of the averaged weights on the known world's held-out scenes."""
        self.now = {name: value.clone() for name, value in self.taught.state_dict().items()}
        self.taught.load_state_dict(self.mean)
        found = accuracies(self.taught, open_all(self.data / "held_out"), pictures=pictures)
        self.taught.load_state_dict(self.now)
        shown = {kind: right / asked for kind, (right, asked) in found.items()}
        if not self.tower_done:
            shown = dense_accuracies(self.taught, open_all(self.data / "held_out"), pictures=pictures)
        logger.info("held out: %s", " ".join(f"{kind} {value:.2f}" for kind, value in shown.items()))
        return shown

    @property
    def tower_done(self) -> bool:
        return self.progress >= self.recipe.tower_share

    def _one_step(self) -> dict[str, float]:
        recipe, losses = self.recipe, {}
        if not self.tower_done:
            batch = self.feeder.batch(self.feeder.pictures(recipe.tower_batch), augment=True)
            with autocast():
                features = self.taught.see(batch.pixels)
            loss = self.taught.dense_loss(features.float(), batch)
            losses["dense"] = loss.item()
        else:
            if not self.features:
                self._freeze()
            length = int(self.feeder.rng.choice(len(LENGTHS), p=SHARES))
            length = length if len(self.feeder.able(length)) else 0
            pool = self.feeder.able(length)
            which, blocks = self.feeder.questions(pool[self.feeder.rng.choice(len(pool), recipe.batch)], length)
            batch = self.feeder.batch(which, blocks=blocks, augment=False)
            seen = torch.from_numpy(np.stack([self.features[s][i] for s, i in which])).float()
            with autocast():
                scores, wanted, knowing = self.taught.answer(seen, batch)
            loss = cross_entropy(scores, wanted)
            losses[f"answers{LENGTHS[length]}"] = loss.item()
            pointing = batch.pointing.loss()
            losses |= {"pointing": pointing.item(), "knowing": knowing.item()}
            loss = loss + recipe.pointing * pointing + recipe.knowing * knowing
        loss.backward()  # type: ignore[no-untyped-call]
        self._update()
        return losses

    @torch.no_grad()
    def _freeze(self) -> None:
        """From here on the tower is its averaged self, and its features are computed once."""
        state = self.taught.state_dict()
        for name, value in state.items():
            if "vision_tower" in name or name.startswith(("classes", "states")):
                value.copy_(self.mean[name])
        self._only_language()
        self._look()
        if not self.speaks:
            with torch.enable_grad():
                self._begin_language()

    def _begin_language(self) -> None:
        """The projector first learns to say what a patch shows in the words' own embeddings ("fridge", "open").

        As LLaVA's own first stage aligns its projector. Started at random, the language model stays deaf to pictures
        for long: the tower's features have a large common part and uneven scales, and no word is like any of them.
        """
        model = self.taught.model
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(WORD_SCALE)
            words = visual_words(model.get_input_embeddings().weight, self.feeder.shards[0])
        projector = model.model.multi_modal_projector
        seen = torch.from_numpy(np.concatenate([feature[::8] for feature in self.features])).float().flatten(0, 1)
        shown = [shard_targets(shard, words, slice(None, None, 8)) for shard in self.feeder.shards]
        wanted = torch.cat(shown)
        mean, spread = seen.mean(0), seen.std(0)
        with torch.no_grad():
            projector.linear_1.weight.copy_(nn.init.orthogonal_(projector.linear_1.weight) / spread)
            projector.linear_1.bias.copy_(-(projector.linear_1.weight @ mean))
            nn.init.orthogonal_(projector.linear_2.weight, gain=0.1)
            projector.linear_2.bias.zero_()
        scale = wanted.square().mean()
        adam = torch.optim.Adam(projector.parameters(), lr=2e-3)
        for step in range(ALIGNING_STEPS):
            for group in adam.param_groups:
                group["lr"] = 2e-3 * (1 - step / ALIGNING_STEPS)
            chosen = torch.from_numpy(self.feeder.rng.integers(0, len(seen), 4096))
            loss = (projector(seen[chosen]) - wanted[chosen]).square().mean() / scale
            adam.zero_grad()
            loss.backward()
            adam.step()
        logger.info("the projector says %.0f %% of what patches show", 100 * (1 - loss.item()))
        self._reset_optimisers()
        self.mean = {name: value.clone() for name, value in self.taught.state_dict().items()}
        self.speaks = True

    def _reset_optimisers(self) -> None:
        """For what is trained from here on, and for nothing else."""
        named = [(name, p) for name, p in self.taught.named_parameters() if p.requires_grad]
        self.muon = Muon(p for name, p in named if _is_matrix(name, p))
        others = [p for name, p in named if not _is_matrix(name, p)]
        self.adam = torch.optim.AdamW(others, lr=self.recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0)
        moving = {parameter.data_ptr() for _, parameter in named}
        # By place and not by name: the words' embeddings have two names in the state, and both must follow.
        self._averaged = [name for name, value in self.taught.state_dict().items() if value.data_ptr() in moving]

    def _only_language(self) -> None:
        for name, parameter in self.taught.named_parameters():
            parameter.requires_grad_(name.startswith("things") or "language_model" in name or "projector" in name)

    @torch.no_grad()
    def _look(self) -> None:
        for number in range(len(self.features), len(self.feeder.shards)):
            pictures = np.array([(number, i) for i in range(len(self.feeder.shards[number]))])
            found = []
            for start in range(0, len(pictures), 64):
                batch = self.feeder.batch(pictures[start : start + 64], augment=False)
                with autocast():
                    found.append(self.taught.see(batch.pixels).half().numpy())
            self.features.append(np.concatenate(found))
        logger.info("features of %s pictures", sum(map(len, self.features)))

    def _update(self) -> None:
        recipe = self.recipe
        share = recipe.tower_share
        p = (self.progress - share) / (1 - share) if self.tower_done else self.progress / share
        fall = 1.0 if p < recipe.decay_from else max(0.02, (1 - p) / (1 - recipe.decay_from))
        rate = fall * min(1.0, (self.step + 1) / 50)
        nn.utils.clip_grad_norm_(self.taught.parameters(), 1.0)
        self.muon.step(recipe.matrix_rate * rate, decay=recipe.weight_decay)
        for group in self.adam.param_groups:
            group["lr"] = recipe.other_rate * rate
        self.adam.step()
        self.taught.zero_grad(set_to_none=True)
        keep = min(recipe.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            state = self.taught.state_dict()
            for name in self._averaged:
                self.mean[name].lerp_(state[name], 1 - keep)

    def save(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        state = {
            "taught": self.taught.state_dict(),
            "mean": self.mean,
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "speaks": self.speaks,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "rng": self.feeder.rng.bit_generator.state,
            "order": self.feeder._order,
            "torch_rng": torch.get_rng_state(),
        }
        partial = self.out / "checkpoint.partial"
        torch.save(state, partial)
        partial.rename(self.out / "checkpoint.pt")
        logger.info("checkpoint at step %s after %.1f min", self.step, self.elapsed_s / 60)

    def resume(self) -> bool:
        file = self.out / "checkpoint.pt"
        if not file.is_file():
            return False
        state = torch.load(file, weights_only=False)
        self.taught.load_state_dict(state["taught"])
        self.mean = state["mean"]
        if state["speaks"]:
            self._only_language()
            self._reset_optimisers()
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.elapsed_s, self.speaks = state["step"], state["elapsed_s"], state["speaks"]
        self.feeder.rng.bit_generator.state = state["rng"]
        self.feeder._order = state["order"]
        torch.set_rng_state(state["torch_rng"])
        return True


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and not any(part in name for part in ("embed", "lm_head", "classes", "states", "things"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="what lessons/data.py has drawn")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and the finished model")
    parser.add_argument("--minutes", type=float, default=Recipe().minutes)
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="instead of minutes: this many steps")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    options = parser.parse_args()
    set_up_logging()
    torch.set_num_threads(options.threads)
    recipe = Recipe(seed=options.seed, minutes=options.minutes, steps=options.steps)
    try:
        teacher = Teacher(recipe, options.data, options.out)
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if teacher.resume():
        logger.info("going on at step %s", teacher.step)
    teacher.run()
    return 0


if __name__ == "__main__":
    enter(main)
