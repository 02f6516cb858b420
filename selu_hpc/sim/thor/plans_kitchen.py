"""A kitchen: runs of counters with cabinets and drawers under and over them, sink, stove, fridge, a table.

Owns kitchens' furniture and the vanity that bathrooms share. Small things come from stock.py.
"""

from __future__ import annotations

from selu_hpc.sim.thor.builder import WALL_YAW, Builder, NoRoom
from selu_hpc.sim.thor.catalogue import spec
from selu_hpc.sim.thor.thing import Thing

COUNTER_HEIGHT = 0.90
SLAB = 0.05
DEPTH = 0.64
_BASE = COUNTER_HEIGHT - SLAB
_DRAWER = 0.19
_UPPER_Y = 1.42
_STOVE_WIDTH = 0.76


def kitchen(b: Builder, *, back: int = 0, side: int = 1) -> None:
    """An L of two walls, mirrored and turned by the choice of walls; the fridge stands at the far end."""
    room, rng = b.room, b.rng
    low, high = room.start(back), room.start(back) + room.length(back)
    corner_high = side in (1, 2)
    sink_at = low + (high - low) * rng.uniform(0.30, 0.60)
    wet = 0.70
    segments = [(low, sink_at - wet / 2), (sink_at + wet / 2, high)]
    corner = (high - DEPTH, high) if corner_high else (low, low + DEPTH)
    for a, z in segments:
        run(b, back, a, z, skip=corner)
    basin(b, back, sink_at, wet)
    for a, z in segments:
        a, z = max(a, corner[1]) if not corner_high else a, min(z, corner[0]) if corner_high else z
        uppers(b, back, a, z, share=0.6)
    _side_run(b, side, from_start=back in (0, 3))
    if rng.random() < 0.85:
        b.on_wall("Window", back, sink_at, y=1.25, must=False)
    _table(b, opposite=(side + 2) % 4)
    can = b.size("GarbageCan")
    b.find_wall("GarbageCan", can, clear=0.3)
    b.on_wall("LightSwitch", b.door_wall, None, y=1.15)
    b.on_wall("Painting", None, None, y=1.35, must=False)


def _side_run(b: Builder, wall: int, *, from_start: bool) -> None:
    """Counter, stove, counter, fridge, starting after the corner."""
    room, rng = b.room, b.rng
    start, length = room.start(wall), room.length(wall)
    fridge = b.size("Fridge", vary=0.05)
    gap = 0.06 + rng.uniform(0.0, 0.06)
    parts: list[tuple[float, str]] = [(DEPTH, "corner"), (rng.uniform(0.50, 0.75), "counter"), (_STOVE_WIDTH, "stove")]
    used = DEPTH + parts[1][0] + _STOVE_WIDTH + fridge[0] + 2 * gap
    if length - used < 0.45:
        raise NoRoom("counter")
    parts.append((min(length - used, 1.7), "counter"))
    at = start if from_start else start + length
    sign = 1 if from_start else -1
    for width, what in parts:
        middle, ends = at + sign * width / 2, sorted((at, at + sign * width))
        if what == "counter":
            run(b, wall, ends[0], ends[1])
            uppers(b, wall, ends[0], ends[1], share=0.6)
        elif what == "stove":
            stove(b, wall, middle, width)
        at += sign * width
    at += sign * (gap + fridge[0] / 2)
    b.keep_clear(b.against("Fridge", wall, at, fridge), 0.6)


def run(b: Builder, wall: int, low: float, high: float, *, skip: tuple[float, float] | None = None) -> None:
    """A counter from low to high with cabinets and drawers under it; nothing under `skip`, the corner."""
    if high - low < 0.2:
        return
    top = b.against("CounterTop", wall, (low + high) / 2, (high - low, SLAB, DEPTH), y=_BASE, mount="wall")
    b.keep_clear(top, 0.55)
    if skip is not None:
        low, high = (low, min(high, skip[0])) if skip[0] > low else (max(low, skip[1]), high)
    num = max(1, round((high - low) / 0.78)) if high - low > 0.25 else 0
    for i in range(num):
        width = (high - low) / num
        middle = low + width * (i + 0.5)
        y = 0.0
        if b.rng.random() < 0.55:
            b.against(
                "Drawer", wall, middle, (width - 0.01, _DRAWER, DEPTH - 0.04), y=_BASE - _DRAWER - 0.005, mount="wall"
            )
            b.against("Cabinet", wall, middle, (width - 0.01, _BASE - _DRAWER - 0.015, DEPTH - 0.04), y=y, mount="wall")
        else:
            b.against("Cabinet", wall, middle, (width - 0.01, _BASE - 0.005, DEPTH - 0.04), y=y, mount="wall")


