"""What THOR's metadata means to a scripted actor: the next command for a goal, and what else could be done.

Owns THOR's part of expert.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selu_hpc.config import Simulator
from selu_hpc.envs.goals import THOR_VERBS, command_for
from selu_hpc.envs.language import Command
from selu_hpc.envs.thor.inventory import ThorInventory
from selu_hpc.envs.thor.state import by_id, candidates, containers_of, goals_that_hold, held, meant, suits
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal

Metadata = dict[str, Any]


class ThorEyes:
    """Reads THOR's metadata."""

    language = language_of(Simulator.THOR)
    verbs: Sequence[str] = THOR_VERBS
    going = "go to"

    def holding(self, metadata: Metadata) -> frozenset[Goal]:
        return goals_that_hold(metadata)

    def pose(self, metadata: Metadata) -> str:
        return str(metadata["agent"]["position"])

    def towards(self, goal: Goal, metadata: Metadata) -> tuple[Command, bool] | None:
        in_hand = held(metadata)
        if goal.verb == "put":
            return self._putting(goal, in_hand, metadata)
        if goal.verb == "pick up" and in_hand is not None:
            return Command("drop"), True
        known = by_id(metadata)
        for thing in candidates(metadata, goal.target)[:1]:
            closed = [box for box in containers_of(thing, known) if box["openable"] and not box["isOpen"]]
            if closed:
                return self._acting(Command("open", closed[0]["objectType"]), metadata)
        return self._acting(command_for(goal), metadata)

    def goals(self, verb: str, metadata: Metadata) -> Sequence[Goal]:
        return ThorInventory(metadata).goals(verb)

    def near(self, metadata: Metadata) -> list[Command]:
        named = [thing for thing in metadata["objects"] if thing["objectType"] in self.language.nouns]
        return [
            Command(verb, thing["objectType"])
            for thing in named
            if thing["visible"] and thing["objectType"] != "Floor"
            for verb in THOR_VERBS
            if verb != "put" and suits(verb, thing)
        ]

    def far(self, metadata: Metadata) -> list[str]:
        return [thing["objectType"] for thing in metadata["objects"] if thing["objectType"] in self.language.nouns]

    def _putting(self, goal: Goal, in_hand: dict[str, Any] | None, metadata: Metadata) -> tuple[Command, bool] | None:
        if in_hand is None or in_hand["objectType"] != goal.target:
            return self.towards(Goal(verb="pick up", target=goal.target), metadata)
        place = meant(metadata, Command("put", "", goal.place), goal.place)
        if place is not None and place["openable"] and not place["isOpen"]:
            return self._acting(Command("open", goal.place), metadata)
        return self._acting(command_for(goal), metadata)

    def _acting(self, command: Command, metadata: Metadata) -> tuple[Command, bool] | None:
        thing = meant(metadata, command, command.place or command.target)
        return None if thing is None else (command, bool(thing["visible"]) and suits(command.verb, thing))
