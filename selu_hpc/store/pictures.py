"""How one episode's frames become rows of the `frames` array, and back.

lossless: a frame is stored as differences modulo 256, which zstd packs well, and `base` says to what:
    -1      to the pixel on the left: a cumulative sum along the width restores it;
    -2      the same, after green was taken from red and blue;
    t >= 0  to frame t of the same view: most of a picture stays while the camera does.
  A base frame stands alone, so any frame is restored from at most two chunks.
jpeg: each frame a JPEG file (quality 95, full colour resolution), padded with zeros.
Does not own where the rows lie (trajectories.py).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selu_hpc.errors import ConfigError
from selu_hpc.records import FrameHWC, FramesTVHWC
from selu_hpc.store import arrays

NUM_VIEWS = 2
LEFT, LEFT_AND_GREEN = -1, -2

Facts = dict[str, Any]
"""What decoding an episode needs beside its rows; part of its record.

base: (T+1, V), as above.  checksums: (T+1, V), crc32c of a lossless frame's pixels or of a JPEG's row.
"""


class Codec(Protocol):
    """One way of storing frames; rows are what the array's chunks hold."""

    @property
    def name(self) -> str: ...

    def metadata(self, num_episodes: int, *, num_frames: int, per_shard: int) -> dict[str, Any]:
        """The `frames` array's zarr.json."""
        ...

    def encode(self, frames: FramesTVHWC) -> tuple[NDArray[np.uint8], Facts]: ...

    def decode(self, rows: NDArray[np.uint8], facts: Facts) -> FramesTVHWC:
        """All frames of an episode; may use up `rows`. Raises ValueError where a checksum does not match."""
        ...

    def decode_one(self, row: Callable[[int], NDArray[np.uint8]], facts: Facts, step: int, axis: int) -> FrameHWC:
        """One frame; `row(t)` gives the rows of that view that it needs."""
        ...


class Lossless:
    """Differences to the left or to an earlier frame, under zstd."""

    name = "lossless"

    def __init__(self, height: int, width: int) -> None:
        self.frame = (height, width, 3)

    def metadata(self, num_episodes: int, *, num_frames: int, per_shard: int) -> dict[str, Any]:
        return arrays.array_metadata(
            (num_episodes, num_frames, NUM_VIEWS, *self.frame),
            "uint8",
            chunk=(1, 1, 1, *self.frame),
            shard=(per_shard, num_frames, NUM_VIEWS, *self.frame),
            names=("episode", "frame", "view", "height", "width", "colour"),
            attributes=_attributes(self),
        )

    def encode(self, frames: FramesTVHWC) -> tuple[NDArray[np.uint8], Facts]:
        bases = _choose_bases(frames)
        rows = np.empty_like(frames, order="C")
        for t, v in np.ndindex(bases.shape):
            row, frame, base = rows[t, v], frames[t, v], bases[t, v]
            if base >= 0:
                np.subtract(frame, frames[base, v], out=row)
                continue
            if base == LEFT_AND_GREEN:
                frame = _take_green(frame)
            row[:, 0] = frame[:, 0]
            np.subtract(frame[:, 1:], frame[:, :-1], out=row[:, 1:])
        return rows, {"base": bases.tolist(), "checksums": _checksums(frames)}

    def decode(self, rows: NDArray[np.uint8], facts: Facts) -> FramesTVHWC:
        for t, v in np.ndindex(rows.shape[:2]):
            base = facts["base"][t][v]
            if base >= 0:
                rows[t, v] += rows[base, v]
            else:
                rows[t, v] = _stand_alone(rows[t, v], base)
        for t, v in np.ndindex(rows.shape[:2]):
            _compare(rows[t, v], facts, t, v)
        return rows

    def decode_one(self, row: Callable[[int], NDArray[np.uint8]], facts: Facts, step: int, axis: int) -> FrameHWC:
        base = facts["base"][step][axis]
        if base < 0:
            frame = _stand_alone(row(step), base)
        else:
            frame = _stand_alone(row(base), facts["base"][base][axis])
            frame += row(step)  # _stand_alone gave a new array
        _compare(frame, facts, step, axis)
        return frame


