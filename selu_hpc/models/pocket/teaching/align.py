"""What each patch of a picture shows, said in the words' own embeddings: "open fridge".

Owns the way from dense labels to words, with which the projector is started. As LLaVA's own first stage aligns its
projector: started at random, the language model stays deaf to pictures for long, since the tower's features have a
large common part and uneven scales, and no word is like any of them.
"""

from __future__ import annotations

import numpy as np
import torch

from selu_hpc.envs.said import spaced
from selu_hpc.models.pocket.lessons.shards import Shard
from selu_hpc.models.pocket.model import build_tokenizer

WORD_SCALE = 2.5
ALIGNING_STEPS = 700
_SAID = {"open": ("open", "closed"), "on": ("on", "off"), "held": ("holding", ""), "filled": ("filled", "")}
_STRUCTURE_WORDS = {"Agent": "robot"}


def visual_words(embedding: torch.Tensor, shard: Shard) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors of each class (C, width), and of each state where it holds and where it does not (S, width)."""
    tokenizer = build_tokenizer()

    def vector(words: str) -> torch.Tensor:
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        return embedding[ids].sum(0) / max(1, len(ids)) ** 0.5 if ids else torch.zeros_like(embedding[0])

    classes = torch.stack([vector(_STRUCTURE_WORDS.get(kind, spaced(kind))) for kind in shard.classes])
    said = [_SAID.get(state, (state, "")) for state in shard.states]
    return classes, torch.stack([vector(yes) for yes, _ in said]), torch.stack([vector(no) for _, no in said])


def shard_targets(shard: Shard, words: tuple[torch.Tensor, torch.Tensor, torch.Tensor], which: slice) -> torch.Tensor:
    """(pictures · N, width): what each patch of some pictures shows, in words."""
    classes, yes, no = words
    shown = torch.from_numpy(shard.patch_classes[which].astype(np.int64)).flatten(0, 1)
    shares = torch.from_numpy(shard.shares[which].astype(np.float32) / 255).flatten(0, 1).sqrt()
    bits = np.arange(len(shard.states), dtype=np.uint16)
    holds, can = (
        torch.from_numpy((values[which][..., None] >> bits & 1).astype(np.float32)).flatten(0, 1)
        for values in (shard.patch_states, shard.applicable)
    )
    return (classes[shown] * shares[..., None]).sum(1) + (holds * can) @ yes + ((1 - holds) * can) @ no
