"""Pushing, pulling, and putting things somewhere by coordinates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from selu_hpc.sim.thor import forms, surfaces
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, Vector3, action, convert
from selu_hpc.sim.thor.falling import fall
from selu_hpc.sim.thor.navigation import RADIUS
from selu_hpc.sim.thor.targets import by_id, target
from selu_hpc.sim.thor.thing import Box, Thing, half_extents

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_STEP = 0.05
_FARTHEST = 2.5
_GRIP = 0.012
"""Metres that one newton pushes one kilogram."""


@action()
def push_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    moveMagnitude: float | None = None,
    forceAction: bool = False,
) -> None:
    _push(world, target(world, agent, objectId, x, y, force=forceAction), agent.yaw, moveMagnitude)


@action()
def pull_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    moveMagnitude: float | None = None,
    forceAction: bool = False,
) -> None:
    _push(world, target(world, agent, objectId, x, y, force=forceAction), agent.yaw + 180, moveMagnitude)


@action()
def directional_push(
    world: World,
    agent: Agent,
    pushAngle: float = 0.0,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    moveMagnitude: float | None = None,
    forceAction: bool = False,
) -> None:
    """Push at an angle clockwise from the agent's heading."""
    _push(world, target(world, agent, objectId, x, y, force=forceAction), agent.yaw + pushAngle, moveMagnitude)


@action()
def touch_then_apply_force(
    world: World,
    agent: Agent,
    x: float,
    y: float,
    direction: Vector3 | None = None,
    moveMagnitude: float = 25.0,
    handDistance: float = 1.5,
) -> dict[str, Any]:
    """Reach to a point of the picture and push what is there along `direction` (right, up, ahead)."""
    try:
        thing = target(world, agent, None, x, y, force=True)
    except ActionError:
        return {"didHandTouchSomething": False, "objectId": "", "armsLength": handDistance}
    eye = agent.eye
    far = math.dist(eye, thing.centre)
    if far > handDistance + max(thing.size):
        return {"didHandTouchSomething": False, "objectId": "", "armsLength": handDistance}
    right, _, ahead = (direction or Vector3()).filled(0.0, 0.0, 1.0)
    if thing.spec.can("pick") or thing.moveable:
        _push(world, thing, agent.yaw + math.degrees(math.atan2(right, ahead)), moveMagnitude)
    return {"didHandTouchSomething": True, "objectId": thing.obj_id, "armsLength": round(far, 4)}


def _push(world: World, thing: Thing, yaw: float, newtons: float | None) -> None:
    if not (thing.spec.can("pick") or thing.moveable):
        raise ActionError("Target object is not Moveable or Pickupable. Can't be pushed")
    if thing.holder is not None:
        raise ActionError("can't push a thing that is held")
    force = 20.0 if newtons is None else newtons
    if force < 0:
        raise ActionError("moveMagnitude must not be negative")
    far = min(force / max(thing.spec.mass, 0.1) * _GRIP, _FARTHEST)
    before = thing.centre
    if thing.mount == "floor" or thing.parent is None or thing.parent.kind == "Floor":
        _slide(world, thing, yaw, far)
    else:
        _slide_on(world, thing, yaw, far)
    if math.dist(before, thing.centre) < 1e-3 and far > 0.02:
        raise ActionError(f"{thing.name} did not move: something is in the way")


def _clear(world: World, thing: Thing, box: Box) -> bool:
    own = {id(thing), *(id(t) for t in thing.descendants())}
    room = world.room
    if box[0] < room.x0 or box[2] < room.z0 or box[3] > room.x1 or box[5] > room.z1:
        return False
    for other in world.things:
        if id(other) in own or not other.there or other.holder is not None or other in thing.holders():
            continue
        if other.kind in ("Floor", "Ceiling") or (other.structural and other.kind != "StoveBase"):
            continue
        if any(surfaces.overlap(box, b, -0.002) for b in other.boxes()[1]):
            return False
    for agent in world.agents:
        dx, dz = max(box[0] - agent.x, agent.x - box[3], 0.0), max(box[2] - agent.z, agent.z - box[5], 0.0)
        if box[1] < 1.7 and dx * dx + dz * dz < RADIUS**2:
            return False
    return True


def _slide(world: World, thing: Thing, yaw: float, far: float) -> None:
    """Along the floor until something is in the way."""
    sx, sz = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
    half = half_extents(thing.size, thing.rotation)
    x, y, z = thing.centre
    at = 0.0
    while at + _STEP <= far + 1e-9:
        nx, nz = x + sx * (at + _STEP), z + sz * (at + _STEP)
        box = (nx - half[0], y - half[1] + 0.005, nz - half[2], nx + half[0], y + half[1], nz + half[2])
        if not _clear(world, thing, box):
            break
        at += _STEP
    if at > 0:
        thing.move((x + sx * at, y, z + sz * at))


def _slide_on(world: World, thing: Thing, yaw: float, far: float) -> None:
    """On what it lies on, and over its edge."""
    sx, sz = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
    x, y, z = thing.centre
    half = half_extents(thing.size, thing.rotation)
    at = 0.0
    while at + _STEP <= far + 1e-9:
        nx, nz = x + sx * (at + _STEP), z + sz * (at + _STEP)
        box = (nx - half[0], y - half[1] + 0.005, nz - half[2], nx + half[0], y + half[1], nz + half[2])
        if not _clear(world, thing, box):
            break
        at += _STEP
        parent = thing.parent
        assert parent is not None
        edge = parent.boxes()[2]
        if not (edge[0] <= nx <= edge[3] and edge[2] <= nz <= edge[5]):
            if not fall(world, thing, (nx, y, nz)):
                break
            return
    if at > 0:
        thing.move((x + sx * at, y, z + sz * at))