class Jpeg:
    """JPEG files as bytes."""

    name = "jpeg"
    quality = 95

    def __init__(self, height: int, width: int) -> None:
        self.frame = (height, width, 3)
        self.num_bytes = 2 * height * width * 3 + 1024

    def metadata(self, num_episodes: int, *, num_frames: int, per_shard: int) -> dict[str, Any]:
        return arrays.array_metadata(
            (num_episodes, num_frames, NUM_VIEWS, self.num_bytes),
            "uint8",
            chunk=(1, 1, 1, self.num_bytes),
            shard=(per_shard, num_frames, NUM_VIEWS, self.num_bytes),
            names=("episode", "frame", "view", "jpeg_byte"),
            attributes=_attributes(self),
        )

    def encode(self, frames: FramesTVHWC) -> tuple[NDArray[np.uint8], Facts]:
        rows = np.zeros((*frames.shape[:2], self.num_bytes), np.uint8)
        for t, v in np.ndindex(frames.shape[:2]):
            file = io.BytesIO()
            Image.fromarray(frames[t, v]).save(file, "JPEG", quality=self.quality, subsampling=0)
            data = file.getbuffer()
            rows[t, v, : len(data)] = data
        return rows, {"checksums": _checksums(rows)}

    def decode(self, rows: NDArray[np.uint8], facts: Facts) -> FramesTVHWC:
        frames = np.empty((*rows.shape[:2], *self.frame), np.uint8)
        for t, v in np.ndindex(rows.shape[:2]):
            frames[t, v] = self._picture(rows[t, v], facts, t, v)
        return frames

    def decode_one(self, row: Callable[[int], NDArray[np.uint8]], facts: Facts, step: int, axis: int) -> FrameHWC:
        return self._picture(row(step), facts, step, axis)

    def _picture(self, row: NDArray[np.uint8], facts: Facts, step: int, axis: int) -> FrameHWC:
        _compare(row, facts, step, axis)
        with Image.open(io.BytesIO(row.data), formats=("JPEG",)) as image:
            return np.array(image)


CODECS: dict[str, type[Lossless] | type[Jpeg]] = {"lossless": Lossless, "jpeg": Jpeg}


def codec_for(name: str, *, height: int, width: int) -> Codec:
    if name not in CODECS:
        raise ConfigError(f"store.codec: {name!r} is not one of {', '.join(sorted(CODECS))}")
    return CODECS[name](height, width)


def _attributes(codec: Lossless | Jpeg) -> dict[str, Any]:
    return {"codec": codec.name, "height": codec.frame[0], "width": codec.frame[1]}


def _checksums(rows: NDArray[np.uint8]) -> list[list[int]]:
    return [[google_crc32c.value(row.tobytes()) for row in views] for views in rows]


def _compare(row: NDArray[np.uint8], facts: Facts, step: int, axis: int) -> None:
    if google_crc32c.value(row.tobytes()) != facts["checksums"][step][axis]:
        raise ValueError(f"frame {step} of view {axis} does not match its checksum")


def _take_green(frame: FrameHWC) -> NDArray[np.uint8]:
    taken = frame.copy()
    taken[..., 0] -= frame[..., 1]
    taken[..., 2] -= frame[..., 1]
    return taken


def _stand_alone(row: NDArray[np.uint8], base: int) -> FrameHWC:
    frame = np.cumsum(row, axis=1, dtype=np.uint8)
    if base == LEFT_AND_GREEN:
        frame[..., 0] += frame[..., 1]
        frame[..., 2] += frame[..., 1]
    return frame


_SAMPLED_ROWS = 12
"""A base is chosen by every n-th line of a picture, about this many of them."""

_COST = np.array([0 if d == 0 else 2 + min(d, 256 - d).bit_length() for d in range(256)], np.uint8)
"""About how many bits a difference takes; whole numbers, so that every machine chooses alike."""


def _choose_bases(frames: FramesTVHWC) -> NDArray[np.int64]:
    """The cheapest base of every frame, (T+1, V)."""
    lines = frames[:, :, :: max(1, frames.shape[2] // _SAMPLED_ROWS)]
    left = lines[..., 1:, :] - lines[..., :-1, :]
    plain = _cost(left)
    green = _cost(_take_green(left))
    bases = np.where(green < plain, LEFT_AND_GREEN, LEFT)
    alone = np.minimum(plain, green)
    for v in range(frames.shape[1]):
        standing: list[int] = []
        for t in range(len(frames)):
            if standing:
                costs = _cost(lines[t, v] - lines[standing, v])
                best = int(np.argmin(costs))
                if costs[best] < alone[t, v]:
                    bases[t, v] = standing[best]
                    continue
            standing.append(t)
    return bases


def _cost(differences: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Cost of whole pictures, over the last three axes."""
    costs: NDArray[np.int64] = np.sum(np.take(_COST, differences), axis=(-3, -2, -1), dtype=np.int64)
    return costs
