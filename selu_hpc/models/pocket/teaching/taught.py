"""The built-in model while it is taught: its tower's dense labels and its language model's answers, each as a loss.

Owns the losses and the two heads that only pre-training has. Does not own the loop (train.py).

Shape legend: B pictures, K questions a picture, Q tokens a question, N patches, C classes, S states, V words.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from selu_hpc.models.pocket.model import build_model
from selu_hpc.models.pocket.teaching.feeder import Batch
from selu_hpc.models.pocket.teaching.packing import ATTENTION, IGNORED, positions, register
from selu_hpc.models.pocket.teaching.pointing import LAYERS

NUM_STRUCTURES = 5
"""The first classes are nothing, the agent and what rooms are made of."""
FEW_PATCHES = 20.0
"""Fewer patches than this in a batch show a state seldom: it counts for less, or its noise would lead."""


class Taught(nn.Module):
    """The model and the heads that only its pre-training has."""

    def __init__(self, *, seed: int, num_classes: int, num_states: int) -> None:
        super().__init__()
        register()
        self.model = build_model(seed=seed)
        self.model.set_attn_implementation({"text_config": ATTENTION, "vision_config": "eager"})
        width = self.model.config.vision_config.hidden_size
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            self.classes = nn.Linear(width, num_classes)
            self.states = nn.Linear(width, num_states)
            knowing = self.model.config.text_config.hidden_size
            self.things = nn.ModuleList(nn.Linear(knowing, 1 + num_states) for _ in LAYERS)

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, N, width)"""
        out = self.model.model.vision_tower(pixels, output_hidden_states=True)
        return out.hidden_states[-1][:, 1:]  # type: ignore[no-any-return]

    def dense_loss(self, features: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What each patch shows, small things nearly as much as walls; and states, each as much as any other."""
        found = torch.log_softmax(self.classes(features).float(), dim=-1)
        shares = batch.shares.sqrt()
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-6)
        things = (shares * (batch.classes >= NUM_STRUCTURES)).sum(-1)
        class_loss = -((found.gather(2, batch.classes) * shares).sum(-1) * (0.2 + things)).mean() * 1.5
        states = self.states(features).float()
        losses = binary_cross_entropy_with_logits(states, batch.states, reduction="none")
        holds = batch.states * batch.applicable
        fails = batch.applicable - holds
        # A state that few patches of a batch show counts for less, or its noise would lead.
        mean = (((losses * held).sum((0, 1)) / (held.sum((0, 1)) + FEW_PATCHES)) for held in (holds, fails))
        return class_loss + 2.0 * sum(mean, torch.zeros(())).mean()

    def answer_scores(self, features: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (answers' tokens, V) and the tokens they should be."""
        return self.answer(features, batch)[:2]

    def answer(self, features: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `answer_scores`, and how far the inner layers are from knowing the named things (pointing.py)."""
        model = self.model
        ids, labels = batch.rows.ids, batch.rows.labels
        b, k, q = ids.shape
        embed = model.get_input_embeddings()
        head = embed(batch.head)[None].expand(b, -1, -1)
        seen = model.model.multi_modal_projector(features)
        text = embed(ids.reshape(b, k * q))
        inputs = torch.cat([head.to(seen.dtype), seen, text.to(seen.dtype)], dim=1)
        num_prefix = head.shape[1] + seen.shape[1]
        out = model.model.language_model(
            inputs_embeds=inputs,
            attention_mask=torch.zeros(1, 1, 1, 1, device=ids.device),
            position_ids=positions(num_prefix, batch.rows).to(ids.device),
            use_cache=False,
            num_prefix=num_prefix,
            num_blocks=k,
            heard=batch.pointing.hear,
            output_hidden_states=True,
        )
        inner = {layer: out.hidden_states[layer + 1][:, num_prefix:].reshape(b, k, q, -1) for layer in LAYERS}
        knowing = batch.pointing.knowing_loss(dict(zip(LAYERS, self.things, strict=True)), inner)
        hidden = out.last_hidden_state[:, num_prefix:].reshape(b, k, q, -1)[:, :, :-1]
        wanted = labels[:, :, 1:]
        chosen = wanted != IGNORED
        return model.lm_head(hidden[chosen]).float(), wanted[chosen], knowing


def autocast() -> Any:
    """bfloat16 where the processor multiplies it; elsewhere it is four times as slow as float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=_knows_bfloat16())


@cache
def _knows_bfloat16() -> bool:
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
