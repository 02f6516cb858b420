"""The folder beside a round's adapter from which the next update goes on: weights, value head and Adam's moments.

It has a marker of its own and is not in the round's, for it goes when no round will read it any more. It says of which
adapter it is: two attempts that end in the same moment could leave one's state beside the other's adapter.
Does not own how it is written (train/checkpoint.py) or when it goes (stages/games/finetune.py).
"""

from __future__ import annotations

from pathlib import Path

from selu_hpc.errors import TrainingError
from selu_hpc.train import checkpoint
from selu_hpc.train.checkpoint import Checkpoint
from selu_hpc.train.zero import TrainState

STATE = "state"
"""The folder's name."""
_OWNER = "rl4vlm"
"""Whose a state is; alone, of before states said of which update."""


def save(folder: Path, state: TrainState, *, round_id: int, content: str) -> None:
    """content: what the marker will call the round's adapter and head."""
    checkpoint.save(folder / STATE, Checkpoint(round_id, _identity(content), state, []))


def read(folder: Path, *, content: str, name: str) -> TrainState:
    """The state of the round with that content, for the update of that name."""
    if not folder.exists():
        raise TrainingError(
            f"{folder}: is gone, as a state is once two rounds have followed, so {name} can't be made anew: "
            "bring its adapter back from a copy, or begin a new run"
        )
    found = checkpoint.newest(folder, _identity(content)) or checkpoint.newest(folder, _OWNER)
    if found is None:
        raise TrainingError(f"{folder}: no whole state to go on from; remove that round's marker and submit again")
    return found.state


def _identity(content: str) -> str:
    return f"{_OWNER} {content}"
