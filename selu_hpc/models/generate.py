"""Answers in this process: one base in memory, adapters by name, full batches, shared prefixes.

Owns batching: rows of one shape go together, and the part of a prompt up to its last picture is computed once and
shared by all questions over it (prefix.py). Does not own what a batch goes through (forwards.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models import backbone
from selu_hpc.models.adapters import add_adapter, require_targets
from selu_hpc.models.asking import Adapter, Answer, Request
from selu_hpc.models.chat import Chat
from selu_hpc.models.device import has_gpu
from selu_hpc.models.forwards import BASE, Forwards, Row, widths
from selu_hpc.models.prefix import PrefixCache, bucket, budget_bytes


class LocalGenerator:
    """A `Generator` on a transformers model; see vlm.py for what its methods promise."""

    def __init__(self, model: Any, processor: Any, config: ModelConfig, *, adapters: Sequence[str] = ()) -> None:
        self.model = model
        self.chat = Chat(processor)
        self.config = config
        self.adapters = tuple(adapters)
        self.forwards = Forwards(model, self.chat, batch_size=config.batch_size, has_adapters=bool(self.adapters))
        self._prefixes = PrefixCache(budget_bytes())

    @classmethod
    def load(cls, config: ModelConfig, *, adapters: Mapping[str, Path]) -> LocalGenerator:
        """Base from `config.base`, then each adapter's folder by name, on the GPU where there is one."""
        model, processor = backbone.load(config)
        base = backbone.find(config.base)
        require_targets(model, config.lora_targets)
        loaded: Any = model
        for name, folder in adapters.items():
            loaded = add_adapter(loaded, name, folder, base=base, first=loaded is model)
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
                said = self.forwards.decode(rows, self._prefixes, temperature=temperature, max_new_tokens=limit)
                self._require_numbers(rows, [answer.logprob for answer in said])
                for row, answer in zip(rows, said, strict=True):
                    answers[row.place] = answer
        return [answer for answer in answers if answer is not None]

    def logprobs(self, requests: Sequence[Request], answers: Sequence[str], *, adapter: Adapter) -> list[float]:
        found = [0.0] * len(requests)
        with torch.inference_mode():
            for rows in self._batches(self._rows(requests, adapter, answers=answers), answers_bucket=True):
                values = self.forwards.score(rows, self._prefixes)
                self._require_numbers(rows, values)
                for row, value in zip(rows, values, strict=True):
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
        self._prefixes = PrefixCache(budget_bytes())
        self.chat.forget()

    def _require_numbers(self, rows: Sequence[Row], logprobs: Sequence[float]) -> None:
        """Refuse to answer for a model whose logits are no numbers; of those too a token would be picked."""
        bad = sorted({row.adapter for row, one in zip(rows, logprobs, strict=True) if not math.isfinite(one)})
        if bad:
            named = " and ".join("no adapter" if name == BASE else f"adapter {name!r}" for name in bad)
            wider = "" if self.config.dtype == "float32" else "set model.dtype: float32, or "
            raise ModelError(
                f"model.base {self.config.base!r} with {named} gives log-probabilities that are no numbers in "
                f"{self.config.dtype}: a weight is NaN or infinite, or a sum is too large for the type; {wider}fetch "
                "the base or train the adapter again"
            )

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
            rows.append(Row(place, name, encoded, self.forwards.positions(encoded), seed))
        return rows

    def _batches(self, rows: Sequence[Row], *, answers_bucket: bool) -> Iterator[list[Row]]:
        """Rows of one shape together, at most `batch_size` of them; makes the prefixes they share beforehand.

        Prefixes are made for rows of all suffixes at once: a batch of pictures may be asked questions of two lengths.
        """
        size = self.config.batch_size
        for group in _by(rows, lambda row: widths(row.encoded)[0]):
            # A window's prefixes fit in memory at once; its rows are then answered in full batches.
            for window in self._windows(group):
                self._fill_prefixes(window)
                for alike in _by(window, partial(_shape, answers_bucket=answers_bucket)):
                    for start in range(0, len(alike), size):
                        yield alike[start : start + size]

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
                missing[row.adapter, widths(row.encoded)[0], shapes].setdefault(row.prefix_key, row)
        size = self.config.batch_size
        wanted = {row.prefix_key for row in rows}
        for group in missing.values():
            fresh = list(group.values())
            for start in range(0, len(fresh), size):
                batch = fresh[start : start + size]
                self._prefixes.make_room(size, widths(batch[0].encoded)[0], besides=wanted)
                self._prefixes.put([row.prefix_key for row in batch], self.forwards.prefix(batch), keep=size)


def _by(rows: Sequence[Row], shape: Callable[[Row], Hashable]) -> Iterator[list[Row]]:
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        groups[shape(row)].append(row)
    yield from groups.values()


def _shape(row: Row, *, answers_bucket: bool) -> Hashable:
    """What rows of a batch have in common."""
    return (*widths(row.encoded), bucket(len(row.encoded.answer_ids), 8) if answers_bucket else 0)
