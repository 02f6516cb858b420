"""Which turns make which step of an update: pure; a step holds the same turns for any number of ranks.

An epoch is a seeded permutation of the round's turns, cut evenly into steps. Nothing is sorted before the cut: PPO
takes a step for a fair draw of the round, and an answer's length tells its action, so that steps of one length would
each be clipped, and scaled by Adam, for one action alone. Inside a step the turns are sorted by length, to pad little,
and turns that are alike (the same answer to the same prompt and picture, as games of few states have many) lie in one
micro-batch, where one forward pass weighs them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from selu_hpc.records import derive_seed
from selu_hpc.train.order import Step

Group = tuple[int, ...]
"""Turns that are alike."""


def plan_steps(
    lengths: Sequence[int],
    kinds: Sequence[int],
    *,
    epochs: int,
    batch: int,
    micro_batch: int,
    world: int,
    seed: int,
) -> tuple[Step, ...]:
    """All steps of an update, numbered from 1, each of about `batch` turns and of as many micro-batches as any other.

    388 turns at a batch of 64 are six steps of 64 or 65: what is left over is no step of its own.
    kinds: equal for turns that are alike.  micro_batch: the most kinds of one micro-batch. DeepSpeed wants as many
    micro-batches of every step, so that those of a step with fewer kinds than another's may hold less, or nothing.
    """
    num_steps = max(1, round(len(lengths) / batch))
    drawn: list[tuple[int, list[Group]]] = []
    for epoch in range(epochs):
        shuffled = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(len(lengths))
        for rows in np.array_split(shuffled, num_steps):
            drawn.append((epoch, alike([int(row) for row in rows], lengths, kinds)))
    num_parts = _num_micro_batches(max(len(groups) for _, groups in drawn), micro_batch, world)
    return tuple(Step(n, epoch, tuple(_cut(groups, num_parts))) for n, (epoch, groups) in enumerate(drawn, 1))


def alike(rows: Sequence[int], lengths: Sequence[int], kinds: Sequence[int]) -> list[Group]:
    """The turns in groups of one kind, short ones first."""
    ordered = sorted(rows, key=lambda row: (lengths[row], kinds[row]))
    return [tuple(group) for _, group in groupby(ordered, key=lambda row: kinds[row])]


def _cut(groups: Sequence[Group], num_parts: int) -> list[tuple[int, ...]]:
    places = np.array_split(np.arange(len(groups)), num_parts)
    return [tuple(row for place in part for row in groups[place]) for part in places]


def _num_micro_batches(most_kinds: int, micro_batch: int, world: int) -> int:
    """Enough for the step with the most kinds, and as many for every rank."""
    return -(-most_kinds // (micro_batch * world)) * world
