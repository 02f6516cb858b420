"""Where the built-in model should look when it reads a thing's name, and what it should know of it then.

Owns which token should look at which patches, and the loss that says so. The dense labels know it; without them a
small language model finds out only after very many answers that "fridge" in a question has to do with some patches. Two
of the six heads are taught: in the second layer a name's last token looks at what it names, and in the third the token
before the answer looks at what the answer is about, or at the first token when nothing of the kind is there. After its
layer each of these tokens is asked, by a linear head that only pre-training has, whether the thing is there and in
which states.

Shape legend: B pictures, H heads, K questions a picture, Q tokens a question, P prefix tokens, N patches, X places,
S states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from selu_hpc.config import Simulator
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.scenes import CLASSES
from selu_hpc.models.pocket.lessons.shards import Array
from selu_hpc.models.pocket.model import build_tokenizer
from selu_hpc.models.pocket.teaching.packing import Block
from selu_hpc.sim.thor.catalogue import specs
from selu_hpc.sim.virtualhome.catalogue import classes

LAYERS = NAME_LAYER, ANSWER_LAYER = 1, 2
NUM_HEADS = 2
LEAST_SHARE = 0.08
"""A patch shows a thing when so much of it is the thing."""
FEW = 10.0
"""Fewer things than this in a batch can be in a state seldom: it counts for less, or its noise would lead."""


Thing = tuple[Array, Array, Array]
"""Patches (P,) that show it, and states and which of them it can have (1 + S,)."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Dense labels of B pictures: classes, shares (B, N, 3); states, applicable (B, N, S)."""

    classes: Array
    shares: Array
    states: Array
    applicable: Array


@dataclass(frozen=True, slots=True)
class Looks:
    """Where one layer's taught heads should look, and what is to be known there.

    places (X, 3): picture, question, token.  wanted (X, P).  states, applicable (X, 1 + S): first whether it is there.
    """

    places: torch.Tensor
    wanted: torch.Tensor
    states: torch.Tensor
    applicable: torch.Tensor


@dataclass(slots=True)
class Pointing:
    """What each taught layer is to look at, and the losses found while the model ran."""

    by_layer: dict[int, Looks]
    losses: list[torch.Tensor] = field(default_factory=list)

    def hear(self, layer: int, weights: torch.Tensor) -> None:
        """weights: (B, H, K, Q, P + Q) of a layer's attention."""
        looks = self.by_layer.get(layer)
        if looks is None:
            return
        b, k, q = looks.places.T
        seen = weights[b, :NUM_HEADS, k, q, : looks.wanted.shape[1]].float()
        share = (seen * looks.wanted[:, None]).sum(-1)
        self.losses.append(-(share + 1e-3).log().mean())

    def loss(self) -> torch.Tensor:
        """How far the heads are from looking where they should."""
        return torch.stack(self.losses).mean() if self.losses else torch.zeros(())

    def knowing_loss(self, heads: Mapping[int, nn.Module], hidden: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """How far the tokens are from knowing the things' states. hidden: (B, K, Q, width) after each taught layer."""
        found = []
        for layer, looks in self.by_layer.items():
            b, k, q = looks.places.T
            said = heads[layer](hidden[layer][b, k, q]).float()
            losses = binary_cross_entropy_with_logits(said, looks.states, reduction="none")
            for chosen in (looks.states * looks.applicable, (1 - looks.states) * looks.applicable):
                found.append(((losses * chosen).sum(0) / (chosen.sum(0) + FEW)).mean())
        return torch.stack(found).sum() if found else torch.zeros(())


@cache
def names() -> dict[tuple[int, ...], frozenset[int]]:
    """Tokens of a spoken name → the classes it may be drawn as."""
    tokenizer = build_tokenizer()
    drawn = {Simulator.THOR: {kind: kind for kind in specs()}}
    drawn[Simulator.VIRTUALHOME] = {one.name: one.kind for one in classes().values() if one.kind}
    found: dict[tuple[int, ...], set[int]] = {}
    for simulator, kinds in drawn.items():
        language = language_of(simulator)
        for name, kind in kinds.items():
            if kind in CLASSES:
                ids = tokenizer(language.name(name), add_special_tokens=False)["input_ids"]
                found.setdefault(tuple(ids), set()).add(CLASSES.index(kind))
    return {ids: frozenset(kinds) for ids, kinds in found.items()}


def named_in(ids: Sequence[int]) -> list[tuple[int, frozenset[int]]]:
    """(place of the name's last token, classes) of every thing named, the longest names first."""
    known, longest = names(), max(map(len, names()))
    found, start = [], 0
    while start < len(ids):
        for length in range(min(longest, len(ids) - start), 0, -1):
            kinds = known.get(tuple(ids[start : start + length]))
            if kinds is not None:
                found.append((start + length - 1, kinds))
                start += length - 1
                break
        start += 1
    return found


def pointing(rows: Iterable[Iterable[Block]], labels: Labels, *, num_before: int) -> Pointing:
    """What a packed batch should look at; num_before: tokens before the patches."""
    at: dict[int, list[tuple[int, int, int]]] = {NAME_LAYER: [], ANSWER_LAYER: []}
    wanted: dict[int, list[Thing]] = {NAME_LAYER: [], ANSWER_LAYER: []}
    for b, row in enumerate(rows):
        things_of = _ThingsOf(labels, b, num_before)
        for k, block in enumerate(row):
            before_answer = len(block.ids) - block.num_answer - 1
            things = named_in(block.ids.tolist())
            for place, kinds in things:
                if place < before_answer:
                    at[NAME_LAYER].append((b, k, place))
                    wanted[NAME_LAYER].append(things_of[kinds])
            about = [kinds for place, kinds in things if place > before_answer] or [kinds for _, kinds in things][-1:]
            if about:
                at[ANSWER_LAYER].append((b, k, before_answer))
                wanted[ANSWER_LAYER].append(things_of[frozenset().union(*about)])
    return Pointing({layer: _looks(at[layer], wanted[layer]) for layer in at if at[layer]})


class _ThingsOf(dict[frozenset[int], Thing]):
    """What one picture shows of some classes, found out once."""

    def __init__(self, labels: Labels, picture: int, num_before: int) -> None:
        super().__init__()
        self._num_before = num_before
        self._shown = np.where(labels.shares[picture] >= LEAST_SHARE, labels.classes[picture], -1)
        self._states, self._applicable = labels.states[picture], labels.applicable[picture]

    def __missing__(self, kinds: frozenset[int]) -> Thing:
        patches = np.isin(self._shown, list(kinds))
        mask = np.concatenate([np.zeros(self._num_before, bool), patches.any(-1)])
        mask[0] = not mask.any()
        # A patch's states are those of the largest thing in it.
        its = patches[:, 0, None] & (self._applicable > 0)
        holds = (its & (self._states > 0)).any(0)
        self[kinds] = thing = (
            mask,
            np.concatenate([[not mask[0]], holds]),
            np.concatenate([[True], its.any(0)]),
        )
        return thing


def _looks(at: list[tuple[int, int, int]], wanted: list[Thing]) -> Looks:
    columns = (torch.from_numpy(np.array(column, dtype=np.float32)) for column in zip(*wanted, strict=True))
    return Looks(torch.tensor(at), *columns)
