"""Checkpoints of a training: small, whole or absent, and the same for every stage and number of ranks.

    FOLDER/step-000040/{state.safetensors, meta.json, done.json}

Only LoRA trains, so a checkpoint is its fp32 matrices and Adam's moments, gathered: three times the adapter. That is
why this is not DeepSpeed's own format, which depends on stage and ranks. Randomness needs no place in it: every
micro-batch is seeded by its number. Owns the files and which one counts; does not own what is in them (zero.py).
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from selu_hpc.rounds.rundir import MARKER, hash_files, sync_files, sync_folder, write_json
from selu_hpc.train.zero import MOMENTS, TrainState

logger = logging.getLogger(__name__)

KEPT = 2
_STATE = "state.safetensors"
_META = "meta.json"


@dataclass(slots=True)
class Checkpoint:
    """Where a training was: steps done, its state, and the curve so far."""

    step: int
    identity: str
    state: TrainState
    curve: list[dict[str, Any]]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, then its marker by renaming the folder into place; older ones beyond two are removed.

    So are those of later steps: a training goes forward from the newest of its own, and they are another's.
    """
    final = folder / f"step-{checkpoint.step:06d}"
    partial = folder / f".step-{checkpoint.step:06d}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors = {f"weight/{name}": value for name, value in checkpoint.state.weights.items()}
    for moment in MOMENTS:
        tensors |= {f"{moment}/{name}": value for name, value in checkpoint.state.moments[moment].items()}
    save_file(tensors, partial / _STATE)
    meta = {
        "step": checkpoint.step,
        "identity": checkpoint.identity,
        "adam_steps": checkpoint.state.adam_steps,
        "curve": checkpoint.curve,
    }
    write_json(partial / _META, meta)
    sync_files(partial, [_STATE])
    write_json(partial / MARKER, hash_files(partial, [_STATE, _META]))
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    sync_folder(folder)
    there = _folders(folder)
    at = there.index(final) + 1
    for gone in there[at:] + there[:at][:-KEPT]:
        shutil.rmtree(gone, ignore_errors=True)
    return final


def newest(folder: Path, identity: str) -> Checkpoint | None:
    """The latest whole checkpoint of this very training; torn and foreign ones are skipped with a warning."""
    for place in reversed(_folders(folder)):
        problem = _problem(place)
        if problem is None:
            meta = json.loads((place / _META).read_bytes())
            if meta["identity"] == identity:
                return _load(place, meta)
            problem = "of another dataset, base or setting"
        logger.warning("checkpoint %s is skipped: %s", place, problem)
    return None


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _problem(place: Path) -> str | None:
    try:
        marker = json.loads((place / MARKER).read_bytes())
        found = hash_files(place, [_STATE, _META])
    except (OSError, ValueError) as error:
        return f"torn ({type(error).__name__}: {error})"
    wanted = {name: (int(size), str(digest)) for name, (size, digest) in marker.items()}
    return None if found == wanted else "torn (its bytes are not what its marker says)"


def _load(place: Path, meta: dict[str, Any]) -> Checkpoint:
    tensors = load_file(place / _STATE)

    def part(kind: str) -> dict[str, Any]:
        return {name.removeprefix(f"{kind}/"): t for name, t in tensors.items() if name.startswith(f"{kind}/")}

    state = TrainState(part("weight"), {moment: part(moment) for moment in MOMENTS}, int(meta["adam_steps"]))
    return Checkpoint(int(meta["step"]), meta["identity"], state, meta["curve"])
