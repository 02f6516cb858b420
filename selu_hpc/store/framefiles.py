"""The `frames` array's files: which chunk lies where, and rows read from them.

Axes are (episode, frame, view, what a codec stores); one chunk a frame, `per_shard` episodes a file.
Does not own how rows become pictures (pictures.py).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.store import arrays, chunks
from selu_hpc.store.pictures import NUM_VIEWS, Codec, codec_for

_MAX_OPEN = 4
_PARALLEL_BYTES = 1 << 19
"""Below this much a thread costs more than it brings."""


class FrameFiles:
    """A store's `frames` folder; `per_shard` and `num_frames` (longest episode) are fixed when it is begun."""

    def __init__(self, folder: Path, codec: Codec, *, num_frames: int, per_shard: int) -> None:
        self.folder = folder
        self.codec = codec
        self.num_frames = num_frames
        self.per_shard = per_shard
        self._row_shape = tuple(self.metadata(0)["shape"][3:])
        self._row_bytes = int(np.prod(self._row_shape))
        self._open: OrderedDict[int, chunks.ShardFile] = OrderedDict()

    @classmethod
    def of(cls, folder: Path) -> FrameFiles:
        """The files of a store that was begun before."""
        metadata = arrays.read_metadata(folder)
        try:
            attributes = metadata["attributes"]
            codec = codec_for(attributes["codec"], height=attributes["height"], width=attributes["width"])
            per_shard, num_frames = metadata["chunk_grid"]["configuration"]["chunk_shape"][:2]
            files = cls(folder, codec, num_frames=num_frames, per_shard=per_shard)
            if metadata != files.metadata(metadata["shape"][0]):
                raise ValueError("is not what this store was begun with")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise arrays.damaged(folder / "zarr.json", str(error)) from error
        return files

    def metadata(self, num_episodes: int) -> dict[str, Any]:
        """The array's zarr.json."""
        return self.codec.metadata(num_episodes, num_frames=self.num_frames, per_shard=self.per_shard)

    def path(self, number: int) -> Path:
        """The file that holds episodes `number * per_shard` and following."""
        return self.folder / arrays.chunk_key(number, 3 + len(self._row_shape))

    def write(self, number: int, episodes: Iterable[list[bytes]], *, num_episodes: int) -> None:
        """Write one file whole, and how many episodes there are now; each episode is its chunks in order."""
        slots = self.num_frames * NUM_VIEWS
        packed: list[bytes | None] = []
        for episode in episodes:
            packed += [*episode, *itertools.repeat(None, slots - len(episode))]
        packed += itertools.repeat(None, slots * self.per_shard - len(packed))
        arrays.write_file(self.path(number), chunks.pack(packed))
        arrays.write_metadata(self.folder, self.metadata(num_episodes))

    def stored(self, index: int, num_frames: int) -> list[bytes]:
        """An episode's chunks as they are."""
        number, first = self._place(index, 0, 0)
        file = self._file(number)
        return [file.read(first + slot) for slot in range(num_frames * NUM_VIEWS)]

    def rows(self, index: int, num_frames: int) -> NDArray[np.uint8]:
        """All rows of an episode, (num_frames, V, ...)."""
        out = np.empty((num_frames, NUM_VIEWS, *self._row_shape), np.uint8)
        flat = out.reshape(num_frames * NUM_VIEWS, self._row_bytes)

        def unpack(slot: int, stored: bytes) -> None:
            flat[slot] = np.frombuffer(chunks.decompress(stored, num_bytes=self._row_bytes), np.uint8)

        stored = self.stored(index, num_frames)
        threads = chunks.workers() if out.nbytes >= _PARALLEL_BYTES else None
        for _ in (threads.map if threads else map)(unpack, range(len(stored)), stored):
            pass
        return out

    def row(self, index: int, step: int, axis: int) -> NDArray[np.uint8]:
        """One frame's row; read-only."""
        number, slot = self._place(index, step, axis)
        content = chunks.decompress(self._file(number).read(slot), num_bytes=self._row_bytes)
        return np.frombuffer(content, np.uint8).reshape(self._row_shape)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _place(self, index: int, step: int, axis: int) -> tuple[int, int]:
        number, episode = divmod(index, self.per_shard)
        return number, (episode * self.num_frames + step) * NUM_VIEWS + axis

    def _file(self, number: int) -> chunks.ShardFile:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        num_chunks = self.per_shard * self.num_frames * NUM_VIEWS
        file = self._open[number] = chunks.ShardFile(self.path(number), num_chunks=num_chunks)
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        return file
