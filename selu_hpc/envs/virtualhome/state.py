"""Reading VirtualHome's graph: what holds, what a name means, what is feasible.

Owns pure functions over the graph that `environment_graph` returns. Does not call the simulator (environment.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from selu_hpc.config import Simulator
from selu_hpc.envs.language import Command
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal

Graph = dict[str, Any]
Node = dict[str, Any]
Point = tuple[float, float, float]

HANDS = ("HOLDS_RH", "HOLDS_LH")
ROOMS = ("kitchen", "bedroom", "livingroom", "bathroom")
BODY_RADIUS, HEAD_ROOM, FLAT, GRID = 0.25, 1.2, 0.05, 0.25
"""Metres: around a character, above which nothing is in its way, a rug at most, between two places tried."""
_NO_THINGS = ("Rooms", "Floor", "Walls", "Ceiling", "Characters")
MOST_LIKE_IT = 4
"""Instances a class may have in a home for a task to name it."""


def nodes_by_id(graph: Graph) -> dict[int, Node]:
    return {node["id"]: node for node in graph["nodes"]}


def character(graph: Graph) -> Node | None:
    return next((node for node in graph["nodes"] if node["class_name"] == "character"), None)


def related(graph: Graph, source: int, relations: Iterable[str]) -> list[int]:
    """Where a node's edges of these kinds lead."""
    wanted = frozenset(relations)
    return [e["to_id"] for e in graph["edges"] if e["from_id"] == source and e["relation_type"] in wanted]


def held(graph: Graph) -> list[Node]:
    """What the character's hands hold, by id."""
    person = character(graph)
    if person is None:
        return []
    known = nodes_by_id(graph)
    return [known[number] for number in sorted(set(related(graph, person["id"], HANDS)))]


def sitting_on(graph: Graph) -> list[Node]:
    """What the character sits on: Unity writes an edge of its own, the package's executor a state and ON."""
    person = character(graph)
    if person is None:
        return []
    seats = related(graph, person["id"], ("SITTING",))
    if not seats and "SITTING" in person["states"]:
        seats = related(graph, person["id"], ("ON",))
    known = nodes_by_id(graph)
    return [known[number] for number in seats]


def close_to(graph: Graph) -> set[int]:
    """Ids of what the character is close to."""
    person = character(graph)
    return set() if person is None else set(related(graph, person["id"], ("CLOSE",)))


def rooms_of(graph: Graph) -> dict[int, int]:
    """Node → its room: that of what it lies on or in.

    What was put somewhere may keep an edge to the room it was taken from (the package's executor), or have none to
    any room (Unity).
    """
    known, below = nodes_by_id(graph), containers(graph)
    own: dict[int, int] = {}
    for edge in graph["edges"]:
        if edge["relation_type"] == "INSIDE" and known[edge["to_id"]].get("category") == "Rooms":
            own.setdefault(edge["from_id"], edge["to_id"])
    found: dict[int, int] = {}
    for number, node in known.items():
        chain = [number]
        while node.get("category") != "Characters" and chain[-1] in below and below[chain[-1]][0] not in chain:
            chain.append(below[chain[-1]][0])
        room = next((own[place] for place in reversed(chain) if place in own), None)  # what carries the rest is last
        if room is not None:
            found[number] = room
    return found


def free_ground(graph: Graph, room: int) -> Point | None:
    """Where a character can stand, nearest to the room's middle; None when nothing is free."""
    rooms, known = rooms_of(graph), nodes_by_id(graph)
    inside = [n for n in graph["nodes"] if rooms.get(n["id"]) == room and n.get("bounding_box")]
    floors = [n["bounding_box"] for n in inside if n.get("category") == "Floor"]
    (x, middle, z), (width, height, depth) = (known[room]["bounding_box"][part] for part in ("center", "size"))
    ground = floors[0]["center"][1] + floors[0]["size"][1] / 2 if floors else middle - height / 2
    boxes = [n["bounding_box"] for n in inside if n.get("category") not in _NO_THINGS]
    in_the_way = [
        (box["center"], [half / 2 + BODY_RADIUS for half in box["size"]])
        for box in boxes
        if box["size"][1] > FLAT and box["center"][1] - box["size"][1] / 2 < ground + HEAD_ROOM
    ]
    num_x, num_z = (int(max(side / 2 - BODY_RADIUS, 0.0) / GRID) for side in (width, depth))
    spots = [(x + GRID * i, z + GRID * k) for i in range(-num_x, num_x + 1) for k in range(-num_z, num_z + 1)]
    spots.sort(key=lambda spot: (round(math.dist(spot, (x, z)), 6), spot))
    for a, b in spots:
        if not any(abs(a - at[0]) < half[0] and abs(b - at[2]) < half[2] for at, half in in_the_way):
            return a, ground, b
    return None


