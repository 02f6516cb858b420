"""Putting a room together: a rectangle with four walls, furniture along them, things on surfaces.

Owns where things may stand: no overlaps, room in front of what is used, a door kept free. Does not own which things a
room has (plans_*.py, stock.py). Walls are numbered 0 back (z low), 1 right (x high), 2 front, 3 left; what stands
against one faces the room.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from selu_hpc.sim.drawing.skins import Skin, style
from selu_hpc.sim.thor import surfaces
from selu_hpc.sim.thor.catalogue import spec
from selu_hpc.sim.thor.thing import Box, Thing, Vector, make_id

WALL_YAW = (0.0, 270.0, 180.0, 90.0)
FIRST_OBJECT_KEY = 20
WALL_THICKNESS = 0.1
_CLEAR = 0.5
"""Metres kept free in front of furniture."""


class NoRoom(Exception):  # noqa: N818 - a try that failed, never shown
    """What must stand in this room has no place; the next try is another layout."""


@dataclass(frozen=True, slots=True)
class Room:
    """The floor's rectangle and the height, in metres."""

    x0: float
    z0: float
    x1: float
    z1: float
    height: float

    def length(self, wall: int) -> float:
        return self.x1 - self.x0 if wall % 2 == 0 else self.z1 - self.z0

    def start(self, wall: int) -> float:
        """Where a wall's coordinate begins."""
        return self.x0 if wall % 2 == 0 else self.z0


