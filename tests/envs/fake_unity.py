"""A home and a client that answer as VirtualHome's Unity server does: it does whatever it is told, from anywhere."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from selu_hpc.envs.virtualhome.state import Graph, Node

PERSON, KITCHEN, BEDROOM, FRIDGE, APPLE, CHAIR, BED, TV, DOOR = 1, 11, 12, 13, 14, 15, 16, 17, 18


def node(number: int, name: str, category: str, center: Any, size: Any, *more: str) -> Node:
    """more: properties, and states in small letters."""
    return {
        "id": number,
        "class_name": name,
        "category": category,
        "states": [word.upper() for word in more if word.islower()],
        "properties": [word for word in more if word.isupper()],
        "bounding_box": {"center": list(center), "size": list(size)},
    }


def home() -> Graph:
    """A kitchen with a fridge, an apple, a chair and a tv, and a bedroom with a bed behind a door."""
    nodes = [
        node(KITCHEN, "kitchen", "Rooms", (0, 1.5, 0), (6, 3, 6)),
        node(BEDROOM, "bedroom", "Rooms", (6, 1.5, 0), (6, 3, 6)),
        node(FRIDGE, "fridge", "Appliances", (0, 0.9, 2), (0.8, 1.8, 0.8), "CAN_OPEN", "CONTAINERS", "closed"),
        node(APPLE, "apple", "Food", (1, 1.05, -2), (0.1, 0.1, 0.1), "GRABBABLE"),
        node(CHAIR, "chair", "Furniture", (-2, 0.5, 0), (0.5, 1, 0.5), "SITTABLE", "SURFACES"),
        node(TV, "tv", "Electronics", (2, 1, 2), (0.8, 0.5, 0.2), "HAS_SWITCH", "off"),
        node(BED, "bed", "Furniture", (7, 0.3, 1), (2, 0.6, 1), "SITTABLE", "SURFACES"),
        node(DOOR, "door", "Doors", (3, 0.5, 0), (0.9, 1, 0.9), "CAN_OPEN", "closed"),
    ]
    graph: Graph = {"nodes": nodes, "edges": []}
    for number in (FRIDGE, APPLE, CHAIR, TV):
        relate(graph, number, "INSIDE", KITCHEN)
    relate(graph, BED, "INSIDE", BEDROOM)
    return graph


def with_person(*edges: tuple[int, str, int]) -> Graph:
    """The home with a character in the middle of its kitchen, and these edges."""
    graph = home()
    add_person(graph, (0.0, 0.0, 0.0))
    for edge in edges:
        relate(graph, *edge)
    return graph


def add_person(graph: Graph, at: tuple[float, float, float]) -> None:
    graph["nodes"].append(node(PERSON, "character", "Characters", (at[0], 0.9, at[2]), (0.5, 1.8, 0.5)))
    relate(graph, PERSON, "INSIDE", KITCHEN if at[0] < 3 else BEDROOM)


def relate(graph: Graph, source: int, how: str, to: int) -> None:
    graph["edges"].append({"from_id": source, "relation_type": how, "to_id": to})


class FakeUnity:
    """A `Process` and a `Client` at once. refuses_start: what `expand_scene` answers instead of success; refused: where
    no character can be put."""

    folder = Path()

    def __init__(self, start: Graph, *, refuses_start: str = "", refused: tuple[Any, ...] = ()) -> None:
        self._start = start
        self._refuses_start = refuses_start
        self._refused = refused
        self.graph = copy.deepcopy(start)
        self.sent: list[list[str]] = []
        self.stood: list[list[float]] = []
        self.num_resets = 0

    def client(self) -> FakeUnity:
        return self

    def close(self) -> None:
        pass

    def reset(self, environment: int | None = None) -> bool:
        self.graph = copy.deepcopy(self._start)
        self.num_resets += 1
        return True

    def environment_graph(self) -> tuple[bool, Graph]:
        return True, copy.deepcopy(self.graph)

    def expand_scene(self, new_graph: Graph) -> tuple[bool, Any]:
        return not self._refuses_start, self._refuses_start

    def add_character(
        self, character_resource: str = "", position: list[float] | None = None, initial_room: str = ""
    ) -> bool:
        assert position is not None
        if tuple(position) in self._refused:
            return False
        self.stood.append(position)
        add_person(self.graph, (position[0], position[1], position[2]))
        return True

    def add_camera(self, position: list[float], rotation: list[float], field_view: float) -> tuple[bool, Any]:
        return True, ""

    def update_camera(
        self, camera_index: int, position: list[float], rotation: list[float], field_view: float
    ) -> tuple[bool, Any]:
        return True, ""

    def camera_count(self) -> tuple[bool, int]:
        return True, 0

    def character_cameras(self) -> tuple[bool, Any]:
        return True, ["FIRST_PERSON"]

    def camera_image(
        self, camera_indexes: list[int], mode: str = "", image_width: int = 0, image_height: int = 0
    ) -> tuple[bool, list[Any]]:
        return True, [np.zeros((8, 8, 3), np.uint8) for _ in camera_indexes]

    def render_script(self, script: list[str], **settings: Any) -> tuple[bool, Any]:
        self.sent.append(script)
        return True, {"0": {"message": "Success"}}
