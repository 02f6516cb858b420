"""What actions do to things, and what follows from it: the rules of the household."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selu_hpc.sim.thor.thing import Thing
from selu_hpc.sim.thor.world import World


@pytest.fixture
def kitchen() -> World:
    return World("FloorPlan28", known=True)


def act(world: World, action: str, thing: Thing | None = None, *, ok: bool = True, **more: Any) -> Any:
    message: dict[str, Any] = {"action": action, "forceAction": True, **more}
    if thing is not None:
        message["objectId"] = thing.obj_id
    outcome = world.apply({key: value for key, value in message.items() if value is not None})
    assert outcome.success == ok, (message, outcome.error)
    return outcome.value if ok else outcome.error


def one(world: World, kind: str) -> Thing:
    return next(t for t in world.objects if t.kind == kind and t.there)


def bring(world: World, thing: Thing, place: Thing) -> None:
    """Pick a thing up and put it somewhere."""
    act(world, "PickupObject", thing)
    act(world, "PutObject", place)


def described(world: World, thing: Thing) -> dict[str, Any]:
    return next(o for o in world.metadata()["objects"] if o["objectId"] == thing.obj_id)


def test_what_is_in_a_closed_fridge_is_not_seen_and_what_is_in_an_open_one_is(kitchen: World) -> None:
    fridge, apple = one(kitchen, "Fridge"), one(kitchen, "Apple")
    act(kitchen, "OpenObject", fridge)
    bring(kitchen, apple, fridge)
    poses = act(kitchen, "GetInteractablePoses", None, objectId=apple.obj_id, forceAction=None)
    assert poses
    pose = poses[len(poses) // 2]
    act(kitchen, "TeleportFull", **{**pose, "rotation": {"y": pose["rotation"]}})
    assert described(kitchen, apple)["visible"]
    act(kitchen, "CloseObject", fridge)
    assert not described(kitchen, apple)["visible"]
    assert described(kitchen, apple)["parentReceptacles"] == [fridge.obj_id]
    assert apple.key not in {d.key for d in kitchen.drawables()}
    assert act(kitchen, "GetInteractablePoses", None, objectId=apple.obj_id, forceAction=None) == []
    assert kitchen.apply({"action": "PickupObject", "objectId": apple.obj_id}).error.startswith(
        "Target object not found"
    )


def test_a_drawer_takes_its_contents_along(kitchen: World) -> None:
    drawer, fork = one(kitchen, "Drawer"), one(kitchen, "Fork")
    act(kitchen, "OpenObject", drawer)
    bring(kitchen, fork, drawer)
    out = fork.centre
    act(kitchen, "CloseObject", drawer)
    moved = [abs(a - b) for a, b in zip(out, fork.centre, strict=True)]
    assert moved[1] < 1e-9
    assert max(moved) > 0.3
    act(kitchen, "OpenObject", drawer)
    assert fork.centre == pytest.approx(out)


def test_a_door_does_not_open_into_the_agent() -> None:
    world = World("FloorPlan28", known=True)
    fridge = one(world, "Fridge")
    act(world, "OpenObject", fridge)
    doors = fridge.boxes()[1][1:]
    x, z = (doors[0][0] + doors[0][3]) / 2 - 0.1, (doors[0][2] + doors[0][5]) / 2
    act(world, "CloseObject", fridge)
    act(world, "Teleport", x=x, z=z, y=0.9)
    assert "it would hit Agent 0" in act(world, "OpenObject", fridge, ok=False)
    assert not fridge.is_open


def test_slicing_makes_new_things_and_keeps_the_whole_one_as_sliced(kitchen: World) -> None:
    bread = one(kitchen, "Bread")
    place = bread.parent
    act(kitchen, "SliceObject", bread)
    slices = [t for t in kitchen.objects if t.obj_id.startswith(f"{bread.obj_id}|BreadSliced_")]
    assert len(slices) == 6
    assert all(s.parent is place for s in slices)
    assert described(kitchen, bread)["isSliced"]
    assert not described(kitchen, bread)["visible"]
    assert "no longer there" in act(kitchen, "SliceObject", bread, ok=False)
    toaster = one(kitchen, "Toaster")
    bring(kitchen, slices[0], toaster)
    act(kitchen, "ToggleObjectOn", toaster)
    assert slices[0].cooked
    assert described(kitchen, slices[0])["temperature"] == "Hot"


def test_an_egg_that_breaks_or_is_sliced_becomes_a_cracked_egg() -> None:
    for action in ("BreakObject", "SliceObject"):
        world = World("FloorPlan28", known=True)
        egg = one(world, "Egg")
        act(world, action, egg)
        cracked = one(world, "EggCracked")
        assert cracked.obj_id == f"{egg.obj_id}|EggCracked_0"
        assert egg.broken


def test_a_microwave_runs_only_shut_cooks_and_stays_shut_while_it_runs(kitchen: World) -> None:
    microwave, potato = one(kitchen, "Microwave"), one(kitchen, "Potato")
    act(kitchen, "OpenObject", microwave)
    bring(kitchen, potato, microwave)
    assert "Target must be closed to Toggle On!" in act(kitchen, "ToggleObjectOn", microwave, ok=False)
    act(kitchen, "CloseObject", microwave)
    act(kitchen, "ToggleObjectOn", microwave)
    assert potato.cooked
    assert "can't toggle object on if it's already on!" in act(kitchen, "ToggleObjectOn", microwave, ok=False)
    assert "Target must be OFF to open!" in act(kitchen, "OpenObject", microwave, ok=False)
    act(kitchen, "ToggleObjectOff", microwave)
    act(kitchen, "OpenObject", microwave)


def test_a_stove_heats_what_stands_on_its_burner(kitchen: World) -> None:
    burner = next(t for t in kitchen.objects if t.kind == "StoveBurner" and not t.children)
    knob = next(t for t in kitchen.objects if burner in t.controls)
    pan = one(kitchen, "Pan")
    if pan.parent is not burner:
        bring(kitchen, pan, burner)
    act(kitchen, "ToggleObjectOn", knob)
    assert burner.toggled
    assert pan.temperature == "Hot"
    act(kitchen, "ToggleObjectOff", knob)
    for _ in range(100):
        act(kitchen, "Pass", forceAction=None)
    assert pan.temperature == "RoomTemp"


def test_a_tap_fills_and_cleans_and_a_coffee_machine_brews(kitchen: World) -> None:
    basin, mug = one(kitchen, "SinkBasin"), one(kitchen, "Mug")
    act(kitchen, "DirtyObject", mug)
    bring(kitchen, mug, one(kitchen, "Sink"))
    assert mug.parent is basin
    tap = next(t for t in kitchen.objects if t.kind == "Faucet" and basin in t.controls)
    act(kitchen, "ToggleObjectOn", tap)
    assert (mug.liquid, mug.dirty) == ("water", False)
    act(kitchen, "EmptyLiquidFromObject", mug)
    machine = one(kitchen, "CoffeeMachine")
    act(kitchen, "ToggleObjectOff", tap)
    act(kitchen, "EmptyLiquidFromObject", mug, ok=mug.liquid != "")
    bring(kitchen, mug, machine)
    act(kitchen, "ToggleObjectOn", machine)
    assert (mug.liquid, mug.temperature) == ("coffee", "Hot")


def test_every_liquid_fills_and_empties_what_can_be_filled(kitchen: World) -> None:
    pot = one(kitchen, "Pot")
    for liquid in ("water", "wine", "coffee"):
        act(kitchen, "FillObjectWithLiquid", pot, fillLiquid=liquid)
        assert described(kitchen, pot)["fillLiquid"] == liquid
        assert "already Filled" in act(kitchen, "FillObjectWithLiquid", pot, ok=False)
        act(kitchen, "EmptyLiquidFromObject", pot)
        assert described(kitchen, pot)["fillLiquid"] is None
    act(kitchen, "FillObjectWithLiquid", pot, fillLiquid="tea", ok=False)


def test_what_is_held_goes_where_the_agent_goes_with_what_it_holds(kitchen: World) -> None:
    bowl, apple = one(kitchen, "Bowl"), one(kitchen, "Apple")
    bring(kitchen, apple, bowl)
    act(kitchen, "PickupObject", bowl)
    rest = {t.key: t.centre for t in kitchen.things if t not in (bowl, *bowl.descendants())}
    offset = [a - b for a, b in zip(apple.centre, bowl.centre, strict=True)]
    for action in ("MoveAhead", "MoveLeft", "LookDown", "LookUp"):
        before = bowl.centre
        if kitchen.apply({"action": action}).success:
            assert bowl.centre != before
        assert [a - b for a, b in zip(apple.centre, bowl.centre, strict=True)] == pytest.approx(offset)
    assert rest == {t.key: t.centre for t in kitchen.things if t not in (bowl, *bowl.descendants())}


def test_dropped_things_land_on_what_is_below_and_fragile_ones_break(kitchen: World) -> None:
    act(kitchen, "TeleportFull", x=-1.5, y=0.901, z=-1.5, rotation={"y": 0}, horizon=0, standing=True)
    apple, plate = one(kitchen, "Apple"), one(kitchen, "Plate")
    act(kitchen, "PickupObject", apple)
    act(kitchen, "DropHandObject")
    assert apple.parent is not None
    assert apple.parent.kind == "Floor"
    assert apple.bottom[1] == pytest.approx(0.0, abs=0.01)
    act(kitchen, "PickupObject", plate)
    act(kitchen, "ThrowObject", moveMagnitude=100)
    assert plate.broken
    assert "is broken" in act(kitchen, "OpenObject", plate, ok=False) or not plate.spec.can("open")


def test_putting_fails_where_a_type_may_not_lie_or_nothing_fits(kitchen: World) -> None:
    apple, burner = one(kitchen, "Apple"), one(kitchen, "StoveBurner")
    act(kitchen, "PickupObject", apple)
    assert "cannot be placed in" in act(kitchen, "PutObject", burner, ok=False)
    assert kitchen.agents[0].held is apple
    act(kitchen, "DropHandObject")
    machine = one(kitchen, "CoffeeMachine")
    mug = one(kitchen, "Mug")
    if not machine.children:
        bring(kitchen, mug, machine)
    spare = next((t for t in kitchen.objects if t.kind == "Mug" and t is not machine.children[0]), None)
    if spare is not None:
        act(kitchen, "PickupObject", spare)
        assert "No valid positions to place object found" in act(kitchen, "PutObject", machine, ok=False)


def test_pushes_go_where_they_are_aimed() -> None:
    for angle, axis, sign in ((0, 2, 1), (90, 0, 1), (180, 2, -1), (270, 0, -1), (-90, 0, -1)):
        world = World("FloorPlan28", known=True)
        apple = one(world, "Apple")
        act(world, "TeleportFull", x=-2.0, y=0.901, z=-2.0, rotation={"y": 0}, horizon=0, standing=True)
        act(world, "PickupObject", apple)
        act(world, "DropHandObject")
        before = apple.centre
        act(world, "Teleport", x=-3.25, z=-1.25, y=0.901)
        act(world, "DirectionalPush", apple, pushAngle=angle, moveMagnitude=10)
        moved = apple.centre[axis] - before[axis]
        assert moved * sign > 0.2, angle


def test_a_random_spawn_follows_its_seed_and_keeps_every_thing_in_one_place() -> None:
    found = []
    for seed in (1, 1, 2):
        world = World("FloorPlan28", known=True)
        act(world, "InitialRandomSpawn", randomSeed=seed, forceAction=None)
        found.append({t.obj_id: t.centre for t in world.objects})
        assert all(t.parent is not None for t in world.objects if t.spec.can("pick"))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_set_object_poses_puts_named_things_and_removes_other_loose_ones(kitchen: World) -> None:
    keep = [t for t in kitchen.objects if t.spec.can("pick") or t.moveable][:5]
    poses = [
        {
            "objectName": t.name,
            "position": dict(zip("xyz", t.position, strict=True)),
            "rotation": dict(zip("xyz", t.rotation, strict=True)),
        }
        for t in keep
    ]
    before = {t.obj_id: t.centre for t in keep}
    act(kitchen, "SetObjectPoses", objectPoses=poses, forceAction=None)
    loose = [t for t in kitchen.objects if t.spec.can("pick") or t.moveable]
    assert {t.obj_id for t in loose} == set(before)
    assert all(t.centre == pytest.approx(before[t.obj_id]) for t in loose)
    act(kitchen, "SetObjectPoses", objectPoses=[{"objectName": "Nobody"}], ok=False, forceAction=None)


def test_removed_and_disabled_things_are_gone_from_metadata(kitchen: World) -> None:
    mug, plate = one(kitchen, "Mug"), one(kitchen, "Plate")
    act(kitchen, "RemoveFromScene", mug, forceAction=None)
    act(kitchen, "DisableObject", plate, forceAction=None)
    ids = {o["objectId"] for o in kitchen.metadata()["objects"]}
    assert not {mug.obj_id, plate.obj_id} & ids
    act(kitchen, "EnableObject", plate, forceAction=None)
    assert plate.obj_id in {o["objectId"] for o in kitchen.metadata()["objects"]}


def slices_of(world: World, kind: str) -> list[Thing]:
    act(world, "SliceObject", one(world, kind))
    return [t for t in world.objects if t.kind == f"{kind}Sliced"]


def test_a_new_thing_that_is_given_a_removed_ones_key_has_its_own_picture() -> None:
    world = World("FloorPlan1", known=True)
    first = slices_of(world, "Tomato")
    world.drawables()
    for piece in first:
        act(world, "RemoveFromScene", piece, forceAction=None)
    second = slices_of(world, "Potato")
    assert {t.key for t in second} & {t.key for t in first}
    drawn = {d.key: d for d in world.drawables()}
    assert [drawn[t.key] for t in second] == [t.drawable() for t in second]


def test_a_shortest_path_leads_along_free_ground_to_the_thing(kitchen: World) -> None:
    fridge = one(kitchen, "Fridge")
    corners = act(kitchen, "GetShortestPath", fridge, forceAction=None)["corners"]
    start = kitchen.agents[0].position
    assert (corners[0]["x"], corners[0]["z"]) == (start[0], start[2])
    assert len(corners) >= 2
    act(kitchen, "GetShortestPath", None, objectType="Apple", forceAction=None)


def test_what_is_under_a_pixel_is_what_the_picture_shows() -> None:
    from selu_hpc.sim.drawing.render import render

    world = World("FloorPlan28", known=True)
    act(world, "RotateRight", forceAction=None)
    images = render(world.drawables(), world.camera(), width=300, height=300, skin=world.look)
    agree = asked = 0
    for row in range(10, 300, 20):
        for column in range(10, 300, 20):
            key = int(images.ids[row, column])
            thing = world.by_key.get(key)
            if thing is None or thing.structural:
                continue
            asked += 1
            outcome = world.apply({"action": "GetObjectInFrame", "x": (column + 0.5) / 300, "y": (row + 0.5) / 300})
            agree += outcome.value == thing.obj_id
    assert asked > 30
    assert agree / asked > 0.7  # boxes are coarser than meshes


def test_the_first_thing_in_the_way_stops_a_walk_and_what_is_touched_already_does_not() -> None:
    from selu_hpc.sim.thor import navigation

    blocks = np.array([(0.4, -1.0, 0.5, 1.0, 21.0), (0.45, -1.0, 0.9, 1.0, 22.0), (-0.3, -0.1, -0.1, 0.1, 23.0)])
    assert navigation.sweep((0.0, 0.0), (1.0, 0.0), blocks) == 21
    assert navigation.sweep((0.0, 0.0), (0.1, 0.0), blocks) == 0
    assert navigation.sweep((0.0, 0.0), (0.0, 0.0), blocks[:0]) == 0
