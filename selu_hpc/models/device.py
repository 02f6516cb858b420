"""Where this process computes: on a GPU, if it may have one and torch can use it."""

from __future__ import annotations

import os

import torch

from selu_hpc.errors import ModelError


def has_gpu() -> bool:
    """DS_ACCELERATOR=cpu is how both engines keep a stage that asked for no GPU off others', DeepSpeed with it."""
    return os.environ.get("DS_ACCELERATOR") != "cpu" and torch.cuda.is_available()


def require_gpu(stage: str) -> None:
    """Refuse to compute on the CPU, for days, what was given GPUs; without GPUs it is what a laptop does."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not given or has_gpu():
        return
    made_for = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    raise ModelError(
        f"{stage} was given GPUs (CUDA_VISIBLE_DEVICES={given}), and torch {torch.__version__}, built {made_for}, "
        "cannot use them. In an image: build it with `--variant cuda`; else install torch for CUDA; where it is, the "
        f"node's driver is missing or too old for it (`nvidia-smi`). To compute on the CPU: resources.{stage}.gpus=0"
    )
