"""iTHOR's 120 scenes, each made from its name, the world (known or unknown) and the skin.

Owns names, rooms' sizes, retries and the checks a layout must pass. Does not own furniture (plans_*.py) or small
things (stock.py). The known and the unknown world share no seed: the world's name is part of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from selu_hpc.sim.drawing.skins import Skin, style
from selu_hpc.sim.thor import navigation, plans_kitchen, plans_rooms, stock
from selu_hpc.sim.thor.builder import WALL_THICKNESS, WALL_YAW, Builder, NoRoom, Room
from selu_hpc.sim.thor.catalogue import Spec
from selu_hpc.sim.thor.thing import Thing, Vector

ROOMS = {"kitchen": 0, "living": 200, "bedroom": 300, "bathroom": 400}
"""What is added to a scene's number, by kind of room."""
PER_ROOM = 30
_TRIES = 400
_SIZES = {
    "kitchen": ((3.5, 4.75), (3.75, 4.75)),
    "living": ((5.0, 6.5), (4.75, 6.0)),
    "bedroom": ((4.0, 5.25), (4.0, 5.25)),
    "bathroom": ((2.75, 3.75), (2.75, 3.75)),
}
_DOOR_MARGIN = 1.13
"""From a corner to a door's middle, in metres; a counter along the next wall has room."""
_LEAST_REACHABLE = {"kitchen": 55, "living": 90, "bedroom": 55, "bathroom": 14}
_PINNED = {"FloorPlan28": Room(-3.75, -4.0, 0.0, 0.0, 2.5)}
"""The known world's room that has the extents, the start and about as many positions (101 to 124) as THOR's own."""
_PINNED_START = {"FloorPlan28": ((-1.5, -1.5), 180.0)}
_PINNED_FREE = {
    "FloorPlan28": (
        (-1.5, -1.5),
        (-1.5, -1.0),
        (-1.75, -1.5),
        (-1.25, -1.5),
        (-1.5, -1.75),
        (-2.0, -2.5),
        (-1.0, -2.25),
        (-1.0, -0.5),
        (-3.25, -1.25),
        (-1.0, -1.25),
    )
}


@dataclass(slots=True)
class Scene:
    """A layout: fresh things that a world may change.

    start, start_yaw: where the agent begins.  walls: structural parts in `things`, too.
    """

    name: str
    room_kind: str
    room: Room
    skin: Skin
    things: list[Thing]
    start: tuple[float, float]
    start_yaw: float


@lru_cache(maxsize=1)
def scene_names() -> tuple[str, ...]:
    """FloorPlan1 … FloorPlan430."""
    return tuple(f"FloorPlan{base + i}" for base in ROOMS.values() for i in range(1, PER_ROOM + 1))


def room_kind(scene: str) -> str:
    """Which kind of room a scene is; raises ValueError for names that are none."""
    if scene not in scene_names():
        raise ValueError(
            f"scene {scene!r} is not in this build; choose FloorPlan1-30 (kitchens), 201-230 (living rooms), "
            "301-330 (bedrooms) or 401-430 (bathrooms)"
        )
    number = int(scene.removeprefix("FloorPlan"))
    return next(kind for kind, base in reversed(ROOMS.items()) if number > base)


def make(scene: str, *, known: bool, skin: Skin) -> Scene:
    """The scene, always the same for the same arguments."""
    kind = room_kind(scene)
    for attempt in range(_TRIES):
        rng = random.Random(f"{'known' if known else 'unknown'}/{scene}/{skin.seed}/{attempt}")
        try:
            return _try(scene, kind, known, skin, rng)
        except NoRoom:
            continue
    raise AssertionError(f"no layout found for {scene} ({skin.name}) in {_TRIES} tries")


