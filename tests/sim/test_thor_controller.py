"""The stock ai2thor Controller, over both of its channels, drives the stand-in build as it drives Unity's."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ai2thor.controller import Controller
    from ai2thor.fifo_server import FifoServer
    from ai2thor.wsgi_server import WsgiServer

SCENE = "FloorPlan28"
BASE = {"x": -1.5, "y": 0.901, "z": -1.5, "rotation": {"x": 0, "y": 0, "z": 0}, "horizon": 0, "standing": True}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def start(home: Any, server: Any, **more: Any) -> Any:
    kept = os.environ.get("HOME")
    os.environ["HOME"] = str(home)
    try:
        build = f"{sys.executable} -m selu_hpc.sim.thor_build"
        return Controller(
            local_executable_path=build, x_display="0", scene=SCENE, server_class=server, server_timeout=240, **more
        )
    finally:
        os.environ["HOME"] = kept or ""


@pytest.fixture(scope="module", params=[FifoServer, WsgiServer], ids=["fifo", "wsgi"])
def shared(request: Any, tmp_path_factory: Any) -> Iterator[Any]:
    controller = start(tmp_path_factory.mktemp("home"), request.param)
    yield controller
    controller.stop()
    controller.server.unity_proc.wait()


@pytest.fixture
def controller(shared: Any) -> Any:
    shared.initialization_parameters = {}
    shared.reset(SCENE, width=300, height=300)
    return shared


@pytest.fixture(scope="module")
def fifo_shared(tmp_path_factory: Any) -> Iterator[Any]:
    controller = start(tmp_path_factory.mktemp("home"), FifoServer)
    yield controller
    controller.stop()
    controller.server.unity_proc.wait()


@pytest.fixture
def fifo(fifo_shared: Any) -> Any:
    fifo_shared.initialization_parameters = {}
    fifo_shared.reset(SCENE, width=300, height=300)
    return fifo_shared


def near(a: dict[str, float], b: dict[str, float]) -> bool:
    return a.keys() == b.keys() and all(abs(a[k] - b[k]) < 1e-3 for k in a)


def first(event: Any, kind: str) -> dict[str, Any]:
    return next(o for o in event.metadata["objects"] if o["objectType"] == kind)


def test_walking_moves_by_one_grid_step_in_every_direction(controller: Any) -> None:
    for action, x, z in (
        ("MoveAhead", -1.5, -1.25), ("MoveBack", -1.5, -1.75), ("MoveLeft", -1.75, -1.5), ("MoveRight", -1.25, -1.5),
    ):  # fmt: skip
        controller.step("TeleportFull", **BASE, raise_for_failure=True)
        event = controller.step(action, raise_for_failure=True)
        assert near(event.metadata["agent"]["position"], {"x": x, "y": 0.901, "z": z})
    controller.step("TeleportFull", **BASE)
    event = controller.step("MoveAhead", moveMagnitude=0.5, raise_for_failure=True)
    assert near(event.metadata["agent"]["position"], {"x": -1.5, "y": 0.901, "z": -1.0})
    event = controller.step("MoveAhead", moveMagnitude=5.0)
    assert not event
    assert "is blocking Agent 0 from moving by (0.0000, 0.0000, 5.0000)." in event.metadata["errorMessage"]
    assert event.metadata["collided"]


def test_turning_and_looking_stop_at_thirty_up_and_sixty_down(controller: Any) -> None:
    event = controller.step("RotateLook", rotation=0, horizon=0)
    assert event.metadata["agent"]["rotation"] == {"x": 0, "y": 0, "z": 0}
    assert controller.step("RotateRight").metadata["agent"]["rotation"]["y"] == 90.0
    controller.step("RotateLook", rotation=0, horizon=0)
    assert controller.step("RotateLeft").metadata["agent"]["rotation"]["y"] == 270.0
    assert controller.step("LookUp").metadata["agent"]["cameraHorizon"] == -30.0
    assert not controller.step("LookUp")
    for wanted in (0, 30, 60, 60):
        assert round(controller.step("LookDown").metadata["agent"]["cameraHorizon"]) == wanted
    event = controller.step("RotateLook", rotation=90, horizon=31)
    assert (event.metadata["agent"]["rotation"]["y"], event.metadata["agent"]["cameraHorizon"]) == (90.0, 31.0)


def test_teleporting_minds_height_walls_and_furniture(controller: Any) -> None:
    event = controller.step("TeleportFull", **{**BASE, "y": 0.95}, raise_for_failure=True)
    assert near(event.metadata["agent"]["position"], {"x": -1.5, "y": 0.901, "z": -1.5})
    event = controller.step("TeleportFull", **{**BASE, "x": -2.0, "z": -2.5}, raise_for_failure=True)
    before = event.metadata["agent"]["position"]
    for wrong in ({"y": 1.0}, {"z": -3.5}, {"z": 0}, {"x": 2000, "z": 9000}):
        event = controller.step("Teleport", **{**BASE, **wrong})
        assert not event
        assert event.metadata["errorMessage"]
        assert event.metadata["agent"]["position"] == before
    event = controller.step("Teleport", horizon=10)
    assert abs(event.metadata["agent"]["cameraHorizon"] - 10) < 1e-2
    assert event.metadata["agent"]["position"] == before
    with pytest.raises(ValueError, match="missing the following arguments"):
        controller.step("TeleportFull", x=-1.5, y=0.9, z=-1.5)


def test_crouching_lowers_the_camera_and_is_refused_twice(controller: Any) -> None:
    high = controller.last_event.metadata["cameraPosition"]["y"]
    event = controller.step("Crouch")
    assert event.metadata["cameraPosition"]["y"] < high - 0.5
    assert event.metadata["agent"]["isStanding"] is False
    assert not controller.step("Crouch")
    assert controller.step("Stand").metadata["cameraPosition"]["y"] == high


def test_a_fridge_opens_as_far_as_told_and_takes_more_room_open(controller: Any) -> None:
    fridge = first(controller.last_event, "Fridge")
    shut = fridge["axisAlignedBoundingBox"]["size"]
    for openness in (0.5, 0.7, 0):
        event = controller.step(
            "OpenObject", objectId=fridge["objectId"], openness=openness, forceAction=True, raise_for_failure=True
        )
        assert abs(first(event, "Fridge")["openness"] - openness) < 1e-3
        assert first(event, "Fridge")["isOpen"] == (openness != 0)
    for openness in (-0.5, 1.5):
        assert not controller.step("OpenObject", objectId=fridge["objectId"], openness=openness, forceAction=True)
    for magnitude, openness in ((0, 1), (0.65, 0.65)):
        event = controller.step("OpenObject", objectId=fridge["objectId"], forceAction=True, moveMagnitude=magnitude)
        assert abs(first(event, "Fridge")["openness"] - openness) < 1e-3
    assert first(event, "Fridge")["axisAlignedBoundingBox"]["size"] != shut
    event = controller.step("CloseObject", objectId=fridge["objectId"], forceAction=True)
    assert first(event, "Fridge")["axisAlignedBoundingBox"]["size"] == shut
    assert not first(event, "Fridge")["isOpen"]


def test_the_fridge_and_a_knob_can_be_used_from_where_one_sees_them(controller: Any) -> None:
    pose = {"x": -1.0, "y": 0.9009982347488403, "rotation": {"y": 90}, "standing": True}
    event = controller.step("TeleportFull", z=-0.5, horizon=0, **pose, raise_for_failure=True)
    assert first(event, "Fridge")["visible"]
    controller.step("SetObjectFilter", objectIds=[])
    assert controller.last_event.metadata["objects"] == []
    controller.step("OpenObject", objectId=first(event, "Fridge")["objectId"], raise_for_failure=True)
    assert first(controller.step("ResetObjectFilter"), "Fridge")["isOpen"]
    event = controller.step("TeleportFull", z=-2.25, horizon=30, **pose, raise_for_failure=True)
    knob = next(o for o in event.metadata["objects"] if o["objectType"] == "StoveKnob" and o["visible"])
    assert not knob["isToggled"]
    event = controller.step("ToggleObjectOn", objectId=knob["objectId"], raise_for_failure=True)
    assert event.get_object(knob["objectId"])["isToggled"]
    burner = event.get_object(knob["controlledObjects"][0])
    assert burner["isToggled"]
    assert burner["isHeatSource"]


def test_picking_up_dropping_and_putting_say_what_thor_says(controller: Any) -> None:
    apple = first(controller.last_event, "Apple")["objectId"]
    event = controller.step("PickupObject", objectId=apple, forceAction=True)
    assert event.metadata["actionReturn"] == apple
    assert event.metadata["inventoryObjects"] == [{"objectId": apple, "objectType": "Apple"}]
    assert event.get_object(apple)["isPickedUp"]
    table = first(event, "DiningTable")["objectId"]
    mug = first(event, "Mug")["objectId"]
    said = {
        "Agent hand has something in it already!": {"action": "PickupObject", "objectId": mug, "forceAction": True},
        "is not the objectId on any object in the scene!": {"action": "PutObject", "objectId": "Nothing|1"},
        "This target object is NOT a receptacle!": {"action": "PutObject", "objectId": apple, "forceAction": True},
        "Target openable Receptacle is CLOSED": {
            "action": "PutObject", "objectId": first(event, "Fridge")["objectId"], "forceAction": True,
        },
        "is not an Openable object": {"action": "OpenObject", "objectId": table, "forceAction": True},
        "object is not toggleable.": {"action": "ToggleObjectOn", "objectId": table, "forceAction": True},
        "Does not have the CanBeSliced property!": {"action": "SliceObject", "objectId": mug, "forceAction": True},
    }  # fmt: skip
    for message, action in said.items():
        event = controller.step(**action)
        assert not event
        assert message in event.metadata["errorMessage"], action
        assert event.metadata["errorCode"] is None
    event = controller.step("PutObject", objectId=table, forceAction=True)
    assert event, event.metadata["errorMessage"]
    assert event.get_object(apple)["parentReceptacles"] == [table]
    assert apple in event.get_object(table)["receptacleObjectIds"]
    event = controller.step("DropHandObject")
    assert "Nothing is in the agent's hand to drop!" in event.metadata["errorMessage"]
    event = controller.step("PutObject", objectId=table, forceAction=True)
    assert "Can't place an object if Agent isn't holding anything" in event.metadata["errorMessage"]
    event = controller.step("PickupObject", objectId=table, forceAction=True)
    assert "must have the property CanPickup to be picked up." in event.metadata["errorMessage"]
    for action in ("DropHeldObject", "DropHandObject"):
        controller.step("PickupObject", objectId=apple, forceAction=True)
        assert controller.step(action).metadata["inventoryObjects"] == []


def test_unknown_actions_and_arguments_raise_in_the_client(controller: Any) -> None:
    for code, action in (
        ("InvalidAction", {"action": "NoSuchAction"}),
        ("InvalidArgument", {"action": "PutObject", "x": 0.0, "y": 0.0, "z": 1.0}),
        ("MissingArguments", {"action": "TestActionDispatchNoop", "param6": "foo"}),
        ("AmbiguousAction", {"action": "TestActionDispatchSAAmbig"}),
    ):
        with pytest.raises(ValueError, match=r".+"):
            controller.step(**action)
        assert controller.last_event.metadata["errorCode"] == code
    event = controller.step("OpenObject", x=1.5, y=0.5)
    assert not event
    assert event.metadata["errorMessage"]


def test_the_dispatch_of_overloaded_test_actions_is_unitys(controller: Any) -> None:
    for arguments, answer in (
        ({"action": "TestActionDispatchNoop"}, "emptyargs"),
        ({"action": "TestActionDispatchNoop", "param1": True}, "param1"),
        ({"action": "TestActionDispatchNoop", "param1": True, "param2": False}, "param1 param2"),
        ({"action": "TestActionDispatchNoop2", "param3": True, "param4": "foobar"}, "param3 param4/default foobar"),
        ({"action": "TestActionDispatchNoop2", "param3": True}, "param3 param4/default foo"),
        ({"action": "TestActionDispatchNoopServerAction", "objectId": "candle|1|2|3"}, "serveraction"),
        ({"action": "TestActionDispatchNoopAllDefault"}, "alldefault"),
        ({"action": "TestActionDispatchNoopAllDefault2", "param12": 9.0}, "somedefault"),
        ({"action": "TestActionReflectParam", "rvalue": "a" * 16384}, "a" * 16384),
    ):
        assert controller.step(**arguments).metadata["actionReturn"] == answer


def test_third_party_cameras_are_added_moved_and_checked(controller: Any) -> None:
    assert controller.last_event.metadata["thirdPartyCameras"] == []
    place, turn = {"x": 1.2, "y": 2.3, "z": 3.4}, {"x": 30, "y": 40, "z": 50}
    event = controller.step("AddThirdPartyCamera", position=place, rotation=turn, fieldOfView=45.0)
    camera = event.metadata["thirdPartyCameras"][0]
    assert near(camera["position"], place)
    assert near(camera["rotation"], turn)
    assert camera["fieldOfView"] == 45.0
    assert event.third_party_camera_frames[0].shape == (300, 300, 4)
    event = controller.step(
        "UpdateThirdPartyCamera",
        thirdPartyCameraId=0,
        fieldOfView=55.0,
        position={"x": 3.2, "z": 5},
        rotation={"y": 90},
    )
    camera = event.metadata["thirdPartyCameras"][0]
    assert near(camera["position"], {"x": 3.2, "y": 2.3, "z": 5})
    assert near(camera["rotation"], {"x": 30, "y": 90, "z": 50})
    for fov in (-1, 181, 0):
        event = controller.step("UpdateThirdPartyCamera", thirdPartyCameraId=0, fieldOfView=fov)
        assert not event
        assert event.metadata["thirdPartyCameras"][0]["fieldOfView"] == 55.0
    assert not controller.step("AddThirdPartyCamera", position=5, rotation={"x": 0, "y": 0, "z": 0})
    with pytest.raises(ValueError, match="action: AddThirdPartyCamera has an invalid argument: orthographicSize"):
        controller.step(
            "AddThirdPartyCamera",
            position=place,
            rotation=turn,
            orthographic=True,
            orthographicSize={"x": 0, "y": 0, "z": 0},
        )


def test_reachable_positions_are_those_of_the_real_kitchen_in_number(controller: Any) -> None:
    event = controller.step("GetReachablePositions")
    aligned = event.metadata["actionReturn"]
    assert event.metadata["reachablePositions"] == aligned
    assert 100 < len(aligned) < 125
    pose = {"position": {"x": -1, "y": 0.900998235, "z": -1.25}, "horizon": 0, "standing": True}
    controller.step("TeleportFull", rotation={"x": 0, "y": 49.11111, "z": 0}, **pose, raise_for_failure=True)
    assert len(controller.step("GetReachablePositions").metadata["actionReturn"]) == len(aligned)
    turned = controller.step("GetReachablePositions", directionsRelativeAgent=True).metadata["actionReturn"]
    assert 80 < len(turned) < 140
    controller.step("Pass")
    with pytest.raises(IndexError):
        _ = controller.last_event.metadata["reachablePositions"]


def test_interactable_poses_are_poses_from_which_the_thing_is_visible(controller: Any) -> None:
    fridge = first(controller.last_event, "Fridge")["objectId"]
    poses = controller.step("GetInteractablePoses", objectId=fridge).metadata["actionReturn"]
    assert 400 < len(poses) < 600
    for pose in (poses[0], poses[len(poses) // 2], poses[-1]):
        event = controller.step("TeleportFull", **pose)
        agent = event.metadata["agent"]
        assert event.get_object(fridge)["visible"]
        assert abs(agent["rotation"]["y"] - pose["rotation"]) < 1e-3
        assert agent["isStanding"] == pose["standing"]
    assert len(controller.step("GetInteractablePoses", objectId=fridge, maxPoses=50).metadata["actionReturn"]) == 50
    event = controller.step("GetInteractablePoses", objectId=fridge, rotations=[270])
    assert event
    assert event.metadata["actionReturn"] == []
    event = controller.step("GetInteractablePoses", objectId=fridge, horizons=[0, 30], rotations=[0, 45])
    assert {p["horizon"] for p in event.metadata["actionReturn"]} <= {0, 30}
    far = controller.step("GetInteractablePoses", objectId=fridge, maxDistance=5).metadata["actionReturn"]
    assert len(far) > len(poses)


def test_resolution_depth_and_segmentation_frames_have_the_asked_shapes(controller: Any) -> None:
    flags = {"renderDepthImage": True, "renderInstanceSegmentation": True, "renderSemanticSegmentation": True}
    event = controller.reset(SCENE, width=240, height=160, renderNormalsImage=True, **flags)
    assert event.frame.shape == (160, 240, 3)
    assert event.depth_frame.shape == (160, 240)
    assert event.instance_segmentation_frame.shape == event.semantic_segmentation_frame.shape == (160, 240, 3)
    assert event.normals_frame.shape[:2] == (160, 240)
    assert 0.1 < event.depth_frame.min() < event.depth_frame.max() <= 20.0
    assert event.color_to_object_id[event.object_id_to_color["Fridge"]] == "Fridge"
    seen = [o["objectId"] for o in event.metadata["objects"] if o["visible"] and not o["isPickedUp"]]
    assert seen
    assert any(i in event.instance_masks for i in seen)
    event = controller.step(
        "AddThirdPartyCamera", position={"x": -3.5, "y": 2.2, "z": -0.3}, rotation={"x": 30, "y": 135, "z": 0}
    )
    assert len(event.third_party_depth_frames) == len(event.third_party_camera_frames) == 1
    assert (
        len(event.third_party_semantic_segmentation_frames) == len(event.third_party_instance_segmentation_frames) == 1
    )
    event = controller.reset(SCENE, width=300, height=300, renderDepthImage=False, renderInstanceSegmentation=False,
                             renderSemanticSegmentation=False, renderNormalsImage=False)  # fmt: skip
    assert event.depth_frame is None
    assert event.instance_segmentation_frame is None
    event = controller.step("Pass", renderInstanceSegmentation=True)
    assert event.instance_segmentation_frame is not None


def test_two_agents_see_different_things_and_act_by_their_number(fifo: Any) -> None:
    event = fifo.reset(SCENE, agentCount=2)
    assert len(event.events) == 2
    assert not np.array_equal(event.events[0].frame, event.events[1].frame)
    before = event.events[0].metadata["agent"]
    event = fifo.step("RotateRight", agentId=1)
    assert event.events[0].metadata["agent"] == before
    assert event.metadata["agentId"] == 1
    event = fifo.step(
        "AddThirdPartyCamera", position={"x": -3, "y": 2, "z": -0.5}, rotation={"x": 20, "y": 120, "z": 0}
    )
    assert len(event.events[1].third_party_camera_frames) == 1


def test_an_idle_agent_keeps_what_became_of_its_own_last_action(controller: Any) -> None:
    first = controller.reset(SCENE, agentCount=2)
    assert [event.metadata["lastAction"] for event in first.events] == ["Initialize", "Initialize"]
    failed = controller.step("OpenObject", objectId="Nothing|1", agentId=0)
    told = ("lastAction", "lastActionSuccess", "errorMessage", "errorCode", "actionReturn", "collided")
    before = {name: failed.events[0].metadata[name] for name in told}
    assert (before["lastAction"], before["lastActionSuccess"]) == ("OpenObject", False)
    assert before["errorMessage"]
    after = controller.step("RotateRight", agentId=1)
    assert {name: after.events[0].metadata[name] for name in told} == before
    assert (after.metadata["agentId"], after.metadata["lastAction"], after.metadata["lastActionSuccess"]) == (
        1,
        "RotateRight",
        True,
    )
    again = controller.step("RotateLeft", agentId=0)
    assert (again.metadata["lastAction"], again.metadata["lastActionSuccess"], again.metadata["errorMessage"]) == (
        "RotateLeft",
        True,
        "",
    )
    assert again.events[1].metadata["lastAction"] == "RotateRight"


def test_fast_emit_reuses_the_objects_unless_switched_off(fifo: Any) -> None:
    event = fifo.step("RotateRight")
    fast = fifo.step("TestFastEmit", rvalue="foo")
    after = fifo.step("LookUp")
    assert event.metadata["actionReturn"] is None
    assert fast.metadata["actionReturn"] == "foo"
    assert fast.metadata["objects"] is event.metadata["objects"]
    assert after.metadata["objects"] is not event.metadata["objects"]
    fifo.reset(SCENE, fastActionEmit=False)
    event = fifo.step("RotateRight")
    assert fifo.step("TestFastEmit", rvalue="foo").metadata["objects"] is not event.metadata["objects"]


def test_a_camera_where_the_agents_eyes_are_sees_the_same_depth(fifo: Any) -> None:
    fifo.reset(SCENE, renderDepthImage=True)
    turn = {"x": 0.0, "y": 90.0, "z": 0.0}
    away = {"x": -2.0, "y": 0.9009982347488403, "z": -1.0}
    fifo.step("Teleport", position=away, rotation=turn, horizon=0.0, standing=True, raise_for_failure=True)
    event = fifo.step("AddThirdPartyCamera", position={"x": -2.0, "y": 1.5759982347, "z": -2.0}, rotation=turn)
    camera = np.array(event.third_party_depth_frames[0])
    place = {"x": -2.0, "y": 0.9009982347488403, "z": -2.0}
    event = fifo.step("Teleport", position=place, rotation=turn, horizon=0.0, standing=True, raise_for_failure=True)
    assert np.square(camera - event.depth_frame).mean() < 1e-3


def test_the_hand_moves_and_turns_what_it_holds(fifo: Any) -> None:
    soap = first(fifo.last_event, "Apple")["objectId"]

    def pick() -> dict[str, Any]:
        fifo.reset(SCENE)
        return dict(fifo.step("PickupObject", objectId=soap, forceAction=True).metadata["heldObjectPose"])

    one = pick()
    two = fifo.step("MoveHeldObject", ahead=0.1, right=0.05, up=-0.1).metadata["heldObjectPose"]
    assert near(one["rotation"], two["rotation"])
    moved = {axis: two["localPosition"][axis] - one["localPosition"][axis] for axis in "xyz"}
    assert near(moved, {"x": 0.05, "y": -0.1, "z": 0.1})
    for arguments, axis, by in (({"pitch": 90}, "x", 90), ({"yaw": 90}, "y", 90), ({"roll": 90}, "z", 270)):
        one = pick()
        two = fifo.step("RotateHeldObject", **arguments).metadata["hand"]
        assert near(one["position"], two["position"])
        assert two["rotation"][axis] - one["rotation"][axis] == by
    one = pick()
    two = fifo.step("RotateHeldObject", roll=90, pitch=90, yaw=90).metadata["hand"]
    assert near(one["rotation"], {"x": 0, "y": 180, "z": 0})
    assert near(two["rotation"], {"x": 90, "y": 0, "z": 0})
    one = pick()
    two = fifo.step("RotateHeldObject", rotation={"x": 90, "y": 180, "z": 0}).metadata["hand"]
    assert near(one["localRotation"], {"x": 0, "y": 0, "z": 0})
    assert near(two["localRotation"], {"x": 90, "y": 180, "z": 0})


def test_locobots_and_drones_neither_stand_nor_crouch(fifo: Any) -> None:
    for mode in ("locobot", "drone"):
        event = fifo.reset(SCENE, agentMode=mode)
        assert event.metadata["agent"]["isStanding"] is None
        pose = {"position": {"x": -1.5, "y": 0.9, "z": -1.5}, "rotation": {"x": 0, "y": 90, "z": 0}, "horizon": 30}
        for action in ("Teleport", "TeleportFull"):
            assert fifo.step(action, **pose)
            with pytest.raises(ValueError, match="standing"):
                fifo.step(action, standing=True, **pose)


def test_materials_change_with_the_seed_and_come_back(fifo: Any) -> None:
    original = fifo.last_event.frame.astype(np.int16)
    frames = []
    for seed in (41, 42, 42):
        fifo.reset(SCENE)
        fifo.step("SetRandomSeed", seed=seed)
        event = fifo.step("RandomizeMaterials", raise_for_failure=True)
        frames.append(event.frame.astype(np.int16))
    assert np.abs(frames[0] - original).mean() > 5
    assert np.abs(frames[0] - frames[1]).mean() > 5
    assert np.array_equal(frames[1], frames[2])
    assert np.array_equal(fifo.step("ResetMaterials").frame, original)
    assert not fifo.step("RandomizeMaterials", inRoomTypes=["LivingRoom"])
