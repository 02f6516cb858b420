"""What a THOR scene makes feasible, by its metadata.

Owns which goals a scene offers. Whether one of them can really be brought about is tried out by survey.py; which are
asked for is drawn by tasks.py.
"""

from __future__ import annotations

from selu_hpc.config import Simulator
from selu_hpc.envs.thor.state import (
    BASIN,
    Metadata,
    Thing,
    by_id,
    containers_of,
    extent,
    goals_that_hold,
    hidden,
    things,
)
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal
from selu_hpc.sim.thor.catalogue import specs

MOST_LIKE_IT = 3
"""Instances a type may have in a room for a task to name it; more would make "the cabinet" a riddle."""
SMALLEST_PLACE = 0.25
"""Metres: things are put in or on receptacles at least this long."""
LONGEST_COMPOSITION = 4


class ThorInventory:
    """What is feasible in a THOR scene, read from its metadata; reachable: ids that can be acted on, None for all."""

    def __init__(self, metadata: Metadata, reachable: frozenset[str] | None = None) -> None:
        self._things = things(metadata)
        self._reachable = reachable
        self._known = by_id(metadata)
        self._hold = goals_that_hold(metadata)
        language = language_of(Simulator.THOR)
        count: dict[str, int] = {}
        for thing in self._things:
            count[thing["objectType"]] = count.get(thing["objectType"], 0) + 1
        self._named = {kind for kind, number in count.items() if number <= MOST_LIKE_IT and kind in language.nouns}

    def goals(self, verb: str) -> list[Goal]:
        if verb == "put":
            return self._puts()
        flag = {
            "pick up": "pickupable",
            "open": "openable",
            "close": "openable",
            "break": "breakable",
            "slice": "sliceable",
            "toggle on": "toggleable",
            "toggle off": "toggleable",
        }[verb]
        kinds = sorted({thing["objectType"] for thing in self._in_sight() if thing[flag]})
        found = [Goal(verb=verb, target=kind) for kind in kinds]
        return [
            goal for goal in found if goal not in self._hold or verb in ("open", "close", "toggle on", "toggle off")
        ]

    def compositions(self) -> list[tuple[Goal, ...]]:
        """Two to four goals that can hold together: something in what must be opened for it, and one or two more."""
        into = [
            (Goal(verb="open", target=place), Goal(verb="put", target=kind, place=place))
            for place in self._places(closed=True)
            for kind in self._kinds("pickupable")
            if Goal(verb="put", target=kind, place=place) not in self._hold and goes_there(kind, place)
        ]
        extra = [goal for verb in ("break", "slice", "toggle on") for goal in self.goals(verb)]
        pairs = [
            (one, other) for one in extra for other in extra if one.verb < other.verb and one.target != other.target
        ]
        longer = [
            (*goals, *more)
            for goals in into
            for more in [(goal,) for goal in extra] + pairs
            if not {goal.target for goal in more} & {goals[0].target, goals[1].target}
        ]
        return [goals for goals in into + pairs + longer if len(goals) <= LONGEST_COMPOSITION]

    def _in_sight(self) -> list[Thing]:
        return [
            thing
            for thing in self._things
            if thing["objectType"] in self._named
            and (not hidden(thing, self._known) if self._reachable is None else thing["objectId"] in self._reachable)
        ]

    def _kinds(self, flag: str) -> list[str]:
        return sorted({thing["objectType"] for thing in self._in_sight() if thing[flag]})

    def _places(self, *, closed: bool) -> list[str]:
        return sorted(
            {
                thing["objectType"]
                for thing in self._in_sight()
                if thing["receptacle"]
                and not thing["pickupable"]
                and bool(thing["openable"]) is closed
                and thing["objectType"] != "Floor"
                and not thing["objectType"].endswith(BASIN)
                and extent(thing) >= SMALLEST_PLACE
            }
        )

    def _puts(self) -> list[Goal]:
        """Something small onto furniture that stands open and holds none of its kind yet."""
        found = []
        for kind in self._kinds("pickupable"):
            same = [thing for thing in self._things if thing["objectType"] == kind]
            near = {place["objectType"] for thing in same for place in containers_of(thing, self._known)}
            near |= {place.removesuffix(BASIN) for place in near}
            found += [
                Goal(verb="put", target=kind, place=place)
                for place in self._places(closed=False)
                if place not in near and goes_there(kind, place)
            ]
        return found


def goes_there(kind: str, place: str) -> bool:
    """Whether THOR lets such a thing lie in or on such a place."""
    facts = specs().get(kind)
    return facts is not None and place in facts.places
