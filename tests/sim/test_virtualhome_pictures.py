"""Cameras and pictures of the VirtualHome stand-in through the unmodified client, and its life as a process."""

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from life import gone
from virtualhome_home import Home, free_port, served, wait_for

from selu_hpc.envs.virtualhome.client import UnityEngineException
from selu_hpc.sim.drawing.render import class_colour
from selu_hpc.sim.virtualhome.view import CHARACTER_CAMERAS


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from served("unknown")


def test_scene_and_character_cameras_are_counted_in_order(client):
    ok, scene = client.camera_count()
    assert ok
    assert scene >= 20
    assert client.add_camera([1, 2, 1], [30, 45, 0], 60)[1].endswith(str(scene))
    assert client.add_character_camera([0.5, 2, -1], [30, 0, 0], 60, "MINE")[0]
    assert not client.add_character_camera([0.5, 2, -1], [30, 0, 0], 60, "MINE")[0]
    names = json.loads(client.character_cameras()[1])
    assert names == [*CHARACTER_CAMERAS, "MINE"]
    assert client.add_character()
    assert not client.add_character_camera([0, 2, 0], [0, 0, 0], 60, "LATE")[0]
    assert client.camera_count() == (True, scene + 1 + len(names))
    assert client.update_camera(0, [1, 2, 1], [10, 0, 0], 50)[0]
    assert not client.update_camera(999, [1, 2, 1], [10, 0, 0], 50)[0]
    assert client.update_character_camera([0, 2, -2], [30, 0, 0], 50, "MINE")[0]
    assert not client.update_character_camera([0, 2, -2], [30, 0, 0], 50, "NOBODYS")[0]


def test_pictures_have_the_size_and_type_the_client_expects(home):
    ok, images = home.client.camera_image([0, 1, 2], image_width=160, image_height=90)
    assert ok
    assert [i.shape for i in images] == [(90, 160, 3)] * 3
    assert all(i.dtype == np.uint8 and i.std() > 10 for i in images)
    assert home.see(mode="depth").dtype == np.uint16


def test_segmentation_colours_are_those_of_the_graph(home):
    colours = home.client.instance_colors()[1]
    instance = home.see(mode="seg_inst")[:, :, ::-1].reshape(-1, 3)
    by_colour = {tuple(round(c * 255) for c in colour): int(number) for number, colour in colours.items()}
    names = {n["id"]: n["class_name"] for n in home.graph["nodes"]}
    seen = {by_colour[tuple(int(c) for c in colour)] for colour in np.unique(instance, axis=0) if colour.any()}
    assert len(seen) > 3
    assert seen <= set(names)
    classes = {
        tuple(int(c) for c in colour)
        for colour in np.unique(home.see(mode="seg_class")[:, :, ::-1].reshape(-1, 3), axis=0)
    }
    assert classes - {(0, 0, 0)} <= {class_colour(name) for name in names.values()}


def test_depth_is_the_distance_in_millimetres(client):
    floor = next(n for n in client.environment_graph()[1]["nodes"] if n["class_name"] == "floor")
    x, _, z = floor["bounding_box"]["center"]
    w, _, d = floor["bounding_box"]["size"]
    assert client.add_camera([x - w / 2 + 0.2, 2.0, z - d / 2 + 0.2], [90, 0, 0], 10)[0]
    depth = client.camera_image([client.camera_count()[1] - 1], mode="depth", image_width=40, image_height=40)[1][0]
    assert 0 < depth[20, 20] <= 2001


def test_camera_data_projects_boxes_into_the_picture(home):
    fridge = home.one("fridge")
    assert home.run(f"<char0> [Walk] <fridge> ({fridge})")[0]
    index = home.scene_cameras + home.names.index("PERSON_FROM_BACK")
    data = home.client.camera_data([index])[1][0]
    view = np.array(data["world_to_camera_matrix"]).reshape(4, 4).T
    projection = np.array(data["projection_matrix"]).reshape(4, 4).T
    seen = home.see("PERSON_FROM_BACK", "seg_inst", side=300)[:, :, ::-1]
    colour = [round(c * 255) for c in home.client.instance_colors()[1][str(fridge)]]
    _rows, columns = np.nonzero((seen == colour).all(2))
    box = next(n for n in home.graph["nodes"] if n["id"] == fridge)["bounding_box"]
    corners = [
        [c + s * e / 2 for c, s, e in zip(box["center"], (a, b, d), box["size"], strict=True)]
        for a in (-1, 1) for b in (-1, 1) for d in (-1, 1)
    ]  # fmt: skip
    clip = projection @ view @ np.concatenate([np.array(corners).T, np.ones((1, 8))])
    across = (clip[0] / clip[3] * data["aspect"] + 1) / 2 * 300
    assert clip[3].min() > 0
    assert across.min() - 6 <= columns.min()
    assert columns.max() <= across.max() + 6


