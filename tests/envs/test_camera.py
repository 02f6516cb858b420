"""The third-person camera films what was acted on, past what stands in the way, in both simulators."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from selu_hpc.envs import camera
from selu_hpc.envs.virtualhome.state import filmable

Point = tuple[float, float, float]


def thing(name: str, centre: Point, size: Point, **more: Any) -> dict[str, Any]:
    kind = name.split("|")[0]
    box = {"center": dict(zip("xyz", centre, strict=True)), "size": dict(zip("xyz", size, strict=True))}
    plain = {"isPickedUp": False, "openable": False, "isOpen": False, "parentReceptacles": None}
    plain["position"] = box["center"]
    return plain | {"objectId": name, "objectType": kind, "axisAlignedBoundingBox": box} | more


def kitchen(*things: dict[str, Any], yaw: float = 0.0) -> dict[str, Any]:
    """A person who stands before a counter that fills a side of a room."""
    counter = thing("CounterTop|1", (0.0, 0.45, 1.0), (6.0, 0.9, 0.7))
    room = {"center": {"x": 0.0, "y": 1.25, "z": 0.0}, "size": {"x": 8.0, "y": 2.5, "z": 8.0}}
    agent = {"position": {"x": 0.0, "y": 0.0, "z": 0.2}, "rotation": {"x": 0.0, "y": yaw, "z": 0.0}}
    return {"agent": agent, "objects": [counter, *things], "sceneBounds": room}


LETTUCE = thing("Lettuce|1", (0.0, 0.98, 1.0), (0.2, 0.16, 0.2), parentReceptacles=["CounterTop|1"])
PLATE = thing("Plate|1", (0.3, 0.92, 0.9), (0.24, 0.03, 0.24), parentReceptacles=["CounterTop|1"])
NOWHERE = dict.fromkeys("xyz", 0.0)
IN_PIECES = {"axisAlignedBoundingBox": {"cornerPoints": None, "center": NOWHERE, "size": NOWHERE}}
"""What Unity tells of a thing that went to pieces: it stays among the objects, with no box to speak of."""
TOASTER = thing("Toaster|1", (0.22, 1.05, 0.8), (0.2, 0.3, 0.3), parentReceptacles=["CounterTop|1"])


def hidden(filmed: camera.Subject, shot: camera.Shot, *by: dict[str, Any]) -> bool:
    boxes = [one["axisAlignedBoundingBox"] for one in by]
    return any(camera._crosses(shot.position, filmed.focus, box["center"], box["size"]) for box in boxes)


@pytest.mark.parametrize("told", [{}, IN_PIECES], ids=["stand-in", "unity"])
def test_what_is_sliced_is_filmed_past_what_stands_beside_it(told: dict[str, Any]) -> None:
    scene = kitchen(LETTUCE, TOASTER)
    touched = camera.subject(scene, "Lettuce|1", None)
    slices = [
        thing(
            f"Lettuce|1|LettuceSliced_{i}", (0.05 * i, 0.98, 1.0), (0.05, 0.1, 0.1), parentReceptacles=["CounterTop|1"]
        )
        for i in range(4)
    ]
    whole = LETTUCE | {"parentReceptacles": None, "isSliced": True} | told
    after = kitchen(whole, TOASTER, *slices)
    filmed = camera.subject(after, "Lettuce|1", touched)
    assert filmed.focus == touched.focus
    shot = camera.shoot(filmed, after)
    assert hidden(filmed, replace(shot, position=(0.4, 1.5, 0.4)), TOASTER), (
        "the toaster is in the way of the first place"
    )
    assert not hidden(filmed, shot, TOASTER)


def test_what_is_broken_to_pieces_is_filmed_where_it_stood() -> None:
    touched = camera.subject(kitchen(PLATE), "Plate|1", None)
    after = kitchen(PLATE | {"parentReceptacles": None, "isBroken": True} | IN_PIECES)
    filmed = camera.subject(after, "Plate|1", touched)
    assert filmed.focus == touched.focus
    assert camera.subject(after, "Plate|1", filmed) == filmed
    unseen = camera.subject(after, "Plate|1", None)
    assert unseen.focus == pytest.approx(touched.focus), "its position is told all the same"


def test_what_broke_in_its_fall_is_filmed_where_it_lies() -> None:
    in_hand = PLATE | {"isPickedUp": True, "parentReceptacles": None}
    touched = camera.subject(kitchen(in_hand), "Plate|1", None)
    fallen = PLATE | {"position": {"x": 0.3, "y": 0.02, "z": 0.5}, "isBroken": True} | IN_PIECES
    filmed = camera.subject(kitchen(fallen), "Plate|1", touched)
    assert filmed.focus == (0.3, 0.02, 0.5)
    assert camera.subject(kitchen(fallen), "Plate|1", filmed).focus == filmed.focus


def test_among_tall_things_it_looks_from_steeply_above() -> None:
    walls = [
        thing(f"Box|{i}", (0.3 * math.sin(i), 1.05, 1.0 + 0.3 * math.cos(i)), (0.3, 0.3, 0.3), parentReceptacles=None)
        for i in range(6)
    ]
    egg = thing("Egg|1", (0.0, 0.93, 1.0), (0.05, 0.06, 0.05), parentReceptacles=["CounterTop|1"])
    open_scene, full = kitchen(egg), kitchen(egg, *walls)
    low = camera.shoot(camera.subject(open_scene, "Egg|1", None), open_scene)
    filmed = camera.subject(full, "Egg|1", None)
    high = camera.shoot(filmed, full)
    assert low.pitch == pytest.approx(camera.ABOVE, abs=1)
    assert high.pitch > camera.ABOVE + 10
    assert not hidden(filmed, high, *walls)


def node(number: int, name: str, category: str, centre: list[float], size: list[float], **more: Any) -> dict[str, Any]:
    box = {"center": centre, "size": size}
    plain = {"id": number, "class_name": name, "category": category, "properties": [], "states": []}
    return plain | {"bounding_box": box} | more


def home(*, turn: float, holds: bool) -> dict[str, Any]:
    """Two rooms; a person with a mug in the first, or beside it, and a lamp in the second."""
    half = math.radians(turn) / 2
    rotation = [0.0, math.sin(half), 0.0, math.cos(half)]
    nodes = [
        node(11, "kitchen", "Rooms", [2.0, 1.25, 2.0], [4.0, 2.5, 4.0]),
        node(12, "bedroom", "Rooms", [6.0, 1.25, 2.0], [4.0, 2.5, 4.0]),
        node(1, "character", "Characters", [1.0, 0.84, 1.0], [0.4, 1.7, 0.4], obj_transform={"rotation": rotation}),
        node(20, "floor", "Floor", [2.0, 0.0, 2.0], [4.0, 0.02, 4.0]),
        node(21, "kitchentable", "Furniture", [1.0, 0.4, 2.2], [1.2, 0.8, 0.8]),
        node(22, "mug", "Props", [1.0, 0.86, 2.0], [0.1, 0.1, 0.1]),
        node(23, "tablelamp", "Lamps", [6.0, 0.9, 2.0], [0.3, 0.5, 0.3]),
    ]
    pairs = [(1, "INSIDE", 11), (20, "INSIDE", 11), (21, "INSIDE", 11), (22, "INSIDE", 11), (23, "INSIDE", 12)]
    pairs.append((1, "HOLDS_RH", 22) if holds else (22, "ON", 21))
    return {"nodes": nodes, "edges": [{"from_id": a, "relation_type": how, "to_id": b} for a, how, b in pairs]}


def test_a_home_is_read_as_a_scene_of_the_persons_room() -> None:
    scene = filmable(home(turn=90.0, holds=False))
    told = {one["objectId"]: one for one in scene["objects"]}
    assert set(told) == {"21", "22"}
    assert scene["agent"]["rotation"]["y"] == pytest.approx(90.0)
    assert told["22"]["parentReceptacles"] == ["21"]
    assert told["21"]["receptacleObjectIds"] == ["22"]
    assert scene["sceneBounds"]["size"]["x"] == 4.0


def test_in_a_home_a_box_of_no_size_is_filmed_all_the_same() -> None:
    graph = home(turn=0.0, holds=False)
    graph["nodes"][5]["bounding_box"]["size"] = [0.0, 0.0, 0.0]
    assert camera.subject(filmable(graph), "22", None).focus == (1.0, 0.86, 2.0)


def test_in_a_home_the_camera_zooms_on_what_was_touched_and_goes_with_the_hand() -> None:
    untouched = filmable(home(turn=0.0, holds=False))
    wide = camera.shoot(camera.subject(untouched, "", None), untouched)
    near = camera.shoot(camera.subject(untouched, "22", None), untouched)
    ahead, mug = camera.subject(untouched, "", None), camera.subject(untouched, "22", None)
    assert mug.focus == (1.0, 0.86, 2.0)
    assert mug.span < ahead.span / 2
    assert math.dist(near.position, mug.focus) < math.dist(wide.position, ahead.focus)
    taken = filmable(home(turn=0.0, holds=True))
    assert camera.subject(taken, "22", None).span == camera.HAND_SPAN


def test_what_was_touched_is_filmed_from_the_same_side_when_the_agent_turns() -> None:
    touched = camera.subject(kitchen(PLATE), "Plate|1", None)
    assert camera.subject(kitchen(PLATE, yaw=90.0), "Plate|1", touched).yaw == touched.yaw == 0.0
