"""What every other room sees of a vision-language model: ask many questions over pictures, get answers.

Owns the seam (`Request`, `Answer`, `Generator`) and how one is loaded. Does not own how answers are made in this
process (generate.py), by a server (server.py), or how weights are found (backbone.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from selu_hpc.config import ModelConfig
from selu_hpc.records import FrameHWC

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Adapter = str | None | Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Request:
    """One user turn: the words, and the pictures that come before them."""

    prompt: str
    images: tuple[FrameHWC, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said; `num_tokens` and `logprob` count the end of turn when there is one."""

    text: str
    num_tokens: int
    logprob: float


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


def load_generator(config: ModelConfig, *, adapters: Mapping[str, Path]) -> Generator:
    """The generator a recipe names: in this process, or an OpenAI-compatible server."""
    if config.server_url:
        from selu_hpc.models.server import ServerGenerator

        return ServerGenerator(config, adapters=adapters)
    from selu_hpc.models.generate import LocalGenerator

    return LocalGenerator.load(config, adapters=adapters)


def load_backbone(config: ModelConfig) -> tuple[PreTrainedModel, Any]:
    """The frozen base and its processor, for training and generation alike."""
    from selu_hpc.models.backbone import load

    return load(config)