@pytest.mark.parametrize("camera", ["FIRST_PERSON", "PERSON_FROM_BACK"])
def test_what_the_character_does_shows_in_both_views(home, camera):
    fridge, sofa, (name, number) = home.one("fridge"), home.one("sofa"), home.loose()
    assert home.run(f"<char0> [Walk] <fridge> ({fridge})")[0]
    closed = home.see(camera)
    assert home.run(f"<char0> [Open] <fridge> ({fridge})")[0]
    assert np.mean(np.abs(home.see(camera).astype(int) - closed).max(2) > 24) > 0.01
    assert home.run(f"<char0> [Walk] <{name}> ({number})")[0]
    empty = home.see(camera)
    assert home.run(f"<char0> [Grab] <{name}> ({number})")[0]
    assert np.mean(np.abs(home.see(camera).astype(int) - empty).max(2) > 24) > 0.004
    assert home.run(f"<char0> [Walk] <sofa> ({sofa})")[0]
    standing = home.see(camera)
    assert home.run(f"<char0> [Sit] <sofa> ({sofa})")[0]
    assert np.mean(home.see(camera) != standing) > 0.05


def test_the_contents_of_a_closed_thing_are_hidden(home):
    inside = {e["from_id"]: e["to_id"] for e in home.graph["edges"] if e["relation_type"] == "INSIDE"}
    fridge = home.one("fridge")
    food = next(n["id"] for n in home.graph["nodes"] if {"from_id": n["id"], "relation_type": "INSIDE", "to_id": fridge}
                in home.graph["edges"])  # fmt: skip
    assert food in inside
    camera = home.scene_cameras + home.names.index("PERSON_FROM_BACK")
    assert home.run(f"<char0> [Walk] <fridge> ({fridge})")[0]
    assert str(food) not in home.client.get_visible_objects(camera)[1]
    colour = [round(c * 255) for c in home.client.instance_colors()[1][str(food)]]
    assert not (home.see("FIRST_PERSON", "seg_inst")[:, :, ::-1] == colour).all(2).any()


def test_the_same_script_gives_the_same_pixels_after_a_reset(client):
    def play():
        assert client.reset(0)
        here = Home(client)
        tv = here.one("tv")
        assert here.run(f"<char0> [Walk] <tv> ({tv})", f"<char0> [SwitchOn] <tv> ({tv})")[0]
        return here.see("FIRST_PERSON"), here.see("PERSON_FROM_BACK")

    for first, second in zip(play(), play(), strict=True):
        assert np.array_equal(first, second)


def test_what_cannot_be_done_is_told_and_not_raised(client):
    assert not client.reset(99)
    assert client.reset(0)
    assert client.render_script(["<char0> [Walk] <sofa> (1)"]) == (False, "No character added yet!")
    assert client.add_character(initial_room="kitchen")
    for line in ("walk to the sofa", "<char0> [Fly] <sofa> (1)", "<char0> [Walk] <sofa> (99999)", "<char0> [Walk]",
                 "<char7> [StandUp]", "<char0> [Walk] <sofa> (1.2)"):  # fmt: skip
        ok, message = client.render_script([line])
        assert not ok, line
        assert message
    for actions in ({"action": "fly"}, {"action": "camera_image", "intParams": [999], "stringParams": ["{}"]},
                    {"action": "camera_image", "intParams": [0], "stringParams": ['{"mode": "x-ray"}']},
                    {"action": "camera_image", "intParams": ["a"], "stringParams": ["{}"]},
                    {"action": "add_character", "stringParams": ["no json"]}):  # fmt: skip
        answer = client.post_command({"id": "1", **actions})
        assert not answer["success"]
        assert answer["message"]
    assert client.set_time(10)
    assert client.activate_physics()
    assert client.remove_terrain()
    assert client.point_cloud()[0]


@pytest.mark.parametrize(
    "body", [[], {"no": "action"}, {"action": 5}, {"action": "idle", "intParams": "x"}, "text", None]
)
def test_requests_that_are_none_are_answered_with_400(client, body):
    with pytest.raises(UnityEngineException):
        client.post_command(body)
    assert client.camera_count()[0]


_CLIENT = """
import sys, time
from selu_hpc.envs.virtualhome.client import UnityCommunication
client = UnityCommunication(port=sys.argv[1])
assert client.check_connection() and client.check_connection()
other = UnityCommunication(port=sys.argv[1])
assert other.reset(1) and client.environment_graph()[0]
print("both served")
"""


def test_a_connection_that_is_kept_open_blocks_nobody(port):
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, str(port)], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout == "both served\n"


_PARENT = """
import subprocess, sys, time
process = subprocess.Popen([sys.executable, "-m", "selu_hpc.sim.virtualhome_server", "-http-port=" + sys.argv[1]])
print(process.pid, flush=True)
time.sleep(600)
"""


def test_the_process_ends_with_its_parent_and_writes_nothing(tmp_path):
    number, errors = free_port(), tmp_path / "err"
    command = [sys.executable, "-c", _PARENT, str(number)]
    with errors.open("w") as err, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(number)
        parent.kill()
    assert gone(child)
    assert errors.read_text() == ""


_LAUNCHED = """
import sys
from selu_hpc.envs.virtualhome.client import UnityCommunication
client = UnityCommunication(port=sys.argv[1], file_name=sys.argv[2], logging=False)
assert client.reset(2) and len(client.environment_graph()[1]["nodes"]) >= 200
client.close()
print("launched")
"""


def test_the_clients_own_launcher_starts_it(tmp_path):
    program = tmp_path / "home.x86_64"
    command = [
        sys.executable,
        "-m",
        "selu_hpc.sim.virtualhome_server",
        "--world",
        "unknown",
        "--launcher",
        str(program),
    ]
    subprocess.run(command, check=True, timeout=240)
    arguments = [sys.executable, "-c", _LAUNCHED, str(free_port()), str(program)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert "launched" in done.stdout, done.stderr
