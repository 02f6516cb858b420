"""Picking up, putting, dropping, throwing, and moving what is in the hand."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from selu_hpc.sim.thor import surfaces
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, Vector3, action
from selu_hpc.sim.thor.catalogue import FRAGILE_DROP, MUST_BE_OPEN
from selu_hpc.sim.thor.falling import fall
from selu_hpc.sim.thor.targets import target
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_REACH = 1.6
"""How far from the eyes a hand may get, in metres."""


def _held(agent: Agent, message: str) -> Thing:
    if agent.held is None:
        raise ActionError(message)
    return agent.held


def _in_hand(world: World) -> None:
    if world.settings.mode == "arm":
        raise ActionError(
            "agentMode='arm' has no hand for this action; it needs an arm, which this build does not have"
        )


@action()
def pickup_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
    manualInteract: bool = False,
) -> str:
    """Take a thing, and what lies in it, into the hand; returns its id."""
    _in_hand(world)
    if agent.held is not None:
        raise ActionError("Agent hand has something in it already! Can't pick up anything else")
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("pick"):
        raise ActionError(f"{thing.obj_id} must have the property CanPickup to be picked up.")
    if any(other.held is thing for other in world.agents):
        raise ActionError(f"{thing.obj_id} is already held by another agent")
    if any(holder.holder is not None for holder in thing.holders()):
        raise ActionError(f"{thing.obj_id} is in something that an agent holds")
    agent.take(thing)
    return thing.obj_id


@action("PutObject")
def put_object(
    world: World, agent: Agent, objectId: str | None = None, x: float | None = None, y: float | None = None,
    forceAction: bool = False, placeStationary: bool = True, randomSeed: int = 0, putNearXY: bool = False,
) -> None:  # fmt: skip
    """Put what is held in or on a receptacle."""
    thing = _held(agent, "Can't place an object if Agent isn't holding anything")
    place = target(world, agent, objectId, x, y, force=forceAction)
    if not place.spec.can("rec"):
        raise ActionError("This target object is NOT a receptacle!")
    if place is thing or thing in place.holders():
        raise ActionError(f"{thing.obj_id} can't be placed in itself")
    if place.kind in MUST_BE_OPEN and not place.is_open:
        raise ActionError("Target openable Receptacle is CLOSED, can't place if target is not open!")
    allowed = thing.spec.places
    if place.kind not in allowed and not (place.kind == "BathtubBasin" and "Bathtub" in allowed):
        raise ActionError(f"{thing.kind} cannot be placed in {place.kind}")
    basin = _basin(world, place)
    near = agent.from_camera((0.0, -0.4, 0.7))
    rng = random.Random(randomSeed) if randomSeed else None
    agent.release()
    for where in (basin, place) if basin else (place,):
        if surfaces.place(thing, where, world.things, near=near, rng=rng, upright_yaw=None):
            return
    _take_back(agent, thing)
    raise ActionError("No valid positions to place object found")


def _take_back(agent: Agent, thing: Thing) -> None:
    hand, turn = agent.hand, agent.turn
    agent.take(thing)
    agent.hand, agent.turn = hand, turn
    agent.carry()


def _basin(world: World, place: Thing) -> Thing | None:
    """What is put into a sink lies in its basin."""
    if place.kind not in ("Sink", "Bathtub"):
        return None
    return world.by_id.get(f"{place.obj_id}|{place.kind}Basin")


@action("DropHandObject", "DropHeldObject")
def drop_hand_object(world: World, agent: Agent, forceAction: bool = False) -> None:
    """Let go; it falls straight down."""
    thing = _held(agent, "Nothing is in the agent's hand to drop!")
    agent.release()
    if not fall(world, thing, thing.centre, agent):
        _take_back(agent, thing)
        raise ActionError(f"{thing.name} can't be dropped here: it would hit something on its way")


@action()
def drop_held_object_ahead(world: World, agent: Agent, forceAction: bool = False) -> None:
    drop_hand_object(world, agent, forceAction)


@action()
def throw_object(world: World, agent: Agent, moveMagnitude: float = 50.0, forceAction: bool = False) -> None:
    """Throw what is held ahead; the force sets how far, and fragile things break."""
    thing = _held(agent, "Nothing is in the agent's hand to throw!")
    if moveMagnitude < 0:
        raise ActionError("moveMagnitude must not be negative")
    far = min(0.4 + moveMagnitude / max(thing.spec.mass, 0.1) * 0.012, 4.0)
    agent.release()
    heading = math.radians(agent.yaw)
    steps = [far * i / 12 for i in range(12, 0, -1)]
    for ahead in steps:
        x, z = agent.x + ahead * math.sin(heading), agent.z + ahead * math.cos(heading)
        if fall(world, thing, (x, thing.centre[1], z), agent, hard=moveMagnitude >= 10):
            return
    if not fall(world, thing, thing.centre, agent, hard=moveMagnitude >= 10):
        _take_back(agent, thing)
        raise ActionError(f"{thing.name} can't be thrown from here: something is in the way")


def _move_hand(world: World, agent: Agent, right: float, up: float, ahead: float, force_visible: bool) -> None:
    thing = _held(agent, "Agent can only move hand if currently holding an item")
    hand = (agent.hand[0] + right, agent.hand[1] + up, agent.hand[2] + ahead)
    if math.hypot(*hand) > _REACH:
        raise ActionError(f"The target position is out of range: a hand reaches {_REACH} m")
    if hand[2] < 0.1:
        raise ActionError("The target position would put the object into the agent")
    if force_visible and (abs(hand[0]) > hand[2] or abs(hand[1]) > hand[2]):
        raise ActionError("The target position is not in the Agent's Viewport!")
    old, agent.hand = agent.hand, hand
    x, y, z = agent.hand_at()
    room = world.room
    if not (room.x0 <= x <= room.x1 and room.z0 <= z <= room.z1 and 0 <= y <= room.height):
        agent.hand = old
        raise ActionError(f"Moving {thing.name} there would push it through a wall")
    agent.carry()


@action()
def move_held_object(
    world: World, agent: Agent, ahead: float = 0.0, right: float = 0.0, up: float = 0.0, forceVisible: bool = False
) -> None:
    _move_hand(world, agent, right, up, ahead, forceVisible)


def _mover(name: str, right: float, up: float, ahead: float) -> None:
    def move(world: World, agent: Agent, moveMagnitude: float | None = None, forceVisible: bool = False) -> None:
        by = world.settings.grid_size if moveMagnitude is None else moveMagnitude
        if by < 0:
            raise ActionError("moveMagnitude must not be negative")
        _move_hand(world, agent, right * by, up * by, ahead * by, forceVisible)

    action(f"MoveHeldObject{name}", f"MoveHand{name}")(move)


for _name, _right, _up, _ahead in (
    ("Ahead", 0, 0, 1), ("Back", 0, 0, -1), ("Left", -1, 0, 0), ("Right", 1, 0, 0), ("Up", 0, 1, 0), ("Down", 0, -1, 0),
):  # fmt: skip
    _mover(_name, _right, _up, _ahead)


@action("RotateHeldObject", "RotateHand")
def rotate_held_object(
    world: World,
    agent: Agent,
    pitch: float = 0.0,
    yaw: float = 0.0,
    roll: float = 0.0,
    rotation: Vector3 | None = None,
    x: float = 0.0,
    y: float = 0.0,
    z: float = 0.0,
) -> None:
    """Turn what is held: by pitch, yaw and roll (right side down), or to a rotation relative to the agent."""
    _held(agent, "In RotateHand: Agent isn't holding an object, can't rotate")
    if rotation is not None:
        agent.turn = rotation.filled(0.0, 0.0, 0.0)
    elif x or y or z:
        agent.turn = (x, y, z)
    else:
        turn = (agent.turn[0] + pitch, agent.turn[1] + yaw, agent.turn[2] - roll)
        agent.turn = _normal(turn)
    agent.carry()


def _normal(turn: tuple[float, float, float]) -> tuple[float, float, float]:
    """Unity's form of a rotation: straight up or down, roll is part of yaw."""
    x, y, z = (t % 360 for t in turn)
    if abs(x - 90) < 1e-6:
        return (90.0, (y - z) % 360, 0.0)
    if abs(x - 270) < 1e-6:
        return (270.0, (y + z) % 360, 0.0)
    return (x, y, z)


assert FRAGILE_DROP > 0
