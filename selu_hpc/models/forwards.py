"""A batch's way through the model: prefixes, what follows them, and the tokens or the likelihoods that come of it.

Owns shapes and decoding. A row's result may not depend on its neighbours, so every forward pass has a shape that
follows from the row itself (lengths padded to buckets) and `batch_size` (short batches repeat their first row).
On a CPU in float32 that makes answers equal to the last bit where the head size is a multiple of 16, as real models'
are: MKL promises equal bits only for rows at equal alignment.
Does not own which rows make a batch (generate.py) or how prefixes are kept (prefix.py).

Shape legend: B rows, L tokens, P prefix tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from selu_hpc.models.asking import Answer
from selu_hpc.models.chat import Chat, Encoded, ImagePart, stack_images
from selu_hpc.models.prefix import Prefix, PrefixCache, bucket, left_pad, stack_prefixes

if TYPE_CHECKING:
    from selu_hpc.models.merged import MergedModel

BASE = "__base__"
"""The adapter of a row that has none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request on its way: its place in the caller's list, its adapter, its ids and its tokens' positions."""

    place: int
    adapter: str
    encoded: Encoded
    positions: torch.Tensor
    seed: int = 0

    @property
    def prefix_key(self) -> Hashable:
        pictures = tuple(part.key for part in self.encoded.images)
        return self.adapter, self.encoded.prompt_ids[: self.encoded.num_prefix], pictures


def widths(encoded: Encoded) -> tuple[int, int]:
    """Padded lengths of prefix and suffix. Every row has padding: a batch without any takes attention's other path,
    whose last bits differ, and whether others have some is none of a row's business."""
    num_prefix, num_suffix = encoded.num_prefix, len(encoded.ids) - encoded.num_prefix
    return (bucket(num_prefix + 1, 8), bucket(num_suffix, 32)) if num_prefix else (0, bucket(num_suffix + 1, 32))


@dataclass(slots=True)
class _Said:
    """One row's tokens so far, their log-probability, and each one's at the temperature it was drawn at."""

    ids: list[int] = field(default_factory=list)
    total: float = 0.0
    drawn: list[float] = field(default_factory=list)

    def add(self, token: int, logprob: float, drawn: float) -> None:
        self.ids.append(token)
        self.total += logprob
        self.drawn.append(drawn)


