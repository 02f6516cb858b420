"""What VirtualHome's client sends, read and checked, and the answer it gets, as Unity's server writes it.

Owns the shapes of arguments and replies. Does not own what a request does (world.py) or HTTP
(virtualhome_server.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from selu_hpc.sim.drawing.camera import Camera
from selu_hpc.sim.virtualhome.catalogue import class_named
from selu_hpc.sim.virtualhome.graph import Graph
from selu_hpc.sim.virtualhome.view import CharacterCamera

Reply = dict[str, Any]


class RequestError(ValueError):
    """A request that cannot be answered; its text goes back to the client."""


def reply(message: str = "", *, success: bool = True, value: int = 0, images: list[str] | None = None) -> Reply:
    """An answer as Unity's server writes it."""
    return {"success": success, "message": message, "value": value, "message_list": images}


def whole(value: Any) -> int:
    """An index or a size."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(f"{str(value)[:40]!r} is not a whole number")
    return value


def text_at(texts: Sequence[Any], index: int) -> str:
    """One of a request's `stringParams`."""
    if index >= len(texts) or not isinstance(texts[index], str):
        raise RequestError(f"stringParams[{index}] is missing")
    return str(texts[index])


def json_object(text: str) -> dict[str, Any]:
    """Named parameters, which the client packs into one text."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RequestError(f"Error deserializing params: {error}") from error
    if not isinstance(value, dict):
        raise RequestError("Error deserializing params: an object was expected")
    return value


def point(value: Any) -> tuple[float, float, float]:
    """x, y and z of a position or a rotation."""
    if not isinstance(value, dict):
        raise RequestError("a position needs x, y and z")
    numbers = [value.get(axis) for axis in "xyz"]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e6 for n in numbers):
        raise RequestError("a position needs numbers for x, y and z")
    x, y, z = (float(n) for n in numbers if n is not None)
    return x, y, z


def angle(value: Any) -> float:
    """A field of view in degrees."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 175:
        raise RequestError(f"a field of view must lie between 1 and 175 degrees, not {str(value)[:40]}")
    return float(value)


def scene_camera(asked: dict[str, Any]) -> Camera:
    """A camera that stands in the home."""
    rotation = point(asked.get("rotation"))
    return Camera(
        position=point(asked.get("position")),
        yaw=rotation[1] % 360,
        pitch=rotation[0],
        fov=angle(asked.get("field_view", 40)),
    )


def character_camera(asked: dict[str, Any]) -> CharacterCamera:
    """A camera that goes with every character."""
    return CharacterCamera(
        point(asked.get("position")), point(asked.get("rotation")), angle(asked.get("field_view", 60))
    )


def graph_of(text: str) -> Graph:
    """A graph that can be taken for the scene's."""
    given = json_object(text)
    nodes, edges = given.get("nodes"), given.get("edges")
    if not isinstance(nodes, list) or not isinstance(edges, list):
        raise RequestError("Error processing input graph: nodes and edges must be lists")
    try:
        for n in nodes:
            cls = class_named(n["class_name"])
            n["id"] = whole(n["id"])
            n.setdefault("category", cls.category)
            n.setdefault("prefab_name", "")
            n.setdefault("properties", sorted(cls.properties))
            n.setdefault("states", [])
            n.setdefault("bounding_box", None)
            for key in ("properties", "states"):
                if not isinstance(n[key], list) or not all(isinstance(one, str) for one in n[key]):
                    raise RequestError(f"Error processing input graph: {key} of node {n['id']} must be a list of texts")
        numbers = {n["id"] for n in nodes}
        for e in edges:
            if e["from_id"] not in numbers or e["to_id"] not in numbers or not isinstance(e["relation_type"], str):
                raise RequestError(f"Error processing input graph: edge {str(e)[:120]} leads to no node")
        unique = {(e["from_id"], e["relation_type"].upper(), e["to_id"]) for e in edges}
    except (KeyError, TypeError) as error:
        raise RequestError(f"Error processing input graph: {type(error).__name__} {error}") from error
    if len(numbers) != len(nodes):
        raise RequestError("Error processing input graph: two nodes have the same id")
    return {"nodes": nodes, "edges": [{"from_id": a, "relation_type": r, "to_id": b} for a, r, b in unique]}
