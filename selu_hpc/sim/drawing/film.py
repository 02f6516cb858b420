"""One camera's pictures: colours, depth and instance numbers in one pass, redrawn only where something changed.

Owns a camera's last picture and this thread's buffers. The pixel loops are in raster.py, triangles in triangles.py.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing import raster
from selu_hpc.sim.drawing.camera import Camera, Drawable, Images, View
from selu_hpc.sim.drawing.skins import Skin, light
from selu_hpc.sim.drawing.textures import LEVEL_OFFSETS, SIDE, atlas
from selu_hpc.sim.drawing.triangles import Batch, Solid, locked_batch

SUPERSAMPLE_UP_TO = 128
"""Pictures at most this wide and high are drawn at twice the size and averaged."""
_MAX_MOVING = 8

_scratch = threading.local()


@dataclass(slots=True)
class _Still:
    """A view's buffers without what moves (`moving`: its places in the batch), and the rows in which that was seen."""

    moving: frozenset[int]
    marks: NDArray[np.uint8]
    w: NDArray[np.float32]
    t: NDArray[np.int32]
    planes: NDArray[np.float32]
    sources: NDArray[np.int64]
    num: int
    was: NDArray[np.uint8]


class Film:
    """One camera's last picture: kept while nothing changes; while the camera stays, only what changed is drawn anew.

    The pixels are those of a picture drawn from nothing. For one thread at a time; whoever reads `images` must not
    write to them, and has them until the next `shoot`.
    """

    def __init__(self) -> None:
        self._of: tuple[Camera, int, int, Skin] | None = None
        self._drawables: list[Drawable] = []
        self._tris: Solid | None = None
        self._still: _Still | None = None
        self._big = self.images = _empty(0, 0)
        self._rows = np.empty(0, np.uint8)

    def shows(self, view: View, skin: Skin) -> bool:
        """Whether `images` are this view's already."""
        return self.stays(view, skin) and self._drawables == view.drawables

    def stays(self, view: View, skin: Skin) -> bool:
        """Whether the last picture was taken by the same camera, so that this one may be soon done."""
        return self._of == (view.camera, view.width, view.height, skin)

    def shoot(self, view: View, skin: Skin) -> Images:
        of = (view.camera, view.width, view.height, skin)
        with locked_batch(view.drawables, skin) as batch:
            changed = self._changed(batch, view.drawables) if self._of == of else None
            self._of = None
            if changed is None:
                self._start(view)
                self._still = None
                self._draw(batch, view.camera, skin)
            elif changed:
                self._draw_changed(batch, view.camera, skin, changed)
            self._tris = batch.tris
        self._of, self._drawables = of, list(view.drawables)
        return self.images

    def _changed(self, batch: Batch, drawables: Sequence[Drawable]) -> frozenset[int] | None:
        """Places of what changed since the last picture; None when too much did."""
        if self._tris is not batch.tris or len(drawables) != len(self._drawables):
            return None
        pairs = zip(self._drawables, drawables, strict=True)
        found = frozenset(i for i, (old, new) in enumerate(pairs) if old is not new and old != new)
        return found if len(found) <= _MAX_MOVING else None

    def _start(self, view: View) -> None:
        big = 2 if max(view.width, view.height) <= SUPERSAMPLE_UP_TO else 1
        if self._big.depth.shape == (view.height * big, view.width * big):
            return
        self._big = _empty(view.width * big, view.height * big)
        self.images = _empty(view.width, view.height) if big == 2 else self._big
        self._rows = np.ones(view.height * big, np.uint8)

    def _draw(self, batch: Batch, camera: Camera, skin: Skin) -> None:
        out = self._big
        height, width = out.depth.shape
        w_buffer, t_buffer = _buffers(width, height)
        num = len(batch.tris)
        planes = _room("planes", (num + 1, raster.WIDTH_OF_PLANES), np.float32)
        sources = _room("sources", (num + 1, 2), np.int64)
        raster.draw(
            batch.tris, batch.starts, batch.ends, batch.keys, batch.spheres, *_lens(camera, width, height),
            atlas(), LEVEL_OFFSETS, SIDE, _background(skin),
            planes, sources, _order(batch), w_buffer, t_buffer, out.rgb, _words(out.rgb), out.depth, out.ids,
            self._rows,
        )  # fmt: skip
        self._develop()

    def _draw_changed(self, batch: Batch, camera: Camera, skin: Skin, changed: frozenset[int]) -> None:
        out = self._big
        height, width = out.depth.shape
        lens = _lens(camera, width, height)
        still = self._still
        if still is None or not changed <= still.moving:
            moving = changed if still is None or len(still.moving | changed) > _MAX_MOVING else still.moving | changed
            still = self._still = self._keep_still(batch, lens, moving)
        w_buffer, t_buffer = _buffers(width, height)
        raster.draw_moving(
            batch.tris, batch.starts, batch.ends, batch.keys, batch.spheres, *lens,
            atlas(), LEVEL_OFFSETS, SIDE, _background(skin), still.marks,
            still.planes, still.sources, _order(batch), still.w, still.t, still.num, w_buffer, t_buffer, still.was,
            out.rgb, _words(out.rgb), out.depth, out.ids, self._rows,
        )  # fmt: skip
        self._develop()

    def _keep_still(self, batch: Batch, lens: tuple[Any, ...], moving: frozenset[int]) -> _Still:
        height, width = self._big.depth.shape
        num = len(batch.tris)
        marks = np.zeros(len(batch.keys), np.uint8)
        marks[list(moving)] = 1
        still = _Still(
            moving, marks, np.empty((height, width), np.float32), np.empty((height, width), np.int32),
            np.empty((num + 1, raster.WIDTH_OF_PLANES), np.float32), np.empty((num + 1, 2), np.int64),
            0, np.ones(height, np.uint8),
        )  # fmt: skip
        still.num = raster.draw_still(
            batch.tris, batch.starts, batch.ends, batch.spheres, *lens, marks, still.planes, still.sources,
            _order(batch), still.w, still.t,
        )  # fmt: skip
        return still

    def _develop(self) -> None:
        big, out = self._big, self.images
        if out is not big:
            raster.halve(big.rgb, big.depth, big.ids, out.rgb, out.depth, out.ids, self._rows)


