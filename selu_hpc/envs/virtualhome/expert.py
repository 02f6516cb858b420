"""What VirtualHome's graph means to a scripted actor: the next command for a goal, and what else could be done.

Owns VirtualHome's part of expert.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selu_hpc.config import Simulator
from selu_hpc.envs.goals import VIRTUALHOME_VERBS, command_for
from selu_hpc.envs.language import Command
from selu_hpc.envs.virtualhome.state import (
    HomeInventory,
    character,
    close_to,
    goals_that_hold,
    held,
    hidden,
    meant,
    nodes_by_id,
    related,
    rooms_of,
    sitting_on,
    suits,
)
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal

Metadata = dict[str, Any]
_SAID = {"sit": "sit on"}


class HomeEyes:
    """Reads VirtualHome's graph."""

    language = language_of(Simulator.VIRTUALHOME)
    verbs: Sequence[str] = VIRTUALHOME_VERBS
    going = "walk to"

    def holding(self, metadata: Metadata) -> frozenset[Goal]:
        return goals_that_hold(metadata)

    def pose(self, metadata: Metadata) -> str:
        person = character(metadata)
        box = person.get("bounding_box") if person else None
        return str((box, sorted(close_to(metadata))))

    def towards(self, goal: Goal, metadata: Metadata) -> tuple[Command, bool] | None:
        if sitting_on(metadata):
            return Command("stand up"), True
        if goal.verb == "put":
            if goal.target not in {node["class_name"] for node in held(metadata)}:
                return self.towards(Goal(verb="grab", target=goal.target), metadata)
            place = meant(metadata, Command("open", goal.place), goal.place)
            if place is not None and goal.place in self.language.inside and "CLOSED" in place["states"]:
                return self._acting(Command("open", goal.place), metadata)
            return self._acting(command_for(goal), metadata)
        node = meant(metadata, command_for(goal), goal.target)
        if node is not None and hidden(metadata, node["id"]):
            known = nodes_by_id(metadata)
            closed = [known[to] for to in related(metadata, node["id"], ("INSIDE",)) if "CLOSED" in known[to]["states"]]
            if closed:
                return self._acting(Command("open", closed[0]["class_name"]), metadata)
        return self._acting(command_for(goal), metadata)

    def goals(self, verb: str, metadata: Metadata) -> Sequence[Goal]:
        return HomeInventory(metadata).goals(verb)

    def near(self, metadata: Metadata) -> list[Command]:
        close = close_to(metadata)
        return [
            command
            for node in metadata["nodes"]
            if node["id"] in close and node["class_name"] in self.language.nouns
            for verb in VIRTUALHOME_VERBS
            for command in [Command(_SAID.get(verb, verb), node["class_name"])]
            if verb != "put" and suits(command, node)
        ]

    def far(self, metadata: Metadata) -> list[str]:
        person = character(metadata)
        rooms = rooms_of(metadata)
        here = rooms.get(person["id"]) if person else None
        return [
            node["class_name"]
            for node in metadata["nodes"]
            if node["class_name"] in self.language.nouns and rooms.get(node["id"]) == here
        ]

    def _acting(self, command: Command, metadata: Metadata) -> tuple[Command, bool] | None:
        node = meant(metadata, command, command.place or command.target)
        return None if node is None else (command, node["id"] in close_to(metadata) and suits(command, node))
