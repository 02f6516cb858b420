"""What a client reads of a world after an action, in THOR's words, as dictionaries or packed.

Owns field names and caching: a thing's fields are made anew only when it changed. Does not own the state.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing.render import class_colour, instance_colour
from selu_hpc.sim.thor import visibility
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.thing import Thing, Vector

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import ThirdPartyCamera, World

_SHOWS_ROOM = frozenset({"Floor"})
_NUM_CHANGING = 4
_KEYS = [msgpack.packb(name) for name in ("visible", "isInteractable", "obstructed", "distance")]
_NO, _DOUBLE = b"\xc2", b"\xcb"
_TAIL = b"".join([key + _NO for key in _KEYS[:3]]) + _KEYS[3] + _DOUBLE + bytes(8)
"""What changes with who looks: three truth values, each msgpack's 0xc2 plus itself, and a number of eight bytes."""
_FLAGS_AT = np.cumsum([len(key) + 1 for key in _KEYS[:3]]) - 1
_DISTANCE_AT = np.arange(len(_TAIL) - 8, len(_TAIL))


@dataclass(slots=True)
class _Listing:
    """The listed things, and the packed list with places for what depends on who looks (`flags`, `distances`)."""

    of: tuple[int, frozenset[str] | None]
    things: list[Thing]
    keys: list[int]
    positions: list[Vector]
    packed: NDArray[np.uint8]
    flags: NDArray[np.int64]
    distances: NDArray[np.int64]