def _lens(camera: Camera, width: int, height: int) -> tuple[Any, ...]:
    """A camera as the pixel loops take it: axes, focal length, half the field as tangents, near and far."""
    tan_y = math.tan(math.radians(camera.fov) / 2)
    return _axes(camera), height / 2 / tan_y, tan_y * width / height, tan_y, camera.near, camera.far


def _order(batch: Batch) -> NDArray[np.int64]:
    return _room("order", (len(batch.keys) + 1,), np.int64)


def _words(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The picture as little-endian 32-bit words, four pixels in three; empty when the width does not allow it."""
    if rgb.shape[1] % 4 or sys.byteorder != "little":
        return np.empty((0, 0), np.uint32)
    return rgb.reshape(len(rgb), -1).view(np.uint32)


def _axes(camera: Camera) -> NDArray[np.float64]:
    """Position, right, up and forward of a camera."""
    sy, cy = math.sin(math.radians(camera.yaw)), math.cos(math.radians(camera.yaw))
    sp, cp = math.sin(math.radians(camera.pitch)), math.cos(math.radians(camera.pitch))
    return np.array([*camera.position, cy, 0.0, -sy, sy * sp, cp, cy * sp, sy * cp, -sp, cy * cp], np.float64)


@lru_cache(maxsize=64)
def _background(skin: Skin) -> NDArray[np.uint8]:
    return (np.array(light(skin).background) * 255).astype(np.uint8)


def _empty(width: int, height: int) -> Images:
    return Images(
        rgb=np.empty((height, width, 3), np.uint8),
        depth=np.empty((height, width), np.float32),
        ids=np.empty((height, width), np.int32),
    )


def _buffers(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    kept = getattr(_scratch, "buffers", None)
    if kept is None or kept[0].shape != (height, width):
        kept = _scratch.buffers = (np.empty((height, width), np.float32), np.empty((height, width), np.int32))
    return kept


def _room(name: str, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """This thread's array of at least this many rows."""
    kept: NDArray[Any] | None = getattr(_scratch, name, None)
    if kept is None or len(kept) < shape[0]:
        kept = np.empty((shape[0] * 3 // 2, *shape[1:]), dtype)
        setattr(_scratch, name, kept)
    return kept
