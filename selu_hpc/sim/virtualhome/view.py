"""Pictures of a home: what is drawn from where, cameras of rooms and of characters, colours of segmentation.

Owns the way from poses and states to drawables and cameras. Pixels are film.py's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing.camera import Camera, Drawable
from selu_hpc.sim.drawing.skins import Skin, style
from selu_hpc.sim.virtualhome.graph import Graph
from selu_hpc.sim.virtualhome.places import BODY, Body, Item, Places
from selu_hpc.sim.virtualhome.rooms import HEIGHT

_STRUCTURE = frozenset({"Floor", "Walls", "Ceiling", "Doors", "Windows"})
_SHOWN = {"ON": "on", "DIRTY": "dirty"}
_ALWAYS_OPEN = 0.95
_MARGIN = 0.12


@dataclass(frozen=True, slots=True)
class CharacterCamera:
    """A camera in a character's frame: x right, y up, z ahead; rotation is pitch, yaw, roll in degrees."""

    position: tuple[float, float, float]
    rotation: tuple[float, float, float]
    fov: float = 60.0


CHARACTER_CAMERAS: dict[str, CharacterCamera] = {
    "PERSON_FRONT": CharacterCamera((0.0, 1.75, 1.9), (14.0, 180.0, 0.0), 65.0),
    "PERSON_TOP": CharacterCamera((0.0, 3.6, 0.0), (90.0, 0.0, 0.0), 70.0),
    "FIRST_PERSON": CharacterCamera((0.0, 1.55, 0.10), (22.0, 0.0, 0.0), 80.0),
    "PERSON_FROM_BACK": CharacterCamera((0.35, 2.05, -1.7), (20.0, -6.0, 0.0), 70.0),
    "PERSON_FROM_LEFT": CharacterCamera((-1.9, 1.8, 0.0), (14.0, 90.0, 0.0), 65.0),
    "PERSON_RIGHT": CharacterCamera((0.0, 1.55, 0.0), (15.0, 90.0, 0.0), 80.0),
    "PERSON_LEFT": CharacterCamera((0.0, 1.55, 0.0), (15.0, 270.0, 0.0), 80.0),
    "PERSON_BACK": CharacterCamera((0.0, 1.55, 0.0), (15.0, 180.0, 0.0), 80.0),
}
"""The cameras every character has, in Unity's order."""


def room_cameras(places: Places) -> list[Camera]:
    """Five scene cameras a room: from its corners, and from the middle of its ceiling."""
    cameras = []
    for x0, z0, x1, z1 in places.rooms.values():
        cx, cz = (x0 + x1) / 2, (z0 + z1) / 2
        for x, z in ((x0, z0), (x1, z0), (x1, z1), (x0, z1)):
            px, pz = x + 0.25 * np.sign(cx - x), z + 0.25 * np.sign(cz - z)
            yaw = math.degrees(math.atan2(cx - px, cz - pz)) % 360
            cameras.append(Camera(position=(float(px), 2.25, float(pz)), yaw=yaw, pitch=30, fov=68))
        cameras.append(Camera(position=(cx, HEIGHT - 0.35, cz), yaw=0, pitch=90, fov=100))
    return cameras


def body_camera(places: Places, body: Body, camera: CharacterCamera) -> Camera:
    """A character's camera in the home, drawn nearer to the character where a wall stands between."""
    x, y, z = camera.position
    lift = body.y
    s, c = math.sin(math.radians(body.yaw)), math.cos(math.radians(body.yaw))
    dx, dz = x * c + z * s, -x * s + z * c
    room = places.room_at(body.x, body.z)
    share = 1.0
    if room is not None and y + lift < HEIGHT:
        x0, z0, x1, z1 = places.rooms[room]
        for start, step, low, high in (
            (body.x, dx, x0 + _MARGIN, x1 - _MARGIN),
            (body.z, dz, z0 + _MARGIN, z1 - _MARGIN),
        ):
            if step > 0:
                share = min(share, max((high - start) / step, 0.0))
            elif step < 0:
                share = min(share, max((low - start) / step, 0.0))
    pitch = camera.rotation[0] + (1.0 - share) * 18.0 if math.hypot(dx, dz) > 0.5 else camera.rotation[0]
    return Camera(
        position=(body.x + dx * share, y + lift, body.z + dz * share),
        yaw=(body.yaw + camera.rotation[1]) % 360, pitch=pitch, fov=camera.fov,
    )  # fmt: skip