def uppers(b: Builder, wall: int, low: float, high: float, *, share: float) -> None:
    """Hanging cabinets over a counter."""
    num = round((high - low) / 0.8)
    for i in range(num):
        width = (high - low) / num
        if b.rng.random() < share:
            b.against("Cabinet", wall, low + width * (i + 0.5), (width - 0.012, 0.62, 0.33), y=_UPPER_Y, mount="wall")


def basin(b: Builder, wall: int, along: float, width: float) -> Thing:
    """A sink let into a counter, its basin, a faucet and the cabinet below."""
    _, h, _ = spec("Sink").size
    sink = b.against("Sink", wall, along, (width, h, DEPTH), y=COUNTER_HEIGHT - h, mount="wall")
    inner = (width - 0.10, h - 0.03, DEPTH - 0.20)
    pool = b.add(
        "SinkBasin",
        b.at_wall(wall, along, inner, y=COUNTER_HEIGHT - h + 0.02, off=0.13),
        WALL_YAW[wall],
        inner,
        mount="wall",
        owner=sink,
    )
    faucet = b.size("Faucet", vary=0.1)
    tap = b.against("Faucet", wall, along, faucet, y=COUNTER_HEIGHT, off=0.02, mount="wall")
    tap.controls = [pool]
    b.against("Cabinet", wall, along, (width - 0.01, COUNTER_HEIGHT - h - 0.01, DEPTH - 0.04), mount="wall")
    b.keep_clear(sink, 0.55)
    return sink


def stove(b: Builder, wall: int, along: float, width: float) -> None:
    """An oven's body, four burners on it and their knobs."""
    body = b.against("StoveBase", wall, along, (width, COUNTER_HEIGHT, DEPTH), mount="floor")
    body.structural = True
    b.keep_clear(body, 0.55)
    for i in range(4):
        dx, dz = (-0.25, 0.25)[i % 2] * width, (-0.22, 0.22)[i // 2] * DEPTH
        burner = b.add(
            "StoveBurner",
            _on(body, dx, COUNTER_HEIGHT + 0.01, dz),
            WALL_YAW[wall],
            spec("StoveBurner").size,
            mount="wall",
        )
        kw, kh, kd = spec("StoveKnob").size
        knob = b.add(
            "StoveKnob",
            _on(body, (i - 1.5) * 0.2 * width, 0.82, DEPTH / 2 + kd / 2),
            WALL_YAW[wall],
            (kw, kh, kd),
            mount="wall",
        )
        knob.controls = [burner]


def _on(body: Thing, x: float, y: float, z: float) -> tuple[float, float, float]:
    return body.to_world(x, y, z)


def _table(b: Builder, *, opposite: int) -> None:
    """A dining table with chairs, against the free wall or in the middle; a small room has a side table."""
    rng = b.rng
    size = b.size("DiningTable")
    if b.room.length(0) * b.room.length(1) < 14.5:
        size = (size[0] * 0.65, size[1], size[2] * 0.75)
    table = b.find_wall("DiningTable", size, walls=(opposite, b.door_wall), clear=0.3, must=False)
    if table is None:
        table = b.find_floor("DiningTable", size, must=False) or b.find_wall(
            "SideTable", b.size("SideTable"), must=True
        )
    assert table is not None
    for _ in range(rng.randint(0, 2)):
        b.find_wall("Stool" if rng.random() < 0.5 else "Chair", b.size("Stool"), clear=0.2, must=False)
