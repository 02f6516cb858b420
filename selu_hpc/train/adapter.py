"""The LoRA adapter: put on the frozen base, continued from a folder, written as a plain peft folder.

Owns its names and shapes. Does not own the base or the note that names it (models/), or how it is trained (sft.py).
"""

from __future__ import annotations

import errno
import hashlib
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from selu_hpc.config import ModelConfig
from selu_hpc.errors import TrainingError
from selu_hpc.models.adapters import note_base, other_base, require_targets
from selu_hpc.rounds.rundir import sync_folder

WEIGHTS = "adapter_model.safetensors"
_PROJECTORS = r".*multi_modal_projector.*"
"""What vLLM and SGLang leave out of an adapter, or refuse it for."""


def put_on(model: Any, config: ModelConfig, *, seed: int) -> Any:
    """The base with fresh LoRA matrices, the same on every rank and machine for one seed."""
    from peft import LoraConfig, get_peft_model

    require_targets(model, config.lora_targets)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_targets,
        exclude_modules=_PROJECTORS if config.server_url else None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, settings, autocast_adapter_dtype=False)


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The LoRA matrices by their name in the model, in the model's order."""
    return {name: param for name, param in model.named_parameters() if param.requires_grad}


def read(folder: Path, model: Any, base: Path) -> dict[str, torch.Tensor]:
    """An adapter's matrices by the names `trainable` gives; refuses one that belongs to another base."""
    _check_base(folder, base)
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{folder}: cannot read {WEIGHTS} ({error}); the adapter to continue from must be a peft folder; "
            "submit the round before again, or set finetune.start_from: base"
        ) from error
    wanted = {_plain(name): (name, tuple(param.shape)) for name, param in trainable(model).items()}
    different = [
        f"{name} {list(tensor.shape)}" for name, tensor in found.items() if _shape(wanted, name) != tuple(tensor.shape)
    ]
    missing = sorted(set(wanted) - set(found))
    if different or missing:
        what = f"holds {different[0]}, which the model has not" if different else f"lacks {missing[0]}"
        raise TrainingError(
            f"{folder}: the adapter {what}: it belongs to another base, rank or lora_targets; "
            "set model.base, model.lora_rank and model.lora_targets to what it was trained with, "
            "or finetune.start_from: base"
        )
    return {wanted[name][0]: tensor.float() for name, tensor in found.items()}


def write(folder: Path, model: Any, weights: Mapping[str, torch.Tensor], *, base: str, base_folder: Path) -> str:
    """Write the peft folder, whole or not at all; returns the digest of what it means."""
    partial = own_name(folder)
    settings = model.peft_config["default"]
    settings.inference_mode = True
    named = {_plain(name): tensor.detach().float().cpu().contiguous() for name, tensor in sorted(weights.items())}
    try:
        partial.mkdir(parents=True)
        settings.save_pretrained(str(partial))
        save_file(named, partial / WEIGHTS, metadata={"format": "pt"})
        note_base(partial, base=base, base_folder=base_folder)
        sync_folder(partial)
        put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return digest(named, settings)


def own_name(folder: Path) -> Path:
    """Where a folder is written until it is whole: a name that no other attempt has."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")


def put_in_place(made: Path, folder: Path) -> None:
    """Rename a whole folder to where it belongs, in place of what an attempt left there.

    That one is renamed away first: emptied on NFS, it would keep the files that somebody reads, and be in the way.
    """
    gone = made.with_name(f"{made.name}.gone")
    for last in (False, False, True):
        try:
            with suppress(FileNotFoundError):
                folder.rename(gone)
            made.rename(folder)
            break
        except OSError as error:
            if last or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        finally:
            shutil.rmtree(gone, ignore_errors=True)
    sync_folder(folder.parent)


def digest(weights: Mapping[str, torch.Tensor], settings: Any) -> str:
    """What an adapter means, without where its base lies on this machine."""
    hashed = hashlib.blake2b(digest_size=16)
    hashed.update(f"{settings.r}/{settings.lora_alpha}/{settings.target_modules}".encode())
    for name, tensor in sorted(weights.items()):
        hashed.update(name.encode())
        hashed.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _check_base(folder: Path, base: Path) -> None:
    if (other := other_base(folder, base)) is not None:
        raise TrainingError(
            f"{folder}: the adapter was trained on base {other}, not on {base}; "
            "set model.base to it, or finetune.start_from: base"
        )


def _plain(name: str) -> str:
    return name.replace(".default.", ".")


def _shape(wanted: Mapping[str, tuple[str, tuple[int, ...]]], name: str) -> tuple[int, ...] | None:
    known = wanted.get(name)
    return None if known is None else known[1]
