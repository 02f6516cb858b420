"""Which GPU a THOR process draws on: as the job was given it, as the client counts, as Vulkan counts.

Owns the three ways to count. Does not own which slot has which GPU (make.py) or what computes on them
(models/device.py).
"""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache

from selu_hpc.config import Backend, EnvConfig
from selu_hpc.errors import ConfigError
from selu_hpc.models.device import visible_gpus

PATIENCE_S = 60.0
"""For `nvidia-smi` on a node whose driver has to wake up."""


def visible_cuda_indices() -> list[int]:
    """The job's GPUs by CUDA's index; where they are named by their UUIDs, `nvidia-smi` knows it."""
    return _numbers() or [_index_of(name) for name in visible_gpus(_visible())]


def as_client_counts(cuda_index: int) -> int:
    """ai2thor counts within the numbers of CUDA_VISIBLE_DEVICES; UUIDs it passes over, and then it takes the index."""
    numbers = _numbers()
    return numbers.index(cuda_index) if numbers else cuda_index


def vulkan_mapping(config: EnvConfig, cuda_index: int) -> dict[int, int]:
    """CUDA device → Vulkan device by `env.vulkan_devices`, which must know the one that draws."""
    mapping = dict(enumerate(config.vulkan_devices))
    if cuda_index not in mapping:
        raise ConfigError(
            f"env.vulkan_devices is {list(config.vulkan_devices)} and has no Vulkan device for CUDA device "
            f"{cuda_index}, which CUDA_VISIBLE_DEVICES={_visible()} has draw; give one for each CUDA device from 0 to "
            f"{cuda_index}"
        )
    return mapping


def why_vulkan_devices_are_idle(config: EnvConfig) -> str:
    """What to tell whoever set `env.vulkan_devices` where nothing reads it, or nothing."""
    if not config.vulkan_devices:
        return ""
    if config.backend is not Backend.CLOUD_RENDERING:
        return f"env.vulkan_devices has no effect: env.backend is {config.backend}, and only cloud_rendering reads it"
    if not visible_gpus(_visible()):
        return (
            "env.vulkan_devices has no effect: CUDA_VISIBLE_DEVICES names no GPU here, so the driver chooses which one "
            "draws; ask for GPUs (resources.rollout.gpus, resources.evaluate.gpus) or set CUDA_VISIBLE_DEVICES"
        )
    return ""


def _visible() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


def _numbers() -> list[int]:
    return [int(name) for name in visible_gpus(_visible()) if name.isdigit()]


def _index_of(name: str) -> int:
    """By its UUID, which may be cut short as CUDA allows; a MIG device's is that of the GPU it is on."""
    # Drivers before 470 name a MIG device MIG-GPU-UUID/INSTANCE/INSTANCE.
    uuid = name.removeprefix("MIG-").partition("/")[0] if name.startswith("MIG-GPU-") else name
    found = {index for listed, index in _listed_gpus() if listed.startswith(uuid)}
    if len(found) != 1:
        raise ConfigError(
            f"CUDA_VISIBLE_DEVICES={_visible()} names {name}, and `nvidia-smi -L` does not tell which GPU that is; "
            "name the job's GPUs by their numbers: set CUDA_VISIBLE_DEVICES=0 or the like where the task starts"
        )
    return found.pop()


@cache
def _listed_gpus() -> tuple[tuple[str, int], ...]:
    """UUID and index of each GPU, and of each MIG device with the index of its GPU."""
    try:
        asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    found: list[tuple[str, int]] = []
    index = -1
    for line in asked.stdout.splitlines():
        gpu, uuid = re.match(r"GPU (\d+):", line), re.search(r"\(UUID: ([^)]+)\)", line)
        index = int(gpu[1]) if gpu else index
        if uuid:
            found.append((uuid[1], index))
    return tuple(found)
