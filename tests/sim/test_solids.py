"""Triangles kept on disk: the same picture with and without, whatever the files hold."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selu_hpc.sim.drawing import triangles
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.solids import MOST_VERSIONS, SolidFiles
from selu_hpc.sim.thor.world import World


@pytest.fixture
def files(tmp_path: Path) -> Iterator[SolidFiles]:
    found = SolidFiles(tmp_path)
    triangles.keep_in(found)
    yield found
    triangles.keep_in(None)
    forget()


def forget() -> None:
    """As a process that has drawn nothing yet."""
    triangles._solids.clear()
    triangles._batches.clear()


def picture(scene: str, *actions: str) -> tuple[np.ndarray, set[str]]:
    """What the agent sees after opening some things, and the kinds that were built for it."""
    forget()
    built: set[str] = set()
    world = World(scene, known=True)
    for action in actions:
        fridge = next(thing for thing in world.objects if thing.kind == "Fridge")
        assert world.apply({"action": action, "objectId": fridge.obj_id, "forceAction": True}).success
    light = triangles._light
    try:
        triangles._light = lambda drawable, skin: (built.add(drawable.kind), light(drawable, skin))[1]
        seen = render(world.drawables(), world.camera(), width=64, height=64, skin=world.look).rgb.copy()
    finally:
        triangles._light = light
    return seen, built


def test_a_scene_on_disk_is_not_built_again_and_looks_the_same(files: SolidFiles) -> None:
    first, built = picture("FloorPlan3")
    again, rebuilt = picture("FloorPlan3")
    assert len(built) > 10
    assert rebuilt == set()
    assert np.array_equal(first, again)


def test_only_what_differs_from_the_kept_scene_is_built(files: SolidFiles) -> None:
    picture("FloorPlan3")
    seen, built = picture("FloorPlan3", "OpenObject")
    assert "Fridge" in built
    assert len(built) < 10
    triangles.keep_in(None)
    assert np.array_equal(seen, picture("FloorPlan3", "OpenObject")[0])


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"\x00" * 4096])
def test_a_damaged_file_is_as_none(files: SolidFiles, damage: bytes) -> None:
    seen, built = picture("FloorPlan3")
    [file] = files.folder.glob("*/*.bin")
    file.write_bytes(damage or file.read_bytes()[:-8])
    again, rebuilt = picture("FloorPlan3")
    assert rebuilt == built
    assert np.array_equal(seen, again)


def test_another_scene_is_another_file(files: SolidFiles) -> None:
    for scene in ("FloorPlan3", "FloorPlan4", "FloorPlan3"):
        picture(scene)
    assert len(list(files.folder.glob("*/*"))) == 2


def test_homes_with_the_same_floors_share_a_file(files: SolidFiles) -> None:
    one = World("FloorPlan3", known=True)
    here = list(one.drawables())
    x, y, z = 0.1, 0.0, 0.0
    other = [d if d.kind == "Floor" else replace(d, position=tuple(np.add(d.position, (x, y, z)))) for d in here]
    for drawables in (here, other):
        forget()
        with triangles.locked_batch(drawables, one.look):
            pass
    assert len(list(files.folder.glob("*/*.bin"))) == 1
    for drawables in (here, other):
        forget()
        with triangles.locked_batch(drawables, one.look) as batch:
            kept = batch.tris.copy()
        assert len(triangles._solids) > len(drawables)
        forget()
        triangles.keep_in(None)
        with triangles.locked_batch(drawables, one.look) as batch:
            assert np.array_equal(kept, batch.tris)
        triangles.keep_in(files)


def test_a_new_version_leaves_only_the_newest_of_the_others(files: SolidFiles) -> None:
    for age, name in enumerate(("newer", "new", "old", "older")):
        (files.folder / name).mkdir()
        os.utime(files.folder / name, (1_000_000 - age, 1_000_000 - age))
    picture("FloorPlan3")
    kept = {folder.name for folder in files.folder.iterdir()}
    assert len(kept) == MOST_VERSIONS
    assert {"newer", "new"} < kept
