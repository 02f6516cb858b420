"""Reading THOR's metadata: what holds, what is near, which of several things a command means.

Owns pure functions over `event.metadata`. Does not call the simulator (environment.py) or sample tasks (tasks.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from selu_hpc.envs.language import Command
from selu_hpc.records import Goal

Metadata = dict[str, Any]
Thing = dict[str, Any]

BASIN = "Basin"
SIMPLE = 4
"""Decimals that positions are compared at, so that float32 and float64 builds choose alike."""


def things(metadata: Metadata) -> list[Thing]:
    found: list[Thing] = metadata["objects"]
    return found


def by_id(metadata: Metadata) -> dict[str, Thing]:
    return {thing["objectId"]: thing for thing in things(metadata)}


def original_type(thing: Thing) -> str:
    """A slice's or a shard's parent: "Apple" for `Apple|…|AppleSliced_1`."""
    return str(thing["objectId"]).split("|", 1)[0]


def held(metadata: Metadata) -> Thing | None:
    """What is in the hand."""
    return next((thing for thing in things(metadata) if thing["isPickedUp"]), None)


def containers_of(thing: Thing, known: dict[str, Thing]) -> list[Thing]:
    """What holds a thing, what holds that, and so on."""
    found: dict[str, Thing] = {}
    queue = list(thing.get("parentReceptacles") or ())
    while queue:
        parent = known.get(queue.pop())
        if parent is not None and parent["objectId"] not in found:
            found[parent["objectId"]] = parent
            queue += parent.get("parentReceptacles") or ()
    return list(found.values())


def hidden(thing: Thing, known: dict[str, Thing]) -> bool:
    """True inside something closed, where only who put it there could know it."""
    return any(parent["openable"] and not parent["isOpen"] for parent in containers_of(thing, known))


def goals_that_hold(metadata: Metadata) -> frozenset[Goal]:
    """Every goal of every verb that is true now.

    "open Fridge": some fridge is open. "close Fridge": fridges can be opened and none is. Same for toggling.
    "break" and "slice" count what became of a thing, too. "put Apple Fridge": an apple that nobody holds is in a
    fridge, also inside a bowl in it.
    """
    known = by_id(metadata)
    found: set[Goal] = set()
    openable: set[str] = set()
    toggleable: set[str] = set()
    for thing in things(metadata):
        kind, origin = thing["objectType"], original_type(thing)
        if thing["isPickedUp"]:
            found.add(Goal(verb="pick up", target=kind))
        elif thing["pickupable"]:
            places = {place["objectType"] for place in containers_of(thing, known)}
            # What lies in a sink's basin lies in the sink.
            places |= {place.removesuffix(BASIN) for place in places}
            found |= {Goal(verb="put", target=kind, place=place) for place in places}
        if thing["openable"]:
            openable.add(kind)
            found |= {Goal(verb="open", target=kind)} if thing["isOpen"] else set()
        if thing["toggleable"]:
            toggleable.add(kind)
            found |= {Goal(verb="toggle on", target=kind)} if thing["isToggled"] else set()
        if thing["isBroken"] or kind.endswith("Cracked"):
            found.add(Goal(verb="break", target=origin))
        if thing["isSliced"] or kind.endswith(("Sliced", "Cracked")):
            found.add(Goal(verb="slice", target=origin))
    found |= {Goal(verb="close", target=kind) for kind in openable if Goal(verb="open", target=kind) not in found}
    found |= {
        Goal(verb="toggle off", target=kind) for kind in toggleable if Goal(verb="toggle on", target=kind) not in found
    }
    return frozenset(found)


def suits(verb: str, thing: Thing) -> bool:
    """Whether a thing is in the state from which the verb changes it."""
    match verb:
        case "pick up":
            return bool(thing["pickupable"]) and not thing["isPickedUp"]
        case "open":
            return bool(thing["openable"]) and not thing["isOpen"]
        case "close":
            return bool(thing["openable"]) and bool(thing["isOpen"])
        case "break":
            return bool(thing["breakable"]) and not thing["isBroken"]
        case "slice":
            return bool(thing["sliceable"]) and not thing["isSliced"]
        case "toggle on":
            return bool(thing["toggleable"]) and not thing["isToggled"]
        case "toggle off":
            return bool(thing["toggleable"]) and bool(thing["isToggled"])
        case "put":
            return bool(thing["receptacle"])
    return True


def near_first(found: Iterable[Thing]) -> list[Thing]:
    """Nearest first, then by id: the order in which any choice is made."""
    return sorted(found, key=lambda thing: (round(thing["distance"], SIMPLE), thing["objectId"]))


def candidates(metadata: Metadata, kind: str) -> list[Thing]:
    """The things a type name can mean, nearest first: those of the type, else pieces of it."""
    named = [thing for thing in things(metadata) if thing["objectType"] == kind]
    return near_first(named or [thing for thing in things(metadata) if original_type(thing) == kind])


def meant(metadata: Metadata, command: Command, kind: str) -> Thing | None:
    """The instance a command is about: one in reach and in the right state, else in reach, else nearest."""
    found = candidates(metadata, kind)
    ranks: Sequence[tuple[bool, bool]] = [(not thing["visible"], not suits(command.verb, thing)) for thing in found]
    return min(zip(ranks, range(len(found)), found, strict=True), default=(None, 0, None))[2] if found else None


def box_of(thing: Thing) -> dict[str, Any]:
    """A thing's bounding box, or nothing.

    Unity keeps what went to pieces among the objects, with a box of no size at the world's origin: that is none.
    """
    box: dict[str, Any] = thing.get("axisAlignedBoundingBox") or {}
    size = box.get("size")
    return {} if size and not any(size.values()) else box


def centre(thing: Thing) -> tuple[float, float, float]:
    """The middle of a thing's bounding box, or its position where the build gives no box."""
    # A home's things, as camera.py is told of them, have a box only.
    point = box_of(thing).get("center") or thing.get("position") or thing["axisAlignedBoundingBox"]["center"]
    return float(point["x"]), float(point["y"]), float(point["z"])


def extent(thing: Thing) -> float:
    """The longest side of a thing's bounding box in metres."""
    size = box_of(thing).get("size") or {"x": 0.2, "y": 0.2, "z": 0.2}
    return float(max(size["x"], size["y"], size["z"]))
