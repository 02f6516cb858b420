"""Pre-training data on disk: pictures with dense labels and many tokenised questions each.

Owns the files' layout (numpy, memory-mapped). Does not own what is asked (questions.py) or drawn
(data.py).

    images.npy (N, 96, 96, 3) uint8    classes.npy (N, 64, 3) int16 with shares.npy uint8 (largest first, of 255)
    states.npy, applicable.npy (N, 64) uint16 bits    tokens.npy int16    questions.npy (M, 4) int64: start, length,
    number of answer tokens, kind    first_question.npy (N+1) int64    names.json: classes, states, kinds
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selu_hpc.config import Simulator

Array = np.ndarray[Any, Any]
TOP = 3


@dataclass(slots=True)
class Snapshot:
    """One picture on its way to disk; questions are (prompt's and answer's ids, number of answer ids, kind)."""

    image: Array
    classes: Array
    shares: Array
    states: Array
    applicable: Array
    questions: list[tuple[list[int], int, str]] = field(default_factory=list)


def write(folder: Path, snapshots: Sequence[Snapshot], *, classes: Sequence[str], states: Sequence[str]) -> None:
    """All snapshots as one shard; the folder appears last."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = sorted({kind for snapshot in snapshots for *_, kind in snapshot.questions})
    tokens: list[int] = []
    table: list[tuple[int, int, int, int]] = []
    firsts = [0]
    for snapshot in snapshots:
        for ids, num_answer, kind in snapshot.questions:
            table.append((len(tokens), len(ids), num_answer, kinds.index(kind)))
            tokens.extend(ids)
        firsts.append(len(table))
    np.save(folder / "images.npy", np.stack([snapshot.image for snapshot in snapshots]))
    for name in ("classes", "shares", "states", "applicable"):
        np.save(folder / f"{name}.npy", np.stack([getattr(snapshot, name) for snapshot in snapshots]))
    np.save(folder / "tokens.npy", np.array(tokens, dtype=np.int16))
    np.save(folder / "questions.npy", np.array(table, dtype=np.int64).reshape(-1, 4))
    np.save(folder / "first_question.npy", np.array(firsts, dtype=np.int64))
    names = {"classes": list(classes), "states": list(states), "kinds": kinds}
    (folder / "names.json").write_text(json.dumps(names))


class Shard:
    """One shard, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = json.loads((folder / "names.json").read_text())
        self.classes: list[str] = names["classes"]
        self.states: list[str] = names["states"]
        self.kinds: list[str] = names["kinds"]
        self.simulator = Simulator.VIRTUALHOME if "state grab" in self.kinds else Simulator.THOR
        self.explore = self.kinds.index("explore") if "explore" in self.kinds else -1
        self.images: Array = np.load(folder / "images.npy", mmap_mode="r")
        self.patch_classes, self.shares, self.patch_states, self.applicable = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("classes", "shares", "states", "applicable")
        )
        self.tokens: Array = np.load(folder / "tokens.npy")
        self.questions: Array = np.load(folder / "questions.npy")
        self.first: Array = np.load(folder / "first_question.npy")

    def __len__(self) -> int:
        return len(self.images)

    def asked(self, image: int) -> Array:
        """Rows of the question table over one picture."""
        return self.questions[self.first[image] : self.first[image + 1]]

    def ids(self, question: Array) -> Array:
        start, length = int(question[0]), int(question[1])
        return self.tokens[start : start + length]


def open_all(folder: Path) -> list[Shard]:
    """Every finished shard below a folder, in order."""
    return [Shard(names.parent) for names in sorted(folder.glob("*/names.json"))]
