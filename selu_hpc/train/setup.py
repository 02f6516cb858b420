"""What every training begins with: the base with its adapter, the pictures it looks at, and DeepSpeed around it.

Owns nothing of how it learns (sft.py, rl4vlm/update.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from selu_hpc.config import FinetuneConfig, ModelConfig
from selu_hpc.models.backbone import find
from selu_hpc.models.chat import Chat
from selu_hpc.models.vlm import load_backbone
from selu_hpc.records import FrameRef, derive_seed
from selu_hpc.train import adapter, towers
from selu_hpc.train.data import Frames, Pictures
from selu_hpc.train.features import FeatureCache, cache_folder, cache_limit_bytes
from selu_hpc.train.order import micro_batch_size
from selu_hpc.train.ranks import Team
from selu_hpc.train.shortcuts import merge_lora
from selu_hpc.train.zero import Engine, TrainState, check_dtype


def check(model: ModelConfig, settings: FinetuneConfig, team: Team) -> int:
    """Samples of one forward pass, or why these ranks on this device cannot train so."""
    check_dtype(model.dtype, team.device)
    return micro_batch_size(world=team.world, global_batch=settings.global_batch, micro_batch=settings.micro_batch)


def load(config: ModelConfig, *, seed: int) -> tuple[Path, Any, Any]:
    """The base's folder, the base with a fresh adapter, and its processor."""
    base = find(config.base)
    backbone, processor = load_backbone(config)
    return base, adapter.put_on(backbone, config, seed=derive_seed(seed, "lora")), processor


def look(refs: Iterable[FrameRef], model: Any, chat: Chat, team: Team, frames: Frames) -> Pictures:
    """Read every frame once, shared out over the ranks of a host, and encode what no one has encoded yet."""
    tower = towers.take_out(model, device=team.device)
    cache = None
    if tower is not None:
        cache = FeatureCache(cache_folder(), tower.identity(chat.processor.image_processor), cache_limit_bytes())
    pictures = Pictures(frames, chat, tower, cache)
    every = list(dict.fromkeys(refs))
    mine = every[team.local_index :: team.num_local]
    for seen in team.gather(pictures.see(mine)):
        pictures.learn(seen)
    pictures.keep(mine)
    team.barrier()
    if tower is not None:
        tower.rest()  # a frame the cache could not keep brings it back
    return pictures


def merge_where_equal(model: Any, *, dtype: str, dropout: float, deepspeed: Mapping[str, Any]) -> None:
    """Make each LoRA layer one product where that changes nothing but rounding.

    deepspeed: what `deepspeed.initialize` is given, for a user's file may ask for another stage than the recipe.
    """
    if dtype == "float32" and not dropout and deepspeed["zero_optimization"]["stage"] < 3:
        merge_lora(model)


def start_engine(
    model: Any,
    settings: FinetuneConfig,
    deepspeed: Mapping[str, Any],
    *,
    state: TrainState | None,
    start: Mapping[str, torch.Tensor] | None,
) -> Engine:
    """DeepSpeed around the model, which goes on from a state, else from weights, else as it is."""
    weights = state.weights if state else start
    if weights is not None:
        for name, param in adapter.trainable(model).items():
            param.data.copy_(weights[name])
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    engine = Engine(model, deepspeed)
    if state is not None:
        engine.set_state(state)
    elif weights is not None:
        engine.set_weights(weights)
    return engine
