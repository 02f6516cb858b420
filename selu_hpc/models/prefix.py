"""The shared beginning of questions over the same pictures: its keys and values, computed once.

Owns how they are kept, bounded in bytes, and stacked again into a batch. Does not own the forward pass (forwards.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from selu_hpc.models.device import has_gpu

_BUDGET_BYTES = 512 << 20
_SHARE_OF_A_GPU = 5
"""A fifth of what the weights leave free: 32 pictures of LLaVA-7B on a GPU of 40 GB; three of them fit in the above."""


def budget_bytes() -> int:
    """What the kept prefixes may take, asked when the weights are loaded."""
    return max(_BUDGET_BYTES, torch.cuda.mem_get_info()[0] // _SHARE_OF_A_GPU) if has_gpu() else _BUDGET_BYTES


@dataclass(frozen=True, slots=True)
class Prefix:
    """One row's layers as (keys, values), each (1, heads, P, head size), and its mask (1, P)."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...] = field(repr=False)
    mask: torch.Tensor = field(repr=False)

    @classmethod
    def split(cls, cache: Any, mask: torch.Tensor, *, num_rows: int) -> list[Prefix]:
        """The first rows of a batch's cache, one by one: what follows them only fills the batch up.

        Copies, so that a kept row does not keep its whole batch alive.
        """
        return [
            cls(
                tuple((layer.keys[at : at + 1].clone(), layer.values[at : at + 1].clone()) for layer in cache.layers),
                mask[at : at + 1],
            )
            for at in range(num_rows)
        ]

    @property
    def num_bytes(self) -> int:
        return sum(2 * keys.numel() * keys.element_size() for keys, _ in self.layers)


class PrefixCache:
    """The last used prefixes, at most `budget_bytes` of them (and always a batch)."""

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self.num_computed = 0
        self._rows: OrderedDict[Hashable, Prefix] = OrderedDict()
        self._used_bytes = 0
        self._token_bytes = 0

    def capacity(self, num_tokens: int) -> int:
        """How many prefixes of this length fit; 0 before the first was seen."""
        return self.budget_bytes // (2 * self._token_bytes * max(1, num_tokens)) if self._token_bytes else 0

    def touch(self, key: Hashable) -> bool:
        if key not in self._rows:
            return False
        self._rows.move_to_end(key)
        return True

    def get(self, key: Hashable) -> Prefix:
        return self._rows[key]

    def make_room(self, num_rows: int, num_tokens: int, *, besides: Container[Hashable]) -> None:
        """Let go of what would be dropped for so many new prefixes before they are computed, not after."""
        wanted = self._token_bytes * num_rows * num_tokens
        for key in list(self._rows):
            if self._used_bytes + wanted <= self.budget_bytes:
                return
            if key not in besides:
                self._used_bytes -= self._rows.pop(key).num_bytes

    def put(self, keys: Sequence[Hashable], prefixes: Sequence[Prefix], *, keep: int) -> None:
        for key, prefix in zip(keys, prefixes, strict=True):
            self._rows[key] = prefix
            self._used_bytes += prefix.num_bytes
            self._token_bytes = prefix.num_bytes // prefix.mask.shape[1]
            self.num_computed += 1
        while self._used_bytes > self.budget_bytes and len(self._rows) > keep:
            _, dropped = self._rows.popitem(last=False)
            self._used_bytes -= dropped.num_bytes


def stack_prefixes(prefixes: Sequence[Prefix]) -> tuple[DynamicCache, torch.Tensor]:
    """A fresh cache and mask for a batch of rows whose prefixes have one padded length."""
    cache = DynamicCache()
    for number in range(len(prefixes[0].layers)):
        keys = torch.cat([prefix.layers[number][0] for prefix in prefixes])
        values = torch.cat([prefix.layers[number][1] for prefix in prefixes])
        cache.update(keys, values, number)
    return cache, torch.cat([prefix.mask for prefix in prefixes])


def bucket(length: int, step: int) -> int:
    """The padded length: a multiple of `step`, coarser for long rows so that few shapes occur; 0 stays 0."""
    if length > 8 * step:
        step *= 4
    return -(-length // step) * step


def left_pad(rows: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """(B, width), zeros on the left."""
    padded = torch.zeros(len(rows), width, dtype=torch.long)
    for at, row in enumerate(rows):
        if row:
            padded[at, width - len(row) :] = torch.tensor(row)
    return padded
