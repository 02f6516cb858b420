"""Reads single frames of a run by reference, keeping a bounded number of stores open.

Does not own the layout (trajectories.py) or which frames a sample needs.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from selu_hpc.records import FrameHWC, FrameRef
from selu_hpc.store.trajectories import EpisodeReader


class FrameSource:
    """`FrameSource(run).read(ref)`; stores are verified chunk by chunk as they are read."""

    def __init__(self, run_path: Path, *, max_open: int = 64) -> None:
        self.run_path = run_path
        self._max_open = max_open
        self._open: OrderedDict[str, EpisodeReader] = OrderedDict()

    def read(self, ref: FrameRef) -> FrameHWC:
        """The frame a reference points at, (H, W, 3)."""
        return self.reader(ref.store).frame(ref.episode, ref.step, ref.view)

    @property
    def num_open(self) -> int:
        return len(self._open)

    def reader(self, store: str) -> EpisodeReader:
        """The reader of a store named relative to the run."""
        if store in self._open:
            self._open.move_to_end(store)
            return self._open[store]
        reader = EpisodeReader(self.run_path / store, verify=False)
        self._open[store] = reader
        while len(self._open) > self._max_open:
            self._open.popitem(last=False)[1].close()
        return reader
