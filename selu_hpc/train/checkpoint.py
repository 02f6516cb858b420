"""Checkpoints of a training: small, whole or absent, and the same for every stage and number of ranks.

    FOLDER/step-000040/{state.safetensors, meta.json, done.json}

Only LoRA trains, so a checkpoint is its fp32 matrices and Adam's moments, gathered: three times the adapter. That is
why this is not DeepSpeed's own format, which depends on stage and ranks. Randomness needs no place in it: every
micro-batch is seeded by its number. Attempts share the folder, and one that was believed dead may still be at work:
each writes under names of its own and removes only what its own saves have outlived.
Owns the files and which one counts; does not own what is in them (zero.py).
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save_file

from selu_hpc.errors import TrainingError
from selu_hpc.rounds.rundir import MARKER, hash_files, sync_files, write_json
from selu_hpc.train.adapter import own_name, put_in_place
from selu_hpc.train.zero import MOMENTS, TrainState

if TYPE_CHECKING:
    from selu_hpc.train.ranks import Team

logger = logging.getLogger(__name__)
T = TypeVar("T")

KEPT = 2
PAUSES_S = (0.5, 1.0, 2.0)
"""Between looks at a file that the storage refuses to read."""
ABANDONED_S = 3600.0
"""So much older than a checkpoint just written, a half-written one belongs to a process that is gone."""
_TRIES = 3
_STATE = "state.safetensors"
_META = "meta.json"


class _UnusableError(Exception):
    """What was read and is no whole checkpoint of this training."""


@dataclass(slots=True)
class Checkpoint:
    """Where a training was: steps done, its state, and the curve so far."""

    step: int
    identity: str
    state: TrainState
    curve: list[dict[str, Any]]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and rename it into place; of this training's up to this step, two are kept.

    Later steps stay, and so does another training's: they may be those of an attempt that is further on.
    """
    final = _place(folder, checkpoint.step)
    for left in reversed(range(_TRIES)):
        partial = own_name(final)
        try:
            _write(partial, checkpoint)
            put_in_place(partial, final)
            break
        except (OSError, SafetensorError) as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            taken = not full and (isinstance(error, FileNotFoundError) or not partial.exists())
            shutil.rmtree(partial, ignore_errors=True)
            if not (taken and left):
                raise
            logger.warning("%s was taken away while it was written, by another attempt; it is written again", final)
    _tidy(folder, final, checkpoint.identity)
    return final


def save_if_possible(folder: Path, checkpoint: Checkpoint) -> Path | None:
    """Save a state that nobody has asked to stop at: where it cannot be written, training goes on without it."""
    try:
        return save(folder, checkpoint)
    except (OSError, SafetensorError) as error:
        logger.warning(
            "%s cannot be saved (%s); training goes on, and an attempt after this one would repeat more",
            _place(folder, checkpoint.step), error,
        )  # fmt: skip
        return None


def newest(folder: Path, identity: str) -> Checkpoint | None:
    """The latest whole checkpoint of this very training; torn and foreign ones are skipped with a warning.

    Torn is what was read and is not what its marker says. What cannot be read may be whole: that is a TrainingError.
    """
    for place in reversed(_folders(folder)):
        if (found := _load(place, identity)) is not None:
            return found
    return None


def agreed(folder: Path, identity: str, team: Team) -> Checkpoint | None:
    """The newest on every rank, and the same on all: where they found different ones, the earliest of those."""
    found, steps = _everywhere(team, lambda: newest(folder, identity))
    if len(set(steps)) > 1 and (step := min(steps)):
        logger.warning("%s: the ranks found checkpoints of steps %s; all take step %s", folder, steps, step)
        found, steps = _everywhere(team, lambda: _load(_place(folder, step), identity))
    if len(set(steps)) > 1:
        raise TrainingError(
            f"{folder}: the ranks found checkpoints of steps {steps} (0: none) and none that all can read; nothing was "
            "changed: check that all nodes see the same files there, and submit again"
        )
    return found