@action()
def place_object_at_point(
    world: World,
    agent: Agent,
    objectId: str,
    position: Vector3,
    rotation: Vector3 | None = None,
    forceKinematic: bool = False,
) -> None:
    """Put a thing at a point if nothing is there."""
    thing = by_id(world, objectId)
    x, y, z = position.filled(*thing.position)
    turn = (rotation or Vector3()).filled(*thing.rotation)
    half = half_extents(thing.size, turn)
    box = (x - half[0], y - half[1] + 0.01, z - half[2], x + half[0], y + half[1], z + half[2])
    if not _clear(world, thing, box):
        raise ActionError(f"Spawn area for {thing.obj_id} is not clear")
    _let_go(world, thing)
    if not fall(world, thing, (x, y + 0.05, z)):
        put_at(thing, (x, y, z), turn)


@action("TeleportObject")
def teleport_object(
    world: World,
    agent: Agent,
    objectId: str,
    position: Vector3 | None = None,
    rotation: Vector3 | None = None,
    forceAction: bool = False,
    forceKinematic: bool = False,
    allowTeleportOutOfHand: bool = False,
    makeUnbreakable: bool = False,
    x: float | None = None,
    y: float | None = None,
    z: float | None = None,
    positions: list[dict[str, Any]] | None = None,
) -> None:
    """Put a thing anywhere."""
    thing = by_id(world, objectId)
    if thing.holder is not None and not (allowTeleportOutOfHand or forceAction):
        raise ActionError("Cannot teleport object in hand.")
    places = [convert("TeleportObject", "positions", p, "Vector3") for p in positions or ()]
    wanted = [place.filled(*thing.position) for place in places or [position or Vector3(x, y, z)]]
    turn = (rotation or Vector3()).filled(*thing.rotation)
    for at in wanted:
        half = half_extents(thing.size, turn)
        box = (
            at[0] - half[0],
            at[1] - half[1] + 0.01,
            at[2] - half[2],
            at[0] + half[0],
            at[1] + half[1],
            at[2] + half[2],
        )
        if forceAction or _clear(world, thing, box):
            _let_go(world, thing)
            put_at(thing, at, turn)
            return
    raise ActionError(f"{thing.obj_id} is colliding after teleport")


@action()
def set_object_poses(
    world: World,
    agent: Agent,
    objectPoses: list[dict[str, Any]] | None = None,
    placeStationary: bool = True,
    enablePhysicsJitter: bool = True,
    forceRigidbodySleep: bool = True,
    skipMoveable: bool = False,
) -> None:
    """Put every named thing at its pose; things that can be carried or pushed and are not named go away."""
    poses = objectPoses or []
    by_name = {t.name: t for t in world.objects}
    wanted: list[tuple[Thing, Vector3, Vector3]] = []
    for pose in poses:
        name = pose.get("objectName")
        thing = by_name.get(name) if isinstance(name, str) else None
        if thing is None:
            raise ActionError(f"No object of name {str(name)[:100]} found in scene.")
        if not (thing.spec.can("pick") or thing.moveable):
            raise ActionError(f"{thing.name} is neither pickupable nor moveable and can't be posed")
        wanted.append((
            thing,
            convert("SetObjectPoses", "position", pose.get("position", {}), "Vector3"),
            convert("SetObjectPoses", "rotation", pose.get("rotation", {}), "Vector3"),
        ))  # fmt: skip
    for other in world.agents:
        if other.held is not None:
            raise ActionError("Cannot set object poses while an agent holds something: put it down first")
    posed = {id(t) for t, _, _ in wanted}
    for thing in world.objects:
        loose = thing.spec.can("pick") or (thing.moveable and not skipMoveable)
        if loose and id(thing) not in posed and not thing.hidden:
            _hide(thing, True)
    for thing, position, rotation in wanted:
        _hide(thing, False)
        thing.into(None)
        put_at(thing, position.filled(*thing.position), rotation.filled(*thing.rotation))
    for thing, _, _ in wanted:
        _rest(world, thing)


def put_at(thing: Thing, position: tuple[float, float, float], turn: tuple[float, float, float]) -> None:
    """Move a thing so that its position is this."""
    x, y, z = position
    lift = thing.size[1] / 2 if thing.mount == "floor" else 0.0
    thing.move((x, y + lift, z), (turn[0] % 360, turn[1] % 360, turn[2] % 360))


def _hide(thing: Thing, hidden: bool) -> None:
    if thing.hidden != hidden:
        thing.hidden = hidden
        if hidden:
            thing.into(None)
        thing.touch()


def _let_go(world: World, thing: Thing) -> None:
    for agent in world.agents:
        if agent.held is thing:
            agent.release()
    thing.into(None)


def _rest(world: World, thing: Thing) -> None:
    """Find what a thing now lies in or on."""
    x, _, z = thing.centre
    bottom = thing.bottom[1]
    own = {id(thing), *(id(t) for t in thing.descendants())}
    for other in sorted(world.things, key=lambda t: t.size[0] * t.size[2]):
        if id(other) in own or not other.spec.can("rec") or not other.there or other.hidden:
            continue
        box = other.boxes()[2]
        if not (box[0] <= x <= box[3] and box[2] <= z <= box[5]):
            continue
        heights = [other.bottom[1] + zone.y for zone in forms.zones(other.kind, other.size)]
        if any(abs(bottom - height) < 0.05 for height in heights):
            thing.into(other)
            return
