"""Answers in this process: one base in memory, adapters by name, full batches, shared prefixes.

Owns batching and decoding. A row's result may not depend on its neighbours, so every forward pass has a shape that
follows from the row itself (lengths padded to buckets) and `batch_size` (short batches repeat their first row).
The part of a prompt up to its last picture is computed once and shared by all questions over it (prefix.py).
On a CPU in float32 that makes answers equal to the last bit where the head size is a multiple of 16, as real models'
are: MKL promises equal bits only for rows at equal alignment.

Shape legend: B rows, L tokens, P prefix tokens, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models import backbone
from selu_hpc.models.asking import Adapter, Answer, Request
from selu_hpc.models.chat import Chat, Encoded, ImagePart, stack_images
from selu_hpc.models.device import has_gpu
from selu_hpc.models.prefix import Prefix, PrefixCache, bucket, left_pad, stack_prefixes

if TYPE_CHECKING:
    from selu_hpc.models.merged import MergedModel

BASE = "__base__"


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


class LocalGenerator:
    """A `Generator` on a transformers model; see vlm.py for what its methods promise."""

    def __init__(self, model: Any, processor: Any, config: ModelConfig, *, adapters: Sequence[str] = ()) -> None:
        self.model = model
        self.chat = Chat(processor)
        self.config = config
        self.adapters = tuple(adapters)
        self.device = next(model.parameters()).device
        self.dtype = model.dtype
        base = model.get_base_model() if self.adapters else model
        self._merged = _merged(model) if self.adapters else None
        self._rope_index = getattr(base.model, "get_rope_index", None)
        self._stop = self.chat.stop_ids(base.generation_config)
        self._unspeakable = self.chat.placeholder_ids()
        self._prefixes = PrefixCache()
        self._active = ""

    @classmethod
    def load(cls, config: ModelConfig, *, adapters: Mapping[str, Path]) -> LocalGenerator:
        """Base from `config.base`, then each adapter's folder by name, on the GPU where there is one."""
        model, processor = backbone.load(config)
        loaded: Any = model
        for name, folder in adapters.items():
            loaded = _add_adapter(loaded, name, folder, first=loaded is model)
        if has_gpu():
            loaded = loaded.to("cuda")
        loaded.eval()
        return cls(loaded, processor, config, adapters=tuple(adapters))

    def generate(
        self,
        requests: Sequence[Request],
        *,
        adapter: Adapter,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Answer]:
        if seeds is not None and len(seeds) != len(requests):
            raise ValueError(f"{len(seeds)} seeds for {len(requests)} requests")
        if temperature > 0 and seeds is None:
            raise ValueError("a sampled answer needs a seed for each request")
        limit = self.config.max_new_tokens if max_new_tokens is None else max_new_tokens
        answers: list[Answer | None] = [None] * len(requests)
        with torch.inference_mode():
            for rows in self._batches(self._rows(requests, adapter, seeds=seeds), answers_bucket=False):
                for row, answer in zip(rows, self._decode(rows, temperature, limit), strict=True):
                    answers[row.place] = answer
        return [answer for answer in answers if answer is not None]

    def logprobs(self, requests: Sequence[Request], answers: Sequence[str], *, adapter: Adapter) -> list[float]:
        found = [0.0] * len(requests)
        with torch.inference_mode():
            for rows in self._batches(self._rows(requests, adapter, answers=answers), answers_bucket=True):
                for row, value in zip(rows, self._score(rows), strict=True):
                    found[row.place] = value
        return found

    def choose(self, requests: Sequence[Request], choices: Sequence[Sequence[str]], *, adapter: Adapter) -> list[int]:
        names = self._names(adapter, len(requests))
        flat = [(r, c, n) for r, row, n in zip(requests, choices, names, strict=True) for c in row]
        values = self.logprobs([r for r, _, _ in flat], [c for _, c, _ in flat], adapter=[n for *_, n in flat])
        picked, at = [], 0
        for row in choices:
            scores = values[at : at + len(row)]
            picked.append(scores.index(max(scores)))
            at += len(row)
        return picked

    def forget(self) -> None:
        """Compute every picture anew: for who measures, what a warm-up has seen would be for nothing."""
        self._prefixes = PrefixCache()
        self.chat.forget()

    # ---- rows and their batches

    def _names(self, adapter: Adapter, count: int) -> list[str]:
        given = [adapter] * count if adapter is None or isinstance(adapter, str) else list(adapter)
        if len(given) != count:
            raise ValueError(f"{len(given)} adapters for {count} requests")
        names = [BASE if name is None else name for name in given]
        for name in set(names) - {BASE, *self.adapters}:
            loaded = ", ".join(self.adapters) or "none"
            raise ModelError(f"adapter {name!r} is not loaded (loaded: {loaded}); name it in load_generator's adapters")
        return names

    def _rows(
        self,
        requests: Sequence[Request],
        adapter: Adapter,
        *,
        seeds: Sequence[int] | None = None,
        answers: Sequence[str] | None = None,
    ) -> list[Row]:
        rows = []
        for place, (request, name) in enumerate(zip(requests, self._names(adapter, len(requests)), strict=True)):
            answer = None if answers is None else answers[place]
            encoded = self.chat.encode(request.prompt, request.images, answer=answer)
            seed = 0 if seeds is None else seeds[place]
            rows.append(Row(place, name, encoded, self._positions(encoded), seed))
        return rows

    def _positions(self, encoded: Encoded) -> torch.Tensor:
        """(1, L), or (3, L) for models that place pictures in time, height and width."""
        if self._rope_index is None or not encoded.images:
            return torch.arange(len(encoded.ids)).expand(1 if self._rope_index is None else 3, -1)
        ids = torch.tensor([encoded.ids])
        grid = torch.cat([part.tensors["image_grid_thw"] for part in encoded.images])
        types = (ids == self.chat.image_token_id).int()
        positions: torch.Tensor = self._rope_index(
            ids, mm_token_type_ids=types, image_grid_thw=grid, attention_mask=torch.ones_like(ids)
        )[0]
        return positions[:, 0]

    def _batches(self, rows: Sequence[Row], *, answers_bucket: bool) -> Iterator[list[Row]]:
        """Rows of one shape together, at most `batch_size` of them; makes the prefixes they share beforehand."""
        size = self.config.batch_size
        groups: dict[Hashable, list[Row]] = defaultdict(list)
        for row in rows:
            encoded = row.encoded
            answer = bucket(len(encoded.answer_ids), 8) if answers_bucket else 0
            groups[*_widths(encoded), answer].append(row)
        for group in groups.values():
            # A window's prefixes fit in memory at once; its rows are then answered in full batches.
            for window in self._windows(group):
                self._fill_prefixes(window)
                for start in range(0, len(window), size):
                    yield window[start : start + size]

    def _windows(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        limit = max(self.config.batch_size, self._prefixes.capacity(rows[0].encoded.num_prefix))
        window: list[Row] = []
        keys: set[Hashable] = set()
        for row in rows:
            if row.prefix_key not in keys and len(keys) == limit:
                yield window
                window, keys = [], set()
            window.append(row)
            keys.add(row.prefix_key)
        yield window

    def _fill_prefixes(self, rows: Sequence[Row]) -> None:
        missing: dict[Hashable, dict[Hashable, Row]] = defaultdict(dict)
        for row in rows:
            if row.encoded.num_prefix and not self._prefixes.touch(row.prefix_key):
                shapes = tuple(tuple(v.shape) for part in row.encoded.images for v in part.tensors.values())
                missing[row.adapter, _widths(row.encoded)[0], shapes].setdefault(row.prefix_key, row)
        size = self.config.batch_size
        wanted = {row.prefix_key for row in rows}
        for group in missing.values():
            fresh = list(group.values())
            for start in range(0, len(fresh), size):
                batch = fresh[start : start + size]
                self._prefixes.make_room(size, _widths(batch[0].encoded)[0], besides=wanted)
                self._prefixes.put([row.prefix_key for row in batch], self._prefix(batch), keep=size)

    # ---- forward passes

    def _prefix(self, batch: Sequence[Row]) -> list[Prefix]:
        rows = self._full(batch)
        lengths = [row.encoded.num_prefix for row in rows]
        width = _widths(rows[0].encoded)[0]
        ids = left_pad([row.encoded.prompt_ids[:n] for row, n in zip(rows, lengths, strict=True)], width)
        mask = left_pad([[1] * n for n in lengths], width)
        positions = self._pad_positions([row.positions[:, :n] for row, n in zip(rows, lengths, strict=True)], width)
        images = [part for row in rows for part in row.encoded.images]
        out = self._forward(rows, ids, mask, positions, images=images, logits_to_keep=1)
        return Prefix.split(out.past_key_values, mask)[: len(batch)]

    def _suffix(self, rows: Sequence[Row], *, keep: int) -> tuple[Any, torch.Tensor]:
        """The forward pass over what follows the prefix, answers included; returns output and the whole mask.

        keep: of how many last places logits are wanted; where a long answer follows a short prompt they are more than
        the tokens, and padding makes up the rest.
        """
        tails = [row.encoded.ids[row.encoded.num_prefix :] for row in rows]
        width = max(_widths(rows[0].encoded)[1], bucket(keep, 32))
        ids = left_pad(tails, width)
        mask = left_pad([[1] * len(tail) for tail in tails], width)
        positions = self._pad_positions([row.positions[:, row.encoded.num_prefix :] for row in rows], width)
        past = None
        if rows[0].encoded.num_prefix:
            past, before = stack_prefixes([self._prefixes.get(row.prefix_key) for row in rows])
            mask = torch.cat([before, mask], dim=1)
        return self._forward(rows, ids, mask, positions, past=past, logits_to_keep=keep), mask

    def _decode(self, batch: Sequence[Row], temperature: float, limit: int) -> list[Answer]:
        rows = self._full(batch)
        out, mask = self._suffix(rows, keep=1)
        draws = np.stack([np.random.Generator(np.random.Philox(row.seed)).random(limit) for row in rows])
        positions = torch.stack([row.positions[:, -1:].max() for row in rows])
        tokens: list[list[int]] = [[] for _ in rows]
        totals = [0.0] * len(rows)
        drawn: list[list[float]] = [[] for _ in rows]
        open_rows = set(range(len(batch)))
        for step in range(limit):
            scores = torch.log_softmax(out.logits[:, -1].float(), dim=-1)
            scores[:, self._unspeakable] = -torch.inf
            picked = _sample(scores, temperature, draws[:, step]) if temperature > 0 else scores.argmax(dim=-1)
            chosen = scores.gather(1, picked[:, None])[:, 0].tolist()
            weighed = _drawn_at(scores, picked, temperature).tolist() if temperature > 0 else chosen
            ids = picked.tolist()
            for at in tuple(open_rows):
                tokens[at].append(ids[at])
                totals[at] += chosen[at]
                drawn[at].append(weighed[at])
                if ids[at] in self._stop:
                    open_rows.discard(at)
            if not open_rows or step + 1 == limit:
                break
            positions = positions + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            where = positions[:, None] if self._rope_index is None else positions[:, None].expand(3, -1, 1)
            past = out.past_key_values
            out = self._forward(rows, picked[:, None].cpu(), mask, where, past=past, logits_to_keep=1)
        found = zip(tokens[: len(batch)], totals, drawn, strict=False)
        return [
            Answer(self.chat.decode(ids), len(ids), total, tuple(ids), drawn=tuple(each)) for ids, total, each in found
        ]

    def _score(self, batch: Sequence[Row]) -> list[float]:
        rows = self._full(batch)
        width = bucket(len(rows[0].encoded.answer_ids), 8)
        out, _ = self._suffix(rows, keep=width + 1)
        scores = torch.log_softmax(out.logits[:, :-1].float(), dim=-1)
        answers = left_pad([row.encoded.answer_ids for row in rows], width).to(scores.device)
        values = scores.gather(2, answers[:, :, None])[:, :, 0].cpu()
        return [float(value[-len(row.encoded.answer_ids) :].sum()) for row, value in zip(batch, values, strict=False)]

    def _full(self, batch: Sequence[Row]) -> list[Row]:
        return list(batch) + [batch[0]] * (self.config.batch_size - len(batch))

    def _pad_positions(self, positions: Sequence[torch.Tensor], width: int) -> torch.Tensor:
        """(B, L), or (3, B, L)."""
        padded = torch.stack([torch.nn.functional.pad(p, (width - p.shape[1], 0)) for p in positions], dim=1)
        return padded[0] if self._rope_index is None else padded

    def _forward(
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
        tensors = {name: self._floats(value) for name, value in stack_images(images).items()}
        if "image_grid_thw" in tensors:
            tensors["mm_token_type_ids"] = (ids == self.chat.image_token_id).int().to(self.device)
        names = [row.adapter for row in rows]
        model, context, extra = self._adapter(names)
        with context:
            return model(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                position_ids=positions.to(self.device),
                past_key_values=past,
                use_cache=True,
                logits_to_keep=logits_to_keep,
                **tensors,
                **extra,
            )

    def _floats(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self.device, self.dtype if value.is_floating_point() else None)

    def _adapter(self, names: Sequence[str]) -> tuple[Any, AbstractContextManager[Any], dict[str, Any]]:
        """The model to call for these rows, and how peft is told where it is needed: a batch of one adapter goes
        through weights that hold it, a mixed one through peft with a name a row."""
        merged = self._merged
        if merged is None:
            return self.model, nullcontext(), {}
        if len(set(names)) > 1:
            return merged.as_peft(), nullcontext(), {"adapter_names": list(names)}
        if merged.possible:
            return merged.speak_as(None if names[0] == BASE else names[0]), nullcontext(), {}
        if names[0] == BASE:
            return self.model, self.model.disable_adapter(), {}
        if names[0] != self._active:  # peft walks all modules, which costs a small model as much as a token
            self.model.set_adapter(names[0], inference_mode=True)
            self._active = names[0]
        return self.model, nullcontext(), {}


def _widths(encoded: Encoded) -> tuple[int, int]:
    """Padded lengths of prefix and suffix. Every row has padding: a batch without any takes attention's other path,
    whose last bits differ, and whether others have some is none of a row's business."""
    num_prefix, num_suffix = encoded.num_prefix, len(encoded.ids) - encoded.num_prefix
    return (bucket(num_prefix + 1, 8), bucket(num_suffix, 32)) if num_prefix else (0, bucket(num_suffix + 1, 32))


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


def _add_adapter(model: Any, name: str, folder: Path, *, first: bool) -> Any:
    from peft import PeftModel

    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"adapter {name!r}: {folder} has no adapter_config.json; finish its fine-tuning stage first")
    try:
        if first:
            return PeftModel.from_pretrained(model, folder, adapter_name=name)
        model.load_adapter(folder, adapter_name=name)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"adapter {name!r}: {folder} does not fit this base ({type(error).__name__}: {str(error)[:300]}); "
            "an adapter belongs to the base it was trained on"
        ) from error
    return model
