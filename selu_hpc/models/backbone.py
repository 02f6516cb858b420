"""Finds a base model's files and loads them, or says which are missing and how to fetch them.

Owns the three places a base may be: the package (`pocket`), a folder, the hub's cache. Nothing is downloaded here:
compute nodes have no network. Does not own adapters (generate.py, train/).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

_INDEX = "model.safetensors.index.json"
_SAMPLE_BYTES = 1 << 20
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_TYPES = ("token_type_ids", "mm_token_type_ids")
"""What some models are told of each token; forwards.py and train/data.py tell the Qwen families the second."""


def load(config: ModelConfig) -> tuple[PreTrainedModel, Any]:
    """Base and processor, in evaluation mode and without gradients; sets this process's torch threads."""
    torch.set_num_threads(config.threads_per_process)
    transformers.utils.logging.disable_progress_bar()
    folder = find(config.base)
    try:
        model, told = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=getattr(torch, config.dtype), local_files_only=True, output_loading_info=True
        )
        _check_weights(told, config.base, folder)
        _check_inputs(model, config.base)
        processor = load_processor(folder)
    except SafetensorError as error:
        raise ModelError(
            f"model.base {config.base!r}: cannot read {', '.join(_damaged(folder)) or '*.safetensors'} in {folder} "
            f"({error}), as after a download that was cut short; remove that and {_fetch(config.base, folder)}"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(
            f"model.base {config.base!r}: cannot load {folder} ({type(error).__name__}: {error}); it must hold an "
            "image-text-to-text model and its processor; see docs/add-a-backbone.md"
        ) from error
    model.requires_grad_(requires_grad=False)
    model.eval()
    return model, processor


def find(base: str) -> Path:
    """The folder with the base's files; raises ModelError that lists what is missing."""
    if base == "pocket":
        from selu_hpc.models.pocket.model import weights_folder

        return weights_folder()
    folder = Path(base).expanduser()
    if folder.is_dir():
        return _checked(folder, base)
    if folder.is_absolute() or base.startswith("."):
        raise ModelError(
            f"model.base {base!r}: no such folder; give a folder (in an image: one that the site's `mounts:` show), a "
            "hub id, or `pocket`"
        )
    try:
        return _checked(Path(snapshot_download(base, local_files_only=True)), base)
    except (LocalEntryNotFoundError, HfHubHTTPError, ValueError, OSError) as error:
        raise ModelError(
            f"model.base {base!r}: neither a folder nor in the hub cache {constants.HF_HUB_CACHE} (config.json, "
            f"processor files, *.safetensors); on a login node `hf download {base}` with HF_HOME on shared storage, "
            "set HF_HOME where jobs get their environment too, then submit again; or set model.base to a folder or to "
            "`pocket`"
        ) from error


def fingerprint(base: Path) -> str:
    """Tells bases apart without reading gigabytes: config, and each weight file's size, head and middle."""
    hashed = hashlib.blake2b(digest_size=16)
    hashed.update(json.dumps(_architecture(base), sort_keys=True).encode())
    for file in sorted(base.glob("*.safetensors")):
        size = file.stat().st_size
        hashed.update(f"{file.name}/{size}".encode())
        with file.open("rb") as stream:
            hashed.update(stream.read(_SAMPLE_BYTES))
            stream.seek(size // 2)
            hashed.update(stream.read(_SAMPLE_BYTES))
    return hashed.hexdigest()


def _architecture(base: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((base / "config.json").read_text())
    for name in ("_name_or_path", "transformers_version"):
        loaded.pop(name, None)
    return loaded


def load_processor(folder: Path) -> Any:
    """The base's processor with the PIL image backend, left-padded; the same pixels with and without torchvision."""
    try:
        processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (ImportError, ValueError):  # that torchvision is missing is said by either, as the base's files are
        processor = _without_video(folder)
        if processor is None:
            raise
    if processor.chat_template is None:
        processor.chat_template = processor.tokenizer.chat_template
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _without_video(folder: Path) -> Any:
    """Qwen's processors want torchvision for video; ours sees pictures only. None where it is not video that lacks."""
    name = _read(folder / "processor_config.json", folder / "preprocessor_config.json").get("processor_class", "")
    full = getattr(transformers, name, None)
    if full is None or "video_processor" not in full.get_attributes():
        return None
    logger.debug("%s: torchvision is not installed, loading %s for pictures only", folder, name)
    return pictures_only(full).from_pretrained(folder, backend="pil", local_files_only=True)


def pictures_only(full: Any) -> Any:
    """A processor class that is `full` without its video part."""

    class PicturesOnly(full):  # type: ignore[misc]  # a class known at run time only
        attributes = ("image_processor", "tokenizer")

        def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None, **kwargs: Any):
            super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return None if argument is None else super().check_argument_for_proper_class(argument_name, argument)

    PicturesOnly.__name__ = full.__name__
    return PicturesOnly


def _checked(folder: Path, base: str) -> Path:
    """The folder where it has all files."""
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        missing.append("processor_config.json or preprocessor_config.json")
    if not (folder / "tokenizer_config.json").is_file():
        missing.append("tokenizer_config.json")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        missing.append(" or ".join(_TOKENIZERS))
    if (folder / _INDEX).is_file():
        shards = set(_read(folder / _INDEX).get("weight_map", {}).values())
        missing.extend(sorted(shard for shard in shards if not (folder / shard).is_file()))
    elif not any(folder.glob("*.safetensors")):
        missing.append("model.safetensors")
    if missing:
        raise ModelError(f"model.base {base!r}: {folder} lacks {', '.join(missing)}; {_fetch(base, folder)}")
    return folder


def _fetch(base: str, folder: Path) -> str:
    """What brings the files: of the package's own base, a folder of one's own or a hub id."""
    if base == "pocket":
        return "install selu_hpc again"
    command = f"hf download HUB_ID --local-dir {folder}" if Path(base).expanduser().is_dir() else f"hf download {base}"
    return f"on a login node run `{command}`, which resumes where it stopped"


def _check_weights(told: Mapping[str, Any], base: str, folder: Path) -> None:
    """transformers makes up what it does not find, in each process otherwise; it counts no tied weight as missing."""
    wrong = sorted({*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])})
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(
            f"model.base {base!r}: {len(wrong)} weights are not in {folder}, or have another shape there: "
            f"{', '.join(wrong[:3])}{more}; they would be random: {_fetch(base, folder)}, or set model.base to a "
            "checkpoint that holds all weights under transformers' own names"
        )


def _check_inputs(model: Any, base: str) -> None:
    """Refuse a model that reads of each token what it would not be told: it would run, and see pictures wrongly."""
    reads = inspect.signature(type(model).forward).parameters
    family = model.config.model_type
    lacks = [name for name in _TYPES if name in reads and not (name == _TYPES[1] and family.startswith("qwen"))]
    if lacks:
        raise ModelError(
            f"model.base {base!r}: {family} reads {lacks[0]} for each token, which is not passed on to it, so its "
            "answers would be silently wrong; take a base of a family that docs/add-a-backbone.md lists, which also "
            "says where to add one"
        )


def _damaged(folder: Path) -> list[str]:
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError):
            found.append(file.name)
    return found


def _read(*files: Path) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in files:
        if file.is_file():
            try:
                merged |= json.loads(file.read_text())
            except ValueError as error:
                raise ModelError(
                    f"{file}: no JSON ({error}), as after a download that was cut short; remove it and fetch the base "
                    "again"
                ) from error
    return merged
