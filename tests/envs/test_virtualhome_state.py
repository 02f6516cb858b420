"""What VirtualHome's graph says, in the stand-in's form and in the one that Unity's server writes."""

from __future__ import annotations

from typing import Any

import pytest

from selu_hpc.config import EnvConfig, Simulator, World
from selu_hpc.envs import camera
from selu_hpc.envs.expert import play
from selu_hpc.envs.language import Command
from selu_hpc.envs.survey import SceneSurvey, Survey
from selu_hpc.envs.tasks import sample_tasks
from selu_hpc.envs.virtualhome.local import blind_home_environment
from selu_hpc.envs.virtualhome.state import (
    Graph,
    HomeInventory,
    containers,
    filmable,
    free_ground,
    goals_that_hold,
    meant,
    nodes_by_id,
    rooms_of,
    sitting_on,
)
from selu_hpc.records import Goal

ROOM, OTHER, FRIDGE, APPLE, CHAIR, PERSON, OTHER_CHAIR = 11, 14, 12, 13, 15, 1, 2


def _node(number: int, name: str, category: str, box: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    node = {"id": number, "class_name": name, "category": category, "states": [], "properties": []}
    return node | {"bounding_box": {"center": list(box[0]), "size": list(box[1])}} | more


def _graph(
    edges: list[tuple[int, str, int]], *, apple: tuple[float, float, float], states: tuple[str, ...] = ()
) -> Graph:
    nodes = [
        _node(PERSON, "character", "Characters", ((0, 0.9, 0), (0.5, 1.8, 0.5)), states=list(states)),
        _node(ROOM, "kitchen", "Rooms", ((0, 1.5, 0), (6, 3, 6))),
        _node(OTHER, "bedroom", "Rooms", ((6, 1.5, 0), (6, 3, 6))),
        _node(FRIDGE, "fridge", "Appliances", ((0, 0.9, 1.2), (0.8, 1.8, 0.8)), properties=["CAN_OPEN", "CONTAINERS"]),
        _node(APPLE, "apple", "Food", (apple, (0.1, 0.1, 0.1)), properties=["GRABBABLE"]),
        _node(CHAIR, "chair", "Furniture", ((1, 0.5, 0), (0.5, 1, 0.5)), properties=["SITTABLE"]),
    ]
    stood = [(PERSON, "INSIDE", ROOM), (FRIDGE, "INSIDE", ROOM), (CHAIR, "INSIDE", ROOM), *edges]
    return {"nodes": nodes, "edges": [{"from_id": a, "relation_type": how, "to_id": b} for a, how, b in stood]}


@pytest.mark.parametrize(
    "after", [[], [(APPLE, "INSIDE", OTHER)], [(APPLE, "INSIDE", ROOM)]], ids=["Unity", "taken from elsewhere", "here"]
)
def test_the_camera_finds_what_was_put_whatever_room_its_own_edge_names(after: list[tuple[int, str, int]]) -> None:
    inside = (0.0, 1.4, 1.2)
    held = _graph([(PERSON, "HOLDS_RH", APPLE), (APPLE, "INSIDE", OTHER)], apple=(0.3, 1.0, 0.2))
    put = _graph([(APPLE, "INSIDE", FRIDGE), *after], apple=inside)
    stood = camera.subject(filmable(held), str(APPLE), None)
    assert rooms_of(put)[APPLE] == ROOM
    assert camera.subject(filmable(put), str(APPLE), stood).focus == inside


def test_the_camera_stays_in_the_room_of_what_was_touched_when_the_character_has_left() -> None:
    left = _graph([(APPLE, "ON", CHAIR)], apple=(1, 1, 0))
    left["edges"] = [edge for edge in left["edges"] if edge["from_id"] != PERSON]
    left["edges"].append({"from_id": PERSON, "relation_type": "INSIDE", "to_id": OTHER})
    stayed = filmable(left, str(APPLE))
    assert stayed["sceneBounds"]["center"]["x"] == 0
    assert camera.subject(stayed, str(APPLE), None).focus == (1, 1, 0)
    assert filmable(left)["sceneBounds"]["center"]["x"] == 6
    carried = _graph([(PERSON, "HOLDS_RH", APPLE), (APPLE, "INSIDE", OTHER)], apple=(0.3, 1.0, 0.2))
    assert filmable(carried, str(APPLE))["sceneBounds"]["center"]["x"] == 0


def test_what_two_things_hold_each_other_in_has_its_own_room() -> None:
    rooms = rooms_of(_graph([(APPLE, "ON", CHAIR), (CHAIR, "ON", APPLE)], apple=(1, 1, 0)))
    assert rooms[CHAIR] == ROOM


@pytest.mark.parametrize(
    ("edges", "states"),
    [([(PERSON, "SITTING", CHAIR)], ()), ([(PERSON, "ON", CHAIR)], ("SITTING",))],
    ids=["Unity's edge", "the package's state"],
)
def test_sitting_is_told_in_either_form(edges: list[tuple[int, str, int]], states: tuple[str, ...]) -> None:
    graph = _graph(edges, apple=(1, 1, 0), states=states)
    assert [node["id"] for node in sitting_on(graph)] == [CHAIR]
    assert Goal(verb="sit", target="chair") in goals_that_hold(graph)
    assert sitting_on(_graph([(PERSON, "ON", CHAIR)], apple=(1, 1, 0))) == []


def test_a_character_starts_on_free_ground_nearest_to_the_middle() -> None:
    graph = _graph([], apple=(1, 1, 0))
    assert free_ground(graph, ROOM) == (0.0, 0.0, 0.0)
    table = _node(20, "table", "Furniture", ((0, 0.4, 0), (1.6, 0.8, 1.6)))
    lamp = _node(21, "lamp", "Lamps", ((0, 2.5, 1.5), (5, 0.4, 5)))
    rug = _node(22, "rug", "Decor", ((0, 0.01, 0), (5, 0.02, 5)))
    graph["nodes"] += [table, lamp, rug]
    graph["edges"] += [{"from_id": n, "relation_type": "INSIDE", "to_id": ROOM} for n in (20, 21, 22)]
    x, _, z = free_ground(graph, ROOM) or (0.0, 0.0, 0.0)
    assert max(abs(x), abs(z)) == 1.25
    table["bounding_box"]["size"] = [6, 0.8, 6]
    assert free_ground(graph, ROOM) is None


def test_what_lies_there_already_is_no_part_of_a_composition() -> None:
    composed = (Goal(verb="open", target="fridge"), Goal(verb="put", target="apple", place="fridge"))
    assert HomeInventory(_graph([(APPLE, "INSIDE", ROOM)], apple=(1, 1, 0))).compositions() == [composed]
    assert HomeInventory(_graph([(APPLE, "INSIDE", FRIDGE)], apple=(0, 1, 1.2))).compositions() == []


def test_what_an_episode_puts_somewhere_is_what_its_last_picture_shows() -> None:
    config = EnvConfig(simulator=Simulator.VIRTUALHOME, world=World.UNKNOWN, verbs=("put",))
    home = blind_home_environment(config)
    survey = Survey(home)
    tasks = sample_tasks(config, scenes=["home10", "home12"], count=8, seed=2, look=lambda _, s: SceneSurvey(survey, s))
    crossed = 0
    for seed, task in enumerate(tasks):
        play(home, task, seed=seed)
        if not home.truth("e").success:
            continue
        graph, goal = home.metadata, task.goals[0]
        known, below = nodes_by_id(graph), containers(graph)
        put = [
            node for node in graph["nodes"]
            if node["class_name"] == goal.target
            and any(known[place]["class_name"] == goal.place for place in below.get(node["id"], ()))
        ]  # fmt: skip
        focus = home._filmed.focus if home._filmed else ()
        assert focus in [tuple(node["bounding_box"]["center"]) for node in put], task
        own = {e["to_id"] for e in graph["edges"] if e["from_id"] == put[0]["id"] and e["relation_type"] == "INSIDE"}
        crossed += rooms_of(graph)[put[0]["id"]] not in own
    assert crossed, "nothing was carried to another room: the test shows nothing"


def test_of_two_things_that_are_alike_the_one_in_the_characters_room_is_meant() -> None:
    graph = _graph([(OTHER_CHAIR, "INSIDE", OTHER)], apple=(0.3, 1.0, 0.2))
    graph["nodes"].append(
        _node(OTHER_CHAIR, "chair", "Furniture", ((6, 0.5, 0), (0.5, 1, 0.5)), properties=["SITTABLE"])
    )
    found = meant(graph, Command("walk to", "chair"), "chair")
    assert found is not None
    assert found["id"] == CHAIR > OTHER_CHAIR
