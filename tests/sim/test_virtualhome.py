"""The stand-in through VirtualHome's own, unmodified `UnityCommunication`."""

import json
import math
import random
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from selu_hpc.sim.virtualhome.homes import (
    FEWEST_NODES,
    MUST_HAVE,
    NUM_HOMES,
    NUM_PLANS,
    build_home,
    first_whole,
    make_home,
)
from selu_hpc.sim.virtualhome.package import evolving_graph
from selu_hpc.sim.virtualhome.plans import WHOLE_AT
from selu_hpc.sim.virtualhome_server import HomeServer

NODE_KEYS = {"id", "category", "class_name", "prefab_name", "properties", "states", "bounding_box"}


def plain(graph):
    """Everything in a graph that the package's executor follows, in an order of its own."""
    nodes = {
        n["id"]: (n["class_name"], n["category"], sorted(n["properties"]), sorted(n["states"]), n["prefab_name"])
        for n in graph["nodes"]
    }
    assert len(nodes) == len(graph["nodes"])
    edges = {(e["from_id"], e["relation_type"], e["to_id"]) for e in graph["edges"]}
    return nodes, {edge for edge in edges if edge[1] != "SITTING"}  # Unity's own edge


def test_who_sits_has_unitys_edge_as_well(home):
    def edges():
        return [e for e in home.graph["edges"] if e["relation_type"] == "SITTING"]

    assert edges() == []
    seat = home.one("chair")
    assert home.run(f"<char0> [Walk] <chair> ({seat})", f"<char0> [Sit] <chair> ({seat})")[0]
    assert [e["to_id"] for e in edges()] == [seat]
    assert {"from_id": 1, "relation_type": "ON", "to_id": seat} in home.graph["edges"]
    assert home.run("<char0> [standup]")[0]
    assert edges() == []


def by_the_package(graph, lines):
    """What the package's executor makes of a script on this graph."""
    environment, scripts, execution = evolving_graph()
    script = scripts.read_script_from_list_string([line.removeprefix("<char0> ") for line in lines])
    executor = execution.ScriptExecutor(environment.EnvironmentGraph(graph), {})
    ok, state, _ = executor.execute(script, w_graph_list=False)
    return ok, state.to_dict()


def test_every_home_has_rooms_things_and_relations(client):
    graphs = []
    for number in range(7):
        assert client.reset(number)
        ok, graph = client.environment_graph()
        graphs.append(graph)
        names = {n["class_name"] for n in graph["nodes"]}
        assert ok
        assert len(graph["nodes"]) >= 200
        assert all(set(n) == NODE_KEYS for n in graph["nodes"])
        assert {"kitchen", "livingroom", "bedroom", "bathroom", "fridge", "sofa", "tv", "bed", "apple"} <= names
        assert {e["relation_type"] for e in graph["edges"]} >= {"INSIDE", "ON", "CLOSE", "FACING", "BETWEEN"}
        assert min(n["id"] for n in graph["nodes"]) > 10
        seats = {n["id"] for n in graph["nodes"] if n["class_name"] in ("sofa", "bed", "chair")}
        on = [e["to_id"] for e in graph["edges"] if e["relation_type"] == "ON" and e["to_id"] in seats]
        assert max(map(on.count, seats)) < 4
    assert len({json.dumps(g) for g in graphs}) == 7


def test_everything_is_in_one_room_and_edges_lead_somewhere(home):
    graph = home.graph
    nodes = {n["id"]: n for n in graph["nodes"]}
    for number, node in nodes.items():
        rooms = [e["to_id"] for e in graph["edges"] if e["from_id"] == number and e["relation_type"] == "INSIDE"]
        rooms = [r for r in rooms if nodes[r]["category"] == "Rooms"]
        assert len(rooms) == (0 if node["category"] == "Rooms" else 1), node
    assert all(e["from_id"] in nodes and e["to_id"] in nodes for e in graph["edges"])
    environment, _, _ = evolving_graph()
    assert {p for n in graph["nodes"] for p in n["properties"]} <= set(environment.Property.__members__)
    assert {s for n in graph["nodes"] for s in n["states"]} <= set(environment.State.__members__)