def containers(graph: Graph) -> dict[int, list[int]]:
    """Node → what it lies on or in, rooms left out."""
    known = nodes_by_id(graph)
    found: dict[int, list[int]] = {}
    for edge in graph["edges"]:
        to = known.get(edge["to_id"])
        if edge["relation_type"] in ("ON", "INSIDE") and to is not None and to.get("category") != "Rooms":
            found.setdefault(edge["from_id"], []).append(edge["to_id"])
    return found


def hidden(graph: Graph, number: int) -> bool:
    """True inside something closed."""
    return _shut_in(nodes_by_id(graph), related(graph, number, ("INSIDE",)))


def _shut_in(known: dict[int, Node], inside: Iterable[int]) -> bool:
    return any("CLOSED" in known[to]["states"] for to in inside if known[to].get("category") != "Rooms")


def filmable(graph: Graph, touched: str = "") -> dict[str, Any]:
    """A room as camera.py reads a scene: THOR's metadata, as much of it as a shot needs.

    It is the room of the thing last touched, by its number, which the camera stays with; else the character's.
    """
    person = character(graph)
    assert person is not None, "a camera before a character"
    known, inside = nodes_by_id(graph), rooms_of(graph)
    room, in_hand, below = inside.get(person["id"]), {node["id"] for node in held(graph)}, containers(graph)
    if touched and int(touched) not in in_hand:
        room = inside.get(int(touched), room)
    above: dict[int, list[int]] = {}
    for number, places in below.items():
        for place in places:
            above.setdefault(place, []).append(number)
    shown = [
        n for n in graph["nodes"] if n["id"] in in_hand or (inside.get(n["id"]) == room and n["id"] != person["id"])
    ]
    return {
        "agent": {
            "position": _point(person["bounding_box"]["center"]) | {"y": 0.0},
            "rotation": {"x": 0.0, "y": _turn(person), "z": 0.0},
        },
        "objects": [
            {
                "objectId": str(node["id"]),
                "objectType": node["class_name"],
                "isPickedUp": node["id"] in in_hand,
                "openable": "CAN_OPEN" in node["properties"],
                "isOpen": "OPEN" in node["states"],
                "parentReceptacles": [str(number) for number in below.get(node["id"], ())],
                "receptacleObjectIds": [str(number) for number in above.get(node["id"], ())],
                "axisAlignedBoundingBox": _box(node),
            }
            for node in shown
            if node.get("bounding_box") and node.get("category") not in _NO_THINGS
        ],
        "sceneBounds": _box(known[room]) if room is not None else None,
    }


def _point(values: Sequence[float]) -> dict[str, float]:
    return dict(zip("xyz", map(float, values), strict=True))


def _box(node: Node) -> dict[str, dict[str, float]]:
    return {"center": _point(node["bounding_box"]["center"]), "size": _point(node["bounding_box"]["size"])}


def _turn(person: Node) -> float:
    """Degrees about the vertical, from Unity's quaternion."""
    _, y, _, w = (person.get("obj_transform") or {}).get("rotation") or (0.0, 0.0, 0.0, 1.0)
    return math.degrees(2 * math.atan2(y, w)) % 360


def goals_that_hold(graph: Graph) -> frozenset[Goal]:
    """Every goal of every verb that is true now. "open fridge": some fridge is open; "close": it can be and none is."""
    known = nodes_by_id(graph)
    in_hand = {node["id"] for node in held(graph)}
    found = {Goal(verb="grab", target=node["class_name"]) for node in held(graph)}
    found |= {Goal(verb="sit", target=node["class_name"]) for node in sitting_on(graph)}
    openable: set[str] = set()
    for node in graph["nodes"]:
        kind = node["class_name"]
        if "CAN_OPEN" in node["properties"]:
            openable.add(kind)
            found |= {Goal(verb="open", target=kind)} if "OPEN" in node["states"] else set()
        if "HAS_SWITCH" in node["properties"] and "ON" in node["states"]:
            found.add(Goal(verb="switch on", target=kind))
    found |= {Goal(verb="close", target=kind) for kind in openable if Goal(verb="open", target=kind) not in found}
    for number, places in containers(graph).items():
        node = known[number]
        if "GRABBABLE" in node["properties"] and number not in in_hand:
            found |= {Goal(verb="put", target=node["class_name"], place=known[to]["class_name"]) for to in places}
    return frozenset(found)


