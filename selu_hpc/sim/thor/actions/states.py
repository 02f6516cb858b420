"""States of many things at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selu_hpc.sim.thor.actions.objects import swing
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, action
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World


@action()
def randomize_toggle_states(world: World, agent: Agent) -> None:
    for thing in world.objects:
        if (
            thing.spec.can("toggle")
            and thing.there
            and not thing.broken
            and not (thing.is_open and thing.kind == "Microwave")
        ):
            thing.toggled = world.random.random() < 0.5
            thing.touch()
            for other in thing.controls:
                other.toggled = thing.toggled
                other.touch()


@action(lenient=True)
def set_object_states(world: World, agent: Agent, SetObjectStates: dict[str, Any] | None = None) -> None:
    """Give all things of a type, or all that can have it, a state."""
    wish = SetObjectStates or {}
    change, kind = wish.get("stateChange"), wish.get("objectType")
    words = {
        "toggleable": ("toggle", "isToggled"),
        "breakable": ("break", "isBroken"),
        "dirtyable": ("dirty", "isDirty"),
        "openable": ("open", "isOpen"),
        "canFillWithLiquid": ("fill", "isFilledWithLiquid"),
        "cookable": ("cook", "isCooked"),
        "sliceable": ("slice", "isSliced"),
        "canBeUsedUp": ("useup", "isUsedUp"),
    }
    if change not in words:
        raise ActionError(f"stateChange must be one of {', '.join(words)}")
    word, field = words[change]
    on = bool(wish.get(field, True))
    for thing in world.objects:
        if thing.spec.can(word) and thing.there and kind in (None, "", thing.kind):
            _set_state(thing, word, on)


def _set_state(thing: Thing, word: str, on: bool) -> None:
    match word:
        case "open":
            if not (on and thing.toggled):
                swing(thing, 1.0 if on else 0.0)
        case "toggle":
            thing.toggled = on and not (thing.kind == "Microwave" and thing.is_open)
            for other in thing.controls:
                other.toggled = on
                other.touch()
        case "dirty":
            thing.dirty = on
        case "fill":
            thing.liquid = "water" if on else ""
        case "cook":
            thing.cooked = thing.cooked or on
        case "useup":
            thing.used_up = thing.used_up or on
        case "break":
            if thing.kind != "Egg":
                thing.broken = thing.broken or on
    thing.touch()