def test_a_home_is_the_same_in_another_process_and_after_a_reset(client, port):
    before = client.environment_graph()[1]
    assert client.reset(3)
    assert client.reset(0)
    assert client.environment_graph()[1] == before
    assert client.fast_reset()
    assert client.environment_graph()[1] == before
    script = (
        "import json; from selu_hpc.sim.virtualhome.homes import make_home\n"
        "print(json.dumps([make_home(0, known=k).graph for k in (True, False)]))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    known, unknown = json.loads(out)
    assert before in (known, unknown)
    assert known != unknown


@pytest.mark.parametrize("number", [1, 5, 7, 18, 44])
def test_a_home_is_the_first_attempt_at_it_that_has_all_a_home_must_have(number):
    for known in (True, False):
        home = make_home(number, known=known)
        seed = number if number >= NUM_PLANS else None
        attempt, found = first_whole(partial(build_home, number % NUM_PLANS, known, home.skin, seed))
        assert attempt == WHOLE_AT[known][number]
        assert found.graph == home.graph


def test_every_home_is_whole():
    for known in (True, False):
        for number in range(NUM_HOMES):
            graph = make_home(number, known=known).graph
            assert {n["class_name"] for n in graph["nodes"]} >= MUST_HAVE
            assert len(graph["nodes"]) >= FEWEST_NODES


def test_there_are_as_many_homes_as_the_client_counts_and_no_two_are_alike(client):
    found = []
    for number in (6, 7, 13, 49):
        assert client.reset(number)
        found.append(json.dumps(client.environment_graph()[1], sort_keys=True))
    assert len(set(found)) == len(found)
    assert not client.reset(NUM_HOMES)


def test_procedural_generation_follows_its_seed(client):
    assert client.procedural_generation(5)[0]
    first = client.environment_graph()[1]
    assert client.procedural_generation(6)[0]
    assert client.environment_graph()[1] != first
    assert client.procedural_generation(5)[0]
    assert client.environment_graph()[1] == first


def scripts_of(home):
    fridge, mug, table = home.one("fridge"), home.one("mug"), home.one("kitchentable")
    sofa, tv, apple = home.one("sofa"), home.one("tv"), home.one("apple")
    return {
        "open": [f"<char0> [Walk] <fridge> ({fridge})", f"<char0> [Open] <fridge> ({fridge})"],
        "put on": [f"<char0> [Walk] <mug> ({mug})", f"<char0> [Grab] <mug> ({mug})",
                   f"<char0> [Walk] <kitchentable> ({table})",
                   f"<char0> [PutBack] <mug> ({mug}) <kitchentable> ({table})"],
        "put in": [f"<char0> [Walk] <apple> ({apple})", f"<char0> [Walk] <fridge> ({fridge})",
                   f"<char0> [Open] <fridge> ({fridge})", f"<char0> [Grab] <apple> ({apple})",
                   f"<char0> [PutIn] <apple> ({apple}) <fridge> ({fridge})", f"<char0> [Close] <fridge> ({fridge})"],
        "sit": [f"<char0> [Walk] <sofa> ({sofa})", f"<char0> [Sit] <sofa> ({sofa})", "<char0> [StandUp]"],
        "switch": [f"<char0> [Walk] <tv> ({tv})", f"<char0> [SwitchOn] <tv> ({tv})", f"<char0> [Watch] <tv> ({tv})"],
        "drop": [f"<char0> [Walk] <mug> ({mug})", f"<char0> [Grab] <mug> ({mug})", f"<char0> [Drop] <mug> ({mug})"],
        "too far": [f"<char0> [Grab] <book> ({home.one('book')})"],
        "half way": [f"<char0> [Walk] <tv> ({tv})", f"<char0> [Grab] <tv> ({tv})", f"<char0> [SwitchOn] <tv> ({tv})"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["open", "put on", "put in", "sit", "switch", "drop", "too far", "half way"])
def test_after_a_script_the_graph_is_what_the_packages_executor_yields(home, name):
    lines = scripts_of(home)[name]
    expected_ok, expected = by_the_package(home.graph, lines)
    ok, message = home.run(*lines)
    assert ok == expected_ok
    assert (message["0"]["message"] == "Success") == ok
    assert plain(home.graph) == plain(expected)


def test_boxes_follow_what_moves(home):
    (name, thing), table = home.loose(), home.one("kitchentable")

    def box(number):
        return next(n for n in home.graph["nodes"] if n["id"] == number)["bounding_box"]["center"]

    lay, stood = box(thing), box(1)
    assert home.run(f"<char0> [Walk] <{name}> ({thing})", f"<char0> [Grab] <{name}> ({thing})")[0]
    assert box(1) != stood
    assert box(thing) != lay
    assert math.dist(box(thing), box(1)) < 0.9
    put = f"<char0> [PutBack] <{name}> ({thing}) <kitchentable> ({table})"
    assert home.run(f"<char0> [Walk] <kitchentable> ({table})", put)[0]
    top = next(n for n in home.graph["nodes"] if n["id"] == table)["bounding_box"]
    assert abs(box(thing)[0] - top["center"][0]) <= top["size"][0] / 2
    assert box(thing)[1] > top["center"][1]


def test_a_characters_turn_is_told(home):
    def yaw():
        person = next(n for n in home.graph["nodes"] if n["class_name"] == "character")
        x, y, z, w = person["obj_transform"]["rotation"]
        assert (x, z) == (0.0, 0.0)
        return math.degrees(2 * math.atan2(y, w)) % 360

    before = yaw()
    home.run("<char0> [TurnRight]")
    assert yaw() == pytest.approx((before + 30) % 360, abs=0.01)


def test_random_actions_follow_the_package_one_by_one(home):
    rng = random.Random(7)
    actions = ["Walk", "Grab", "Open", "Close", "SwitchOn", "SwitchOff", "Sit", "StandUp", "Drop", "TurnTo", "Touch",
               "PutBack", "PutIn", "Wipe", "Drink", "LookAt", "Walk", "Grab", "Lie", "Pull"]  # fmt: skip
    done = 0
    for _ in range(25):
        graph = home.graph
        near = {e["to_id"] for e in graph["edges"] if e["from_id"] == 1 and e["relation_type"] in ("CLOSE", "HOLDS_RH")}
        choice = [n for n in graph["nodes"] if n["id"] in near or rng.random() < 0.05]
        action = rng.choice(actions)
        num = {"StandUp": 0, "PutBack": 2, "PutIn": 2}.get(action, 1)
        line = f"<char0> [{action}]" + "".join(f" <{n['class_name']}> ({n['id']})" for n in rng.choices(choice, k=num))
        expected_ok, expected = by_the_package(graph, [line])
        ok, _ = home.run(line)
        assert ok == expected_ok, line
        assert plain(home.graph) == plain(expected), line
        done += ok
    assert done > 3


def test_find_walks_to_what_is_not_close(home):
    tv = home.one("tv")
    assert home.run(f"<char0> [Find] <tv> ({tv})")[0]
    assert {"from_id": 1, "relation_type": "CLOSE", "to_id": tv} in home.graph["edges"]
    assert home.run(f"<char0> [Find] <tv> ({tv})")[0]


def test_unitys_put_is_the_packages_put_on(home):
    (name, number), table = home.loose(), home.one("kitchentable")
    ok, message = home.run(f"<char0> [walk] <{name}> ({number})", f"<char0> [grab] <{name}> ({number})",
                           f"<char0> [walk] <kitchentable> ({table})",
                           f"<char0> [put] <{name}> ({number}) <kitchentable> ({table})")  # fmt: skip
    assert ok, message
    assert {"from_id": number, "relation_type": "ON", "to_id": table} in home.graph["edges"]


def test_unitys_turns_and_steps_move_the_picture_and_no_state(home):
    before, seen = home.graph, home.see()
    assert home.run("<char0> [turnleft]")[0]
    assert plain(home.graph) == plain(before)
    assert np.mean(home.see() != seen) > 0.2
    for _ in range(11):
        assert home.run("<char0> [turnleft]")[0]
    assert np.mean(home.see() != seen) < 0.01
    steps = [home.run("<char0> [walkforward]")[0] for _ in range(30)]
    assert not all(steps)
    assert plain(home.graph)[0] == plain(before)[0]


def test_find_solution_chooses_instances_by_name(home):
    ok, message = home.run("<char0> [Walk] <fridge> (1)", "<char0> [Open] <fridge> (1)", find_solution=True)
    assert ok, message
    assert "OPEN" in home.states(home.one("fridge"))


def test_skip_execution_and_check_change_nothing(home):
    fridge = home.one("fridge")
    before = home.graph
    lines = [f"<char0> [Walk] <fridge> ({fridge})", f"<char0> [Open] <fridge> ({fridge})"]
    assert home.run(*lines, skip_execution=True)[0]
    assert home.client.check(lines)[0]
    assert home.graph == before


def test_two_characters_act_in_one_line_and_are_told_apart(home):
    assert home.client.add_character("Chars/Male1", initial_room="livingroom")
    fridge, tv = home.one("fridge"), home.one("tv")
    ok, message = home.run(f"<char0> [Walk] <fridge> ({fridge}) | <char1> [Walk] <tv> ({tv})",
                           f"<char0> [Open] <fridge> ({fridge}) | <char1> [Grab] <tv> ({tv})")  # fmt: skip
    assert not ok
    assert message["0"] == {"message": "Success"}
    assert "not grabbable" in message["1"]["message"]
    assert "OPEN" in home.states(fridge)
    assert np.any(home.see("FIRST_PERSON") != home.see("FIRST_PERSON", character=1))


@pytest.mark.parametrize(("known", "number"), [(True, 1), (False, 3), (False, 4), (False, 7)])
def test_free_ground_before_a_thing_is_in_its_own_room_and_not_behind_the_wall_it_hangs_on(known, number):
    places = make_home(number, known=known).places
    things = [item for item in places.items.values() if item.cls.category not in ("Doors", "Floor", "Ceiling")]
    astray = [item for item in things if places.room_at(*places.spot_before(item, besides=1)) != places.room_of(item)]
    assert astray == []


def test_where_no_ground_close_by_is_free_one_stands_on_the_nearest_of_the_room():
    places = make_home(22, known=True).places
    nightstand = places.items[173]
    spot = places.spot_before(nightstand, besides=1)
    assert places.stands_free(*spot, besides=1)
    assert places.room_at(*spot) == places.room_of(nightstand)


def test_who_walks_to_a_floor_or_a_ceiling_is_in_its_room_by_the_graph_and_in_the_picture(home):
    nodes = {n["id"]: n for n in home.graph["nodes"]}
    edges = [e for e in home.graph["edges"] if e["relation_type"] == "INSIDE"]
    shells = [(e["from_id"], e["to_id"]) for e in edges if nodes[e["from_id"]]["category"] in ("Floor", "Ceiling")]
    assert len(shells) >= 8
    for number, room in shells:
        assert home.run(f"<char0> [Walk] <{nodes[number]['class_name']}> ({number})")[0]
        (x, _, z), (wide, _, deep) = (nodes[room]["bounding_box"][k] for k in ("center", "size"))
        body = next(n for n in home.graph["nodes"] if n["id"] == 1)["bounding_box"]["center"]
        assert {"from_id": 1, "relation_type": "INSIDE", "to_id": room} in home.graph["edges"]
        assert (abs(body[0] - x) < wide / 2, abs(body[2] - z) < deep / 2) == (True, True)


def test_expand_scene_changes_states_and_adds_things_that_can_be_seen(client):
    graph = client.environment_graph()[1]
    by_name = {n["class_name"]: n for n in graph["nodes"]}
    table, fridge = by_name["kitchentable"]["id"], by_name["fridge"]
    new = max(n["id"] for n in graph["nodes"]) + 1
    room = next(e["to_id"] for e in graph["edges"] if e["from_id"] == table and e["relation_type"] == "INSIDE")
    graph["nodes"].append({"id": new, "class_name": "chicken", "properties": ["GRABBABLE"], "states": ["CLEAN"]})
    graph["edges"] += [{"from_id": new, "relation_type": r, "to_id": to} for r, to in (("ON", table), ("INSIDE", room))]
    fridge["states"] = ["OPEN"]
    ok, message = client.expand_scene(graph)
    assert ok, message
    served = client.environment_graph()[1]
    added = next(n for n in served["nodes"] if n["id"] == new)
    top = next(n for n in served["nodes"] if n["id"] == table)["bounding_box"]
    assert set(added) == NODE_KEYS
    assert added["bounding_box"]["center"][1] > top["center"][1] + top["size"][1] / 2
    position = [top["center"][0], 2.3, top["center"][2]]
    ok, _ = client.add_camera(position=position, rotation=[90, 0, 0], field_view=80)
    seen = client.get_visible_objects(client.camera_count()[1] - 1)[1]
    assert seen[str(new)] == "chicken"


def test_expand_scene_refuses_graphs_that_make_no_sense(client):
    graph = client.environment_graph()[1]
    for broken in (
        {"nodes": graph["nodes"]},
        {"nodes": graph["nodes"][1:], "edges": []},
        {"nodes": [*graph["nodes"], graph["nodes"][0]], "edges": []},
        {"nodes": graph["nodes"], "edges": [{"from_id": 11, "relation_type": "ON", "to_id": 99999}]},
        {"nodes": [{"id": "x"}], "edges": []},
    ):
        ok, message = client.expand_scene(broken)
        assert not ok
        assert message
    assert client.environment_graph()[1] == graph


@pytest.mark.parametrize("key", ["states", "properties"])
@pytest.mark.parametrize("value", [None, "OPEN", ["OPEN", 3]])
def test_expand_scene_names_the_node_whose_states_or_properties_are_no_texts(client, key, value):
    graph = client.environment_graph()[1]
    node = graph["nodes"][20]
    node[key] = value
    ok, message = client.expand_scene(graph)
    assert (ok, f"{key} of node {node['id']} must be a list of texts" in message) == (False, True)
    assert client.environment_graph()[0]


def test_a_fault_of_ours_is_answered_and_logged(caplog):
    class Broken:
        def handle(self, action, numbers, texts):
            raise TypeError("a fault")

    with HomeServer(0, Broken()) as server:
        status, answer = server.answer(b'{"id": "7", "action": "idle"}')
    assert (status, answer["id"], answer["success"], answer["message"]) == (500, "7", False, "TypeError: a fault")
    assert "request idle failed in the server" in caplog.text


def test_removed_things_are_gone_from_the_pictures(home):
    graph = home.client.environment_graph()[1]
    fridge = home.one("fridge")
    assert home.run(f"<char0> [Walk] <fridge> ({fridge})")[0]
    before = home.see()
    graph = home.graph
    graph["nodes"] = [n for n in graph["nodes"] if n["id"] != fridge]
    graph["edges"] = [e for e in graph["edges"] if fridge not in (e["from_id"], e["to_id"])]
    assert home.client.expand_scene(graph)[0]
    assert np.mean(home.see() != before) > 0.1


def test_a_character_starts_and_moves_where_it_is_told(home):
    room = next(n for n in home.graph["nodes"] if n["class_name"] == "bedroom")
    x, _, z = room["bounding_box"]["center"]
    assert home.client.move_character(0, [x, 0, z])
    assert {"from_id": 1, "relation_type": "INSIDE", "to_id": room["id"]} in home.graph["edges"]
    assert not home.client.move_character(0, [999, 0, 999])
    assert not home.client.move_character(5, [x, 0, z])
