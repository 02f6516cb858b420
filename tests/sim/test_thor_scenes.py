"""The 120 scenes: always the same, furnished, walkable, nothing in anything else, and two disjoint worlds."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from selu_hpc.sim.thor import navigation, scenes, stock, surfaces, visibility
from selu_hpc.sim.thor.catalogue import MUST_BE_OPEN, SLICES_INTO, specs
from selu_hpc.sim.thor.thing import Thing
from selu_hpc.sim.thor.world import World

FURNITURE = {
    "kitchen": {
        "Fridge",
        "CounterTop",
        "Cabinet",
        "Sink",
        "SinkBasin",
        "Faucet",
        "StoveBurner",
        "StoveKnob",
        "GarbageCan",
    },
    "living": {"Sofa", "TVStand", "Television", "FloorLamp", "GarbageCan", "LightSwitch"},
    "bedroom": {"Bed", "GarbageCan", "LightSwitch", "Drawer"},
    "bathroom": {"Toilet", "Sink", "SinkBasin", "Faucet", "GarbageCan", "ToiletPaperHanger", "TowelHolder"},
}


@pytest.fixture(scope="module", params=[True, False], ids=["known", "unknown"])
def worlds(request: pytest.FixtureRequest) -> list[World]:
    return [World(name, known=request.param) for name in scenes.scene_names()]


def test_there_are_thors_120_scenes_of_four_kinds() -> None:
    names = scenes.scene_names()
    assert len(set(names)) == 120
    assert Counter(map(scenes.room_kind, names)) == dict.fromkeys(FURNITURE, 30)
    assert names[0] == "FloorPlan1"
    assert {"FloorPlan30", "FloorPlan201", "FloorPlan330", "FloorPlan430"} <= set(names)
    with pytest.raises(ValueError, match="FloorPlan31"):
        scenes.room_kind("FloorPlan31")


def test_every_scene_has_its_furniture_and_25_to_60_objects(worlds: list[World]) -> None:
    for world in worlds:
        kinds = {t.kind for t in world.objects}
        assert FURNITURE[world.room_kind] <= kinds, world.scene_name
        assert 25 <= len(world.objects) <= 60, world.scene_name
        ids = [t.obj_id for t in world.objects]
        assert len(set(ids)) == len(ids)
        assert len({t.name for t in world.things}) == len(world.things)
        assert len({t.key for t in world.things}) == len(world.things)
        assert sum(t.spec.can("pick") for t in world.objects) >= 9


def test_what_can_be_carried_lies_on_something_that_may_hold_it(worlds: list[World]) -> None:
    for world in worlds:
        for thing in world.objects:
            if not thing.spec.can("pick"):
                continue
            assert thing.parent is not None, thing.obj_id
            assert thing.parent.kind in thing.spec.places, thing.obj_id
            x, y, z = thing.bottom
            box = thing.parent.boxes()[2]
            assert box[0] - 0.05 <= x <= box[3] + 0.05
            assert box[2] - 0.05 <= z <= box[5] + 0.05
            assert box[1] - 0.65 <= y <= box[4] + 0.02


def _solid(thing: Thing) -> list[surfaces.Box]:
    return list(thing.boxes()[0])


def test_nothing_stands_in_anything_else(worlds: list[World]) -> None:
    hollow = {"Dresser", "TVStand", "SideTable", "Desk", "Floor", "Ceiling"}
    for world in worlds:
        things = [t for t in world.things if t.kind not in hollow and not visibility.enclosed(t)]
        for i, one in enumerate(things):
            for other in things[i + 1 :]:
                related = (
                    one in other.holders() or other in one.holders() or "Basin" in one.kind or "Basin" in other.kind
                )
                if related or (one.spec.can("static") and other.spec.can("static")):
                    continue
                if surfaces.overlap(one.body(), other.body(), -0.01):
                    touching = any(surfaces.overlap(a, b, -0.01) for a in _solid(one) for b in _solid(other))
                    assert not touching, (world.scene_name, one.obj_id, other.obj_id)


def test_the_agent_starts_on_free_ground_and_can_walk_about(worlds: list[World]) -> None:
    for world in worlds:
        agent = world.agents[0]
        assert navigation.blocker(agent.x, agent.z, world.blocks()) == 0
        assert len(navigation.reachable((agent.x, agent.z), world.blocks(), world.room)) >= 14, world.scene_name


@pytest.mark.parametrize("grid", [0.25, 0.13])
def test_reachable_points_are_those_that_steps_taken_one_by_one_come_upon(worlds: list[World], grid: float) -> None:
    beside = ((0.0, 0.0), (0.137, -0.4))  # on the grid, and where the agent may stand in something
    for world in worlds[::12]:
        agent, found = world.agents[0], world.blocks()
        for dx, dz in beside:
            start = agent.x + dx, agent.z + dz
            free = navigation.free_grid(found, world.room, grid, start)
            order = [(0, 0)]
            for i, j in order:
                for there in ((i, j + 1), (i + 1, j), (i, j - 1), (i - 1, j)):
                    a, b = ((start[0] + x * grid, start[1] + z * grid) for x, z in ((i, j), there))
                    if there in free and there not in order and not navigation.sweep(a, b, found):
                        order.append(there)
            points = [(start[0] + i * grid, start[1] + j * grid) for i, j in order]
            assert navigation.reachable(start, found, world.room, grid) == points, world.scene_name


def test_nearly_everything_can_be_acted_on_from_somewhere(worlds: list[World]) -> None:
    total = reached = 0
    for world in worlds[::12]:
        for thing in world.objects:
            if visibility.enclosed(thing) or thing.kind == "Floor":
                continue
            total += 1
            poses = world.apply({"action": "GetInteractablePoses", "objectId": thing.obj_id, "maxPoses": 1}).value
            reached += bool(poses)
    assert reached / total > 0.9


def test_the_worlds_differ_in_layout_and_share_no_own_types() -> None:
    for name in scenes.scene_names()[::7]:
        one, other = World(name, known=True), World(name, known=False)
        assert {t.obj_id for t in one.objects} != {t.obj_id for t in other.objects}
        assert one.skin != other.skin
        only_known = stock.types_of(one.room_kind, known=True) - stock.types_of(one.room_kind, known=False)
        only_unknown = stock.types_of(one.room_kind, known=False) - stock.types_of(one.room_kind, known=True)
        assert len(only_known) >= 3
        assert len(only_unknown) >= 3
        assert not only_unknown & {t.kind for t in one.objects}
        assert not only_known & {t.kind for t in other.objects}


def test_another_process_makes_the_same_scene() -> None:
    program = (
        "from selu_hpc.sim.thor.world import World; import hashlib;"
        "w = World('FloorPlan212', known=False); w.apply({'action': 'InitialRandomSpawn', 'randomSeed': 3});"
        "print(hashlib.sha256(w.describer.packed(sequence_id=1)).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed), "PATH": ""},
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1


def test_every_type_that_is_sliced_or_must_be_open_is_known() -> None:
    table = specs()
    assert {kind for kind, _ in SLICES_INTO.values()} | set(SLICES_INTO) | MUST_BE_OPEN <= set(table)
    assert all(table[place].can("rec") for facts in table.values() for place in facts.places)
