"""Where the agent's body fits: a cylinder against boxes, on the grid.

Owns collision of the agent. Does not own commands (actions/move.py) or what is seen (visibility.py).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.thor.builder import Room
from selu_hpc.sim.thor.thing import Thing

GRID = 0.25
RADIUS = 0.2
HEIGHT = 1.8
STEP_OVER = 0.12
"""Things lower than this are stepped over."""
_SWEEP = 0.05
_EPS = 1e-6
_THROUGH = frozenset(
    {"Floor", "Ceiling", "Wall", "Door", "Curtains", "LightSwitch", "Painting", "Poster", "Blinds", "ShowerHead"}
)

Blocks = NDArray[np.float64]
"""(N, 5): x0, z0, x1, z1, key."""
Point = tuple[float, float]
Cell = tuple[int, int]
"""A point's place on a grid."""


def blocks(things: Iterable[Thing], room: Room, *, without: frozenset[int] = frozenset()) -> Blocks:
    """What the agent can't walk through: furniture, open doors, things on the floor, walls (keys 1 to 4)."""
    far = 50.0
    rows = [
        (room.x0 - far, room.z0 - far, room.x1 + far, room.z0, 1.0),
        (room.x1, room.z0 - far, room.x1 + far, room.z1 + far, 2.0),
        (room.x0 - far, room.z1, room.x1 + far, room.z1 + far, 3.0),
        (room.x0 - far, room.z0 - far, room.x0, room.z1 + far, 4.0),
    ]
    for thing in things:
        if not thing.there or thing.holder is not None or thing.kind in _THROUGH or thing.key in without:
            continue
        if thing.parent is not None and thing.parent.kind != "Floor":
            continue
        if thing.sliced or (thing.kind == "ShowerCurtain"):
            continue
        for x0, y0, z0, x1, y1, z1 in thing.boxes()[1]:
            if y1 > STEP_OVER and y0 < HEIGHT:
                rows.append((x0, z0, x1, z1, float(thing.key)))
    return np.array(rows, np.float64)


def _gap(low: Any, high: Any, first: Any, last: Any) -> NDArray[np.float64]:
    """How far the interval from low to high is from the one from first to last, on one axis; numbers or arrays."""
    gap: NDArray[np.float64] = np.maximum(np.maximum(first - high, low - last), 0.0)
    return gap


def blocker(x: float, z: float, found: Blocks, radius: float = RADIUS) -> int:
    """The key of what the agent would touch there; 0 for nothing."""
    dx, dz = _gap(x, x, found[:, 0], found[:, 2]), _gap(z, z, found[:, 1], found[:, 3])
    hit = dx * dx + dz * dz < radius * radius - _EPS
    return int(found[int(hit.argmax()), 4]) if hit.any() else 0


def sweep(a: Point, b: Point, found: Blocks, radius: float = RADIUS) -> int:
    """The first thing in the way from a to b; 0 for none. What is already touched at a does not hold the agent."""
    distance = math.dist(a, b)
    num = max(1, math.ceil(distance / _SWEEP))
    dx, dz = _gap(a[0], a[0], found[:, 0], found[:, 2]), _gap(a[1], a[1], found[:, 1], found[:, 3])
    stuck = dx * dx + dz * dz < radius * radius - _EPS
    rest = found[~stuck]
    along = np.arange(1, num + 1)[:, None] / num
    x, z = a[0] + (b[0] - a[0]) * along, a[1] + (b[1] - a[1]) * along
    dx, dz = _gap(x, x, rest[:, 0], rest[:, 2]), _gap(z, z, rest[:, 1], rest[:, 3])
    hit = dx * dx + dz * dz < radius * radius - _EPS
    touched = hit.any(1)
    return int(rest[int(hit[int(touched.argmax())].argmax()), 4]) if touched.any() else 0


def free_grid(found: Blocks, room: Room, grid: float = GRID, origin: Point = (0.0, 0.0)) -> set[Cell]:
    """Grid indices at which the agent fits."""
    i0, i1 = math.ceil((room.x0 - origin[0]) / grid), math.floor((room.x1 - origin[0]) / grid)
    j0, j1 = math.ceil((room.z0 - origin[1]) / grid), math.floor((room.z1 - origin[1]) / grid)
    xs = origin[0] + np.arange(i0, i1 + 1) * grid
    zs = origin[1] + np.arange(j0, j1 + 1) * grid
    dx, dz = _gap(xs, xs, found[:, 0:1], found[:, 2:3]), _gap(zs, zs, found[:, 1:2], found[:, 3:4])
    hit = (dx[:, :, None] ** 2 + dz[:, None, :] ** 2 < RADIUS**2 - _EPS).any(0)
    return {(i0 + int(i), j0 + int(j)) for i, j in np.argwhere(~hit)}


