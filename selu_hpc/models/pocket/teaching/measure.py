"""How much of its pre-training the built-in model has understood, on pictures it was not taught with."""

from __future__ import annotations

import torch

from selu_hpc.models.pocket.lessons.shards import Shard
from selu_hpc.models.pocket.teaching.feeder import LENGTHS, Feeder
from selu_hpc.models.pocket.teaching.taught import Taught, autocast


@torch.no_grad()
def dense_accuracies(taught: Taught, shards: list[Shard], *, pictures: int) -> dict[str, float]:
    """Share of patches whose largest class is named, and balanced accuracy of each state where it applies."""
    feeder = Feeder(shards, seed=1)
    batch = feeder.batch(feeder.pictures(min(pictures, len(feeder.index))), augment=False)
    with autocast():
        features = taught.see(batch.pixels)
        classes = taught.classes(features).argmax(-1)
        states = taught.states(features) > 0
    found = {"class": float((classes == batch.classes[..., 0]).float().mean())}
    for place, name in enumerate(shards[0].states):
        rates = []
        for value in (0, 1):
            chosen = (batch.applicable[..., place] > 0) & (batch.states[..., place] == value)
            if chosen.any():
                rates.append(float((states[..., place][chosen] == value).float().mean()))
        found[name] = sum(rates) / max(1, len(rates))
    return found


@torch.no_grad()
def accuracies(taught: Taught, shards: list[Shard], *, pictures: int, seed: int = 1) -> dict[str, tuple[int, int]]:
    """For each kind (right, asked): an answer is right when greedy decoding would give it token for token."""
    found: dict[str, list[int]] = {}
    feeder = Feeder(shards, seed=seed)
    taught.eval()
    which = feeder.pictures(min(pictures, len(feeder.index)))
    for start in range(0, len(which), 32):
        for length in range(len(LENGTHS)):
            kept, blocks = feeder.questions(which[start : start + 32], length)
            if not len(kept):
                continue
            batch = feeder.batch(kept, blocks=blocks, augment=False)
            with autocast():
                scores, wanted = taught.answer_scores(taught.see(batch.pixels), batch)
            hits = (scores.argmax(-1) == wanted).tolist()
            at = 0
            for row in blocks:
                counted: set[tuple[int, ...]] = set()  # a picture with few questions has them several times in its row
                for block, kind in row:
                    right = all(hits[at : at + block.num_answer])
                    at += block.num_answer
                    if (question := tuple(block.ids)) in counted:
                        continue
                    counted.add(question)
                    tally = found.setdefault(kind, [0, 0])
                    tally[0] += right
                    tally[1] += 1
    taught.train()
    return {kind: (right, asked) for kind, (right, asked) in sorted(found.items())}