class Describer:
    """Describes one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fixed: dict[int, tuple[int, dict[str, Any], bytes]] = {}
        self._colours: tuple[int, list[dict[str, Any]]] | None = None
        self._kept: _Listing | None = None

    def forget(self) -> None:
        self._fixed.clear()
        self._colours = self._kept = None

    def agent(self, agent_id: int) -> dict[str, Any]:
        """One agent's metadata; the caller may change it."""
        world = self._world
        out = self._head(agent_id)
        agent, seen = world.agents[agent_id], world.visible(agent_id)
        objects = []
        for thing in self._listing().things:
            entry = self._entry(thing)[1].copy()
            visible = thing.key in seen
            entry["visible"] = entry["isInteractable"] = visible
            entry["obstructed"] = not visible
            entry["distance"] = math.dist(agent.position, thing.position)
            objects.append(entry)
        out["objects"] = objects
        return out

    def packed(self, *, sequence_id: int, segmentation: bool = False) -> bytes:
        """All agents' metadata as the FIFO build sends it."""
        world = self._world
        out = bytearray(b"\x84")
        out += msgpack.packb("agents") + _array(len(world.agents))
        for agent in world.agents:
            head = self._head(agent.agent_id, segmentation=segmentation)
            packed = msgpack.packb(head)
            assert packed[0] == 0xDE
            out += b"\xde" + struct.pack(">H", len(head) + 1) + packed[3:]
            out += msgpack.packb("objects")
            out += self._objects(agent, world.visible(agent.agent_id))
        for key, value in self._foot(sequence_id).items():
            out += msgpack.packb(key) + msgpack.packb(value)
        return bytes(out)

    def message(self, *, sequence_id: int, segmentation: bool = False) -> dict[str, Any]:
        """The same as plain dictionaries, for JSON."""
        agents = []
        for agent in self._world.agents:
            described = self.agent(agent.agent_id)
            if segmentation:
                described["colors"] = self.colours()
            agents.append(described)
        return {"agents": agents, **self._foot(sequence_id)}

    def patch(self) -> dict[str, Any]:
        """What fast emit sends when an action changed nothing."""
        deed = self._world.deed
        return {
            "agentId": self._world.active_agent,
            "lastAction": deed.action,
            "lastActionSuccess": deed.outcome.success,
            "errorMessage": deed.outcome.error,
            "errorCode": deed.outcome.error_code,
            "actionReturn": deed.outcome.value,
        }

    def colours(self) -> list[dict[str, Any]]:
        """Segmentation colours: of every object's id and of every type."""
        world = self._world
        if self._colours is None or self._colours[0] != len(world.things):
            found = [{"name": t.obj_id, "color": list(instance_colour(t.key))} for t in world.objects]
            kinds = sorted({t.kind for t in world.things} | {"Agent"})
            found += [{"name": kind, "color": list(class_colour(kind))} for kind in kinds]
            self._colours = (len(world.things), found)
        return self._colours[1]

    def _objects(self, agent: Agent, seen: set[int]) -> memoryview:
        """The packed list of objects, to be read before it is packed again."""
        listing = self._listing()
        at, dist, num = agent.position, math.dist, len(listing.things)
        numbers = struct.pack(f">{num}d", *[dist(at, position) for position in listing.positions])
        listing.packed[listing.distances] = np.frombuffer(numbers, np.uint8).reshape(num, 8)
        visible = np.fromiter((key in seen for key in listing.keys), np.uint8, num)
        listing.packed[listing.flags] = np.stack((visible, visible, 1 - visible), 1) + np.uint8(_NO[0])
        return listing.packed.data

    def _listing(self) -> _Listing:
        world = self._world
        of = (visibility.signature(world.things), world.filter)
        if self._kept is None or self._kept.of != of:
            self._kept = self._list(of)
        return self._kept

    def _list(self, of: tuple[int, frozenset[str] | None]) -> _Listing:
        chosen = self._world.filter
        things = [t for t in self._world.objects if chosen is None or t.obj_id in chosen]
        start = _array(len(things))
        parts = [self._entry(thing)[2] for thing in things]
        ends = len(start) + np.cumsum([len(part) + len(_TAIL) for part in parts], dtype=np.int64)
        tails = ends[:, None] - len(_TAIL)
        packed = b"".join((start, *[part + _TAIL for part in parts]))
        return _Listing(
            of=of,
            things=things,
            keys=[t.key for t in things],
            positions=[t.position for t in things],
            packed=np.frombuffer(bytearray(packed), np.uint8),
            flags=tails + _FLAGS_AT,
            distances=tails + _DISTANCE_AT,
        )

    def _foot(self, sequence_id: int) -> dict[str, Any]:
        return {
            "activeAgentId": self._world.active_agent,
            "sequenceId": sequence_id,
            "thirdPartyCameras": self._cameras(),
        }

    def _cameras(self) -> list[dict[str, Any]]:
        return [_camera(i, camera) for i, camera in enumerate(self._world.third_party_cameras)]

    def _head(self, agent_id: int, *, segmentation: bool = False) -> dict[str, Any]:
        world = self._world
        agent, deed = world.agents[agent_id], world.deeds[agent_id]
        last = deed.outcome
        held = agent.held
        width, height = world.screen
        return {
            "actionFloatReturn": 0.0,
            "actionFloatsReturn": [],
            "actionIntReturn": 0,
            "actionReturn": last.value,
            "actionStringsReturn": [],
            "actionVector3sReturn": [],
            "agent": self._agent(agent),
            "agentId": agent_id,
            "arm": None,
            "articulationArm": None,
            "cameraOrthSize": 0.0,
            "cameraPosition": _xyz(agent.eye),
            "collided": bool(deed.collided),
            "collidedObjects": [deed.collided] if deed.collided else [],
            "colorBounds": None,
            "colors": self.colours() if segmentation else None,
            "currentTime": world.time,
            "depthFormat": "Meters",
            "distances": [],
            "errorCode": last.error_code,
            "errorMessage": last.error,
            "flatSurfacesOnGrid": [],
            "fov": agent.fov,
            "heldObjectPose": _held_pose(agent),
            "inventoryObjects": [] if held is None else [{"objectId": held.obj_id, "objectType": held.kind}],
            "isOpenableGrid": [],
            "isSceneAtRest": True,
            "lastAction": deed.action,
            "lastActionSuccess": last.success,
            "normals": [],
            "objectIdsInBox": [],
            "sceneBounds": self._bounds(),
            "sceneName": f"{world.scene_name}_physics",
            "screenHeight": height,
            "screenWidth": width,
            "segmentedObjectIds": [],
            "thirdPartyCameras": self._cameras(),
            "visibleRange": None,
        }

    def _agent(self, agent: Agent) -> dict[str, Any]:
        can_crouch = self._world.settings.mode in ("default", "arm")
        return {
            "cameraHorizon": agent.horizon,
            "inHighFrictionArea": False,
            "isStanding": agent.standing if can_crouch else None,
            "name": "agent" if agent.agent_id == 0 else f"agent{agent.agent_id}",
            "position": _xyz(agent.position),
            "rotation": {"x": 0.0, "y": agent.yaw, "z": 0.0},
        }

    def _bounds(self) -> dict[str, Any]:
        room = self._world.room
        return _box((room.x0, 0.0, room.z0, room.x1, room.height, room.z1))

    def _entry(self, thing: Thing) -> tuple[int, dict[str, Any], bytes]:
        kept = self._fixed.get(thing.key)
        if kept is None or kept[0] != thing.version:
            fields = describe(thing)
            packed = msgpack.packb(fields)
            assert packed[0] == 0xDE
            blob = b"\xde" + struct.pack(">H", len(fields) + _NUM_CHANGING) + packed[3:]
            kept = self._fixed[thing.key] = (thing.version, fields, blob)
        return kept