def suits(command: Command, node: Node) -> bool:
    """Whether a node is in the state from which the verb changes it."""
    properties, states = node["properties"], node["states"]
    match command.verb:
        case "grab":
            return "GRABBABLE" in properties
        case "open":
            return "CAN_OPEN" in properties and "CLOSED" in states
        case "close":
            return "CAN_OPEN" in properties and "OPEN" in states
        case "sit on":
            return "SITTABLE" in properties
        case "switch on":
            return "HAS_SWITCH" in properties and "OFF" in states
        case "switch off":
            return "HAS_SWITCH" in properties and "ON" in states
    return True


def meant(graph: Graph, command: Command, kind: str) -> Node | None:
    """The instance a command is about: close and in the right state, else in the same room, else the first by id."""
    named: list[Node] = [node for node in graph["nodes"] if node["class_name"] == kind]
    if not named:
        return None
    if len(named) == 1:
        return named[0]
    near, person, known = close_to(graph), character(graph), nodes_by_id(graph)
    inside: dict[int, list[int]] = {node["id"]: [] for node in named}
    for edge in graph["edges"]:
        if edge["from_id"] in inside and edge["relation_type"] == "INSIDE":
            inside[edge["from_id"]].append(edge["to_id"])
    rooms = rooms_of(graph)
    here = rooms.get(person["id"]) if person else None

    def rank(node: Node) -> tuple[bool, bool, bool, bool, int]:
        number = node["id"]
        where = inside[number]
        return (
            number not in near,
            not suits(command, node),
            _shut_in(known, where),
            rooms.get(number) != here,
            number,
        )

    found: Node = min(named, key=rank)
    return found


class HomeInventory:
    """What is feasible in a home, read from its graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._hold = goals_that_hold(graph)
        language = language_of(Simulator.VIRTUALHOME)
        count: dict[str, int] = {}
        for node in graph["nodes"]:
            count[node["class_name"]] = count.get(node["class_name"], 0) + 1
        self._named = {kind for kind, number in count.items() if number <= MOST_LIKE_IT and kind in language.nouns}

    def goals(self, verb: str) -> list[Goal]:
        if verb == "put":
            return self._puts()
        needed = {
            "grab": "GRABBABLE",
            "open": "CAN_OPEN",
            "close": "CAN_OPEN",
            "sit": "SITTABLE",
            "switch on": "HAS_SWITCH",
        }[verb]
        found = [Goal(verb=verb, target=kind) for kind in self._kinds(needed)]
        return [goal for goal in found if verb in ("open", "close", "switch on") or goal not in self._hold]

    def compositions(self) -> list[tuple[Goal, ...]]:
        """Two or three goals that can hold together, none of them what `prepared` cannot undo and holds already."""
        into = [
            (Goal(verb="open", target=place), Goal(verb="put", target=kind, place=place))
            for place in self._kinds("CAN_OPEN")
            if place in self._containers()
            for kind in self._kinds("GRABBABLE")
            if kind != place and Goal(verb="put", target=kind, place=place) not in self._hold
        ]
        extra = self.goals("switch on")
        more = [
            (*goals, goal) for goals in into for goal in extra if goal.target not in (goals[0].target, goals[1].target)
        ]
        return [*into, *more]

    def _kinds(self, needed: str) -> list[str]:
        return sorted(
            {
                node["class_name"]
                for node in self._graph["nodes"]
                if node["class_name"] in self._named
                and needed in node["properties"]
                and not hidden(self._graph, node["id"])
            }
        )

    def _containers(self) -> set[str]:
        return {n["class_name"] for n in self._graph["nodes"] if "CONTAINERS" in n["properties"]}

    def _puts(self) -> list[Goal]:
        """Something grabbable onto a surface that has none of its kind."""
        found = []
        for kind in self._kinds("GRABBABLE"):
            for place in self._kinds("SURFACES"):
                goal = Goal(verb="put", target=kind, place=place)
                if goal not in self._hold and kind != place and place != "floor":
                    found.append(goal)
        return found
