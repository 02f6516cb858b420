"""Reads one shard's episodes; only what is acknowledged exists for it.

Does not own the layout, which trajectories.py describes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from selu_hpc.errors import CorruptShardError, UnreadableShardError
from selu_hpc.records import Episode, FrameHWC, FramesTVHWC, View
from selu_hpc.store import arrays
from selu_hpc.store.commits import read_commits
from selu_hpc.store.framefiles import FrameFiles
from selu_hpc.store.roots import read_root
from selu_hpc.store.truth import hides_outcomes

logger = logging.getLogger(__name__)

FRAMES, EPISODES, TIMESTAMPS = "frames", "episodes", "timestamps_s"
KIND = "episodes"
STORAGE = "storage"
"""The key of an episode's record that says how its frames are stored; no part of its meaning."""
_KEPT_ROWS = 4
_Value = TypeVar("_Value")


class EpisodeReader:
    """Reads a store, finished or still being written.

    verify: compare every file with its checksum first; single frames' checksums are compared at every read anyway.
    """

    def __init__(self, folder: Path, *, verify: bool = True) -> None:
        self.folder = folder
        self._hides_outcomes = hides_outcomes(folder)
        self._rows: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._times: list[list[float]] | None = None
        commits = read_commits(folder)
        if commits is None:
            root = read_root(folder, KIND, verify=verify)
            self._records = arrays.read_records(folder / EPISODES)
            if len(self._records) != root["num_records"]:
                raise arrays.damaged(folder, f"holds {len(self._records)} episodes, not {root['num_records']}")
        else:
            self._records = [commit["record"] for commit in commits]
            self._times = [commit["timestamps_s"] for commit in commits]
        self._files = FrameFiles.of(folder / FRAMES) if self._records else None

    def __len__(self) -> int:
        return len(self._records)

    def meta(self, index: int) -> dict[str, Any]:
        """All of an episode but its frames and timestamps, as `Episode.meta_json` gives it; to a learning stage of its
        run its actions do not say what the simulator made of them."""
        meta = {key: value for key, value in self._record(index).items() if key != STORAGE}
        if self._hides_outcomes:
            meta["actions"] = [{"text": one["text"], "parsed": one["parsed"]} for one in meta["actions"]]
        return meta

    def fingerprint(self, index: int) -> str:
        """Equal for episodes with the same pixels; needs no frame to be read."""
        checksums = json.dumps(self._record(index)[STORAGE]["checksums"])
        return hashlib.blake2b(checksums.encode(), digest_size=16).hexdigest()

    def commit(self, index: int) -> dict[str, Any]:
        """What the commit log said of an episode."""
        return {"record": self._record(index), "timestamps_s": list(self._timestamps(index))}

    def num_frames(self, index: int) -> int:
        return len(self._record(index)["actions"]) + 1

    def episode(self, index: int) -> Episode:
        frames, times = self.frames(index), self._timestamps(index)
        return Episode.from_meta(self.meta(index), frames_tvhwc=frames, timestamps_s=times)

    def frames(self, index: int) -> FramesTVHWC:
        """All frames of an episode, (T+1, 2, H, W, 3)."""
        files, facts, num_frames = self._frame_files, self._record(index)[STORAGE], self.num_frames(index)
        return self._guard(index, lambda: files.codec.decode(files.rows(index, num_frames), facts))

    def frame(self, index: int, step: int, view: View) -> FrameHWC:
        """What one camera saw before action `step`; step T is the last frame."""
        files, facts, axis = self._frame_files, self._record(index)[STORAGE], View(view).axis
        if not 0 <= step < self.num_frames(index):
            raise IndexError(f"{self.folder}: episode {index} has frames 0 to {self.num_frames(index) - 1}, not {step}")
        return self._guard(
            index, lambda: files.codec.decode_one(lambda t: self._row(files, index, t, axis), facts, step, axis)
        )

    def close(self) -> None:
        """Close the files; the reader opens them again when it is asked for more."""
        if self._files is not None:
            self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _frame_files(self) -> FrameFiles:
        if self._files is None:
            raise IndexError(f"{self.folder}: holds no episodes")
        return self._files

    def _record(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder}: has {len(self)} episodes; there is no episode {index}")
        return self._records[index]

    def _row(self, files: FrameFiles, index: int, step: int, axis: int) -> NDArray[np.uint8]:
        """A row, kept a while: neighbouring frames are often stored as differences to the same one."""
        place = (index, step, axis)
        if place not in self._rows:
            self._rows[place] = files.row(*place)
            if len(self._rows) > _KEPT_ROWS:
                self._rows.popitem(last=False)
        self._rows.move_to_end(place)
        return self._rows[place]

    def _guard(self, index: int, read: Callable[[], _Value]) -> _Value:
        try:
            return read()
        except OSError as error:
            raise arrays.unread(self._file_of(index), error) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise arrays.damaged(self._file_of(index), f"episode {index}: {error}") from error

    def _file_of(self, index: int) -> Path:
        return self._frame_files.path(index // self._frame_files.per_shard)

    def _timestamps(self, index: int) -> tuple[float, ...]:
        if self._times is None:
            self._times = self._read_timestamps()
        return tuple(self._times[index])

    def _read_timestamps(self) -> list[list[float]]:
        """None where they are damaged: no digest holds them, so a shard without them is whole."""
        try:
            values = arrays.read_array(self.folder / TIMESTAMPS).reshape(len(self), -1)
            return [[float(time) for time in row if not np.isnan(time)] for row in values]
        except UnreadableShardError:
            raise
        except (CorruptShardError, ValueError, TypeError) as error:
            logger.warning("%s; its episodes have no time stamps", error)
            return [[] for _ in self._records]
