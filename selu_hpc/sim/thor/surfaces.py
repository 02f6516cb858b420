"""Finding a place for a thing: on a receptacle's surfaces, without touching what is already there.

Owns the search. Does not own whether a thing may go there at all (actions/hand.py) or what surfaces exist (forms.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

from selu_hpc.sim.thor import forms
from selu_hpc.sim.thor.thing import Box, Thing, Vector, half_extents

GAP = 0.004
STEP = 0.06
_TRIES = 40


def overlap(a: Box, b: Box, gap: float = 0.0) -> bool:
    """Whether two boxes come closer than `gap`."""
    return (
        a[0] < b[3] + gap and b[0] < a[3] + gap
        and a[1] < b[4] + gap and b[1] < a[4] + gap
        and a[2] < b[5] + gap and b[2] < a[5] + gap
    )  # fmt: skip


def around(centre: Vector, half: Vector) -> Box:
    """The box with this middle."""
    (x, y, z), (a, b, c) = centre, half
    return (x - a, y - b, z - c, x + a, y + b, z + c)


def place(
    thing: Thing,
    receptacle: Thing,
    things: Iterable[Thing],
    *,
    near: Vector | None = None,
    rng: random.Random | None = None,
    upright_yaw: float | None = None,
) -> bool:
    """Put a thing in or on a receptacle; False, and nothing moved, when there is no room.

    near: take the free spot nearest to this point.  rng: take any spot.  upright_yaw: the yaw it should have.
    """
    spot = find(thing, receptacle, things, near=near, rng=rng, upright_yaw=upright_yaw)
    if spot is None:
        return False
    thing.move(*spot)
    thing.into(receptacle)
    return True


def find(
    thing: Thing,
    receptacle: Thing,
    things: Iterable[Thing],
    *,
    near: Vector | None = None,
    rng: random.Random | None = None,
    upright_yaw: float | None = None,
) -> tuple[Vector, Vector] | None:
    """The centre and rotation that `place` would choose."""
    own = {id(thing), *(id(t) for t in thing.descendants())}
    others = [t for t in things if t.there and id(t) not in own and t is not receptacle]
    base = upright_yaw if upright_yaw is not None else receptacle.yaw
    yaws = [base % 360, (base + 90) % 360]
    if rng is not None and upright_yaw is None and rng.random() < 0.5:
        yaws.reverse()
    for zone in _ordered(receptacle, near, rng):
        taken = sum(1 for child in receptacle.children if id(child) not in own)
        if taken >= zone.room or thing.size[1] > zone.clear:
            continue
        floor = receptacle.bottom[1] + zone.y
        blocking = _blocking(others, receptacle, floor)
        for yaw in yaws:
            rotation = (0.0, yaw, 0.0)
            half = half_extents(thing.size, rotation)
            for x, z in _points(zone, thing, receptacle, half, near=near, rng=rng):
                world = receptacle.to_world(x, zone.y, z)
                y = floor - half[1] if zone.hangs else floor + half[1] + 0.001
                centre = (world[0], y, world[2])
                box = around(centre, half)
                if not any(overlap(box, other, GAP) for other in blocking):
                    return centre, rotation
    return None


def surface_y(receptacle: Thing) -> float:
    """The height of its lowest surface."""
    found = forms.zones(receptacle.kind, receptacle.size)
    return receptacle.bottom[1] + (found[0].y if found else receptacle.size[1])


def _ordered(receptacle: Thing, near: Vector | None, rng: random.Random | None) -> list[forms.Zone]:
    out = forms.slide(receptacle.kind, receptacle.size, receptacle.openness)
    found = [
        forms.Zone(z.x0, z.x1, z.z0 + out, z.z1 + out, z.y, z.clear, z.loose, z.hangs, z.room)
        for z in forms.zones(receptacle.kind, receptacle.size)
    ]
    if rng is not None:
        rng.shuffle(found)
    elif near is not None:
        found.sort(key=lambda zone: abs(receptacle.bottom[1] + zone.y - near[1]))
    return found


def _blocking(others: Iterable[Thing], receptacle: Thing, floor: float) -> list[Box]:
    """Boxes of what stands on the surface, or reaches over it."""
    found: list[Box] = []
    near = receptacle.boxes()[2]
    for other in others:
        if other.holder is not None:
            continue
        box = other.body()
        if box[3] < near[0] - 0.3 or box[0] > near[3] + 0.3 or box[5] < near[2] - 0.3 or box[2] > near[5] + 0.3:
            continue
        if other.parent is receptacle or box[1] >= floor - 0.03:
            found += other.boxes()[1] if other.is_open else (box,)
    return found


def _points(
    zone: forms.Zone,
    thing: Thing,
    receptacle: Thing,
    half: Vector,
    *,
    near: Vector | None,
    rng: random.Random | None,
) -> Iterator[tuple[float, float]]:
    """Points of the zone, in the receptacle's frame, at which the thing does not stick out."""
    hx, hz = (half[0], half[2]) if receptacle.yaw % 180 == 0 else (half[2], half[0])
    if zone.loose:
        hx = hz = 0.0
    x0, x1, z0, z1 = zone.x0 + hx, zone.x1 - hx, zone.z0 + hz, zone.z1 - hz
    if x1 < x0 or z1 < z0:
        return
    if rng is not None:
        for _ in range(_TRIES):
            yield rng.uniform(x0, x1), rng.uniform(z0, z1)
        return
    nx, nz = max(1, min(24, int((x1 - x0) / STEP) + 1)), max(1, min(24, int((z1 - z0) / STEP) + 1))
    grid = [
        (x0 + (x1 - x0) * (i + 0.5) / nx, z0 + (z1 - z0) * (j + 0.5) / nz) for i in range(nx) for j in range(nz)
    ]  # fmt: skip
    target = near or receptacle.to_world(0.0, 0.0, 0.0)

    def far(point: tuple[float, float]) -> float:
        world = receptacle.to_world(point[0], 0.0, point[1])
        return round(math.hypot(world[0] - target[0], world[2] - target[2]), 6)

    yield from sorted(grid, key=far)
