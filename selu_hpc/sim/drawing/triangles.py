"""A scene's triangles in the world, lit by its skin: made once, kept between frames, brought up to date in place.

Owns the way from drawables to triangles and what is kept of it. Does not own shapes (shapes/), looks (skins.py) or
pictures (film.py).
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing import raster
from selu_hpc.sim.drawing.camera import Drawable
from selu_hpc.sim.drawing.shapes import mesh_for
from selu_hpc.sim.drawing.skins import Skin, light
from selu_hpc.sim.drawing.solids import Kept, SolidFiles

_MAX_SOLIDS = 4096
_MAX_BATCHES = 8
_MUCH = 0.1
"""A scene is new when more than this share of it would have to be built."""
_ROOM = frozenset({"Wall", "Ceiling"})

Solid = NDArray[np.float32]


@dataclass(slots=True)
class Batch:
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
_batches: OrderedDict[tuple[Skin, tuple[int, ...]], Batch] = OrderedDict()
_lock = threading.Lock()
_files: SolidFiles | None = None


def keep_in(files: SolidFiles | None) -> None:
    """Let this process find scenes' triangles there, and keep those that it builds; None is memory only."""
    global _files
    _files = files


@contextmanager
def locked_batch(drawables: Sequence[Drawable], skin: Skin) -> Iterator[Batch]:
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


def _refresh(batch: Batch, drawables: Sequence[Drawable], skin: Skin) -> None:
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


def _rebuild(batch: Batch, drawables: Sequence[Drawable], skin: Skin) -> None:
    new = _fresh(drawables, skin)
    batch.drawables, batch.tris, batch.starts, batch.ends = new.drawables, new.tris, new.starts, new.ends
    batch.capacity, batch.keys, batch.spheres = new.capacity, new.keys, new.spheres


def _fresh(drawables: Sequence[Drawable], skin: Skin) -> Batch:
    floors = tuple(d for d in drawables if d.kind == "Floor")
    known = _read(drawables, skin, floors)
    is_new = _is_new(drawables, skin, floors)
    found = [_solid(d, skin, floors) for d in drawables]
    if _files is not None and is_new:
        _files.write(skin, floors, [*known, *((d, *one) for d, one in zip(drawables, found, strict=True))])
    solids = [solid for solid, _ in found]
    lengths = np.array([len(s) for s in solids], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if solids else lengths
    tris = np.concatenate(solids) if solids else np.zeros((0, raster.WIDTH_OF_TRIANGLE), np.float32)
    spheres = np.array([sphere for _, sphere in found], np.float32).reshape(-1, 4)
    keys = np.array([d.key for d in drawables], np.int32)
    return Batch(list(drawables), tris, starts, starts + lengths, lengths, keys, spheres)


def _read(drawables: Sequence[Drawable], skin: Skin, floors: tuple[Drawable, ...]) -> list[Kept]:
    """Learn what is on disk of a scene that is new to this process; several homes may have the same floors."""
    if _files is None or not _is_new(drawables, skin, floors):
        return []
    kept = _files.read(skin, floors)
    for drawable, solid, sphere in kept:
        _solids[_name(drawable, skin, floors)] = (solid, sphere)
    return kept


def _is_new(drawables: Sequence[Drawable], skin: Skin, floors: tuple[Drawable, ...]) -> bool:
    """Whether much of a scene would have to be built, not only what an episode changed."""
    unknown = sum(_name(d, skin, floors) not in _solids for d in drawables)
    return bool(floors) and unknown > len(drawables) * _MUCH


def _name(drawable: Drawable, skin: Skin, floors: tuple[Drawable, ...]) -> tuple[Drawable, Skin, int]:
    return drawable, skin, hash(floors) if drawable.kind in _ROOM else 0


def _sphere(solid: Solid) -> Solid:
    points = solid[:, :9].reshape(-1, 3)
    low, high = points.min(0), points.max(0)
    return np.append((low + high) / 2, np.linalg.norm(high - low) / 2 + 1e-3).astype(np.float32)


def _solid(drawable: Drawable, skin: Skin, floors: tuple[Drawable, ...]) -> tuple[Solid, Solid]:
    """A drawable's triangles in the world, lit, and the sphere round them."""
    name = _name(drawable, skin, floors)
    kept = _solids.get(name)
    if kept is None:
        solid = _light(drawable, skin)
        if drawable.kind in _ROOM and floors:
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
