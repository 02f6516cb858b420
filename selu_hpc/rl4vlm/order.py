"""Which turns make which step of an update: pure; a step holds the same turns for any number of ranks.

An epoch is a seeded permutation of the round's turns, cut evenly into steps. Nothing is sorted before the cut: PPO
takes a step for a fair draw of the round, and an answer's length tells its action, so that steps of one length would
each be clipped, and scaled by Adam, for one action alone. Inside a step the turns are sorted by length, to pad little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selu_hpc.records import derive_seed
from selu_hpc.train.order import Step


def plan_steps(
    lengths: Sequence[int], *, epochs: int, batch: int, micro_batch: int, world: int, seed: int
) -> tuple[Step, ...]:
    """All steps of an update, numbered from 1, each of about `batch` turns and of as many micro-batches as any other.

    388 turns at a batch of 64 are six steps of 64 or 65: what is left over is no step of its own.
    """
    num_steps = max(1, round(len(lengths) / batch))
    num_parts = _num_micro_batches(-(-len(lengths) // num_steps), micro_batch, world)
    steps: list[Step] = []
    for epoch in range(epochs):
        shuffled = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(len(lengths))
        for drawn in np.array_split(shuffled, num_steps):
            rows = sorted((int(row) for row in drawn), key=lambda row: lengths[row])
            parts = np.array_split(np.asarray(rows), num_parts)
            steps.append(Step(len(steps) + 1, epoch, tuple(tuple(int(row) for row in part) for part in parts)))
    return tuple(steps)


def _num_micro_batches(most_turns: int, micro_batch: int, world: int) -> int:
    """Enough for the largest step, and as many for every rank."""
    return -(-most_turns // (micro_batch * world)) * world
