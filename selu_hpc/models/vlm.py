"""What every other room sees of a vision-language model: ask many questions over pictures, get answers.

Owns how a model is loaded, and hands on the seam (asking.py). Does not own how answers are made in this process
(generate.py), by a server (server.py), or how weights are found (backbone.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selu_hpc.config import ModelConfig
from selu_hpc.models.asking import Adapter, Answer, Generator, Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Adapter", "Answer", "Generator", "Request", "load_backbone", "load_generator"]


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
