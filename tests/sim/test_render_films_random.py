"""Whatever happens in a world, what its cameras' films show is what a picture drawn from nothing shows."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import pytest
from thor_fuzz import Fuzzer

from selu_hpc.sim.drawing import raster, triangles
from selu_hpc.sim.thor import pictures
from selu_hpc.sim.thor.session import Answer, Session

RENDER = ("renderDepthImage", "renderInstanceSegmentation", "renderSemanticSegmentation", "renderNormalsImage")


class Director:
    """Messages that change a world, its cameras, its agents, its looks and its scene."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.fuzzer = Fuzzer(seed)

    def message(self, session: Session) -> dict[str, Any]:
        rng, world = self.rng, session.world
        roll = rng.random()
        if roll < 0.1:
            return self._camera(len(world.third_party_cameras))
        if roll < 0.2:
            name = rng.choice(
                ("RandomizeMaterials", "RandomizeColors", "ResetMaterials", "RandomizeLighting", "ResetLighting",
                 "InitialRandomSpawn", "HideObject", "UnhideObject", "DisableObject", "EnableObject",
                 "RemoveFromScene", "SetObjectPoses")
            )  # fmt: skip
            return {"action": name, "objectId": rng.choice(world.things).obj_id, "randomSeed": rng.randrange(9)}
        if roll < 0.23:
            return {"action": "ChangeResolution", "x": rng.choice((64, 96, 140)), "y": rng.choice((96, 130))}
        if roll < 0.25:
            return {"action": "Reset", "sceneName": rng.choice(("FloorPlan1", "FloorPlan215", world.scene_name))}
        if roll < 0.27:
            flags = {flag: rng.random() < 0.4 for flag in RENDER}
            return {"action": "Initialize", "agentCount": rng.choice((1, 1, 2, 3)), **flags}
        message = {key: value for key, value in self.fuzzer.message(world).items() if key != "renderImage"}
        name = message.get("action")
        if name in ("Initialize", "ChangeResolution"):
            message["action"] = "Pass"
        if roll < 0.5:
            message["agentId"] = rng.randrange(len(world.agents))
        return message

    def _camera(self, num: int) -> dict[str, Any]:
        rng = self.rng
        where = {
            "position": {"x": rng.uniform(-2, 2), "y": rng.uniform(1, 2.4), "z": rng.uniform(-2, 2)},
            "rotation": {"x": rng.choice((0, 30, 90)), "y": rng.uniform(0, 360), "z": 0},
            "fieldOfView": rng.choice((60, 90)),
        }
        if num and (num > 2 or rng.random() < 0.6):
            return {"action": "UpdateThirdPartyCamera", "thirdPartyCameraId": rng.randrange(num), **where}
        return {"action": "AddThirdPartyCamera", "orthographic": rng.random() < 0.2, "orthographicSize": 2.0, **where}


def drawn_from_nothing(session: Session, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The pictures without anything kept: no films, no list of drawables, no lit triangles."""
    world = session.world
    with monkeypatch.context() as empty:
        empty.setattr(world, "films", {})
        empty.setattr(world, "_drawn", None)
        empty.setattr(world, "_drawables", {})
        empty.setattr(triangles, "_batches", OrderedDict())
        empty.setattr(triangles, "_solids", OrderedDict())
        return pictures.views(world, answer.want)


def play(seed: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Play and compare; returns which pixel loops ran for the films."""
    loops: list[str] = []
    session = Session(known=seed % 2 == 0, skin=None, screen=(96, 96), headless=False)
    director = Director(seed)
    for _ in range(steps):
        message = director.message(session)
        with monkeypatch.context() as watched:
            for name in ("draw", "draw_moving"):
                kernel = getattr(raster, name)
                watched.setattr(raster, name, lambda *a, n=name, kernel=kernel: loops.append(n) or kernel(*a))
            answer = session.handle(message)
            assert len(answer.cameras) == (0 if answer.patch else len(session.world.third_party_cameras))
        if answer.patch is None:
            assert (answer.views, answer.cameras) == drawn_from_nothing(session, answer, monkeypatch), message
    return loops


def test_random_actions_show_what_pictures_drawn_from_nothing_show(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = play(0, 150, monkeypatch)
    assert loops.count("draw_moving") > 30
    assert loops.count("draw") > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 13))
def test_many_random_actions_show_what_pictures_drawn_from_nothing_show(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play(seed, 400, monkeypatch).count("draw_moving") > 20
