"""A film draws only what changed; its pictures are those drawn from nothing."""

import subprocess
import sys

import numpy as np
import pytest

from selu_hpc.sim.drawing import raster
from selu_hpc.sim.drawing.camera import View
from selu_hpc.sim.drawing.film import Film
from selu_hpc.sim.drawing.render import render, render_views
from selu_hpc.sim.thor.world import ThirdPartyCamera, World

WALK = ("Pass", "RotateRight", "MoveAhead", "LookDown", "Pass", "MoveAhead", "RotateLeft", "MoveBack", "Crouch")


def view(world: World, camera, size: int, agent: int | None) -> View:
    return View(drawables=world.drawables(agent), camera=camera, width=size, height=size)


def views(world: World, size: int) -> list[View]:
    a = world.agents[0]
    above = ThirdPartyCamera((a.x, 2.2, a.z - 1.0), (35.0, 10.0, 0.0), 90.0).camera()
    return [view(world, world.camera(), size, 0), view(world, above, size, None)]


def states(world: World) -> list[dict]:
    """Actions that change how things look, what is held, and how many things there are."""
    found = []
    for able, name in (("open", "OpenObject"), ("toggle", "ToggleObjectOn"), ("slice", "SliceObject")):
        things = [t for t in world.objects if t.spec.can(able)]
        found += [{"action": name, "objectId": t.obj_id, "forceAction": True} for t in things[:2]]
    held = next(t for t in world.objects if t.spec.can("pick") and t.parent is not None)
    return [*found, {"action": "PickupObject", "objectId": held.obj_id, "forceAction": True}]


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in ("rgb", "depth", "ids"))


@pytest.mark.parametrize("size", [96, 150])
@pytest.mark.parametrize("scene", ["FloorPlan1", "FloorPlan218"])
def test_pictures_of_a_film_are_those_drawn_from_nothing(scene, size):
    world = World(scene, known=True)
    fixed = views(world, size)[1].camera
    films = [Film(), Film()]
    walk = [{"action": name} for name in WALK]
    for action in (*walk, *states(world), *walk, {"action": "RandomizeMaterials"}, *walk[:3]):
        world.apply(action)
        asked = [view(world, world.camera(), size, 0), view(world, fixed, size, None)]
        shot = render_views(asked, skin=world.look, films=films)
        for one, images in zip(asked, shot, strict=True):
            fresh = render(one.drawables, one.camera, width=size, height=size, skin=world.look)
            assert same(images, fresh), action


def test_a_camera_that_stays_draws_only_what_changed(monkeypatch):
    world = World("FloorPlan1", known=True)
    film, camera = Film(), views(world, 96)[1].camera
    calls = []
    for name in ("draw", "draw_still", "draw_moving"):
        kernel = getattr(raster, name)
        monkeypatch.setattr(raster, name, lambda *a, name=name, kernel=kernel: calls.append(name) or kernel(*a))
    for yaw in ("RotateRight", "Pass", "RotateRight", "RotateRight"):
        world.apply({"action": yaw})
        render_views([view(world, camera, 96, None)], skin=world.look, films=[film])
    assert calls == ["draw", "draw_still", "draw_moving", "draw_moving"]


def test_all_pixel_loops_can_be_compiled_before_the_first_picture():
    script = """
from selu_hpc.sim.drawing import raster, render
render.compile_all()
print(*(len(getattr(raster, name).signatures) for name in ("draw", "draw_still", "draw_moving", "halve")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "1", "1"]


def test_films_of_one_scene_do_not_disturb_each_other():
    """Two worlds of one scene share its lit triangles."""
    first, second = World("FloorPlan201", known=False), World("FloorPlan201", known=False)
    films, camera = [Film(), Film()], views(first, 96)[1].camera
    for name in ("Pass", "MoveAhead", "RotateRight", "MoveAhead", "Pass"):
        first.apply({"action": name})
        for action in states(second)[:2]:
            second.apply(action)
        for world, film in ((first, films[0]), (second, films[1])):
            one = view(world, camera, 96, None)
            shot = render_views([one], skin=world.look, films=[film])[0]
            assert same(shot, render(one.drawables, camera, width=96, height=96, skin=world.look))
