"""The stand-in's world in this process, as a driver: the same observations as through the client, without a process.

Owns nothing but the short way to `sim.thor.world.World`. For making data in the known world, for inventories and for
tests; rollouts and evaluation go through the official client (client.py).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from selu_hpc.config import EnvConfig, World
from selu_hpc.envs.thor.environment import INITIALIZE, ThorEnvironment
from selu_hpc.envs.thor.state import Metadata
from selu_hpc.records import FrameHWC
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.thor.world import World as Household

_NOTHING: FrameHWC = np.zeros((1, 1, 3), np.uint8)


class LocalThor:
    """A world beside us. skin: another look than the scene's own; blind: no pictures are drawn."""

    def __init__(self, config: EnvConfig, *, skin: Skin | None = None, blind: bool = False) -> None:
        self._config = config
        self._blind = blind
        self._skin = skin
        self.world: Household | None = None

    def reset(self, scene: str) -> Metadata:
        config = self._config
        self.world = Household(scene.removesuffix("_physics"), known=config.world is World.KNOWN, skin=self._skin)
        self.world.screen = (config.width, config.height)
        return self.call({"action": "Initialize", **INITIALIZE})

    def call(self, action: dict[str, Any], *, render: bool = False) -> Metadata:
        assert self.world is not None, "call before reset"
        self.world.apply(copy.deepcopy(action))
        return self.world.metadata()

    def ask(self, action: dict[str, Any]) -> Any:
        """Without the state, which takes longer to describe than the answer to find."""
        assert self.world is not None, "ask before reset"
        outcome = self.world.apply(copy.deepcopy(action))
        return copy.deepcopy(outcome.value) if outcome.success else None

    def frames(self) -> tuple[FrameHWC, FrameHWC]:
        world, config = self.world, self._config
        assert world is not None, "frames before reset"
        if self._blind:
            return _NOTHING.copy(), _NOTHING.copy()
        width, height, skin = config.width, config.height, world.look
        eyes, camera = world.camera(), world.third_party_cameras[0].camera()
        first_person = render(world.drawables(for_agent=0), eyes, width=width, height=height, skin=skin)
        third_person = render(world.drawables(for_agent=None), camera, width=width, height=height, skin=skin)
        return first_person.rgb.copy(), third_person.rgb.copy()

    def close(self) -> None:
        self.world = None


def world_environment(config: EnvConfig, *, skin: Skin | None = None) -> ThorEnvironment:
    """A ThorEnvironment in this process, for mass data: `world_environment(EnvConfig(world=World.KNOWN))`."""
    return ThorEnvironment(LocalThor(config, skin=skin))


def blind_environment(config: EnvConfig) -> ThorEnvironment:
    """The same without pictures, for surveys."""
    return ThorEnvironment(LocalThor(config, blind=True))
