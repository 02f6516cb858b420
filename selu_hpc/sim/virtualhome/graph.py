"""A home's graph as VirtualHome writes it: nodes, relations read off poses, and who carries what read off relations.

Owns the way between graph and poses. Does not own the rules that change a graph (rules.py) or poses
(places.py).
"""

from __future__ import annotations

import math
from typing import Any

from selu_hpc.sim.virtualhome.catalogue import class_named
from selu_hpc.sim.virtualhome.places import Body, Places, Rect, Support

CLOSE_METRES = 1.5

Graph = dict[str, list[dict[str, Any]]]
Edge = tuple[int, str, int]
"""from_id, relation_type, to_id."""


def node(number: int, name: str, category: str, states: list[str], box: dict[str, list[float]]) -> dict[str, Any]:
    """A node as VirtualHome writes it."""
    return {
        "id": number,
        "category": category,
        "class_name": name,
        "prefab_name": f"PRE_{name}_{number % 7:02d}",
        "properties": sorted(class_named(name).properties),
        "states": sorted(states),
        "bounding_box": box,
    }


def in_order(graph: Graph) -> Graph:
    """The same graph with nodes, states, properties and edges sorted: the package walks over sets."""
    nodes = [{**n, "properties": sorted(n["properties"]), "states": sorted(n["states"])} for n in graph["nodes"]]
    nodes.sort(key=lambda n: n["id"])
    edges = sorted(graph["edges"], key=lambda e: (e["from_id"], e["relation_type"], e["to_id"]))
    return {"nodes": nodes, "edges": edges}


def relations(places: Places) -> set[Edge]:
    """How things relate by where they are: INSIDE, ON, CLOSE and FACING."""
    edges: set[Edge] = set()
    items = places.items
    floor_of = {i.support[1]: i.number for i in items.values() if i.cls.category == "Floor"}
    room_of: dict[int, int] = {}
    for item in items.values():
        room_of[item.number] = places.room_of(item) or 0
        edges.add((item.number, "INSIDE", room_of[item.number]))
        if item.support[0] in ("ON", "INSIDE"):
            edges.add((item.number, item.support[0], item.support[1]))
        elif item.y < 0.05 and item.cls.category in ("Furniture", "Appliances", "Animals"):
            edges.add((item.number, "ON", floor_of[item.support[1]]))
    solid = [i for i in items.values() if i.cls.category not in ("Floor", "Walls", "Ceiling")]
    rects = [(item.number, room_of[item.number], item.footprint()) for item in solid]
    for at, (a, room, rect) in enumerate(rects):
        for b, other_room, other in rects[:at]:
            if room == other_room and gap_between(rect, other) < CLOSE_METRES:
                edges |= {(a, "CLOSE", b), (b, "CLOSE", a)}
    for sofa in solid:
        if sofa.cls.name in ("sofa", "bed"):
            for tv in solid:
                if tv.cls.name in ("tv", "computer") and room_of[tv.number] == room_of[sofa.number]:
                    edges.add((sofa.number, "FACING", tv.number))
    return edges


def with_surroundings(graph: Graph, places: Places, body: Body) -> Graph:
    """The graph with a character's room and what it is close to read off its pose."""
    edges = [
        e for e in graph["edges"]
        if not (e["from_id"] == body.number and e["relation_type"] in ("INSIDE", "CLOSE", "FACING"))
        and not (e["to_id"] == body.number and e["relation_type"] == "CLOSE")
    ]  # fmt: skip
    room = places.room_at(body.x, body.z)
    edges.append({"from_id": body.number, "relation_type": "INSIDE", "to_id": room})
    for item in places.items.values():
        if item.cls.category in ("Floor", "Walls", "Ceiling"):
            continue
        x0, z0, x1, z1 = item.footprint()
        gap = max(x0 - body.x, body.x - x1, z0 - body.z, body.z - z1, 0.0)
        if gap < CLOSE_METRES and places.room_at(item.x, item.z) == room:
            edges.append({"from_id": body.number, "relation_type": "CLOSE", "to_id": item.number})
            edges.append({"from_id": item.number, "relation_type": "CLOSE", "to_id": body.number})
    return in_order({"nodes": graph["nodes"], "edges": edges})


def measured(graph: Graph, places: Places) -> Graph:
    """The graph with the boxes of what has moved where they are now; a character's node also has its turn.

    Whoever sits has both forms of it: the package's, a state and ON, and Unity's, an edge of its own.
    """
    nodes = []
    for n in graph["nodes"]:
        item, body = places.items.get(n["id"]), places.bodies.get(n["id"])
        if body is not None:
            n = {**n, "bounding_box": body.bounds(), "obj_transform": body.transform()}
        elif item is not None and not item.fixed:
            n = {**n, "bounding_box": item.bounds()}
        nodes.append(n)
    seats = [
        {"from_id": body.number, "relation_type": "SITTING", "to_id": body.seat}
        for n in nodes
        if (body := places.bodies.get(n["id"])) and body.seat and "SITTING" in n["states"]
    ]
    return {"nodes": nodes, "edges": [*graph["edges"], *seats]}


def supports_in(graph: Graph, places: Places) -> dict[int, Support]:
    """What each thing is carried by, as the graph has it: a hand, else what it is in, else what it is on."""
    found: dict[int, tuple[int, Support]] = {}
    items, rooms = places.items, places.rooms
    for edge in graph["edges"]:
        source, relation, to = edge["from_id"], edge["relation_type"], edge["to_id"]
        if relation in ("HOLDS_RH", "HOLDS_LH"):
            number, rank, support = to, 0, (relation, source)
        elif relation == "INSIDE" and to in rooms:
            number, rank, support = source, 3, ("ROOM", to)
        elif relation == "INSIDE":
            number, rank, support = source, 1, ("INSIDE", to)
        elif relation == "ON" and to in items and items[to].cls.category != "Floor":
            number, rank, support = source, 2, ("ON", to)
        else:
            continue
        if number not in found or rank < found[number][0]:
            found[number] = (rank, support)
    return {number: support for number, (_, support) in found.items()}


def gap_between(a: Rect, b: Rect) -> float:
    """Between the nearest points of two footprints."""
    a0, b0, a1, b1 = a
    c0, d0, c1, d1 = b
    return math.hypot(max(c0 - a1, a0 - c1, 0.0), max(d0 - b1, b0 - d1, 0.0))
