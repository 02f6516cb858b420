"""A home's rooms: how wide they are, the doorways between them, and each one's floor, ceiling, walls and window.

Owns the empty home. Does not own the rooms' plans (plans.py) or what stands in them (furnishing.py).
"""

from __future__ import annotations

from selu_hpc.sim.virtualhome import plans
from selu_hpc.sim.virtualhome.catalogue import class_named
from selu_hpc.sim.virtualhome.draft import Draft
from selu_hpc.sim.virtualhome.places import WALL, Item, Rect

HEIGHT = 2.5
_DOOR = 0.9
_LEAF = 2.05


def build_rooms(draft: Draft) -> None:
    """The empty home."""
    _lay_out(draft)
    _join(draft)
    for room in draft.places.rooms:
        _build_shell(draft, room)


def _lay_out(draft: Draft) -> None:
    plan, rng = plans.PLANS[draft.known][draft.number], draft.rng
    width = rng.uniform(10.4, 11.8) if max(map(len, plan)) < 3 else rng.uniform(13.6, 15.0)
    z = 0.0
    for row in plan:
        depth = rng.uniform(4.5, 5.3)
        shares = [(0.72 if name == "bathroom" else 1.0) * rng.uniform(0.92, 1.08) for name in row]
        span = width if len(row) > 1 else min(width, 7.5)
        x = 0.0
        for name, share in zip(row, shares, strict=True):
            w = span * share / sum(shares)
            draft.places.rooms[draft.add_node(name)] = tuple(
                round(v, 3) for v in (x + WALL, z + WALL, x + w - WALL, z + depth - WALL)
            )  # type: ignore[assignment]
            x += w
        z += depth


def _join(draft: Draft) -> None:
    """A gap between any two rooms that share enough wall; a leaf in some of them."""
    rooms, rng = draft.places.rooms, draft.rng
    for a, ra in rooms.items():
        for b, rb in rooms.items():
            shared = _shared_wall(ra, rb) if a < b else None
            if shared is None:
                continue
            low, high, line, along_x = shared
            middle = round(low + _DOOR / 2 + 0.2 + rng.random() * (high - low - _DOOR - 0.4), 3)
            x, z, yaw = (middle, line, 0.0) if along_x else (line, middle, 90.0)
            name = "door" if rng.random() < 0.4 else "doorjamb"
            item = draft.fix(name, x, 0.0, z, yaw, a, (_DOOR, _LEAF, 0.1))
            if name == "door":
                draft.states[item.number] = ["OPEN"]
            draft.edges |= {(item.number, "BETWEEN", a), (item.number, "BETWEEN", b)}
            draft.gaps.append((item.footprint(0.02), a, b))


def _shared_wall(ra: Rect, rb: Rect) -> tuple[float, float, float, bool] | None:
    """From where to where it goes, on which line, and whether along x; None where it is too short for a doorway."""
    if abs(ra[2] - rb[0]) < 3 * WALL or abs(rb[2] - ra[0]) < 3 * WALL:
        low, high, along_x = max(ra[1], rb[1]), min(ra[3], rb[3]), False
        line = (ra[2] + rb[0]) / 2 if abs(ra[2] - rb[0]) < 3 * WALL else (rb[2] + ra[0]) / 2
    elif abs(ra[3] - rb[1]) < 3 * WALL or abs(rb[3] - ra[1]) < 3 * WALL:
        low, high, along_x = max(ra[0], rb[0]), min(ra[2], rb[2]), True
        line = (ra[3] + rb[1]) / 2 if abs(ra[3] - rb[1]) < 3 * WALL else (rb[3] + ra[1]) / 2
    else:
        return None
    return None if high - low < _DOOR + 0.5 else (low, high, line, along_x)


def _build_shell(draft: Draft, room: int) -> None:
    x0, z0, x1, z1 = draft.places.rooms[room]
    cx, cz, w, d = (x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0
    draft.fix("floor", cx, -0.02, cz, 0.0, room, (w, 0.02, d))
    draft.fix("ceiling", cx, HEIGHT, cz, 0.0, room, (w, 0.05, d))
    lamp = draft.fix("ceilinglamp", cx, HEIGHT - 0.3, cz, 0.0, room)
    draft.states[lamp.number] = ["ON"]
    for side in range(4):
        _build_wall(draft, room, side)
    outer = [side for side in range(4) if not _has_neighbour(draft, room, side)]
    if outer:
        side = draft.rng.choice(outer)
        length = (w, d)[side % 2] - 1.6
        offset = draft.rng.uniform(-0.3, 0.3) * max(length, 0.0)
        _mount(draft, "window", room, side, offset, 1.0)
        if draft.rng.random() < 0.7:
            curtains = _mount(draft, "curtains", room, side, offset, 0.6, out=0.06)
            draft.states[curtains.number] = ["OPEN"]


def _has_neighbour(draft: Draft, room: int, side: int) -> bool:
    x0, z0, x1, z1 = draft.places.rooms[room]
    x, z = (
        ((x0 + x1) / 2, z0 - 0.3),
        (x1 + 0.3, (z0 + z1) / 2),
        ((x0 + x1) / 2, z1 + 0.3),
        (x0 - 0.3, (z0 + z1) / 2),
    )[side]
    return draft.places.room_at(x, z) is not None


def _build_wall(draft: Draft, room: int, side: int) -> None:
    """A wall in pieces beside and above its doorways."""
    x0, z0, x1, z1 = draft.places.rooms[room]
    along_x = side % 2 == 0
    low, high = (x0, x1) if along_x else (z0, z1)
    line = (z0 - WALL / 2, x1 + WALL / 2, z1 + WALL / 2, x0 - WALL / 2)[side]
    pieces, start = [], low
    for first, last in sorted(_holes(draft, room, line, along_x)):
        pieces += [(start, first, 0.0, HEIGHT), (first, last, _LEAF, HEIGHT - _LEAF)]
        start = last
    for first, last, y, h in [*pieces, (start, high, 0.0, HEIGHT)]:
        if last - first < 0.02:
            continue
        middle = (first + last) / 2
        if along_x:
            draft.fix("wall", middle, y, line, 0.0, room, (last - first, h, WALL))
        else:
            draft.fix("wall", line, y, middle, 0.0, room, (WALL, h, last - first))


def _holes(draft: Draft, room: int, line: float, along_x: bool) -> list[tuple[float, float]]:
    """Where a room's wall on this line has doorways."""
    holes = []
    for (a0, b0, a1, b1), *between in draft.gaps:
        across = (b0 + b1) / 2 if along_x else (a0 + a1) / 2
        if room in between and abs(across - line) < 0.12 and ((a1 - a0 > b1 - b0) == along_x):
            holes.append((a0 + 0.02, a1 - 0.02) if along_x else (b0 + 0.02, b1 - 0.02))
    return holes


def _mount(draft: Draft, name: str, room: int, side: int, offset: float, y: float, out: float = 0.0) -> Item:
    x, z, yaw = draft.at_wall(room, side, offset, class_named(name).size[2], out)
    return draft.fix(name, x, y, z, yaw, room)
