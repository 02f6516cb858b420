"""Pictures of a world: colours, depth and instance numbers in one pass; the same drawables give the same pixels.

Owns what is cached between frames (meshes, lit triangles, whole scenes) and segmentation colours. The shapes are in
shapes/, the pixel loops in raster.py, looks in skins.py.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim import raster
from selu_hpc.sim.drawing import Camera, Drawable, Images
from selu_hpc.sim.shapes import mesh_for
from selu_hpc.sim.skins import Skin, light, skins
from selu_hpc.sim.textures import LEVEL_OFFSETS, SIDE, atlas

SUPERSAMPLE_UP_TO = 128
"""Pictures at most this wide and high are drawn at twice the size and averaged."""
_MAX_SOLIDS = 4096
_MAX_BATCHES = 8
_MAX_MOVING = 8
_ROOM = frozenset({"Wall", "Ceiling"})

Solid = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture to draw."""

    drawables: Sequence[Drawable]
    camera: Camera
    width: int
    height: int


def render(drawables: Sequence[Drawable], camera: Camera, *, width: int, height: int, skin: Skin) -> Images:
    """One view of the drawables."""
    return Film().shoot(View(drawables=drawables, camera=camera, width=width, height=height), skin)


def render_views(views: Sequence[View], *, skin: Skin, films: Sequence[Film] | None = None) -> list[Images]:
    """Several views. Films keep their pictures; those to be drawn from nothing each have a thread: the pixel loops
    release the GIL."""
    films = [Film() for _ in views] if films is None else films
    todo = [(film, view) for film, view in zip(films, views, strict=True) if not film.shows(view, skin)]
    new = [pair for pair in todo if not pair[0].stays(pair[1], skin)]
    waiting = [_threads(os.getpid()).submit(film.shoot, view, skin) for film, view in new[1:]]
    for film, view in new[:1] + [pair for pair in todo if pair not in new]:
        film.shoot(view, skin)
    for one in waiting:
        one.result()
    return [film.images for film in films]


def compile_all() -> None:
    """Compile every pixel loop, or read it from the cache, now: a step should not have to wait for that."""
    skin = skins(known=True)[0]
    film = Film()
    camera = Camera(position=(0.0, 0.0, 0.0), yaw=0.0)
    for x in (0.0, 0.1):
        box = Drawable(key=1, kind="Box", position=(x, -0.5, 2.0), size=(1.0, 1.0, 1.0))
        film.shoot(View(drawables=[box], camera=camera, width=8, height=8), skin)


@lru_cache(maxsize=1)
def _threads(pid: int) -> ThreadPoolExecutor:
    """This process's threads; a forked child has none of its parent's and makes its own."""
    return ThreadPoolExecutor(max_workers=3, thread_name_prefix="render")


def instance_colour(key: int) -> tuple[int, int, int]:
    """The colour of an instance in segmentation pictures; bright, and different for keys below 10,000."""
    mixed = (key * 2654435761) & 0xFFFFFF
    return (mixed >> 16 & 255, mixed >> 8 & 255, mixed & 255)


def class_colour(kind: str) -> tuple[int, int, int]:
    """The colour of a kind in class segmentation pictures."""
    return instance_colour((zlib.crc32(kind.encode()) & 0xFFFF) + 1)


