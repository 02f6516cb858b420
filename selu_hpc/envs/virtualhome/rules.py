"""What VirtualHome's Unity server does and a person could not: commands to be refused before it is asked.

Owns one pure function over a graph. The server has none of the package's preconditions: with `skip_animation` it
teleports the character to whatever it is told to open. The stand-in runs the package's executor, which refuses by
itself and in its own words; it is not asked here.
"""

from __future__ import annotations

import math

from selu_hpc.config import Simulator
from selu_hpc.envs.language import Command
from selu_hpc.envs.virtualhome.state import Graph, Node, character, close_to, held, hidden, sitting_on
from selu_hpc.envs.words import language_of

CLOSE_M = 1.3
"""How far from a box Unity calls CLOSE."""
_UNMARKED = ("door", "curtains", "floor")
"""Classes to which Unity writes no CLOSE edge."""
_STANDING = ("walk to", "move ahead", "move back", "sit on")
_NEEDS = {
    "grab": ("GRABBABLE", "is not grabbable", ""),
    "sit on": ("SITTABLE", "is not sittable", ""),
    "open": ("CAN_OPEN", "can not be opened", "CLOSED"),
    "close": ("CAN_OPEN", "can not be opened", "OPEN"),
    "switch on": ("HAS_SWITCH", "does not have a switch", "OFF"),
    "switch off": ("HAS_SWITCH", "does not have a switch", "ON"),
}
"""Verb → a property, what is said where it is missing, and a state."""


def refusal(graph: Graph, command: Command, node: Node | None = None, place: Node | None = None) -> str:
    """Why a command cannot be done here, or nothing. place: where `node`, which is held, is to be put."""
    seat = sitting_on(graph)
    if seat and command.verb in _STANDING:
        return f"you sit on {_the(seat[0])}"
    if command.verb == "stand up":
        return "" if seat else "you are not sitting"
    acted_on = place or node
    if acted_on is None or command.verb == "walk to":
        return ""
    if not _in_reach(graph, acted_on):
        return f"{_the(acted_on)} is not within reach"
    if hidden(graph, acted_on["id"]):
        return f"{_the(acted_on)} is inside something closed"
    if place is not None:
        inside = place["class_name"] in language_of(Simulator.VIRTUALHOME).inside
        return f"{_the(place)} is not open" if inside and "CLOSED" in place["states"] else ""
    return _unsuited(command, acted_on)


def _in_reach(graph: Graph, node: Node) -> bool:
    """Close to the character or in its hands."""
    if node["id"] in close_to(graph) or node in held(graph):
        return True
    person = character(graph)
    if person is None or node["class_name"] not in _UNMARKED or not node.get("bounding_box"):
        return False
    return min(_gap_m(person, node), _gap_m(node, person)) <= CLOSE_M


def _unsuited(command: Command, node: Node) -> str:
    needed, missing, state = _NEEDS[command.verb]
    if needed not in node["properties"]:
        return f"{_the(node)} {missing}"
    return f"{_the(node)} is not {state.lower()}" if state and state not in node["states"] else ""


def _gap_m(one: Node, other: Node) -> float:
    """From the middle of one to the box of the other, as seen from above."""
    middle, box = one["bounding_box"]["center"], other["bounding_box"]
    return math.hypot(*(max(abs(middle[i] - box["center"][i]) - box["size"][i] / 2, 0.0) for i in (0, 2)))


def _the(node: Node) -> str:
    return f"the {language_of(Simulator.VIRTUALHOME).name(node['class_name'])}"