class Forwards:
    """The passes of one model, with or without adapters. The cache that is handed in must hold the batch's prefixes."""

    def __init__(self, model: Any, chat: Chat, *, batch_size: int, has_adapters: bool) -> None:
        base = model.get_base_model() if has_adapters else model
        self.merged = _merged(model) if has_adapters else None
        self.stop = chat.stop_ids(base.generation_config)
        self._model = model
        self._image_token_id = chat.image_token_id
        self._decode_text = chat.decode
        self._unspeakable = chat.placeholder_ids()
        self._batch_size = batch_size
        self._device = next(model.parameters()).device
        self._dtype = model.dtype
        self._rope_index = getattr(base.model, "get_rope_index", None)
        self._active = ""

    def positions(self, encoded: Encoded) -> torch.Tensor:
        """(1, L), or (3, L) for models that place pictures in time, height and width."""
        if self._rope_index is None or not encoded.images:
            return torch.arange(len(encoded.ids)).expand(1 if self._rope_index is None else 3, -1)
        ids = torch.tensor([encoded.ids])
        grid = torch.cat([part.tensors["image_grid_thw"] for part in encoded.images])
        types = (ids == self._image_token_id).int()
        positions: torch.Tensor = self._rope_index(
            ids, mm_token_type_ids=types, image_grid_thw=grid, attention_mask=torch.ones_like(ids)
        )[0]
        return positions[:, 0]

    def prefix(self, batch: Sequence[Row]) -> list[Prefix]:
        """What each row begins with, read once."""
        rows = self._full(batch)
        lengths = [row.encoded.num_prefix for row in rows]
        width = widths(rows[0].encoded)[0]
        ids = left_pad([row.encoded.prompt_ids[:n] for row, n in zip(rows, lengths, strict=True)], width)
        mask = left_pad([[1] * n for n in lengths], width)
        positions = self._pad_positions([row.positions[:, :n] for row, n in zip(rows, lengths, strict=True)], width)
        images = [part for row in rows for part in row.encoded.images]
        out = self.forward(rows, ids, mask, positions, images=images, logits_to_keep=1)
        return Prefix.split(out.past_key_values, mask, num_rows=len(batch))

    def decode(
        self, batch: Sequence[Row], prefixes: PrefixCache, *, temperature: float, max_new_tokens: int
    ) -> list[Answer]:
        """Each row's answer; above temperature 0 it draws from its own seed."""
        rows = self._full(batch)
        out, mask = self._suffix(rows, prefixes, keep=1)
        draws = np.stack([np.random.Generator(np.random.Philox(row.seed)).random(max_new_tokens) for row in rows])
        positions = torch.stack([row.positions[:, -1:].max() for row in rows])
        said = [_Said() for _ in batch]
        open_rows = set(range(len(batch)))
        for step in range(max_new_tokens):
            scores = torch.log_softmax(out.logits[:, -1].float(), dim=-1)
            scores[:, self._unspeakable] = -torch.inf
            picked = _sample(scores, temperature, draws[:, step]) if temperature > 0 else scores.argmax(dim=-1)
            chosen = scores.gather(1, picked[:, None])[:, 0].tolist()
            weighed = _drawn_at(scores, picked, temperature).tolist() if temperature > 0 else chosen
            ids = picked.tolist()
            for at in tuple(open_rows):
                said[at].add(ids[at], chosen[at], weighed[at])
                if ids[at] in self.stop:
                    open_rows.discard(at)
            if not open_rows or step + 1 == max_new_tokens:
                break
            positions = positions + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            where = positions[:, None] if self._rope_index is None else positions[:, None].expand(3, -1, 1)
            past = out.past_key_values
            out = self.forward(rows, picked[:, None].cpu(), mask, where, past=past, logits_to_keep=1)
        return [
            Answer(self._decode_text(one.ids), len(one.ids), one.total, tuple(one.ids), drawn=tuple(one.drawn))
            for one in said
        ]

    def score(self, batch: Sequence[Row], prefixes: PrefixCache) -> list[float]:
        """Log-probability of each row's answer, end of turn included."""
        rows = self._full(batch)
        width = bucket(len(rows[0].encoded.answer_ids), 8)
        out, _ = self._suffix(rows, prefixes, keep=width + 1)
        scores = torch.log_softmax(out.logits[:, :-1].float(), dim=-1)
        answers = left_pad([row.encoded.answer_ids for row in rows], width).to(scores.device)
        values = scores.gather(2, answers[:, :, None])[:, :, 0].cpu()
        return [float(value[-len(row.encoded.answer_ids) :].sum()) for row, value in zip(batch, values, strict=False)]

    def _suffix(self, rows: Sequence[Row], prefixes: PrefixCache, *, keep: int) -> tuple[Any, torch.Tensor]:
        """The forward pass over what follows the prefix, answers included; returns output and the whole mask.

        keep: of how many last places logits are wanted; where a long answer follows a short prompt they are more than
        the tokens, and padding makes up the rest.
        """
        tails = [row.encoded.ids[row.encoded.num_prefix :] for row in rows]
        width = max(widths(rows[0].encoded)[1], bucket(keep, 32))
        ids = left_pad(tails, width)
        mask = left_pad([[1] * len(tail) for tail in tails], width)
        positions = self._pad_positions([row.positions[:, row.encoded.num_prefix :] for row in rows], width)
        past = None
        if rows[0].encoded.num_prefix:
            past, before = stack_prefixes([prefixes.get(row.prefix_key) for row in rows])
            mask = torch.cat([before, mask], dim=1)
        return self.forward(rows, ids, mask, positions, past=past, logits_to_keep=keep), mask

    def _full(self, batch: Sequence[Row]) -> list[Row]:
        return list(batch) + [batch[0]] * (self._batch_size - len(batch))

    def _pad_positions(self, positions: Sequence[torch.Tensor], width: int) -> torch.Tensor:
        """(B, L), or (3, B, L)."""
        padded = torch.stack([torch.nn.functional.pad(p, (width - p.shape[1], 0)) for p in positions], dim=1)
        return padded[0] if self._rope_index is None else padded

    def forward(
        self,
        rows: Sequence[Row],
        ids: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        *,
        logits_to_keep: int,
        past: Any = None,
        images: Sequence[ImagePart] = (),
    ) -> Any:
        """One call of the model as the rows' adapters."""
        tensors = {name: self._floats(value) for name, value in stack_images(images).items()}
        if "image_grid_thw" in tensors:
            tensors["mm_token_type_ids"] = (ids == self._image_token_id).int().to(self._device)
        names = [row.adapter for row in rows]
        model, context, extra = self._adapter(names)
        with context:
            return model(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                position_ids=positions.to(self._device),
                past_key_values=past,
                use_cache=True,
                logits_to_keep=logits_to_keep,
                **tensors,
                **extra,
            )

    def _floats(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self._device, self._dtype if value.is_floating_point() else None)

    def _adapter(self, names: Sequence[str]) -> tuple[Any, AbstractContextManager[Any], dict[str, Any]]:
        """The model to call for these rows, and how peft is told where it is needed: a batch of one adapter goes
        through weights that hold it, a mixed one through peft with a name a row."""
        merged = self.merged
        if merged is None:
            return self._model, nullcontext(), {}
        if len(set(names)) > 1:
            return merged.as_peft(), nullcontext(), {"adapter_names": list(names)}
        if merged.possible:
            return merged.speak_as(None if names[0] == BASE else names[0]), nullcontext(), {}
        if names[0] == BASE:
            return self._model, self._model.disable_adapter(), {}
        if names[0] != self._active:  # peft walks all modules, which costs a small model as much as a token
            self._model.set_adapter(names[0], inference_mode=True)
            self._active = names[0]
        return self._model, nullcontext(), {}


def _sample(scores: torch.Tensor, temperature: float, draws: np.ndarray[Any, Any]) -> torch.Tensor:
    """Inverse of the cumulative distribution at each row's own draw, in float64 so that every machine agrees."""
    cumulative = torch.softmax(scores.double() / temperature, dim=-1).cumsum(dim=-1)
    targets = torch.as_tensor(draws, device=scores.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True)[:, 0].clamp(max=scores.shape[1] - 1)


def _drawn_at(scores: torch.Tensor, picked: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probability of each row's token among those that could be drawn, at the temperature it was drawn at."""
    return torch.log_softmax(scores / temperature, dim=-1).gather(1, picked[:, None])[:, 0]


def _merged(model: Any) -> MergedModel:
    from selu_hpc.models.merged import MergedModel

    return MergedModel(model)