def drawables(
    places: Places, graph: Graph, skin: Skin, camera: Camera, *, without: int | None = None
) -> list[Drawable]:
    """What may be seen from a camera: its room, the rooms next to it, and further rooms' walls; without one body."""
    states = {n["id"]: n["states"] for n in graph["nodes"]}
    near, far = _rooms_seen(places, graph, camera)
    above = camera.position[1] > HEIGHT
    found = []
    for item in places.items.values():
        category = item.cls.category
        if not item.cls.kind or (above and category in ("Ceiling", "Lamps") and item.y > 2.0):
            continue
        room = _room_of(places, item)
        if room not in near and not (category in _STRUCTURE and room in far):
            continue
        if item.support[0] == "INSIDE" and _shut_in(places, states, item):
            continue
        found.append(_drawable(item, states.get(item.number, []), skin))
    for body in places.bodies.values():
        if body.number != without:
            found.append(_person(places, body, skin))
    return found


def _rooms_seen(places: Places, graph: Graph, camera: Camera) -> tuple[set[int], set[int]]:
    room = places.room_at(camera.position[0], camera.position[2])
    if room is None or camera.position[1] > HEIGHT:
        return set(places.rooms), set(places.rooms)
    through: dict[int, set[int]] = {}
    for edge in graph["edges"]:
        if edge["relation_type"] == "BETWEEN":
            through.setdefault(edge["from_id"], set()).add(edge["to_id"])
    near = {room}.union(*(rooms for rooms in through.values() if room in rooms))
    far = near.union(*(rooms for rooms in through.values() if rooms & near))
    return near, far


def _room_of(places: Places, item: Item) -> int | None:
    base = places.bearer(item)
    if base.support[0] == "ROOM":
        return base.support[1]
    return places.room_at(item.x, item.z)


def _shut_in(places: Places, states: dict[int, list[str]], item: Item) -> bool:
    seen: set[int] = set()
    while item.support[0] in ("ON", "INSIDE") and item.number not in seen:
        seen.add(item.number)
        below = places.items.get(item.support[1])
        if below is None:
            return False
        if item.support[0] == "INSIDE" and "CLOSED" in states.get(below.number, ()):
            return True
        item = below
    return False


def _drawable(item: Item, states: Iterable[str], skin: Skin) -> Drawable:
    flags = {_SHOWN[s] for s in states if s in _SHOWN}
    if item.support[0].startswith("HOLDS"):
        flags.add("held")
    return Drawable(
        key=item.number, kind=item.cls.kind, position=(item.x, item.y, item.z), size=item.size, yaw=item.yaw,
        style=style(skin, item.cls.kind, item.number), openness=_ALWAYS_OPEN if "OPEN" in states else 0.0,
        flags=frozenset(flags),
    )  # fmt: skip


def _person(places: Places, body: Body, skin: Skin) -> Drawable:
    holds = any(i.support[1] == body.number for i in places.items.values() if i.support[0].startswith("HOLDS"))
    flags = ({"held"} if holds else set()) | ({"sitting"} if body.seat else set())
    return Drawable(
        key=body.number, kind="Agent", position=(body.x, body.y, body.z), size=BODY, yaw=body.yaw,
        style=style(skin, "Agent", body.number), flags=frozenset(flags),
    )  # fmt: skip


def camera_matrices(index: int, name: str, camera: Camera, aspect: float = 4 / 3) -> dict[str, Any]:
    """A camera as Unity describes it: column-major matrices of OpenGL's conventions."""
    sy, cy = math.sin(math.radians(camera.yaw)), math.cos(math.radians(camera.yaw))
    sp, cp = math.sin(math.radians(camera.pitch)), math.cos(math.radians(camera.pitch))
    right, up, ahead = (cy, 0.0, -sy), (sy * sp, cp, cy * sp), (sy * cp, -sp, cy * cp)
    view: NDArray[np.float64] = np.eye(4)
    view[:3, :3] = [right, up, [-v for v in ahead]]
    view[:3, 3] = -view[:3, :3] @ np.array(camera.position)
    f = 1.0 / math.tan(math.radians(camera.fov) / 2)
    near, far = camera.near, camera.far
    projection: NDArray[np.float64] = np.zeros((4, 4))
    projection[0, 0], projection[1, 1] = f / aspect, f
    projection[2, 2], projection[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
    projection[3, 2] = -1.0
    return {
        "index": index,
        "name": name,
        "world_to_camera_matrix": view.T.ravel().tolist(),
        "projection_matrix": projection.T.ravel().tolist(),
        "field_view": camera.fov,
        "aspect": aspect,
    }
