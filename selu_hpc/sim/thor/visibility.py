"""What an agent sees: in reach, in the frustum, and not behind something.

Owns lines of sight and what lies under a pixel. Does not own pictures (film.py) or the arithmetic (rays.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing.camera import Camera
from selu_hpc.sim.thor import rays
from selu_hpc.sim.thor.catalogue import MUST_BE_OPEN
from selu_hpc.sim.thor.thing import Box, Thing, Vector

_SEE_THROUGH = frozenset({"ShowerGlass", "ShowerDoor", "Window"})
_SPACING = 0.25
_MOST = 9
_INSET = 0.03
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Geometry:
    """A scene's boxes and points, made anew when something changed. Owner i is things[i]."""

    signature: int
    things: list[Thing]
    boxes: Floats
    owners: NDArray[np.int64]
    points: Floats
    point_owner: NDArray[np.int64]


def enclosed(thing: Thing) -> bool:
    """Inside something that is closed."""
    return any(h.kind in MUST_BE_OPEN and not h.is_open for h in thing.holders())


def signature(things: Sequence[Thing]) -> int:
    """Changes when anything changes."""
    return sum(t.version for t in things) * 1024 + len(things)


def geometry(things: Sequence[Thing], old: Geometry | None) -> Geometry:
    """Up to date geometry."""
    now = signature(things)
    if old is not None and old.signature == now:
        return old
    boxes: list[Box] = []
    points: list[Floats] = []
    owners: list[int] = []
    point_owner: list[int] = []
    for i, thing in enumerate(things):
        if not thing.there or thing.hidden or enclosed(thing):
            continue
        if thing.holder is None and thing.kind not in _SEE_THROUGH:
            panels = thing.boxes()[0]
            boxes += panels
            owners += [i] * len(panels)
        if not thing.structural:
            mine = _points(thing.boxes()[2] if thing.kind == "Drawer" else thing.body())
            points.append(mine)
            point_owner += [i] * len(mine)
    return Geometry(
        now,
        list(things),
        np.array(boxes, np.float64).reshape(-1, 6),
        np.array(owners, np.int64),
        np.concatenate(points) if points else np.zeros((0, 3)),
        np.array(point_owner, np.int64),
    )


def seen(found: Geometry, camera: Camera, foot: Vector, *, reach: float, aspect: float) -> set[int]:
    """Keys of what is visible; held things are."""
    tan_y = math.tan(math.radians(camera.fov) / 2)
    marks = rays.seen_owners(
        np.array(camera.position), axes(camera), tan_y * aspect, tan_y, np.array(foot), reach,
        found.points, found.point_owner, found.boxes, found.owners, len(found.things),
    )  # fmt: skip
    things = found.things
    out = {things[i].key for i in np.flatnonzero(marks)}
    out.update(t.key for t in things if t.holder is not None)
    return out


def under_pixel(
    found: Geometry, camera: Camera, x: float, y: float, *, aspect: float
) -> tuple[Thing, float, Vector] | None:
    """What is at (x, y) of the picture, from the top left in shares, how far along the axis, and where."""
    tan_y = math.tan(math.radians(camera.fov) / 2)
    m = axes(camera)
    direction = m[2] + m[0] * ((2 * x - 1) * tan_y * aspect) + m[1] * ((1 - 2 * y) * tan_y)
    ox, oy, oz = camera.position
    t, which = rays.first_hit(ox, oy, oz, *(float(d) for d in direction), found.boxes, found.owners, -1)
    if which < 0:
        return None
    px, py, pz = (float(camera.position[i] + direction[i] * t) for i in range(3))
    return found.things[int(found.owners[which])], float(t), (px, py, pz)


def axes(camera: Camera) -> Floats:
    """Right, up and forward."""
    sy, cy = math.sin(math.radians(camera.yaw)), math.cos(math.radians(camera.yaw))
    sp, cp = math.sin(math.radians(camera.pitch)), math.cos(math.radians(camera.pitch))
    return np.array([[cy, 0.0, -sy], [sy * sp, cp, cy * sp], [sy * cp, -sp, cy * cp]])


@lru_cache(maxsize=8192)
def _points(box: Box) -> Floats:
    """Points on and in a thing's box, close enough that no large part goes unseen; not to be written to."""
    x0, y0, z0, x1, y1, z1 = box
    ticks = []
    for a, b in ((x0, x1), (y0, y1), (z0, z1)):
        inset = min(_INSET, (b - a) * 0.1)
        num = max(3, min(_MOST, math.ceil((b - a) / _SPACING) + 1))
        ticks.append(np.linspace(a + inset, b - inset, num))
    grid = np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, 3)
    if len(grid) > 27:
        low, high = np.array([t[0] for t in ticks]), np.array([t[-1] for t in ticks])
        grid = grid[((grid == low) | (grid == high)).any(1)]
    return grid