def is_finished(folder: Path) -> bool:
    """Whether another attempt has marked this training finished meanwhile, so that all must stay as it is."""
    if MARKER not in _names(folder):
        return False
    logger.info("%s: another attempt has finished this meanwhile; what it made stays, what was made here goes", folder)
    return True


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def patiently(read: Callable[[Path], T], path: Path) -> T:
    """Read what a storage may refuse for a moment; TrainingError when it goes on refusing, as it is not known then."""
    for pause in (*PAUSES_S, None):
        try:
            return read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            if pause is None:
                raise TrainingError(
                    f"{path}: cannot be read ({error.strerror or error}), which says nothing about what is there; all "
                    "was left as it is: submit again when the storage answers"
                ) from error
            logger.warning("%s: cannot be read (%s), once more in %s s", path, error.strerror or error, pause)
            time.sleep(pause)
    raise AssertionError("the last pause is None")


def _write(partial: Path, checkpoint: Checkpoint) -> None:
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


def _tidy(folder: Path, final: Path, identity: str) -> None:
    """Remove what this save has outlived; another attempt may do the same at the same time."""
    with suppress(OSError, TrainingError):
        mine = [place for place in _folders(folder) if place.name <= final.name and _identity(place) == identity]
        for gone in mine[:-KEPT]:
            shutil.rmtree(gone, ignore_errors=True)
        since = final.stat().st_mtime - ABANDONED_S
        for partial in folder.glob(".step-*"):
            if partial.stat().st_mtime < since:
                shutil.rmtree(partial, ignore_errors=True)


def _identity(place: Path) -> str | None:
    try:
        return str(json.loads((place / _META).read_bytes())["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _everywhere(team: Team, read: Callable[[], Checkpoint | None]) -> tuple[Checkpoint | None, list[int]]:
    """What this rank reads, and the step of each rank's; where one cannot, all raise, so that nobody waits for it."""
    found, problem = None, ""
    try:
        found = read()
    except TrainingError as error:
        problem = str(error)
    told = team.gather((found.step if found else 0, problem))
    for rank, (_, problem) in enumerate(told):
        if problem:
            raise TrainingError(f"rank {rank}: {problem}")
    return found, [step for step, _ in told]


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _folders(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder) if name.startswith("step-")]


def _names(folder: Path) -> list[str]:
    """By a listing, which makes NFS look again where it remembers that a name was missing."""
    try:
        return sorted(patiently(os.listdir, folder))
    except FileNotFoundError:
        return []


def _load(place: Path, identity: str) -> Checkpoint | None:
    try:
        return _read(place, identity)
    except _UnusableError as problem:
        logger.warning("checkpoint %s is skipped: %s", place, problem)
        return None


def _read(place: Path, identity: str) -> Checkpoint:
    """Each file is read once, so that what was compared with the marker is what is gone on from."""
    try:
        marker = json.loads(patiently(Path.read_bytes, place / MARKER))
        wanted = {name: (int(size), str(digest)) for name, (size, digest) in marker.items()}
        data = {name: patiently(Path.read_bytes, place / name) for name in (_STATE, _META)}
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, AttributeError) as error:
        raise _UnusableError(f"torn ({type(error).__name__}: {error})") from error
    found = {name: (len(part), hashlib.blake2b(part, digest_size=16).hexdigest()) for name, part in data.items()}
    if found != wanted:
        raise _UnusableError("torn (its bytes are not what its marker says)")
    meta = json.loads(data[_META])
    if meta["identity"] != identity:
        raise _UnusableError("of another dataset, base or setting")
    tensors = load(data[_STATE])

    def part(kind: str) -> dict[str, Any]:
        return {name.removeprefix(f"{kind}/"): t for name, t in tensors.items() if name.startswith(f"{kind}/")}

    state = TrainState(part("weight"), {moment: part(moment) for moment in MOMENTS}, int(meta["adam_steps"]))
    return Checkpoint(int(meta["step"]), identity, state, meta["curve"])
