"""PPO's loss on answers, and the rate of an update: the paper's formulas, nothing else.

    log π(answer) = λ · Σ log p(thought tokens) + Σ log p(action tokens)
    L = −min(ρ·A, clip(ρ)·A) + c · ½ · max((V−R)², (V_clipped−R)²),    ρ = π / π_old

Shape legend: B answers of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from selu_hpc.config import GameConfig

WILD_RATIO = 10.0
"""Above it only the clipped term counts: an answer that became ten times likelier pulls no further."""
_FARTHEST = 20.0
"""A ratio is told as e^20 at most: where it overflows, the gradient of what WILD_RATIO leaves out is no number."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Summed over a batch. total: what is minimised. ratio, clipped: for the curve."""

    total: Tensor
    policy: Tensor
    value: Tensor
    ratio: Tensor
    clipped: Tensor


def losses(
    logprobs_b: Tensor,
    values_b: Tensor,
    *,
    old_logprobs_b: Tensor,
    old_values_b: Tensor,
    advantages_b: Tensor,
    returns_b: Tensor,
    settings: GameConfig,
) -> Losses:
    """The loss of a batch of answers against what they were when they were given."""
    clip = settings.clip
    ratio_b = torch.exp((logprobs_b - old_logprobs_b).clamp(max=_FARTHEST))
    free_b = ratio_b * advantages_b
    held_b = ratio_b.clamp(1 - clip, 1 + clip) * advantages_b
    policy_b = -torch.where(ratio_b > WILD_RATIO, held_b, torch.minimum(free_b, held_b))
    moved_b = old_values_b + (values_b - old_values_b).clamp(-clip, clip)
    value_b = 0.5 * torch.maximum((values_b - returns_b) ** 2, (moved_b - returns_b) ** 2)
    outside_b = ((ratio_b - 1).abs() > clip).float()
    return Losses(
        (policy_b + settings.value_coefficient * value_b).sum(),
        policy_b.detach().sum(),
        value_b.detach().sum(),
        ratio_b.detach().sum(),
        outside_b.detach().sum(),
    )


def learning_rate(round_id: int, settings: GameConfig) -> float:
    """Of the update of a round, counted from 1: half a cosine down, then up again."""
    low, high = settings.last_learning_rate, settings.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (round_id - 1) / settings.annealed_rounds))
