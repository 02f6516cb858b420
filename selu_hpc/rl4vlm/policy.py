"""The model that acts and says what a state is worth: a language model with LoRA, and a head on one hidden state.

Owns the value head, and how an answer's log-probability is weighed. Does not own the loss (ppo.py).

Shape legend: B answers, L padded length, A answer tokens of the batch, D hidden width.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

WIDTHS = (1024, 512)


class Policy(nn.Module):
    """`logprobs_b, values_b = policy(inputs, answers_bl, …)`; the adapter and the head are what trains."""

    def __init__(self, model: Any, *, temperature: float, seed: int) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        base = model.get_base_model()
        make_products_in_float32(base.lm_head)
        width = int(base.config.get_text_config().hidden_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = value_head(width)

    def activation_checkpointing_enable(self, options: Mapping[str, Any]) -> None:
        """As a transformers model does it; the head is too small to matter."""
        self.model.activation_checkpointing_enable(options)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        *,
        answers_bl: Tensor,
        targets_a: Tensor,
        weights_a: Tensor,
        asked_b: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """asked_b: where each prompt's last token is. weights_a: how much each answer token counts."""
        base = self.model.get_base_model()
        hidden_bld = base.model(**inputs, use_cache=False).last_hidden_state
        logits_av = base.lm_head(hidden_bld[answers_bl]).float() / self.temperature
        scores_a = logits_av.log_softmax(dim=-1).gather(1, targets_a[:, None])[:, 0] * weights_a
        owner_a = answers_bl.nonzero()[:, 0]
        logprobs_b = scores_a.new_zeros(len(asked_b)).index_add(0, owner_a, scores_a)
        asked_bd = hidden_bld[torch.arange(len(asked_b), device=hidden_bld.device), asked_b]
        values_b: Tensor = self.head(asked_bd)[:, 0].float()
        return logprobs_b, values_b


def make_products_in_float32(head: nn.Module) -> None:
    """Have a head of fewer bits multiply in float32, its LoRA's matrices as well; one in float32 stays as it is.

    A logit of 20 lies on a grid of 1/8 in bfloat16: at temperature 0.2 two log-probabilities could only be equal or 0.6
    apart, and PPO's clip is 0.1. Layers are changed where they stand, so that what peft and DeepSpeed do around a call
    is done as ever.
    """
    for layer in head.modules():
        if type(layer) is nn.Linear and layer.weight.dtype != torch.float32:
            layer.forward = types.MethodType(_float32_product, layer)  # type: ignore[method-assign]  # as train/shortcuts


def _float32_product(self: nn.Linear, x: Tensor) -> Tensor:
    bias = None if self.bias is None else self.bias.float()
    return linear(x.float(), self.weight.float(), bias)


def value_head(width: int) -> nn.Sequential:
    """hidden → 1024 → 512 → 1, as in the paper's code."""
    layers: list[nn.Module] = []
    for inside, outside in zip((width, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Linear(inside, outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))
