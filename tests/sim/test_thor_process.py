"""The build as a process: how it is launched, that it is deterministic, and that it goes when it should."""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import signal
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from life import gone

from selu_hpc.sim import thor_build, virtualhome_server
from selu_hpc.sim.thor.world import World
from selu_hpc.sim.thor_build import write_release

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ai2thor import platform
    from ai2thor.controller import Controller

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
BUILD = f"{sys.executable} -m selu_hpc.sim.thor_build"
WALK = ("MoveAhead", "RotateRight", "LookDown", "MoveRight", "RotateLeft", "Crouch", "RandomizeMaterials")


def controller(home: Path, monkeypatch: Any, build: str = BUILD, **more: Any) -> Any:
    monkeypatch.setenv("HOME", str(home))
    return Controller(local_executable_path=build, x_display="0", server_timeout=240, **{"scene": "FloorPlan7", **more})


def stop(one: Any) -> None:
    one.stop()
    one.server.unity_proc.wait()


def test_the_same_actions_give_the_same_metadata_and_pixels_in_another_process(tmp_path: Any, monkeypatch: Any) -> None:
    digests = []
    for run in range(2):
        one = controller(tmp_path / str(run), monkeypatch, width=96, height=96, renderInstanceSegmentation=True)
        try:
            found = hashlib.sha256()
            for action in WALK:
                event = one.step(action)
                found.update(event.frame.tobytes())
                found.update(event.instance_segmentation_frame.tobytes())
                found.update(repr(sorted(event.metadata.items())).encode())
            digests.append(found.hexdigest())
        finally:
            stop(one)
    assert digests[0] == digests[1]


def test_a_skin_of_the_unknown_world_can_be_asked_for_at_launch(tmp_path: Any, monkeypatch: Any) -> None:
    one = controller(tmp_path, monkeypatch, f"{BUILD} --skin unknown-03", width=64, height=64)
    try:
        ids = {o["objectId"] for o in one.last_event.metadata["objects"]}
        from selu_hpc.sim.drawing.skins import skin_named

        world = World("FloorPlan7", known=False, skin=skin_named("unknown-03"))
        assert ids == {t.obj_id for t in world.objects}
    finally:
        stop(one)