def reachable(start: Point, found: Blocks, room: Room, grid: float = GRID) -> list[Point]:
    """Grid points (aligned with the start) that can be walked to, in the order they are come upon."""
    free = free_grid(found, room, grid, start)
    closed = _closed_steps(free, start, found, grid)
    queue, seen, order = deque([(0, 0)]), {(0, 0)}, []
    while queue:
        here = queue.popleft()
        order.append(_point(start, here, grid))
        for there in _next_to(here):
            if there in free and there not in seen:
                if here in free:
                    is_closed = (here, there) in closed
                else:  # only the start may stand where the agent does not fit
                    is_closed = bool(sweep(_point(start, here, grid), _point(start, there, grid), found))
                if not is_closed:
                    seen.add(there)
                    queue.append(there)
    return order


def _point(start: Point, cell: Cell, grid: float) -> Point:
    return (start[0] + cell[0] * grid, start[1] + cell[1] * grid)


def _next_to(cell: Cell) -> tuple[Cell, ...]:
    i, j = cell
    return ((i, j + 1), (i + 1, j), (i, j - 1), (i - 1, j))


def _closed_steps(free: set[Cell], start: Point, found: Blocks, grid: float) -> set[tuple[Cell, Cell]]:
    """Steps from a free point to the next on whose way something is: `sweep` of all of them at once."""
    steps = [(here, there) for here in free for there in _next_to(here) if there in free]
    if not steps:
        return set()
    a, b = (np.array(start) + np.array(steps, np.float64) * grid).transpose(1, 2, 0)
    low, high = np.minimum(a, b)[:, :, None], np.maximum(a, b)[:, :, None]
    dx = _gap(low[0], high[0], found[:, 0], found[:, 2])
    dz = _gap(low[1], high[1], found[:, 1], found[:, 3])
    which, near = np.nonzero(dx * dx + dz * dz < RADIUS * RADIUS)  # no other comes near any point of the step
    nums = np.maximum(1, np.ceil(np.abs(b - a).sum(0) / _SWEEP)).astype(int)[which]
    closed: set[int] = set()
    for num in np.unique(nums):
        mine, boxes = which[nums == num], found[near[nums == num]][:, :, None]
        along = np.arange(1, num + 1) / num
        x, z = a[:, mine, None] + (b - a)[:, mine, None] * along
        dx, dz = _gap(x, x, boxes[:, 0], boxes[:, 2]), _gap(z, z, boxes[:, 1], boxes[:, 3])
        closed.update(mine[(dx * dx + dz * dz < RADIUS * RADIUS - _EPS).any(1)].tolist())
    return {steps[one] for one in closed}


def regions(found: Blocks, room: Room, grid: float = GRID) -> list[list[Point]]:
    """Connected sets of free grid points, the largest first."""
    free, out = free_grid(found, room, grid), []
    while free:
        queue, part = deque([min(free)]), []
        free.discard(queue[0])
        while queue:
            here = queue.popleft()
            part.append(_point((0.0, 0.0), here, grid))
            for step in _next_to(here):
                if step in free:
                    free.discard(step)
                    queue.append(step)
        out.append(part)
    return sorted(out, key=len, reverse=True)


def reachable_turned(start: Point, yaw: float, found: Blocks, room: Room, grid: float = GRID) -> list[Point]:
    """As `reachable`, on a grid whose axes are turned to the agent's heading."""
    s, c = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))

    def place(i: int, j: int) -> Point:
        return (start[0] + (i * c + j * s) * grid, start[1] + (j * c - i * s) * grid)

    queue, seen, order = deque([(0, 0)]), {(0, 0)}, []
    while queue:
        i, j = queue.popleft()
        order.append(place(i, j))
        for step in _next_to((i, j)):
            if step not in seen and not sweep(place(i, j), place(*step), found):
                seen.add(step)
                queue.append(step)
    return order
