"""PPO's loss on answers, and the rate of an update: the paper's formulas, nothing else.

    log π(answer) = λ · Σ log p(thought tokens) + Σ log p(action tokens)
    L = −min(ρ·A, clip(ρ)·A) + c · ½ · max((V−R)², (V_clipped−R)²),    ρ = π / π_old

Shape legend: T turns of a batch.
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
    logprobs_t: Tensor,
    values_t: Tensor,
    *,
    old_logprobs_t: Tensor,
    old_values_t: Tensor,
    advantages_t: Tensor,
    returns_t: Tensor,
    settings: GameConfig,
) -> Losses:
    """The loss of a batch of turns against what they were when they were given."""
    clip = settings.clip
    ratio_t = torch.exp((logprobs_t - old_logprobs_t).clamp(max=_FARTHEST))
    free_t = ratio_t * advantages_t
    held_t = ratio_t.clamp(1 - clip, 1 + clip) * advantages_t
    policy_t = -torch.where(ratio_t > WILD_RATIO, held_t, torch.minimum(free_t, held_t))
    moved_t = old_values_t + (values_t - old_values_t).clamp(-clip, clip)
    value_t = 0.5 * torch.maximum((values_t - returns_t) ** 2, (moved_t - returns_t) ** 2)
    outside_t = ((ratio_t - 1).abs() > clip).float()
    return Losses(
        (policy_t + settings.value_coefficient * value_t).sum(),
        policy_t.detach().sum(),
        value_t.detach().sum(),
        ratio_t.detach().sum(),
        outside_t.detach().sum(),
    )


def learning_rate(round_id: int, settings: GameConfig) -> float:
    """Of the update of a round, counted from 1: half a cosine down, then up again."""
    low, high = settings.last_learning_rate, settings.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * (round_id - 1) / settings.annealed_rounds))