@pytest.mark.parametrize("program", [thor_build, virtualhome_server])
def test_an_unknown_skin_is_told_with_the_known_ones(program: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        program.main(["--skin", "nope"])
    assert "no skin is called 'nope'; choose one of known-00" in capsys.readouterr().err


def test_headless_sends_no_pictures(tmp_path: Any, monkeypatch: Any) -> None:
    one = controller(tmp_path, monkeypatch, headless=True)
    try:
        event = one.step("MoveAhead")
        assert event.frame is None
        assert event.metadata["objects"]
    finally:
        stop(one)


@pytest.mark.skipif(ctypes.util.find_library("vulkan") is None, reason="the client asks for libvulkan on this route")
def test_a_release_folder_is_launched_as_a_cloud_rendering_build(tmp_path: Any, monkeypatch: Any) -> None:
    script = write_release(tmp_path / ".ai2thor" / "releases", commit="standin", world="unknown")
    assert os.access(script, os.X_OK)
    monkeypatch.setenv("HOME", str(tmp_path))
    one = Controller(platform=platform.CloudRendering, commit_id="standin", scene="FloorPlan301", width=320, height=240)
    try:
        assert one.last_event.frame.shape == (240, 320, 3)
        assert one.step("RotateRight")
        world = World("FloorPlan301", known=False)
        assert {o["objectId"] for o in one.last_event.metadata["objects"]} == {t.obj_id for t in world.objects}
    finally:
        stop(one)


def test_the_process_ends_when_its_client_stops_reading_or_is_killed(tmp_path: Any) -> None:
    program = (
        "import os, sys, warnings; warnings.simplefilter('ignore');"
        "from ai2thor.controller import Controller;"
        f"c = Controller(local_executable_path={BUILD!r}, x_display='0', scene='FloorPlan7', width=64, height=64);"
        "print(c.unity_pid, flush=True); sys.stdin.read()"
    )
    env = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        assert not gone(pid, 0.1)
        client.send_signal(signal.SIGKILL)
        client.wait()
    assert gone(pid)


def test_a_build_whose_client_dies_before_it_reads_ends_too(tmp_path: Any) -> None:
    server, client = tmp_path / "server.pipe", tmp_path / "client.pipe"
    os.mkfifo(server)
    os.mkfifo(client)
    env = {
        **os.environ,
        "AI2THOR_SERVER_TYPE": "FIFO",
        "AI2THOR_FIFO_SERVER_PIPE_PATH": str(server),
        "AI2THOR_FIFO_CLIENT_PIPE_PATH": str(client),
    }
    program = f"import subprocess, time; print(subprocess.Popen({BUILD.split()!r}).pid, flush=True); time.sleep(2.0)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.wait()
    assert gone(pid)


def test_the_build_speaks_first_echoes_numbers_and_ends_at_the_pipes_end(tmp_path: Any) -> None:
    import json

    import msgpack

    server, client = tmp_path / "server.pipe", tmp_path / "client.pipe"
    os.mkfifo(server)
    os.mkfifo(client)
    env = {
        **os.environ,
        "AI2THOR_SERVER_TYPE": "FIFO",
        "AI2THOR_FIFO_SERVER_PIPE_PATH": str(server),
        "AI2THOR_FIFO_CLIENT_PIPE_PATH": str(client),
    }
    head = struct.Struct("!BI")

    def message(reader: Any) -> dict[int, bytes]:
        parts: dict[int, bytes] = {}
        while True:
            kind, length = head.unpack(reader.read(5))
            if kind == 255:
                return parts
            parts[kind] = reader.read(length)

    with subprocess.Popen([*BUILD.split(), "-screen-width", "40", "-screen-height", "30"], env=env) as build:
        with server.open("rb") as reader:
            parts = message(reader)
            assert msgpack.loads(parts[1])["sequenceId"] == 0
            assert np.frombuffer(parts[4], np.uint8).size == 40 * 30 * 3
            with client.open("wb") as writer:
                body = json.dumps({"action": "Pass", "sequenceId": 41}).encode()
                writer.write(head.pack(2, len(body)) + body + head.pack(255, 0))
                writer.flush()
                assert msgpack.loads(message(reader)[1])["sequenceId"] == 41
        assert build.wait(60) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["client.pipe", "server.pipe"]


_NUMBER, _FLAG, _TEXT = {"type": "number"}, {"type": "boolean"}, {"type": "string"}


def _all(names: str, schema: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(names.split(), schema)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_XYZ = _object(_all("x y z", _NUMBER))
_IDS = {"anyOf": [{"type": "null"}, {"type": "array", "items": _TEXT}]}
_CORNERS = {"type": "array", "items": {"type": "array", "items": _NUMBER}}
_BOX = _object({"center": _XYZ, "size": _XYZ, "cornerPoints": _CORNERS})
_THING = _object(
    {
        **_all("position rotation", _XYZ),
        **_all("name objectId objectType ObjectTemperature temperature", _TEXT),
        **_all("visible obstructed receptacle toggleable isToggled breakable isBroken canFillWithLiquid", _FLAG),
        **_all("isFilledWithLiquid dirtyable isDirty canBeUsedUp isUsedUp cookable isCooked isHeatSource", _FLAG),
        **_all("isColdSource sliceable isSliced openable isOpen pickupable isPickedUp moveable isMoving", _FLAG),
        **_all("mass distance openness", _NUMBER),
        **_all("salientMaterials receptacleObjectIds parentReceptacles", _IDS),
        "fillLiquid": {"type": ["string", "null"]},
        "axisAlignedBoundingBox": _BOX,
        "objectOrientedBoundingBox": {"anyOf": [{"type": "null"}, _object({"cornerPoints": _CORNERS})]},
    }
)
_AGENT = _object(
    {
        "objects": {"type": "array", "items": _THING},
        "agent": _object(
            {
                **_all("position rotation", _XYZ),
                "cameraHorizon": _NUMBER,
                "inHighFrictionArea": _FLAG,
                "isStanding": _FLAG,
                "name": _TEXT,
            }
        ),
        "heldObjectPose": _object(_all("localPosition localRotation position rotation", _XYZ)),
        "cameraPosition": _XYZ,
        "sceneBounds": _BOX,
        **_all("cameraOrthSize fov currentTime actionFloatReturn", _NUMBER),
        **_all("screenWidth screenHeight agentId actionIntReturn", {"type": "integer"}),
        **_all("isSceneAtRest collided lastActionSuccess", _FLAG),
        **_all("sceneName lastAction errorMessage", _TEXT),
        **_all("errorCode colors colorBounds", {"type": "null"}),
        **_all("visibleRange actionReturn", {"type": ["object", "null"]}),
        **_all("thirdPartyCameras collidedObjects inventoryObjects flatSurfacesOnGrid distances", {"type": "array"}),
        **_all("normals isOpenableGrid segmentedObjectIds objectIdsInBox actionStringsReturn", {"type": "array"}),
        **_all("actionFloatsReturn actionVector3sReturn", {"type": "array"}),
    }
)


@pytest.mark.parametrize("scene", ["FloorPlan28", "FloorPlan205", "FloorPlan301", "FloorPlan430"])
def test_metadata_has_every_field_of_thors_schema_with_its_type(scene: str) -> None:
    world = World(scene, known=True)
    world.apply({"action": "Pass"})
    jsonschema.validate(world.metadata(), _AGENT)
    for thing in world.metadata()["objects"]:
        assert thing["objectId"].startswith(f"{thing['objectType']}|") or "Basin" in thing["objectId"]
        assert (thing["receptacleObjectIds"] is None) == (not thing["receptacle"])
