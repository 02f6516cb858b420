"""Which thing an action means, and whether the agent may act on it.

Owns THOR's words for unknown, unseen and ambiguous targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from selu_hpc.sim.thor import visibility
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_SHOWN = 200


def by_id(world: World, object_id: str) -> Thing:
    """The object of this id, seen or not."""
    thing = world.by_id.get(object_id)
    if thing is None:
        shown = object_id if len(object_id) <= _SHOWN else object_id[:_SHOWN] + "…"
        raise ActionError(f"{shown} is not the objectId on any object in the scene!")
    return thing


def target(
    world: World, agent: Agent, object_id: str | None, x: float | None, y: float | None, *, force: bool
) -> Thing:
    """The object an action is about, by id or by a point of the picture; seen and in reach unless forced."""
    if object_id is not None:
        thing = by_id(world, object_id)
    elif x is not None and y is not None:
        thing = at_pixel(world, agent, x, y)
    else:
        raise ActionError("this action needs an objectId, or x and y", "MissingArguments")
    if not thing.there or thing.hidden:
        raise ActionError(f"{thing.obj_id} is no longer there: it was sliced, cracked or disabled")
    if not force and thing.key not in world.visible(agent.agent_id):
        raise ActionError("Target object not found within the specified visibility.")
    return thing


def at_pixel(world: World, agent: Agent, x: float, y: float) -> Thing:
    """The object at shares of the picture from its top left."""
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ActionError("x and y must be in [0:1].")
    found = visibility.under_pixel(world.geometry(), agent.camera(), x, y, aspect=world.aspect)
    if found is None or found[0].structural:
        raise ActionError(f"Could not find a target object at the specified location ({x}, {y})")
    return found[0]


def number(value: float) -> str:
    """As THOR writes coordinates in messages."""
    return f"{value + 0.0:.4f}"
