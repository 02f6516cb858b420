"""What THOR must be told before an episode, so that its goals are still to be reached: a fridge to close is opened."""

from __future__ import annotations

import random
from typing import Any

from selu_hpc.envs.thor.state import Metadata, Thing, things
from selu_hpc.records import Task, derive_seed


def preparation(task: Task, metadata: Metadata, *, seed: int) -> list[list[dict[str, Any]]]:
    """The actions that make such a state.

    Each list holds alternatives, of which the first that succeeds is enough.
    """
    rng = random.Random(derive_seed("prepare", seed))
    actions: list[list[dict[str, Any]]] = []
    for goal in task.goals:
        same = sorted((t for t in things(metadata) if t["objectType"] == goal.target), key=lambda t: str(t["objectId"]))
        match goal.verb:
            case "open":
                actions += [[_forced("CloseObject", thing)] for thing in same if thing["isOpen"]]
            case "toggle on":
                actions += [[_forced("ToggleObjectOff", thing)] for thing in same if thing["isToggled"]]
            case "close" if not any(thing["isOpen"] for thing in same):
                openable = [thing for thing in same if thing["openable"]]
                opened = [{**_forced("OpenObject", thing), "openness": 1.0} for thing in openable]
                actions.append(rng.sample(opened, len(opened)))
            case "toggle off" if not any(thing["isToggled"] for thing in same):
                toggleable = [thing for thing in same if thing["toggleable"]]
                actions.append([_forced("ToggleObjectOn", t) for t in rng.sample(toggleable, len(toggleable))])
            case "put" if len(task.goals) == 1:
                loose = [thing for thing in same if thing["pickupable"]]
                actions.append([_forced("PickupObject", thing) for thing in rng.sample(loose, len(loose))])
    return actions


def _forced(action: str, thing: Thing) -> dict[str, Any]:
    return {"action": action, "objectId": thing["objectId"], "forceAction": True}
