"""A small random model of each family, made offline, and adapters for them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selu_hpc.config import ModelConfig
from selu_hpc.models.pocket.model import build_model, save
from selu_hpc.models.vlm import Request

LORA_RANK = 4


@pytest.fixture(scope="session")
def pocket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket's architecture with random weights."""
    folder = tmp_path_factory.mktemp("pocket")
    save(build_model(seed=7), folder)
    return folder


@pytest.fixture(scope="session")
def pocket_config(pocket_folder: Path) -> ModelConfig:
    return ModelConfig(base=str(pocket_folder), batch_size=4, max_new_tokens=5)


@pytest.fixture(scope="session")
def adapters(pocket_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters that change answers, saved as fine-tuning saves them."""
    return make_adapters(pocket_folder, tmp_path_factory.mktemp("adapters"))


def make_adapters(base: Path, folder: Path) -> dict[str, Path]:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    found = {}
    for seed, name in enumerate(("actor", "critic")):
        model = AutoModelForImageTextToText.from_pretrained(base)
        lora = LoraConfig(r=LORA_RANK, lora_alpha=8, target_modules=ModelConfig().lora_targets)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            adapted = get_peft_model(model, lora)
            for key, value in adapted.named_parameters():
                if "lora_B" in key:
                    torch.nn.init.normal_(value, std=0.3)
        adapted.save_pretrained(folder / name)
        found[name] = folder / name
    return found


@functools.cache
def frame(seed: int, size: int = 96) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.fixture
def ask() -> Callable[..., list[Request]]:
    """Requests with prompts of different lengths and one picture each."""

    def make(count: int, *, first: int = 0) -> list[Request]:
        return [
            Request("is the fridge open? " + "look again. " * (number % 4) + "yes or no?", (frame(number),))
            for number in range(first, first + count)
        ]

    return make
