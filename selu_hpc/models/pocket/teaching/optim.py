"""Muon for weight matrices and AdamW for the rest: fewer pictures to the same loss than AdamW alone.

Owns the optimisers of the built-in model's pre-training; fine-tuning uses DeepSpeed's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon:
    """Momentum whose update is orthogonalised by Newton–Schulz; matrices of one shape are done together."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, momentum: float = 0.95) -> None:
        self._groups: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            self._groups[parameter.shape].append(parameter)
        self._momentum = momentum
        self._buffers = {shape: torch.zeros(len(group), *shape) for shape, group in self._groups.items()}

    @torch.no_grad()
    def step(self, learning_rate: float, *, decay: float) -> None:
        for shape, group in self._groups.items():
            grads = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in group])
            buffer = self._buffers[shape]
            buffer.lerp_(grads, 1 - self._momentum)
            update = _orthogonal(torch.lerp(grads, buffer, self._momentum))
            scale = learning_rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for parameter, direction in zip(group, update, strict=True):
                if parameter.grad is None:  # frozen, or not in use yet: neither moved nor decayed
                    continue
                parameter.mul_(1 - learning_rate * decay).add_(direction, alpha=-scale)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {str(tuple(shape)): buffer for shape, buffer in self._buffers.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self._buffers = {shape: state[str(tuple(shape))] for shape in self._buffers}


def _orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices, roughly, in bfloat16."""
    a, b, c = _COEFFICIENTS
    wide = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.bfloat16()
    x = x.transpose(-1, -2) if wide else x
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7).bfloat16()
    for _ in range(5):
        gram = x @ x.transpose(-1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    turned: torch.Tensor = x.transpose(-1, -2) if wide else x
    return turned.float()
