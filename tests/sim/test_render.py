"""Pixels, depth and instance numbers against what geometry says."""

import hashlib
import math
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selu_hpc.sim.drawing.camera import Camera, Drawable, View
from selu_hpc.sim.drawing.render import class_colour, instance_colour, paint_ids, render, render_views
from selu_hpc.sim.drawing.skins import skins, style

SKIN = skins(True)[4]
AHEAD = Camera(position=(0, 1.0, 0), yaw=0)


def thing(kind: str = "Box", key: int = 7, at: tuple[float, float, float] = (0, 0.75, 2), **rest) -> Drawable:
    return Drawable(key=key, kind=kind, position=at, style=style(SKIN, kind, 1), **{"size": (0.5, 0.5, 0.5), **rest})


def room() -> list[Drawable]:
    walls = [(0, 2.05, 5, 0.1), (0, -2.05, 5, 0.1), (2.55, 0, 0.1, 4), (-2.55, 0, 0.1, 4)]
    return [
        thing("Floor", 1, (0, -0.02, 0), size=(5, 0.02, 4)),
        *(thing("Wall", 2 + i, (x, 0, z), size=(w, 2.5, d)) for i, (x, z, w, d) in enumerate(walls)),
        thing("Ceiling", 6, (0, 2.5, 0), size=(5, 0.05, 4)),
    ]


def look(drawables: list[Drawable], camera: Camera = AHEAD, side: int = 300):
    return render(drawables, camera, width=side, height=side, skin=SKIN)


def test_the_depth_of_a_box_is_the_distance_to_its_face():
    images = look([thing()])
    inside = images.ids == 7
    face = np.abs(images.depth[140:160, 140:160] - 1.75)
    assert inside[150, 150]
    assert face.max() < 0.01
    # The face is 0.5 m wide at 1.75 m, and a 90 degree camera sees 3.5 m there on 300 pixels.
    assert inside[150].sum() == pytest.approx(300 * 0.5 / 3.5, abs=3)


def test_depth_over_the_floor_is_perspective_correct():
    images = look([thing("Floor", 1, (0, -0.02, 0), size=(20, 0.02, 20))])
    rows = np.arange(200, 300)
    expected = 1.0 / ((rows + 0.5 - 150) / 150)
    assert np.allclose(images.depth[200:300, 150], expected, rtol=1e-3)


def test_nothing_is_far_away_and_has_the_number_zero():
    images = look([])
    assert not images.ids.any()
    assert np.all(images.depth == AHEAD.far)


def test_the_nearer_thing_hides_the_farther_in_whichever_order_they_come():
    near, far = thing(key=1, at=(0, 0.75, 1.2)), thing(key=2, at=(0, 0.75, 3))
    assert look([near, far]).ids[150, 150] == look([far, near]).ids[150, 150] == 1


def test_yaw_90_looks_along_x_and_pitch_looks_down():
    to_the_right = [thing(at=(2, 0.75, 0))]
    assert look(to_the_right, Camera(position=(0, 1, 0), yaw=90)).ids[150, 150] == 7
    assert look([thing(at=(0, -0.02, 1))], Camera(position=(0, 1, 0), yaw=0, pitch=45)).ids[150, 150] == 7
    right_half = look([thing(at=(0.6, 0.75, 2))]).ids[:, 150:] == 7
    assert right_half.any()
    assert not (look([thing(at=(0.6, 0.75, 2))]).ids[:, :150] == 7).any()


def test_a_thing_turned_by_yaw_shows_its_front_to_where_it_looks():
    screen = {"size": (1.0, 0.6, 0.2), "flags": frozenset({"on"})}
    front = look([thing("Television", at=(0, 0.7, 1.5), yaw=180, **screen)]).rgb.astype(int)
    back = look([thing("Television", at=(0, 0.7, 1.5), yaw=0, **screen)]).rgb.astype(int)
    assert front[150, 150].sum() > 3 * back[150, 150].sum()


def test_a_triangle_that_crosses_the_near_plane_is_cut_there():
    floor = [thing("Floor", 1, (0, -0.02, 0), size=(8, 0.02, 8))]
    images = look(floor, Camera(position=(0, 0.3, 0), yaw=30, near=0.5, pitch=20))
    seen = images.ids == 1
    assert seen.any()
    assert images.depth[seen].min() >= 0.5 - 1e-4
    assert np.isfinite(images.depth).all()


def test_a_camera_inside_a_thing_still_gives_finite_pictures():
    images = look([thing(at=(0, 0.5, 0), size=(2, 1, 2)), *room()])
    assert np.isfinite(images.depth).all()
    assert images.depth.min() > 0


def test_walls_of_the_room_leave_no_holes():
    images = look(room(), Camera(position=(0.3, 1.4, -0.4), yaw=37, pitch=11))
    assert (images.ids > 0).all()


def test_a_camera_outside_looks_into_the_room():
    images = look([*room(), thing("Sofa", 9, (0, 0, 0), size=(1.9, 0.8, 0.9))], Camera(position=(0, 1.5, -5), yaw=0))
    assert (images.ids == 9).sum() > 500


