"""Where everything in a home is: poses of things and characters, free spots, and moving what the graph says has moved.

Owns geometry. Does not own the graph's rules (rules.py) or pictures (view.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from selu_hpc.sim.virtualhome.catalogue import HomeClass, Size, Surface, class_named, seat_height, surfaces

WALL = 0.05
BODY = (0.42, 1.68, 0.42)
_BODY_RADIUS = 0.24
_HAND = {"HOLDS_RH": (0.23, 1.20, 0.46), "HOLDS_LH": (-0.23, 1.20, 0.46)}
_STEP = 0.07

Rect = tuple[float, float, float, float]
"""x0, z0, x1, z1."""
Support = tuple[str, int]
"""How and by what a thing is carried: ("ON" | "INSIDE" | "HOLDS_RH" | "HOLDS_LH" | "ROOM", id)."""


@dataclass(slots=True)
class Item:
    """One node with a body. x, y, z: the middle of its bottom."""

    number: int
    cls: HomeClass
    size: Size
    x: float
    y: float
    z: float
    yaw: float
    support: Support
    fixed: bool = False

    def footprint(self, margin: float = 0.0) -> Rect:
        w, d = (self.size[0], self.size[2]) if self.yaw % 180 == 0 else (self.size[2], self.size[0])
        return (self.x - w / 2 - margin, self.z - d / 2 - margin, self.x + w / 2 + margin, self.z + d / 2 + margin)

    def to_world(self, x: float, z: float) -> tuple[float, float]:
        s, c = math.sin(math.radians(self.yaw)), math.cos(math.radians(self.yaw))
        return self.x + x * c + z * s, self.z - x * s + z * c

    def bounds(self) -> dict[str, list[float]]:
        """VirtualHome's bounding box."""
        x0, z0, x1, z1 = self.footprint()
        centre = [(x0 + x1) / 2, self.y + self.size[1] / 2, (z0 + z1) / 2]
        return {
            "center": [round(v, 4) for v in centre],
            "size": [round(v, 4) for v in (x1 - x0, self.size[1], z1 - z0)],
        }


@dataclass(slots=True)
class Body:
    """A character's pose; `seat` is what it sits or lies on, 0 when it stands."""

    number: int
    resource: str
    x: float
    z: float
    yaw: float
    y: float = 0.0
    seat: int = 0

    def bounds(self) -> dict[str, list[float]]:
        """VirtualHome's bounding box."""
        middle = (self.x, self.y + BODY[1] / 2, self.z)
        return {"center": [round(v, 4) for v in middle], "size": list(BODY)}

    def transform(self) -> dict[str, list[float]]:
        """VirtualHome's `obj_transform`: the rotation is a quaternion, x y z w."""
        half = math.radians(self.yaw) / 2
        return {
            "position": [round(v, 4) for v in (self.x, self.y, self.z)],
            "rotation": [0.0, round(math.sin(half), 6), 0.0, round(math.cos(half), 6)],
            "scale": [1.0, 1.0, 1.0],
        }


