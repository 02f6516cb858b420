"""Where this process computes: on a GPU, if it may have one and torch can use it."""

from __future__ import annotations

import os
import re
from itertools import takewhile

from selu_hpc.errors import ModelError

_GPU = re.compile(r"\d+|(GPU|MIG)-.+")


def visible_gpus(words: str) -> tuple[str, ...]:
    """What CUDA makes of a CUDA_VISIBLE_DEVICES: all before the first word that names no GPU, as -1 and NoDevFiles."""
    return tuple(takewhile(_GPU.fullmatch, (word.strip() for word in words.split(","))))


def has_gpu() -> bool:
    """DS_ACCELERATOR=cpu is how both engines keep a stage that asked for no GPU off others', DeepSpeed with it."""
    import torch

    return os.environ.get("DS_ACCELERATOR") != "cpu" and torch.cuda.is_available()


def require_gpu(stage: str, *, draws: bool = False) -> None:
    """Refuse to compute on the CPU, for days, what was given GPUs; without GPUs it is what a laptop does.

    draws: a simulator needs them too, so that to ask for none is no way out.
    """
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not visible_gpus(given) or has_gpu():
        return
    what = f"{stage} was given GPUs (CUDA_VISIBLE_DEVICES={given}), and "
    if torch.cuda.is_available():
        raise ModelError(f"{what}DS_ACCELERATOR=cpu keeps it off them; `unset DS_ACCELERATOR`")
    made_for = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    otherwise = "" if draws else f"; or compute on the CPU: resources.{stage}.gpus=0"
    raise ModelError(
        f"{what}torch {torch.__version__}, built {made_for}, cannot use them. In an image: build it with "
        "`--variant cuda`; else install torch for CUDA; where it is, the node's driver is missing or too old for it "
        f"(`nvidia-smi`){otherwise}"
    )
