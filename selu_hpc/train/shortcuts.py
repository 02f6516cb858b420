"""Work that need not be done because the base is frozen and only answers are scored; the gradients stay the same.

    merge_lora:  y = x (W + s·B·A)ᵀ in one product, gradients for A and B only; for fp32 without dropout, not ZeRO 3
    LastLayer:   the last decoder layer makes queries, output and MLP for the answers' positions only

Both equal the plain model up to rounding (tests/train/test_shortcuts.py). A layer of a kind not known here is left as
it is. Does not own which of the two a training uses (sft.py).

Shape legend: B rows, L length, Q kept positions of the fullest row, H heads, D width, h width of a head.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2VLDecoderLayer", "Qwen2_5_VLDecoderLayer")


class MergedLinear(torch.autograd.Function):
    """A frozen linear layer and its LoRA as one product; the weight's own gradient is never formed.

    The sum is made twice, for otherwise all layers' sums would wait for the way back: the adapted weights once more.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return linear(x, torch.addmm(weight, b, a, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors
        out = grads[0].reshape(-1, grads[0].shape[-1])
        flat = x.reshape(-1, x.shape[-1])
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (out @ torch.addmm(weight, b, a, alpha=ctx.scale)).view_as(x)
        grad_a = ((out @ b).t() @ flat).mul_(ctx.scale)
        grad_b = (out.t() @ (flat @ a.t())).mul_(ctx.scale)
        return grad_x, None, None, grad_a, grad_b, None


def merge_lora(model: Any) -> int:
    """Make each LoRA layer of a peft model one product; returns how many."""
    from peft.tuners.lora import Linear

    def forward(self: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
        base = self.base_layer
        a, b = self.lora_A["default"].weight, self.lora_B["default"].weight
        found: Tensor = MergedLinear.apply(x, base.weight, base.bias, a, b, self.scaling["default"])  # type: ignore[no-untyped-call]
        return found

    layers = [module for module in model.modules() if type(module) is Linear]
    for layer in layers:
        layer.forward = types.MethodType(forward, layer)
    return len(layers)


class LastLayer:
    """The last decoder layer, told which positions are wanted; the others come out as zeros."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._keep_bl: Tensor | None = None
        layer.forward = self._forward

    @classmethod
    def of(cls, model: Any) -> LastLayer | None:
        """Take over the last layer of a language model we know; None leaves the model as it is."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        language = getattr(base.model, "language_model", None)
        layers = getattr(language, "layers", None)
        if not layers or type(layers[-1]).__name__ not in LAYERS:
            return None
        attention = layers[-1].self_attn
        # Mistral's layers read the window of their config, Qwen's have one of their own.
        window = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
        if window or attention.attention_dropout:
            return None
        return cls(layers[-1])

    def keep(self, keep_bl: Tensor) -> None:
        """The positions the next forward is asked for."""
        self._keep_bl = keep_bl

    def _forward(self, hidden_states: Tensor, *, position_embeddings: tuple[Tensor, Tensor], **_: Any) -> Tensor:
        assert self._keep_bl is not None
        layer, attention = self._layer, self._layer.self_attn
        at_bq, real_bq = _positions(self._keep_bl)
        num_rows, length, _width = hidden_states.shape
        every = layer.input_layernorm(hidden_states)
        kept = _pick(every, at_bq)

        def heads(states: Tensor) -> Tensor:
            return states.view(num_rows, states.shape[1], -1, attention.head_dim).transpose(1, 2)

        cos, sin = (part.expand(num_rows, length, -1) for part in position_embeddings)
        k_bhlh = _rotate(heads(attention.k_proj(every)), cos, sin)
        q_bhqh = _rotate(heads(attention.q_proj(kept)), _pick(cos, at_bq), _pick(sin, at_bq))
        v_bhlh = heads(attention.v_proj(every))
        before = torch.arange(length, device=at_bq.device) <= at_bq[:, None, :, None]
        mixed = scaled_dot_product_attention(
            q_bhqh,
            k_bhlh,
            v_bhlh,
            attn_mask=before,
            scale=attention.scaling,
            enable_gqa=q_bhqh.shape[1] != k_bhlh.shape[1],
        )
        mixed = mixed.transpose(1, 2).reshape(num_rows, at_bq.shape[1], -1)
        states = _pick(hidden_states, at_bq) + attention.o_proj(mixed)
        states = states + layer.mlp(layer.post_attention_layernorm(states))
        rows = torch.arange(num_rows, device=at_bq.device)[:, None].expand_as(at_bq)
        out = torch.zeros_like(hidden_states)
        return out.index_put((rows[real_bq], at_bq[real_bq]), states[real_bq])


def _positions(keep_bl: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row's kept positions are, filled up with 0 to the fullest row's number; which of them are real."""
    counts = keep_bl.sum(1)
    most = int(counts.max())
    at_bq = torch.argsort(keep_bl.int(), dim=1, descending=True, stable=True)[:, :most]
    return at_bq, torch.arange(most, device=keep_bl.device) < counts[:, None]


def _pick(states_bld: Tensor, at_bq: Tensor) -> Tensor:
    return states_bld.gather(1, at_bq[..., None].expand(-1, -1, states_bld.shape[-1]))


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