def describe(thing: Thing) -> dict[str, Any]:
    """What does not depend on who looks."""
    can = thing.spec.can
    pickupable, receptacle = can("pick"), can("rec")
    holders = [h.obj_id for h in thing.holders() if h.spec.can("rec")]
    return {
        "name": thing.name,
        "objectId": thing.obj_id,
        "objectType": thing.kind,
        "assetId": thing.name,
        "position": _xyz(thing.position),
        "rotation": _xyz(thing.rotation),
        "receptacle": receptacle,
        "toggleable": can("toggle"),
        "isToggled": thing.toggled,
        "breakable": can("break"),
        "isBroken": thing.broken,
        "canFillWithLiquid": can("fill"),
        "isFilledWithLiquid": bool(thing.liquid),
        "fillLiquid": thing.liquid or None,
        "dirtyable": can("dirty"),
        "isDirty": thing.dirty,
        "canBeUsedUp": can("useup"),
        "isUsedUp": thing.used_up,
        "cookable": can("cook"),
        "isCooked": thing.cooked,
        "temperature": thing.temperature,
        "ObjectTemperature": thing.temperature,
        "isHeatSource": can("heat"),
        "isColdSource": can("cold"),
        "sliceable": can("slice"),
        "isSliced": thing.sliced,
        "openable": can("open"),
        "isOpen": thing.is_open,
        "openness": thing.openness,
        "pickupable": pickupable,
        "isPickedUp": thing.holder is not None,
        "moveable": thing.moveable,
        "mass": thing.spec.mass if pickupable or thing.moveable else 0.0,
        "salientMaterials": list(thing.spec.materials) if pickupable or thing.moveable else None,
        "receptacleObjectIds": [d.obj_id for d in thing.descendants()] if receptacle else None,
        "parentReceptacles": holders or None,
        "controlledObjects": [t.obj_id for t in thing.controls] or None,
        "isMoving": False,
        "axisAlignedBoundingBox": _box(thing.boxes()[2]),
        "objectOrientedBoundingBox": {"cornerPoints": thing.corners()} if pickupable else None,
    }


def _camera(number: int, camera: ThirdPartyCamera) -> dict[str, Any]:
    return {
        "thirdPartyCameraId": number,
        "position": _xyz(camera.position),
        "rotation": _xyz(camera.rotation),
        "fieldOfView": camera.fov,
    }


def _held_pose(agent: Agent) -> dict[str, Any]:
    local = (agent.turn[0] % 360, agent.turn[1] % 360, agent.turn[2] % 360)
    rotation = agent.held.rotation if agent.held else (0.0, agent.yaw, 0.0)
    return {
        "position": _xyz(agent.hand_at()),
        "rotation": _xyz(rotation),
        "localPosition": _xyz(agent.hand),
        "localRotation": _xyz(local),
    }


def _xyz(v: Vector) -> dict[str, float]:
    return {"x": v[0], "y": v[1], "z": v[2]}


def _box(box: tuple[float, ...]) -> dict[str, Any]:
    x0, y0, z0, x1, y1, z1 = box
    corners = [[x, y, z] for x in (x1, x0) for y in (y1, y0) for z in (z1, z0)]
    return {
        "cornerPoints": corners,
        "center": {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "z": (z0 + z1) / 2},
        "size": {"x": x1 - x0, "y": y1 - y0, "z": z1 - z0},
    }


def _array(length: int) -> bytes:
    return b"\xdc" + struct.pack(">H", length) if length < 65536 else b"\xdd" + struct.pack(">I", length)