@pytest.mark.parametrize("side", [96, 300])
def test_the_same_drawables_give_the_same_pixels_whatever_was_drawn_before(side):
    scene = [*room(), thing("Fridge", 8, (1, 0, 1.5), size=(0.8, 1.8, 0.7), yaw=180)]
    camera = Camera(position=(0, 1.4, -1), yaw=20, pitch=15)
    first = look(scene, camera, side)
    look([*room(), thing("Fridge", 8, (1, 0, 1.5), size=(0.8, 1.8, 0.7), yaw=90, openness=1.0)], camera, side)
    look([*room(), thing("Egg", 8, (1, 0, 1.5), size=(0.8, 1.8, 0.7))], camera, side)
    again = look(scene, camera, side)
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.depth, again.depth)
    assert np.array_equal(first.ids, again.ids)


_SCRIPT = """
import hashlib, sys
sys.path.insert(0, {here!r})
from test_render import look, room, thing
from selu_hpc.sim.drawing.camera import Camera
kinds = ("Fridge", "Mug", "Sofa", "HousePlant", "Television")
scene = [*room(), *(thing(k, 10 + i, (i - 2.0, 0, 1.2)) for i, k in enumerate(kinds))]
images = look(scene, Camera(position=(0, 1.4, -1), yaw=5, pitch=15))
print(hashlib.sha256(images.rgb.tobytes() + images.depth.tobytes() + images.ids.tobytes()).hexdigest())
"""


def test_another_process_draws_the_same_pixels_and_does_not_compile_again(tmp_path):
    environment = dict(os.environ, PYTHONHASHSEED="random", NUMBA_CACHE_DIR=str(tmp_path))
    script = _SCRIPT.format(here=str(Path(__file__).parent))

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=240
        )
        return done.stdout

    first = run()
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert compiled
    assert run() == first
    assert len(first.strip()) == 64
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == compiled


def test_views_drawn_in_threads_are_the_views_drawn_alone():
    scene = [*room(), thing("Chair", 8, (0.5, 0, 1.0))]
    body = thing("Agent", 9, (0, 0, 0), size=(0.4, 1.7, 0.4))
    first, third = Camera(position=(0, 1.5, 0), yaw=20), Camera(position=(0.5, 1.9, -1.8), yaw=-5, pitch=20)
    views = [
        View(drawables=scene, camera=first, width=200, height=120),
        View(drawables=[*scene, body], camera=third, width=96, height=96),
    ]
    for view, images in zip(views, render_views(views, skin=SKIN), strict=True):
        alone = render(view.drawables, view.camera, width=view.width, height=view.height, skin=SKIN)
        assert images.rgb.shape == (view.height, view.width, 3)
        assert hashlib.sha256(images.rgb).digest() == hashlib.sha256(alone.rgb).digest()


def test_odd_sizes_are_drawn_like_even_ones():
    wide = render([thing()], AHEAD, width=301, height=200, skin=SKIN)
    assert wide.rgb.shape == (200, 301, 3)
    assert wide.ids[100, 150] == 7
    assert render([thing()], AHEAD, width=1, height=1, skin=SKIN).ids.shape == (1, 1)


def test_moving_one_thing_moves_only_its_pixels():
    scene = [*room(), thing(key=8, at=(-0.5, 0, 1.2)), thing(key=9, at=(0.5, 0, 1.2))]
    before = look(scene)
    after = look([*scene[:-1], replace(scene[-1], position=(0.9, 0, 1.2))])
    changed = (before.rgb != after.rgb).any(2)
    touched = (before.ids == 9) | (after.ids == 9)
    assert changed.any()
    assert not (changed & ~touched).any()


def test_segmentation_colours_differ_between_instances_and_classes():
    assert len({instance_colour(key) for key in range(1, 10_000)}) == 9_999
    kinds = ("Apple", "Mug", "Fridge", "Floor", "Wall", "Plate", "Knife")
    assert len({class_colour(kind) for kind in kinds}) == len(kinds)
    ids = np.array([[0, 3]], np.int32)
    assert paint_ids(ids, {3: (1, 2, 3)}).tolist() == [[[0, 0, 0], [1, 2, 3]]]


def test_the_field_of_view_is_vertical():
    tall = render([thing()], replace(AHEAD, fov=60), width=100, height=200, skin=SKIN)
    height = (tall.ids == 7)[:, 50].sum()
    assert height == pytest.approx(200 * 0.5 / (2 * 1.75 * math.tan(math.radians(30))), abs=3)


PICTURES = """
import hashlib, math
from tests_of_pictures import look, room, thing
from selu_hpc.sim.drawing.camera import Camera
digest = hashlib.sha256()
for turn in range(12):
    camera = Camera(position=(0.3, 1.4, 0.1), yaw=31.7 * turn, pitch=13.3)
    images = look([*room(), thing("Fridge", 9, (1.1, 0.8, 1.2)), thing("Apple", 10, (-0.7, 0.9, 0.8))], camera, 96)
    digest.update(images.rgb.tobytes() + images.depth.tobytes() + images.ids.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names CPUs of one family")
def test_pictures_are_the_same_to_the_last_bit_on_every_kind_of_cpu(tmp_path):
    """Numba compiles for the CPU it runs on; fused multiplication and wide vectors must not show."""
    (tmp_path / "tests_of_pictures.py").write_text(Path(__file__).read_text().partition("PICTURES = ")[0])

    def drawn(**cpu):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cpu["NUMBA_CPU_NAME"]), **cpu}
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        done = subprocess.run(
            [sys.executable, "-c", PICTURES], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    old = drawn(NUMBA_CPU_NAME="x86-64-v2", NUMBA_CPU_FEATURES="+sse4.2")
    assert old == drawn(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx2,+fma")
    assert len(old) == 65
