"""What an update compares with: each turn's log-probability and value when it was given, and how good it was.

Owns the record and its file, so that an update that was stopped goes on against the same judgement. Does not own
weighing (update.py) or the formulas (gae.py).

Shape legend: T turns of the round.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from selu_hpc.config import GameConfig
from selu_hpc.rl4vlm import gae
from selu_hpc.rl4vlm.turns import Turn
from selu_hpc.rounds.rundir import write_bytes
from selu_hpc.train.checkpoint import patiently

logger = logging.getLogger(__name__)

_IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Judged:
    """One figure a turn, in the round's order. returns_t: what a value should have been."""

    logprobs_t: torch.Tensor
    values_t: torch.Tensor
    advantages_t: torch.Tensor
    returns_t: torch.Tensor

    @classmethod
    def of(cls, turns: Sequence[Turn], weighed: Mapping[int, tuple[float, float]], settings: GameConfig) -> Judged:
        """From each turn's log-probability and value, by its place in the round."""
        logprobs, values = np.array([weighed[row] for row in range(len(turns))]).T
        rewards = np.array([turn.reward for turn in turns])
        last = np.array([turn.last for turn in turns])
        gained = gae.advantages(rewards, values, last, discount=settings.discount, gae_lambda=settings.gae_lambda)
        made = (logprobs, values, gae.normalised(gained), gained + values)
        return cls(*(torch.tensor(one, dtype=torch.float32) for one in made))

    def mismatch(self, turns: Sequence[Turn]) -> tuple[float, float] | None:
        """How far these log-probabilities lie from what the sampler told, on average and at the 95th percentile.

        0 where the policy that played and the one that is weighed are the same; None where nobody told.
        """
        told = [turn.logprob for turn in turns]
        if any(one is None for one in told):
            return None
        apart = (self.logprobs_t.double().cpu() - torch.tensor(told, dtype=torch.float64)).abs().numpy()
        return float(apart.mean()), float(np.percentile(apart, 95))

    def to(self, device: torch.device) -> Judged:
        return Judged(*(getattr(self, field.name).to(device) for field in fields(self)))

    def save(self, file: Path, identity: str) -> None:
        """Whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {field.name: getattr(self, field.name).cpu() for field in fields(self)}
        write_bytes(file, save(tensors, metadata={_IDENTITY: identity}))

    @classmethod
    def load(cls, file: Path, identity: str) -> Judged | None:
        """What this very update judged before it was stopped; None where it did not come so far."""
        try:
            patiently(Path.read_bytes, file)  # safe_open takes whatever a storage refuses for a missing file
            with safe_open(file, "pt") as found:
                if found.metadata().get(_IDENTITY) != identity:
                    return None
                return cls(*(found.get_tensor(field.name) for field in fields(cls)))
        except FileNotFoundError:
            return None
        except SafetensorError as error:
            logger.warning("%s: damaged (%s); the turns are judged anew", file, error)
            return None
