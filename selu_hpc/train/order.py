"""Which samples make which step: pure, and the same for any number of ranks.

An epoch is a seeded shuffle, cut into windows of a few batches; inside a window samples are sorted by length and cut
into batches, so that rows of one batch are nearly equally long and little is padded; the batches are shuffled again.
A step has a fixed number of micro-batches; rank r takes the micro-batches r, r + world, …
Samples never share a row, so there is no attention across them to mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selu_hpc.errors import TrainingError
from selu_hpc.records import derive_seed
from selu_hpc.train.batches import unshared

WINDOW_BATCHES = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step: `Step(number=1, epoch=0, micro_batches=((4, 7), (1,)))`, dataset rows each.

    A micro-batch may be empty when an epoch's last batch has fewer samples than micro-batches.
    """

    number: int
    epoch: int
    micro_batches: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(row for batch in self.micro_batches for row in batch)

    def share(self, rank: int, world: int) -> tuple[tuple[int, ...], ...]:
        return self.micro_batches[rank::world]


def plan_steps(
    lengths: Sequence[int], *, epochs: int, global_batch: int, micro_batch: int, seed: int
) -> tuple[Step, ...]:
    """All steps of a training, numbered from 1."""
    steps: list[Step] = []
    for epoch in range(epochs):
        for rows in _epoch(lengths, global_batch, derive_seed(seed, "order", epoch)):
            parts = np.array_split(np.asarray(rows), global_batch // micro_batch)
            micro_batches = tuple(tuple(int(row) for row in part) for part in parts)
            steps.append(Step(len(steps) + 1, epoch, micro_batches))
    return tuple(steps)


def micro_batch_size(*, world: int, global_batch: int, micro_batch: int) -> int:
    """Samples of one forward pass, or why this number of ranks cannot share the batch."""
    if why := unshared("finetune.global_batch", world, global_batch, micro_batch):
        raise TrainingError(f"{why}; change finetune.num_ranks (and what the launcher starts) or finetune.global_batch")
    return min(micro_batch, global_batch // world)


def _epoch(lengths: Sequence[int], batch: int, seed: int) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), batch * WINDOW_BATCHES):
        window = sorted(
            (int(row) for row in shuffled[start : start + batch * WINDOW_BATCHES]), key=lambda r: lengths[r]
        )
        cut = [window[at : at + batch] for at in range(0, len(window), batch)]
        batches += [cut[int(at)] for at in draw.permutation(len(cut))]
    return batches
