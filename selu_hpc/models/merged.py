"""Who a model speaks as: one adapter at a time is added to the frozen weights, so that it costs nothing to use.

Owns the swap. Every sum is made from the base's own weights, never undone by subtraction, so it has the same bits
whoever spoke before. A batch that mixes adapters takes peft's own way, as does a model with layers we cannot add up.
The base's weights wait in main memory: on a GPU there is one copy, as without adapters.

Below float32 a sum is rounded up or down at random, in proportion to how near it lies. The base lies on bfloat16's grid
already, and what an adapter learns at the paper's rates is mostly less than half a step of that grid: rounded to the
nearest it would be gone (docs/finetune.md). The draws come from the layer's name alone, so that the same adapter makes
the same bytes, two rounds differ by what was learned and not by the draw, and the base with nothing added is the base.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper

from selu_hpc.records import derive_seed

_SURPLUS_BITS = {torch.bfloat16: 16, torch.float16: 13}
"""How many of a float32's bits the type has no place for."""


class MergedModel:
    """A peft model: `speak_as("actor")` gives the plain model to call, `as_peft()` the one that mixes."""

    def __init__(self, model: Any) -> None:
        self._peft = model
        self._base = model.get_base_model()
        self._layers: list[tuple[Any, str, Any]] = []
        self._seeds: list[int] = []
        self._originals: list[torch.Tensor] = []
        self._name: str | None = None
        self._apart = True
        """Whether the LoRA layers stand in their places, over the base's own weights."""
        for path, parent in self._base.named_modules():
            for name, child in parent.named_children():
                if isinstance(child, BaseTunerLayer):
                    self._layers.append((parent, name, child))
                    self._seeds.append(derive_seed("rounding", path, name))
        words = self._base.get_input_embeddings().weight
        self.possible = all(
            _adds_up(layer) and layer.base_layer.weight is not words  # a tied head's would change the words' as well
            for _, _, layer in self._layers
        ) and not any(isinstance(module, AuxiliaryTrainingWrapper) for module in self._base.modules())

    def speak_as(self, name: str | None) -> Any:
        """The base with this adapter in its weights; None is the base alone."""
        assert self.possible
        if self._apart or name != self._name:
            self._load(name)
        return self._base

    def as_peft(self) -> Any:
        """The base with its adapters beside it."""
        if not self._apart:
            self._load(None)
            for parent, place, layer in self._layers:
                setattr(parent, place, layer)
            self._apart = True
        return self._peft

    @torch.no_grad()
    def _load(self, name: str | None) -> None:
        if not self._originals:
            self._originals = [layer.base_layer.weight.data.cpu() for _, _, layer in self._layers]
        for (parent, place, layer), original, seed in zip(self._layers, self._originals, self._seeds, strict=True):
            weight = layer.base_layer.weight
            if name in layer.lora_A:
                a, b = layer.lora_A[name].weight.float(), layer.lora_B[name].weight.float()
                total = original.to(weight.device).float().addmm(b, a, alpha=layer.scaling[name])
                weight.data = _rounded(total, weight.dtype, seed)
            else:
                weight.data = original.to(weight.device)
            setattr(parent, place, layer.base_layer)
        self._name, self._apart = name, False


def _rounded(total: torch.Tensor, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """`total`, float32, in a type of fewer bits: up or down at random, right in the mean. Float32 stays as it is."""
    surplus = _SURPLUS_BITS.get(dtype)
    if surplus is None:
        return total.to(dtype)
    draws = torch.Generator(total.device).manual_seed(seed)
    noise = torch.randint(1 << surplus, total.shape, generator=draws, dtype=torch.int32, device=total.device)
    bits = (total.view(torch.int32) + noise) & -(1 << surplus)
    return bits.view(torch.float32).to(dtype)


def _adds_up(layer: Any) -> bool:
    """A plain LoRA over a plain linear layer."""
    return (
        type(layer) is Linear
        and type(layer.base_layer) is torch.nn.Linear
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
        and not layer.fan_in_fan_out
    )
