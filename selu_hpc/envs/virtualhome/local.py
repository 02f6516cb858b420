"""The stand-in's homes in this process, in the place of VirtualHome's client: the same answers without a process.

Owns nothing but the short way to `sim.virtualhome.world.HomeWorld`. For making data in the known world, for surveys and
for tests; rollouts and evaluation go through the official client (process.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selu_hpc.config import EnvConfig, World
from selu_hpc.envs.virtualhome.environment import CHARACTER, VirtualHomeEnvironment
from selu_hpc.envs.virtualhome.state import Graph
from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.virtualhome.graph import measured
from selu_hpc.sim.virtualhome.messages import RequestError
from selu_hpc.sim.virtualhome.world import HomeWorld

_NOTHING = np.zeros((1, 1, 3), np.uint8)


class LocalHome:
    """A home beside us that draws no pictures; a `Process` and a `Client` at once. skin: another look than its own."""

    def __init__(self, config: EnvConfig, *, skin: Skin | None = None) -> None:
        self.world = HomeWorld(known=config.world is World.KNOWN, skin=skin)

    @property
    def folder(self) -> Path:
        return Path()

    def client(self) -> LocalHome:
        return self

    def close(self) -> None:
        """There is no process to end."""

    def reset(self, environment: int | None = None) -> bool:
        return self.ask("environment", [] if environment is None else [environment])[0]

    def environment_graph(self) -> tuple[bool, Graph]:
        return True, measured(self.world.graph, self.world.places)

    def expand_scene(self, new_graph: Graph) -> tuple[bool, Any]:
        return self.ask("expand_scene", [], ["", json.dumps(new_graph)])

    def add_character(
        self, character_resource: str = CHARACTER, position: list[float] | None = None, initial_room: str = ""
    ) -> bool:
        asked: dict[str, Any] = {"character_resource": character_resource, "initial_room": initial_room}
        asked |= {"mode": "fix_position", "character_position": _point(position)} if position else {"mode": "fix_room"}
        return self.ask("add_character", [], [json.dumps(asked)])[0]

    def add_camera(self, position: list[float], rotation: list[float], field_view: float) -> tuple[bool, Any]:
        return self.ask("add_camera", [], [_camera(position, rotation, field_view)])

    def update_camera(
        self, camera_index: int, position: list[float], rotation: list[float], field_view: float
    ) -> tuple[bool, Any]:
        return self.ask("update_camera", [camera_index], [_camera(position, rotation, field_view)])

    def camera_count(self) -> tuple[bool, int]:
        return True, int(self.world.handle("camera_count", [], [])["value"])

    def character_cameras(self) -> tuple[bool, Any]:
        return self.ask("character_cameras", [])

    def camera_image(
        self, camera_indexes: list[int], mode: str = "normal", image_width: int = 96, image_height: int = 96
    ) -> tuple[bool, list[Any]]:
        return True, [_NOTHING for _ in camera_indexes]

    def render_script(self, script: list[str], **settings: Any) -> tuple[bool, Any]:
        ok, told = self.ask("render_script", [], [json.dumps(settings), *script])
        return ok, json.loads(told) if told.startswith("{") else told

    def ask(self, action: str, numbers: list[int], texts: Sequence[str] = ()) -> tuple[bool, Any]:
        """One request as the client sends it: success and message."""
        try:
            answer = self.world.handle(action, numbers, texts)
        except RequestError as error:
            return False, str(error)
        return bool(answer["success"]), answer["message"]


def blind_home_environment(config: EnvConfig) -> VirtualHomeEnvironment:
    """A VirtualHomeEnvironment in this process and without pictures, for surveys."""
    return VirtualHomeEnvironment(config, LocalHome(config))


def _camera(position: list[float], rotation: list[float], field_view: float) -> str:
    return json.dumps({"position": _point(position), "rotation": _point(rotation), "field_view": field_view})


def _point(values: Sequence[float]) -> dict[str, float]:
    return dict(zip("xyz", values, strict=True))