def paint_ids(ids: NDArray[np.int32], colours: dict[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """A segmentation picture: `colours` by key, black for keys that have none."""
    table = np.zeros((max([int(ids.max(initial=0)), *colours], default=0) + 1, 3), np.uint8)
    for key, colour in colours.items():
        table[key] = colour
    return table[ids]


# --- what is kept between frames ---


@dataclass(slots=True)
class _Batch:
    """A scene's lit triangles in one array; slot i holds drawable i and may be longer than it needs to be."""

    drawables: list[Drawable]
    tris: Solid
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    capacity: NDArray[np.int64]
    keys: NDArray[np.int32]
    spheres: Solid
    lock: threading.Lock = field(default_factory=threading.Lock)


_solids: OrderedDict[tuple[Drawable, Skin, int], tuple[Solid, Solid]] = OrderedDict()
_batches: OrderedDict[tuple[Skin, tuple[int, ...]], _Batch] = OrderedDict()
_lock = threading.Lock()
_scratch = threading.local()


@contextmanager
def _locked_batch(drawables: Sequence[Drawable], skin: Skin) -> Iterator[_Batch]:
    """The scene's batch, brought up to date, for this thread alone."""
    name = (skin, tuple([d.key for d in drawables]))
    with _lock:
        batch = _batches.get(name)
        if batch is None:
            batch = _batches[name] = _fresh(drawables, skin)
        _batches.move_to_end(name)
        while len(_batches) > _MAX_BATCHES:
            _batches.popitem(last=False)
    with batch.lock:
        with _lock:
            _refresh(batch, drawables, skin)
        yield batch


def _refresh(batch: _Batch, drawables: Sequence[Drawable], skin: Skin) -> None:
    """Bring a batch up to date in place, or rebuild it when something does not fit its slot."""
    floors: tuple[Drawable, ...] | None = None
    for i, (old, new) in enumerate(zip(batch.drawables, drawables, strict=True)):
        if old is new or old == new:
            continue
        if new.kind == "Floor" or old.kind == "Floor":
            _rebuild(batch, drawables, skin)
            return
        if floors is None:
            floors = tuple(d for d in drawables if d.kind == "Floor")
        solid, sphere = _solid(new, skin, floors)
        if len(solid) > batch.capacity[i]:
            _rebuild(batch, drawables, skin)
            return
        start = batch.starts[i]
        batch.tris[start : start + len(solid)] = solid
        batch.ends[i] = start + len(solid)
        batch.spheres[i] = sphere
        batch.drawables[i] = new


def _rebuild(batch: _Batch, drawables: Sequence[Drawable], skin: Skin) -> None:
    new = _fresh(drawables, skin)
    batch.drawables, batch.tris, batch.starts, batch.ends = new.drawables, new.tris, new.starts, new.ends
    batch.capacity, batch.keys, batch.spheres = new.capacity, new.keys, new.spheres


def _fresh(drawables: Sequence[Drawable], skin: Skin) -> _Batch:
    floors = tuple(d for d in drawables if d.kind == "Floor")
    found = [_solid(d, skin, floors) for d in drawables]
    solids = [solid for solid, _ in found]
    lengths = np.array([len(s) for s in solids], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if solids else lengths
    tris = np.concatenate(solids) if solids else np.zeros((0, raster.WIDTH_OF_TRIANGLE), np.float32)
    spheres = np.array([sphere for _, sphere in found], np.float32).reshape(-1, 4)
    keys = np.array([d.key for d in drawables], np.int32)
    return _Batch(list(drawables), tris, starts, starts + lengths, lengths, keys, spheres)


def _sphere(solid: Solid) -> Solid:
    points = solid[:, :9].reshape(-1, 3)
    low, high = points.min(0), points.max(0)
    return np.append((low + high) / 2, np.linalg.norm(high - low) / 2 + 1e-3).astype(np.float32)


def _solid(drawable: Drawable, skin: Skin, floors: tuple[Drawable, ...]) -> tuple[Solid, Solid]:
    """A drawable's triangles in the world, lit, and the sphere round them."""
    is_room = drawable.kind in _ROOM
    name = (drawable, skin, hash(floors) if is_room else 0)
    kept = _solids.get(name)
    if kept is None:
        solid = _light(drawable, skin)
        if is_room and floors:
            solid = _inside_faces(solid, floors)
        kept = _solids[name] = (solid, _sphere(solid))
        while len(_solids) > _MAX_SOLIDS:
            _solids.popitem(last=False)
    else:
        _solids.move_to_end(name)
    return kept


def _light(drawable: Drawable, skin: Skin) -> Solid:
    d = drawable
    mesh = mesh_for(d.kind, d.size, d.style, d.openness, d.flags, d.liquid)
    turn = math.radians(d.yaw)
    out = np.empty((len(mesh), raster.WIDTH_OF_TRIANGLE), np.float32)
    raster.light_up(
        mesh.position, mesh.normal, mesh.uv, mesh.shade, mesh.colours, mesh.texture, mesh.density, mesh.glow,
        mesh.two_sided, np.float32(math.sin(turn)), np.float32(math.cos(turn)), np.array(d.position, np.float32),
        _lights(skin), out,
    )  # fmt: skip
    return out


@lru_cache(maxsize=64)
def _lights(skin: Skin) -> NDArray[np.float32]:
    """A skin's light as the pixel loops take it."""
    found = light(skin)
    tint = [255.0 * c for c in found.tint]
    numbers = [
        *found.key_direction,
        found.key_strength,
        *found.fill_direction,
        found.fill_strength,
        found.ambient,
        *tint,
    ]
    return np.array(numbers, np.float32)


def _inside_faces(solid: Solid, floors: tuple[Drawable, ...]) -> Solid:
    """Walls and ceilings without the faces no room lies before, so that a camera outside looks in."""
    centre = solid[:, :9].reshape(-1, 3, 3).mean(1) + 0.12 * solid[:, 9:12]
    seen = np.zeros(len(solid), bool)
    for floor in floors:
        s, c = math.sin(math.radians(floor.yaw)), math.cos(math.radians(floor.yaw))
        dx, dz = centre[:, 0] - floor.position[0], centre[:, 2] - floor.position[2]
        inside_x = np.abs(dx * c - dz * s) < floor.size[0] / 2
        inside_z = np.abs(dx * s + dz * c) < floor.size[2] / 2
        seen |= inside_x & inside_z & (solid[:, 10] < 0.5)
    return solid[seen] if seen.any() else solid


# --- one view ---


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
        with _locked_batch(view.drawables, skin) as batch:
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

    def _changed(self, batch: _Batch, drawables: Sequence[Drawable]) -> frozenset[int] | None:
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

    def _draw(self, batch: _Batch, camera: Camera, skin: Skin) -> None:
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

    def _draw_changed(self, batch: _Batch, camera: Camera, skin: Skin, changed: frozenset[int]) -> None:
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

    def _keep_still(self, batch: _Batch, lens: tuple[Any, ...], moving: frozenset[int]) -> _Still:
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


def _order(batch: _Batch) -> NDArray[np.int64]:
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