@dataclass(slots=True)
class Places:
    """All poses of a home. rooms: number → rectangle inside the walls."""

    rooms: dict[int, Rect]
    items: dict[int, Item] = field(default_factory=dict)
    bodies: dict[int, Body] = field(default_factory=dict)

    def copy(self) -> Places:
        return Places(
            dict(self.rooms),
            {n: replace(i) for n, i in self.items.items()},
            {n: replace(b) for n, b in self.bodies.items()},
        )

    def room_at(self, x: float, z: float) -> int | None:
        for number, (x0, z0, x1, z1) in self.rooms.items():
            if x0 - WALL <= x <= x1 + WALL and z0 - WALL <= z <= z1 + WALL:
                return number
        return None

    def room_of(self, item: Item) -> int | None:
        """The room that a thing, or the furniture it lies on or in, belongs to."""
        base = self.bearer(item)
        return base.support[1] if base.support[0] == "ROOM" else self.room_at(base.x, base.z)

    def stands_free(self, x: float, z: float, *, besides: int = 0, obstacles: Sequence[Rect] | None = None) -> bool:
        """Whether a body has room here. obstacles: `self.obstacles()`, for whoever looks at many places."""
        room = self.room_at(x, z)
        if room is None:
            return False
        x0, z0, x1, z1 = self.rooms[room]
        r = _BODY_RADIUS
        if not (x0 + r <= x <= x1 - r and z0 + r <= z <= z1 - r):
            return False
        for a0, b0, a1, b1 in self.obstacles() if obstacles is None else obstacles:
            if a0 < x < a1 and b0 < z < b1:
                return False
        return all(b.number == besides or math.hypot(b.x - x, b.z - z) > 2 * r for b in self.bodies.values())

    def obstacles(self) -> list[Rect]:
        """Where no body's middle may be because of what stands on the floor."""
        return [
            item.footprint(_BODY_RADIUS)
            for item in self.items.values()
            if item.cls.category not in ("Floor", "Ceiling", "Walls")
            and item.y <= 1.2
            and item.size[1] >= 0.05
            and (item.support[0] == "ROOM" or (item.support[0] == "ON" and item.y <= 0.05))
        ]

    def spot_before(self, item: Item, *, besides: int) -> tuple[float, float]:
        """Free ground next to a thing, in its own room (a door has two), before its front where that is possible."""
        base = self.bearer(item)
        own = None if base.cls.category == "Doors" else self.room_of(item)
        front = base.yaw
        reach = max(base.size[0], base.size[2]) / 2
        best, cost = (base.x, base.z), math.inf
        ideal = 0.6 if base.size[1] > 1.2 else 0.3
        obstacles = self.obstacles()
        for ring in (0.30, 0.45, 0.6, 0.8, 1.05, 1.4, 1.8):
            for k in range(24):
                angle = math.radians(front + 15 * k)
                x, z = base.x + (reach + ring) * math.sin(angle), base.z + (reach + ring) * math.cos(angle)
                if not self.stands_free(x, z, besides=besides, obstacles=obstacles):
                    continue
                if own is not None and self.room_at(x, z) != own:
                    continue
                aside = abs(((15 * k + 180) % 360) - 180) / 180
                price = math.hypot(x - item.x, z - item.z) + 0.9 * aside + 2.0 * max(ideal - ring, 0.0)
                if price < cost:
                    best, cost = (x, z), price
            if cost < math.inf and ring > ideal + 0.1:
                break
        if own is not None and cost == math.inf:
            free = self._free_in(own, besides=besides)
            return min(free, key=lambda s: (math.hypot(s[0] - item.x, s[1] - item.z), s), default=best)
        return best

    def spot_in_room(self, room: int, turn: float = 0.0, *, besides: int = 0) -> tuple[float, float]:
        """Free ground nearest to a room's middle, or around it at `turn` (0 … 1)."""
        x0, z0, x1, z1 = self.rooms[room]
        cx, cz = (x0 + x1) / 2, (z0 + z1) / 2
        free = self._free_in(room, besides=besides)
        free.sort(key=lambda s: (round(math.hypot(s[0] - cx, s[1] - cz), 6), s))
        return free[int(turn * len(free))] if free else (cx, cz)

    def _free_in(self, room: int, *, besides: int) -> list[tuple[float, float]]:
        x0, z0, x1, z1 = self.rooms[room]
        spots = [(x0 + 0.3 + 0.2 * i, z0 + 0.3 + 0.2 * k) for i in range(60) for k in range(60)
                 if x0 + 0.3 + 0.2 * i < x1 - 0.25 and z0 + 0.3 + 0.2 * k < z1 - 0.25]  # fmt: skip
        obstacles = self.obstacles()
        return [s for s in spots if self.stands_free(*s, besides=besides, obstacles=obstacles)]

    def bearer(self, item: Item) -> Item:
        """The furniture at the bottom of a thing's pile."""
        seen = {item.number}
        while item.support[0] in ("ON", "INSIDE") and item.support[1] in self.items and item.support[1] not in seen:
            below = self.items[item.support[1]]
            if below.cls.category == "Floor":
                break
            item = below
            seen.add(item.number)
        return item

    def put(self, item: Item, support: Support, *, near: tuple[float, float] | None = None) -> None:
        """Lay a thing on or in another, at the free spot nearest to a point, else in the middle of its surface."""
        below = self.items.get(support[1])
        item.support = support
        if below is None or below.cls.category == "Floor":
            self._drop(item, near)
            return
        places = surfaces(below.cls, below.size, inside=support[0] == "INSIDE")
        taken = [other.footprint() for other in self.items.values()
                 if other.support[1] == below.number and other.number != item.number]  # fmt: skip
        item.yaw = below.yaw
        want = near if near is not None else (below.x, below.z)
        for surface in places:
            if item.size[1] > surface.clear:
                continue
            spots = self._spots(item, below, surface)
            for _, x, z in sorted((round(math.hypot(x - want[0], z - want[1]), 6), x, z) for x, z in spots):
                item.x, item.z = x, z
                own = item.footprint(0.008)
                if not any(_overlap(own, other) for other in taken):
                    item.y = below.y + surface.y
                    return
        surface = places[0]
        item.x, item.z = below.to_world((surface.x0 + surface.x1) / 2, (surface.z0 + surface.z1) / 2)
        item.y = below.y + surface.y + 0.02 * len(taken)

    def _spots(self, item: Item, below: Item, surface: Surface) -> Iterable[tuple[float, float]]:
        w, d = item.size[0] / 2, item.size[2] / 2
        nx = max(1, int((surface.x1 - surface.x0 - 2 * w) / _STEP) + 1)
        nz = max(1, int((surface.z1 - surface.z0 - 2 * d) / _STEP) + 1)
        sine, cosine = math.sin(math.radians(below.yaw)), math.cos(math.radians(below.yaw))
        for i in range(nx):
            x = (surface.x0 + surface.x1) / 2 + (i - (nx - 1) / 2) * _STEP
            for k in range(nz):
                z = (surface.z0 + surface.z1) / 2 + (k - (nz - 1) / 2) * _STEP
                yield below.x + x * cosine + z * sine, below.z - x * sine + z * cosine

    def _drop(self, item: Item, near: tuple[float, float] | None) -> None:
        room = item.support[1] if item.support[1] in self.rooms else None
        if room is None and near is not None:
            room = self.room_at(*near)
        if near is None and room is not None:
            near = self.spot_in_room(room)
        if near is not None:
            item.x, item.z = near
        item.y = 0.0

    def face(self, body: Body, x: float, z: float) -> None:
        if math.hypot(x - body.x, z - body.z) > 1e-6:
            body.yaw = math.degrees(math.atan2(x - body.x, z - body.z)) % 360

    def walk_to(self, body: Body, number: int) -> None:
        """Stand before a thing, or in a room; a floor and a ceiling, which reach as far as it does, mean their room."""
        body.seat, body.y = 0, 0.0
        item = self.items.get(number)
        if item is not None and item.cls.category in ("Floor", "Ceiling"):
            number = self.room_of(item) or number
        if number in self.rooms:
            if self.room_at(body.x, body.z) != number:
                body.x, body.z = self.spot_in_room(number, besides=body.number)
            return
        target = self.bodies.get(number)
        if target is not None:
            self.face(body, target.x, target.z)
            return
        if item is not None:
            if item.support[0] not in _HAND:
                body.x, body.z = self.spot_before(item, besides=body.number)
            self.face(body, item.x, item.z)

    def sit_on(self, body: Body, number: int) -> None:
        """Take the seat."""
        seat = self.items.get(number)
        if seat is None:
            return
        body.seat, body.yaw = number, seat.yaw
        body.x, body.z = seat.to_world(0.0, 0.06 * seat.size[2])
        body.y = seat.y + seat_height(seat.cls, seat.size) - 0.42 * BODY[1]

    def stand_up(self, body: Body) -> None:
        seat = self.items.get(body.seat)
        body.seat, body.y = 0, 0.0
        if seat is not None:
            body.x, body.z = self.spot_before(seat, besides=body.number)

    def step(self, body: Body, metres: float) -> bool:
        """Walk straight on as far as there is room; False when there is none."""
        s, c = math.sin(math.radians(body.yaw)), math.cos(math.radians(body.yaw))
        done = 0.0
        sign = 1.0 if metres > 0 else -1.0
        while done + 0.05 <= abs(metres) + 1e-9:
            x, z = body.x + sign * 0.05 * s, body.z + sign * 0.05 * c
            if not self._passable(x, z, body.number):
                break
            body.x, body.z, done = x, z, done + 0.05
        body.seat, body.y = (body.seat, body.y) if done == 0 else (0, 0.0)
        return done > 0

    def _passable(self, x: float, z: float, number: int) -> bool:
        """Free ground, or a doorway."""
        if self.stands_free(x, z, besides=number):
            return True
        for item in self.items.values():
            if item.cls.category == "Doors":
                x0, z0, x1, z1 = item.footprint()
                wide, narrow = (0.0, 0.45) if x1 - x0 > z1 - z0 else (0.45, 0.0)
                if x0 + 0.12 - wide < x < x1 - 0.12 + wide and z0 + 0.12 - narrow < z < z1 - 0.12 + narrow:
                    return self.room_at(x, z) is not None
        return False

    def carry(self) -> None:
        """Move what hands hold along with them."""
        for item in self.items.values():
            if item.support[0] in _HAND and item.support[1] in self.bodies:
                body = self.bodies[item.support[1]]
                x, y, z = _HAND[item.support[0]]
                s, c = math.sin(math.radians(body.yaw)), math.cos(math.radians(body.yaw))
                item.x, item.z = body.x + x * c + z * s, body.z - x * s + z * c
                item.y, item.yaw = body.y + y, body.yaw

    def settle(self, supports: dict[int, Support], body: Body | None = None) -> None:
        """Put every thing whose support changed where it is now carried; `body` is who moved them."""
        for number, support in supports.items():
            item = self.items.get(number)
            if item is None or item.fixed or item.support == support:
                continue
            if support[0] in _HAND:
                item.support = support
            else:
                near = (body.x, body.z) if body is not None else None
                if near is not None and support[0] == "ROOM" and body is not None:
                    s, c = math.sin(math.radians(body.yaw)), math.cos(math.radians(body.yaw))
                    near = (body.x + 0.35 * s + 0.2 * c, body.z + 0.35 * c - 0.2 * s)
                self.put(item, support, near=near)
        self.carry()


def add_item(places: Places, number: int, name: str, support: Support) -> Item:
    """A new thing, put where its support says."""
    cls = class_named(name)
    item = Item(number, cls, cls.size, 0.0, 0.0, 0.0, 0.0, ("", 0))
    places.items[number] = item
    places.put(item, support)
    return item


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
