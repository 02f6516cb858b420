"""The end of a training: what it made takes its place, whole, and never over what another attempt has finished.

Everything is written under names of this attempt's own first, which takes as long as its storage likes; whether another
attempt has finished is asked before that and after it, and then only names change.
Does not own what is written (sft.py, rl4vlm/update.py, keep.py) or the marker (stages/finetune.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from selu_hpc.train import checkpoint
from selu_hpc.train.adapter import own_name, put_in_place
from selu_hpc.train.result import Result

CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
_MADE = "made"


def finish(
    folder: Path, result: Result, write: Callable[[Path], str], mark: Callable[[Result], None], *, attempt: Path | None
) -> None:
    """Put in place what `write` makes in a folder of its own, have it marked, and let go of the checkpoints.

    Called by the rank that leads. write: fills the folder that it is given, and says its content.
    attempt: where the attempt's tensorboard/ lies; None where that is in its place already.
    """
    if not checkpoint.is_finished(folder):
        _publish(folder, result, write, mark, attempt)
    for late in folder.glob(f".{_MADE}.*.partial"):  # nobody will put it in place any more
        checkpoint.remove_all(late)
    checkpoint.remove_all(folder / CHECKPOINTS)


def _publish(
    folder: Path, result: Result, write: Callable[[Path], str], mark: Callable[[Result], None], attempt: Path | None
) -> None:
    own = own_name(folder / _MADE)
    try:
        own.mkdir(parents=True)
        _tidy(folder, own)
        content = write(own)
        if checkpoint.is_finished(folder):
            return
        for made in sorted(own.iterdir()):
            put_in_place(made, folder / made.name)
        if attempt is not None:
            put_in_place(attempt / TENSORBOARD, folder / TENSORBOARD)
        result.content = content
        mark(result)
    except (OSError, SafetensorError):
        if not checkpoint.is_finished(folder):  # else what was written here was removed under our hands
            raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _tidy(folder: Path, own: Path) -> None:
    """Remove what attempts left that were killed while they wrote, long ago by the storage's own clock."""
    with suppress(OSError):
        since = own.stat().st_mtime - checkpoint.ABANDONED_S
        for other in folder.glob(f".{_MADE}.*.partial"):
            if other.stat().st_mtime < since:
                shutil.rmtree(other, ignore_errors=True)
