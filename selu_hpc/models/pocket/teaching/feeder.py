"""Draws batches of pictures, dense labels and packed questions from the built-in model's pre-training shards.

Owns what is drawn how often, and how pictures are varied. Does not own the files (lessons/shards.py) or the packing of
questions into rows (packing.py).

Shape legend: B pictures, K questions a picture, N patches, C classes, S states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from selu_hpc.envs.goals import THOR_VERBS, VIRTUALHOME_VERBS
from selu_hpc.models.pocket.lessons.shards import Array, Shard
from selu_hpc.models.pocket.model import build_tokenizer
from selu_hpc.models.pocket.teaching.concluding import concluded
from selu_hpc.models.pocket.teaching.naming import named
from selu_hpc.models.pocket.teaching.packing import Block, pack
from selu_hpc.models.pocket.teaching.pointing import Labels, Pointing, pointing

LENGTHS = (16, 24, 999)
"""Questions of like length are packed together, so that little is padding: the most tokens of each class."""
QUESTIONS = (12, 8, 4)
"""Questions over one picture in a step, by length class."""
SHARES = (0.5, 0.2, 0.3)
"""How often a step takes each length class."""
CONCLUDING = 0.35
"""How often one of the longest questions makes room for what follows from a told state."""
NAMING = 0.2
"""How often one makes room for an instruction to go somewhere."""
WEIGHTS: dict[str, float] = {"see": 0.5, "side": 0.15, "largest": 0.15, "middle": 0.3} | {
    f"{group} {verb}": 2.0 for group in ("state", "absent") for verb in (*THOR_VERBS, *VIRTUALHOME_VERBS, "switch off")
}
"""How much oftener a kind of question is drawn; 1 where nothing is said."""


@dataclass(slots=True)
class Batch:
    """pixels (B, 3, H, W); classes, shares (B, N, 3); states, applicable (B, N, S); head: ids before the picture."""

    pixels: torch.Tensor
    classes: torch.Tensor
    shares: torch.Tensor
    states: torch.Tensor
    applicable: torch.Tensor
    head: torch.Tensor
    rows: Any = None
    pointing: Pointing = field(default_factory=lambda: Pointing({}))
    kinds: Array | None = None


class Feeder:
    """Draws batches from shards."""

    def __init__(self, shards: list[Shard], *, seed: int, weights: dict[str, float] | None = None) -> None:
        self.shards = shards
        self.rng = np.random.default_rng(seed)
        self.index = _pictures_of(shards)
        self.head = torch.tensor(build_tokenizer()("<s><user>", add_special_tokens=False)["input_ids"])
        self.weights = weights or {}
        self._order: Array = np.zeros(0, dtype=np.int64)
        self._able_of: Array | None = None
        self._able: dict[int, Array] = {}

    def refresh(self, shards: list[Shard]) -> None:
        """Go on with more shards."""
        known = {shard.folder for shard in self.shards}
        fresh = [shard for shard in shards if shard.folder not in known]
        if fresh:
            self.shards = self.shards + fresh
            self.index, self._order = _pictures_of(self.shards), self._order[:0]

    def pictures(self, count: int) -> Array:
        """(count, 2): shard and picture; every picture once before any twice."""
        while len(self._order) < count:
            self._order = np.concatenate([self._order, self.rng.permutation(len(self.index))])
        taken, self._order = self._order[:count], self._order[count:]
        return self.index[taken]

    def able(self, length: int) -> Array:
        """Pictures that have questions of this length class."""
        if self._able_of is not self.index:
            for place in range(len(LENGTHS)):
                has = [bool(_of_length(self.shards[s].asked(i), place).any()) for s, i in self.index]
                self._able[place] = self.index[np.flatnonzero(has)]
            self._able_of = self.index
        return self._able[length]

    def batch(self, which: Array, *, blocks: list[list[tuple[Block, str]]] | None = None, augment: bool) -> Batch:
        shards = self.shards
        pixels = torch.from_numpy(np.stack([shards[s].images[i] for s, i in which])).float().div_(255)
        classes = np.stack([shards[s].patch_classes[i] for s, i in which]).astype(np.int64)
        shares = np.stack([shards[s].shares[i] for s, i in which]).astype(np.float32)
        num_states = len(shards[0].states)
        bits = np.arange(num_states, dtype=np.uint16)
        states, applicable = (
            (np.stack([getattr(shards[s], name)[i] for s, i in which])[..., None] >> bits & 1).astype(np.float32)
            for name in ("patch_states", "applicable")
        )
        if augment:
            pixels = recolour(pixels, self.rng)
            turned = self.rng.random(len(which)) < 0.5
            chosen = torch.from_numpy(turned)
            pixels[chosen] = pixels[chosen].flip(2)
            for labels in (classes, shares, states, applicable):
                labels[turned] = mirrored(labels[turned])
        made = Batch(
            (pixels.permute(0, 3, 1, 2) - 0.5) / 0.25,
            torch.from_numpy(classes),
            torch.from_numpy(shares / np.maximum(shares.sum(-1, keepdims=True), 1)),
            torch.from_numpy(states),
            torch.from_numpy(applicable),
            self.head,
        )
        if blocks is not None:
            asked = [[block for block, _ in row] for row in blocks]
            made.rows = pack(asked)
            made.pointing = pointing(
                asked, Labels(classes, shares / 255, states, applicable), num_before=len(self.head)
            )
            made.kinds = np.array([[kind for _, kind in row] for row in blocks])
        return made

    def questions(self, which: Array, length: int) -> tuple[Array, list[list[tuple[Block, str]]]]:
        """Questions of one length class over each picture that has any."""
        kept, rows, count = [], [], QUESTIONS[length]
        for s, i in which:
            shard = self.shards[s]
            asked = shard.asked(i)
            asked = asked[_of_length(asked, length)]
            if not len(asked):
                continue
            weight = np.array([self.weights.get(shard.kinds[kind], 1.0) for kind in asked[:, 3]])
            # "done" ends every exploration, but what comes before it is to be learned.
            weight[(asked[:, 2] == 2) & (asked[:, 3] == shard.explore)] = 0.15
            order = self.rng.random(len(asked)) ** (1 / weight)
            chosen = asked[np.resize(np.argsort(-order)[:count], count)]
            kept.append((s, i))
            row = [(Block(shard.ids(q), int(q[2])), shard.kinds[q[3]]) for q in chosen]
            rows.append(self._with_language(row, shard, i) if LENGTHS[length] == max(LENGTHS) else row)
        return np.array(kept), rows

    def _with_language(self, row: list[tuple[Block, str]], shard: Shard, picture: int) -> list[tuple[Block, str]]:
        """The row with some questions replaced by what reading alone decides: a verdict that a told state of this
        picture decides, and where one is told to go."""
        states = [q for q in shard.asked(picture) if shard.kinds[q[3]].startswith("state ")]
        for place, chance in enumerate(self.rng.random(len(row))):
            if chance < CONCLUDING and states:
                question = states[self.rng.integers(len(states))]
                block = Block(shard.ids(question), int(question[2]))
                row[place] = concluded(block, shard.kinds[question[3]], shard.simulator) or row[place]
            elif CONCLUDING <= chance < CONCLUDING + NAMING:
                row[place] = named(shard.simulator, self.rng)
        return row


def _of_length(asked: Array, length: int) -> Array:
    least = LENGTHS[length - 1] if length else 0
    found: Array = (asked[:, 1] > least) & (asked[:, 1] <= LENGTHS[length])
    return found


def _pictures_of(shards: list[Shard]) -> Array:
    return np.array([(s, i) for s, shard in enumerate(shards) for i in range(len(shard))])


def recolour(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A colour matrix, a gain and a shift of its own for each picture (B, H, W, 3), and a little noise."""
    b = len(pixels)
    mix = np.eye(3)[None] + rng.normal(0, 0.12, (b, 3, 3))
    mix /= np.abs(mix.sum(-1, keepdims=True)).clip(0.5)
    mix *= np.exp(rng.normal(0, 0.15, (b, 1, 1)))
    shift = torch.from_numpy(rng.normal(0, 0.04, (b, 1, 1, 3))).float()
    mixed = torch.einsum("bhwc,bdc->bhwd", pixels, torch.from_numpy(mix).float()) + shift
    return (mixed + torch.randn_like(mixed) * 0.01).clamp_(0, 1)


def mirrored(labels: Array) -> Array:
    """(B, N, …) labels of patches, left for right."""
    side = round(labels.shape[1] ** 0.5)
    return labels.reshape(len(labels), side, side, -1)[:, :, ::-1].reshape(labels.shape)
