"""Many questions over one picture in one training row, each seeing the picture and itself only.

Owns the row's layout and its attention: `<s><user>`, the picture's tokens, then K blocks of Q tokens, padded on the
right. A block's positions go on after the picture, so that it is trained exactly as it is asked later: alone.

Shape legend: B pictures, H heads, P prefix tokens, K questions a picture, Q tokens a question, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface

ATTENTION = "shared_prefix"
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Block:
    """One question behind the picture: its ids, and how many at the end are the answer with its end of turn."""

    ids: np.ndarray[Any, Any]
    num_answer: int


@dataclass(frozen=True, slots=True)
class Rows:
    """ids, labels: (B, K, Q); a label stands where its own token stands, -100 where no loss falls."""

    ids: torch.Tensor
    labels: torch.Tensor


def pack(rows: Sequence[Sequence[Block]], *, multiple: int = 8) -> Rows:
    """Pad every block to the longest; all rows have the same number of blocks."""
    longest = max(len(block.ids) for row in rows for block in row)
    width = -(-longest // multiple) * multiple
    ids = np.zeros((len(rows), len(rows[0]), width), dtype=np.int64)
    labels = np.full_like(ids, IGNORED)
    for b, row in enumerate(rows):
        for k, block in enumerate(row):
            end = len(block.ids)
            ids[b, k, :end] = block.ids
            labels[b, k, end - block.num_answer : end] = block.ids[end - block.num_answer :]
    return Rows(torch.from_numpy(ids), torch.from_numpy(labels))


def positions(num_prefix: int, rows: Rows) -> torch.Tensor:
    """(1, P + K·Q)"""
    _, k, q = rows.ids.shape
    block = torch.arange(num_prefix, num_prefix + q)
    return torch.cat([torch.arange(num_prefix), block.repeat(k)])[None]


def shared_prefix_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    num_prefix: int = 0,
    num_blocks: int = 0,
    heard: Callable[[int, torch.Tensor], None] | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal over the prefix, and for each block over the prefix and itself; no T×T matrix is ever made.

    heard: is told each layer's number and its blocks' weights (B, H, K, Q, P + Q).
    """
    b, h, total, d = query.shape
    q = (total - num_prefix) // num_blocks
    scale = d**-0.5 if scaling is None else scaling
    query = query * scale
    pq, pk, pv = (x[:, :, :num_prefix] for x in (query, key, value))
    prefix = _softmax((pq @ pk.transpose(-1, -2)).masked_fill(_above(num_prefix), float("-inf"))) @ pv
    bq, bk, bv = (x[:, :, num_prefix:].reshape(b, h, num_blocks, q, d) for x in (query, key, value))
    over_prefix = bq.reshape(b, h, num_blocks * q, d) @ pk.transpose(-1, -2)
    over_self = (bq @ bk.transpose(-1, -2)).masked_fill(_above(q), float("-inf"))
    weights = _softmax(torch.cat([over_prefix.reshape(b, h, num_blocks, q, num_prefix), over_self], dim=-1))
    if heard is not None:
        heard(module.layer_idx, weights)
    to_prefix = weights[..., :num_prefix].reshape(b, h, num_blocks * q, num_prefix) @ pv
    blocks = to_prefix.reshape(b, h, num_blocks, q, d) + weights[..., num_prefix:] @ bv
    merged = torch.cat([prefix, blocks.reshape(b, h, num_blocks * q, d)], dim=2)
    return merged.transpose(1, 2).contiguous(), None


def _above(size: int) -> torch.Tensor:
    return torch.ones(size, size, dtype=torch.bool).triu(1)


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return torch.softmax(scores.float(), dim=-1).to(scores.dtype)


def register() -> None:
    """Make the attention known to transformers under `ATTENTION`."""
    AttentionInterface.register(ATTENTION, shared_prefix_attention)
