"""Opening, closing, switching, slicing and breaking things.

Owns these transitions and their preconditions. What follows from them by themselves is in effects.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from selu_hpc.sim.drawing.skins import style
from selu_hpc.sim.thor import forms
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, action
from selu_hpc.sim.thor.catalogue import SLICES_INTO, spec
from selu_hpc.sim.thor.effects import settle
from selu_hpc.sim.thor.navigation import RADIUS
from selu_hpc.sim.thor.targets import target
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_SHUT_TO_RUN = frozenset({"Microwave"})
_OFF_TO_OPEN = frozenset({"Microwave", "Laptop"})


@action()
def open_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    openness: float | None = None,
    moveMagnitude: float | None = None,
    forceAction: bool = False,
    simplifyPhysics: bool = False,
) -> None:
    """Open as far as `openness` says, 0 to 1; moveMagnitude is its old name, where 0 means fully."""
    if openness is None:
        openness = moveMagnitude or 1.0
    if not 0 <= openness <= 1:
        raise ActionError("openness must be in [0.0:1.0]")
    _set_openness(world, agent, target(world, agent, objectId, x, y, force=forceAction), openness)


@action()
def close_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    _set_openness(world, agent, target(world, agent, objectId, x, y, force=forceAction), 0.0)


def _set_openness(world: World, agent: Agent, thing: Thing, openness: float) -> None:
    if not thing.spec.can("open"):
        raise ActionError(f"{thing.obj_id} is not an Openable object")
    if thing.kind in _OFF_TO_OPEN and thing.toggled:
        raise ActionError("Target must be OFF to open!")
    if thing.broken:
        raise ActionError(f"{thing.obj_id} is broken and can't be opened")
    before = thing.openness
    swing(thing, openness)
    if openness > before:
        for other in world.agents:
            if _touches(thing, other):
                swing(thing, before)
                raise ActionError(f"{thing.obj_id} failed to open: it would hit Agent {other.agent_id}")


def swing(thing: Thing, openness: float) -> None:
    """Change how far it is open; what lies in a drawer comes along."""
    slides = thing.kind == "Drawer"
    if slides:
        step = (openness - thing.openness) * forms.slide(thing.kind, thing.size, 1.0)
        ahead = math.radians(thing.yaw)
        for child in thing.children:
            x, y, z = child.centre
            child.move((x + step * math.sin(ahead), y, z + step * math.cos(ahead)))
    thing.openness = openness
    thing.touch()
    for inside in thing.descendants():
        inside.touch()


def _touches(thing: Thing, agent: Agent) -> bool:
    for x0, y0, z0, x1, y1, z1 in thing.boxes()[1][1:]:
        if y1 < 0.1 or y0 > 1.8:
            continue
        dx = max(x0 - agent.x, agent.x - x1, 0.0)
        dz = max(z0 - agent.z, agent.z - z1, 0.0)
        if dx * dx + dz * dz < RADIUS**2 - 1e-6:
            return True
    return False


@action()
def toggle_object_on(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    _toggle(world, target(world, agent, objectId, x, y, force=forceAction), True)


@action()
def toggle_object_off(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    _toggle(world, target(world, agent, objectId, x, y, force=forceAction), False)


def _toggle(world: World, thing: Thing, on: bool) -> None:
    if not thing.spec.can("toggle"):
        raise ActionError("object is not toggleable.")
    if thing.broken:
        raise ActionError(f"{thing.obj_id} is broken and can't be toggled")
    if thing.toggled == on:
        raise ActionError(f"can't toggle object {'on' if on else 'off'} if it's already {'on' if on else 'off'}!")
    if on and thing.kind in _SHUT_TO_RUN and thing.is_open:
        raise ActionError("Target must be closed to Toggle On!")
    thing.toggled = on
    thing.touch()
    for other in thing.controls:
        other.toggled = on
        other.touch()
    settle(world)


@action()
def slice_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    """Cut a thing into slices, which are new objects; the whole one stays in the metadata as sliced."""
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("slice"):
        raise ActionError(f"{thing.name} Does not have the CanBeSliced property!")
    if thing.holder is not None or any(h.holder is not None for h in thing.holders()):
        raise ActionError(f"{thing.name} can't be sliced in the hand")
    if thing.kind == "Egg":
        thing.broken = True
    _into_pieces(world, thing)


@action()
def break_object(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    x: float | None = None,
    y: float | None = None,
    forceAction: bool = False,
) -> None:
    thing = target(world, agent, objectId, x, y, force=forceAction)
    if not thing.spec.can("break"):
        raise ActionError(f"{thing.name} does not have CanBreak property!!")
    if thing.broken:
        raise ActionError(f"{thing.name} is already broken")
    shatter(world, thing)


def shatter(world: World, thing: Thing) -> None:
    """Break a thing: an egg becomes a cracked egg, all else stays, broken, and spills what it holds."""
    if thing.broken:
        return
    thing.broken = True
    thing.toggled, thing.liquid = False, ""
    thing.touch()
    if thing.kind == "Egg" and thing.holder is None:
        _into_pieces(world, thing)
        return
    for child in list(thing.children):
        child.into(thing.parent)
        child.touch()


def _into_pieces(world: World, whole: Thing) -> None:
    kind, num = SLICES_INTO[whole.kind]
    x, _, z = whole.centre
    where, floor = whole.parent, whole.bottom[1]
    whole.into(None)
    whole.sliced = whole.kind != "Egg" or whole.sliced
    whole.there = False
    whole.touch()
    facts = spec(kind)
    along = math.radians(whole.yaw)
    length = max(whole.size[0], whole.size[2]) if num > 1 else 0.0
    wide_x = whole.size[0] >= whole.size[2]
    for i in range(num):
        size = facts.size
        offset = (i + 0.5) / num * length - length / 2
        dx, dz = (offset, 0.0) if wide_x else (0.0, offset)
        obj_id = f"{whole.obj_id}|{kind}_{i}"
        key = world.next_key()
        piece = Thing(
            key=key,
            kind=kind,
            spec=facts,
            size=size if wide_x else (size[2], size[1], size[0]),
            centre=(
                x + dx * math.cos(along) + dz * math.sin(along),
                floor + size[1] / 2,
                z - dx * math.sin(along) + dz * math.cos(along),
            ),
            rotation=(0.0, whole.yaw, 0.0),
            obj_id=obj_id,
            name=f"{kind}_{key:08x}",
            style=style(world.look, kind, key % 4),
            cooked=whole.cooked,
            temperature=whole.temperature,
            decays_at=whole.decays_at,
        )
        if kind == "EggCracked":
            piece.size = size
        world.insert(piece)
        piece.into(where)
