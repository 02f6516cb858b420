"""Hostile actions, many of them: no crash, and the invariants hold. The long run is `-m slow`."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import pytest
from thor_fuzz import Fuzzer, play

from selu_hpc.sim.thor.scenes import scene_names
from selu_hpc.sim.thor.world import World

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ai2thor.controller import Controller

SCENES = scene_names()[::6]


@pytest.mark.parametrize("number", range(0, len(SCENES), 4))
def test_random_and_hostile_actions_never_break_a_world(number: int) -> None:
    world = World(SCENES[number], known=number % 8 == 0)
    assert play(world, Fuzzer(number), 400) > 40


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SCENES)))
def test_ten_thousand_hostile_actions_over_twenty_scenes(number: int) -> None:
    world = World(SCENES[number], known=number % 2 == 0)
    assert play(world, Fuzzer(1000 + number), 500) > 50


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_hostile_actions_through_the_real_controller_are_answered(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    build = f"{sys.executable} -m selu_hpc.sim.thor_build --world unknown"
    controller = Controller(
        local_executable_path=build, x_display="0", scene="FloorPlan5", width=64, height=64, server_timeout=240
    )
    try:
        fuzzer, world = Fuzzer(5), World("FloorPlan5", known=False)
        refused = 0
        for i in range(300):
            message = fuzzer.message(world)
            name = message.get("action")
            if not isinstance(name, str) or name in ("Initialize", "ChangeResolution") or "agentId" in message:
                continue
            try:
                controller.step(message)
            except ValueError:
                refused += 1
            assert controller.last_event.metadata["lastAction"] is not None
            world.apply(message)
            assert controller.last_event.metadata["lastActionSuccess"] == world.deed.outcome.success, message
            if i % 40 == 0:
                controller.step(action="Pass")
                world.apply({"action": "Pass"})
        assert refused > 5
        assert controller.step("Pass")
        assert os.path.exists(f"/proc/{controller.unity_pid}")  # noqa: PTH110
    finally:
        controller.stop()
        controller.server.unity_proc.wait()
