"""Liquids, dirt, cooking, using up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, action
from selu_hpc.sim.thor.catalogue import LIQUIDS
from selu_hpc.sim.thor.effects import pour
from selu_hpc.sim.thor.targets import target
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World


@action()
def fill_object_with_liquid(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    fillLiquid: str = "water",
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("fill"):
        raise ActionError(f"{thing.obj_id} does not have the property CanBeFilled!")
    if fillLiquid not in LIQUIDS:
        raise ActionError(f"{fillLiquid[:80]} is not a valid Liquid Type: choose one of {', '.join(LIQUIDS)}")
    if thing.liquid:
        raise ActionError(f"{thing.obj_id} is already Filled!")
    if thing.broken:
        raise ActionError(f"{thing.obj_id} is broken and can't be filled")
    pour(world, thing, fillLiquid)


@action()
def empty_liquid_from_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("fill"):
        raise ActionError(f"{thing.obj_id} does not have the property CanBeFilled!")
    if not thing.liquid:
        raise ActionError(f"{thing.obj_id} is already empty!")
    thing.liquid = ""
    thing.touch()


@action()
def dirty_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    _set_dirty(target(world, agent, objectId, x, y, force=forceAction), True)


@action()
def clean_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    _set_dirty(target(world, agent, objectId, x, y, force=forceAction), False)


def _set_dirty(thing: Thing, dirty: bool) -> None:
    if not thing.spec.can("dirty"):
        raise ActionError(f"{thing.obj_id} does not have dirtyable property!")
    if thing.dirty == dirty:
        raise ActionError(f"{thing.obj_id} is already {'dirty' if dirty else 'clean'}!")
    thing.dirty = dirty
    thing.touch()


@action()
def cook_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("cook"):
        raise ActionError(f"{thing.obj_id} is not Cookable!")
    if thing.cooked:
        raise ActionError(
            f"{thing.obj_id} is already Toasted!"
            if thing.kind == "BreadSliced"
            else f"{thing.obj_id} is already Cooked!"
        )
    thing.cooked = True
    thing.touch()


@action()
def use_up_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("useup"):
        raise ActionError(f"{thing.obj_id} does not have the property CanBeUsedUp!")
    if thing.used_up:
        raise ActionError(f"{thing.obj_id} is already used up!")
    thing.used_up = True
    thing.touch()