def _try(scene: str, kind: str, known: bool, skin: Skin, rng: random.Random) -> Scene:
    pinned = known and scene in _PINNED
    room = _PINNED[scene] if pinned else _room(kind, rng)
    b = Builder(room=room, rng=rng, skin=skin)
    _floor(b)
    back, side = (0, 1) if pinned else rng.choice([(0, 1), (0, 3), (2, 1), (2, 3), (1, 0), (3, 2), (1, 2), (3, 0)])
    free_walls = [w for w in range(4) if w not in (back, side)] if kind == "kitchen" else list(range(4))
    b.door_wall = 2 if pinned else rng.choice(free_walls)
    _door(b)
    match kind:
        case "kitchen":
            plans_kitchen.kitchen(b, back=back, side=side)
        case "living":
            plans_rooms.living_room(b)
        case "bedroom":
            plans_rooms.bedroom(b)
        case _:
            plans_rooms.bathroom(b)
    stock.fill(b, kind, known=known)
    start = _checked_start(b, kind, _PINNED_FREE[scene] if pinned else (), _PINNED_START[scene][0] if pinned else None)
    yaw = _PINNED_START[scene][1] if pinned else rng.choice(WALL_YAW)
    return Scene(scene, kind, room, skin, [*_shell(b), *b.things], start, yaw)


def _room(kind: str, rng: random.Random) -> Room:
    (w0, w1), (d0, d1) = _SIZES[kind]
    width = round(rng.uniform(w0, w1) * 4) / 4
    depth = round(rng.uniform(d0, d1) * 4) / 4
    x0, z0 = rng.randint(-16, 0) / 4 + 0.05, rng.randint(-16, 0) / 4 + 0.05
    return Room(x0, z0, x0 + width, z0 + depth, round(rng.uniform(2.35, 2.7), 2))


def _floor(b: Builder) -> None:
    room = b.room
    size = (room.x1 - room.x0, 0.02, room.z1 - room.z0)
    floor = b.add("Floor", ((room.x0 + room.x1) / 2, -0.01, (room.z0 + room.z1) / 2), 0.0, size, mount="wall")
    floor.obj_id = "Floor|+00.00|+00.00|+00.00"


def _door(b: Builder) -> None:
    """Keep the way in free; a door is drawn, nothing more."""
    wall, length = b.door_wall, b.room.length(b.door_wall)
    along = b.room.start(wall) + b.rng.uniform(_DOOR_MARGIN, length - _DOOR_MARGIN)
    size = (0.85, 2.05, 0.05)
    door = _structure("Door", b.at_wall(wall, along, size), WALL_YAW[wall], size, b.skin, 9)
    b.things.append(door)
    b.keep_clear(door, 0.8)


def _shell(b: Builder) -> list[Thing]:
    """Walls and ceiling."""
    room, t = b.room, WALL_THICKNESS
    w, d, h = room.x1 - room.x0, room.z1 - room.z0, room.height
    x, z = (room.x0 + room.x1) / 2, (room.z0 + room.z1) / 2
    parts = [
        ("Wall", (x, h / 2, room.z0 - t / 2), (w + 2 * t, h, t)),
        ("Wall", (room.x1 + t / 2, h / 2, z), (t, h, d)),
        ("Wall", (x, h / 2, room.z1 + t / 2), (w + 2 * t, h, t)),
        ("Wall", (room.x0 - t / 2, h / 2, z), (t, h, d)),
        ("Ceiling", (x, h + 0.025, z), (w, 0.05, d)),
    ]
    return [_structure(kind, centre, 0.0, size, b.skin, i + 1) for i, (kind, centre, size) in enumerate(parts)]


def _structure(kind: str, centre: Vector, yaw: float, size: Vector, skin: Skin, key: int) -> Thing:
    return Thing(
        key=key, kind=kind, spec=Spec(kind, size, frozenset(), 0.0, (), frozenset()), size=size, centre=centre,
        rotation=(0.0, yaw, 0.0), name=f"{kind}_{key}", obj_id="", structural=True, mount="wall",
        style=style(skin, kind, key),
    )  # fmt: skip


def _checked_start(
    b: Builder, kind: str, must_reach: tuple[tuple[float, float], ...], start: tuple[float, float] | None
) -> tuple[float, float]:
    """Where the agent begins: the reachable point nearest the middle of the largest free region."""
    blocks = navigation.blocks(b.things, b.room)
    regions = navigation.regions(blocks, b.room)
    if not regions or len(regions[0]) < _LEAST_REACHABLE[kind]:
        raise NoRoom("agent")
    reach = set(regions[0])
    if must_reach and (any(point not in reach for point in must_reach) or not 100 < len(reach) < 125):
        raise NoRoom("a pinned point")
    if start is not None:
        return start
    x, z = (b.room.x0 + b.room.x1) / 2, (b.room.z0 + b.room.z1) / 2
    return min(regions[0], key=lambda p: (round((p[0] - x) ** 2 + (p[1] - z) ** 2, 6), p))