@dataclass(slots=True)
class Builder:
    """A layout in the making."""

    room: Room
    rng: random.Random
    skin: Skin
    things: list[Thing] = field(default_factory=list)
    kept_clear: list[tuple[Box, Thing | None]] = field(default_factory=list)
    door_wall: int = 2
    _ids: set[str] = field(default_factory=set)

    def add(
        self, kind: str, centre: Vector, yaw: float, size: Vector, *, mount: str, owner: Thing | None = None
    ) -> Thing:
        """Make a thing there, whatever else is there. owner: whose id its own begins with (a sink's basin)."""
        thing = Thing(
            key=FIRST_OBJECT_KEY + len(self.things),
            kind=kind,
            spec=spec(kind),
            size=_rounded(size),
            centre=_rounded(centre),
            rotation=(0.0, yaw % 360, 0.0),
            mount=mount,
            moveable="move" in spec(kind).properties,
        )
        self.label(thing, owner)
        self.things.append(thing)
        return thing

    def label(self, thing: Thing, owner: Thing | None = None) -> None:
        """Give it its id, name and look."""
        if thing.obj_id:
            self._ids.discard(thing.obj_id)
        x, y, z = thing.position
        wanted = f"{owner.obj_id}|{thing.kind}" if owner else make_id(thing.kind, (x, y, z))
        while wanted in self._ids:
            x += 0.01
            wanted = make_id(thing.kind, (x, y, z))
        self._ids.add(wanted)
        thing.obj_id = wanted
        seed = zlib.crc32(f"{self.skin.name}|{wanted}".encode())
        thing.name = f"{thing.kind}_{seed:08x}"
        thing.style = style(self.skin, thing.kind, seed)

    def size(self, kind: str, *, vary: float = 0.08) -> Vector:
        """A type's size, a little different each time."""
        w, h, d = spec(kind).size
        a, b, c = (1 + self.rng.uniform(-vary, vary) for _ in range(3))
        return (w * a, h * b, d * c)

    def against(
        self,
        kind: str,
        wall: int,
        along: float,
        size: Vector,
        *,
        y: float = 0.0,
        off: float = 0.0,
        mount: str = "floor",
    ) -> Thing:
        """Put furniture with its back to a wall, its middle at `along`, its foot at y, `off` metres from the wall."""
        return self.add(kind, self.at_wall(wall, along, size, y=y, off=off), WALL_YAW[wall], size, mount=mount)

    def at_wall(self, wall: int, along: float, size: Vector, *, y: float = 0.0, off: float = 0.0) -> Vector:
        """The centre of such furniture."""
        inward = off + size[2] / 2
        up = y + size[1] / 2
        room = self.room
        return (
            (along, up, room.z0 + inward),
            (room.x1 - inward, up, along),
            (along, up, room.z1 - inward),
            (room.x0 + inward, up, along),
        )[wall]

    def find_wall(
        self, kind: str, size: Vector, *, walls: Iterable[int] | None = None, y: float = 0.0, clear: float = _CLEAR,
        must: bool = True, mount: str = "floor", off: float = 0.0, below: float = 0.0,
    ) -> Thing | None:  # fmt: skip
        """Put furniture against any of the walls where there is room; raises NoRoom when it must and cannot.

        below: metres that must be free under it, for what will hang there.
        """
        spots = []
        for wall in walls if walls is not None else range(4):
            start, length = self.room.start(wall), self.room.length(wall)
            low, high = start + size[0] / 2 + 0.02, start + length - size[0] / 2 - 0.02
            num = int((high - low) / 0.1) + 1
            spots += [(wall, low + (high - low) * i / max(num - 1, 1)) for i in range(num)] if high >= low else []
        self.rng.shuffle(spots)
        for wall, along in spots:
            centre = self.at_wall(wall, along, size, y=y, off=off)
            tall = (size[0], size[1] + below, size[2])
            middle = (centre[0], centre[1] - below / 2, centre[2])
            if self.free(middle, WALL_YAW[wall], tall, clear=clear if y < 0.5 else 0.0):
                thing = self.add(kind, centre, WALL_YAW[wall], size, mount=mount)
                if clear and y < 0.5:
                    self.keep_clear(thing, clear)
                return thing
        if must:
            raise NoRoom(kind)
        return None

    def on_wall(
        self,
        kind: str,
        wall: int | None,
        along: float | None,
        *,
        y: float,
        size: Vector | None = None,
        must: bool = True,
        below: float = 0.0,
    ) -> Thing | None:
        """Hang something on a wall: there, or wherever on it (or on any wall) there is room."""
        size = size or self.size(kind)
        if wall is not None and along is not None:
            if not self.free(self.at_wall(wall, along, size, y=y), WALL_YAW[wall], size):
                if must:
                    raise NoRoom(kind)
                return None
            return self.against(kind, wall, along, size, y=y, mount="wall")
        walls = None if wall is None else (wall,)
        return self.find_wall(kind, size, walls=walls, y=y, must=must, mount="wall", below=below)

    def find_floor(self, kind: str, size: Vector, *, near: Vector | None = None, must: bool = True) -> Thing | None:
        """Put furniture anywhere on the floor with a way round it, as near as possible to a point."""
        room, spots = self.room, []
        for _ in range(60):
            x = self.rng.uniform(room.x0 + 0.6, room.x1 - 0.6)
            z = self.rng.uniform(room.z0 + 0.6, room.z1 - 0.6)
            spots.append((x, z, self.rng.choice(WALL_YAW)))
        if near is not None:
            spots.sort(key=lambda s: abs(s[0] - near[0]) + abs(s[1] - near[2]))
        for x, z, yaw in spots:
            centre = (x, size[1] / 2, z)
            if self.free(centre, yaw, size, margin=0.45):
                return self.add(kind, centre, yaw, size, mount="floor")
        if must:
            raise NoRoom(kind)
        return None

    def free(self, centre: Vector, yaw: float, size: Vector, *, clear: float = 0.0, margin: float = 0.0) -> bool:
        """Whether nothing is there, nothing in front within `clear`, nothing around within `margin`."""
        w, d = (size[0], size[2]) if yaw % 180 == 0 else (size[2], size[0])
        box = (
            centre[0] - w / 2 - margin, centre[1] - size[1] / 2, centre[2] - d / 2 - margin,
            centre[0] + w / 2 + margin, centre[1] + size[1] / 2, centre[2] + d / 2 + margin,
        )  # fmt: skip
        room = self.room
        core = (box[0] + margin, box[2] + margin, box[3] - margin, box[5] - margin)
        if core[0] < room.x0 - 1e-6 or core[1] < room.z0 - 1e-6 or core[2] > room.x1 + 1e-6 or core[3] > room.z1 + 1e-6:
            return False
        if any(surfaces.overlap(box, t.body(), 0.01) for t in self.things if t.kind != "Floor"):
            return False
        if box[1] < 0.5 and any(surfaces.overlap(box, keep) for keep, _ in self.kept_clear):
            return False
        if not clear:
            return True
        front = _front(box, yaw, clear)
        if front[0] < room.x0 or front[2] < room.z0 or front[3] > room.x1 or front[5] > room.z1:
            return False
        return not any(
            surfaces.overlap(front, t.body()) for t in self.things if t.kind != "Floor" and t.body()[1] < 1.0
        )

    def keep_clear(self, thing: Thing, metres: float = _CLEAR) -> None:
        """Let nothing be put in front of it."""
        self.kept_clear.append((_front(thing.body(), thing.yaw, metres), thing))

    def put(
        self, kind: str, receptacles: Iterable[Thing], *, yaw: float | None = None, must: bool = False
    ) -> Thing | None:
        """Make a thing in or on the first receptacle that has room for it."""
        size = self.size(kind, vary=0.06)
        thing = self.add(kind, (0.0, -9.0, 0.0), 0.0, size, mount="top")
        for receptacle in receptacles:
            if surfaces.place(thing, receptacle, self.things, rng=self.rng, upright_yaw=yaw):
                self.label(thing)
                return thing
        self._ids.discard(thing.obj_id)
        self.things.pop()
        if must:
            raise NoRoom(kind)
        return None

    def of(self, *kinds: str) -> list[Thing]:
        """The things of these types, in a random order."""
        found = [t for t in self.things if t.kind in kinds]
        self.rng.shuffle(found)
        return found


def _front(box: Box, yaw: float, clear: float) -> Box:
    x0, y0, z0, x1, y1, z1 = box
    match int(yaw % 360):
        case 0:
            return (x0, y0, z1, x1, y1, z1 + clear)
        case 90:
            return (x1, y0, z0, x1 + clear, y1, z1)
        case 180:
            return (x0, y0, z0 - clear, x1, y1, z0)
    return (x0 - clear, y0, z0, x0, y1, z1)


def _rounded(v: Vector) -> Vector:
    return (round(v[0], 4), round(v[1], 4), round(v[2], 4))
