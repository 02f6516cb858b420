"""The seam of a vision-language model: many questions over pictures in, answers out.

Owns the contract alone. vlm.py hands it on with the ways to load what keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from selu_hpc.records import FrameHWC

Adapter = str | None | Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Request:
    """One user turn: the words, and the pictures that come before them."""

    prompt: str
    images: tuple[FrameHWC, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said; `num_tokens` and `logprob` count the end of turn when there is one.

    ids: the very tokens, end of turn included; empty where a server keeps them to itself.
    sure: where a server tells what else it might have said, how likely its yes or no was against the other; else NaN.
    drawn: each token's log-probability at the temperature it was drawn at; empty where ids is.
    """

    text: str
    num_tokens: int
    logprob: float
    ids: tuple[int, ...] = field(default=(), repr=False, compare=False)
    sure: float = field(default=math.nan, repr=False, compare=False)
    drawn: tuple[float, ...] = field(default=(), repr=False, compare=False)


class Generator(Protocol):
    """One frozen base and its adapters; `adapter` is a name for all rows, one name a row, or None for the base."""

    def generate(
        self,
        requests: Sequence[Request],
        *,
        adapter: Adapter,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Answer]:
        """Answers in the requests' order; above temperature 0 each row draws from its own seed."""
        ...

    def logprobs(self, requests: Sequence[Request], answers: Sequence[str], *, adapter: Adapter) -> list[float]:
        """Natural-log probability of each answer and its end of turn."""
        ...

    def choose(self, requests: Sequence[Request], choices: Sequence[Sequence[str]], *, adapter: Adapter) -> list[int]:
        """For each request the index of its likeliest choice; the first of equals."""
        ...
