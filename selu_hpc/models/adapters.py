"""An adapter's folder: the base that it belongs to, and how it is put on that base for who generates.

Owns the note of the base beside the weights. Does not own how an adapter is trained and written (train/adapter.py).
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from selu_hpc.errors import ModelError
from selu_hpc.models.backbone import fingerprint

NOTE = "base.json"


def require_targets(model: Any, targets: str) -> None:
    """Refuse layers for LoRA that a base has not, ahead of a round that its fine-tuning would lose."""
    linear = [name for name, module in model.named_modules() if hasattr(module, "in_features")]
    if targets == "all-linear" or any(re.fullmatch(targets, name) for name in linear):
        return
    ends = sorted({name.rpartition(".")[2] for name in linear})
    raise ModelError(
        f"model.lora_targets {targets!r} matches no layer of {type(model).__name__}; its linear layers end in "
        f"{', '.join(ends)}"
    )


def note_base(folder: Path, *, base: str, base_folder: Path) -> None:
    """Write beside an adapter which base it was trained on."""
    identity = {"base": base, "fingerprint": fingerprint(base_folder)}
    (folder / NOTE).write_text(json.dumps(identity, indent=1) + "\n")


def other_base(folder: Path, base: Path) -> str | None:
    """What the note calls the adapter's base where that is another one than this.

    None as well for an adapter that was made elsewhere, without a note: its names and shapes decide.
    """
    try:
        known = json.loads((folder / NOTE).read_text())
    except (OSError, ValueError):
        return None
    return None if known.get("fingerprint") == fingerprint(base) else repr(known.get("base"))


def add_adapter(model: Any, name: str, folder: Path, *, base: Path, first: bool) -> Any:
    """The model with one adapter more, all of it, in main memory; the first one makes a peft model of it."""
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"adapter {name!r}: {folder} has no adapter_config.json; finish its fine-tuning stage first")
    if (other := other_base(folder, base)) is not None:
        raise ModelError(
            f"adapter {name!r}: {folder} was trained on base {other}, not on {base}; set model.base to it, or take an "
            "adapter of this base"
        )
    try:
        model, missing = _load(model, name, folder, first=first)
    except (RuntimeError, ValueError, KeyError, OSError, SafetensorError) as error:
        raise ModelError(
            f"adapter {name!r}: {folder} does not fit this base ({type(error).__name__}: {str(error)[:300]}); "
            "an adapter belongs to the base it was trained on"
        ) from error
    if missing:
        raise ModelError(
            f"adapter {name!r}: {folder} does not hold all of this model's matrices, which would be fresh ones "
            f"({missing[:300]}); it is damaged, or belongs to another base"
        )
    return model


def _load(model: Any, name: str, folder: Path, *, first: bool) -> tuple[Any, str]:
    """peft's model, and what peft found missing in the file, for which it makes up matrices.

    torch_device: else peft reads a file by way of a GPU that this process may have no business with.
    """
    from peft import PeftModel

    if not first:
        told = model.load_adapter(folder, adapter_name=name, torch_device="cpu")
        return model, ", ".join(told.missing_keys)
    with warnings.catch_warnings():  # `from_pretrained` tells it by nothing else
        warnings.filterwarnings("error", message="(?s).*missing adapter keys")
        try:
            return PeftModel.from_pretrained(model, folder, adapter_name=name, torch_device="cpu"), ""
        except UserWarning as missing:
            return model, str(missing)
