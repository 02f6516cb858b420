"""What a build does between messages: load scenes, apply actions, collect the answer's parts.

Owns scene changes and what survives them (resolution). Does not own the channel (fifo.py, wsgi.py).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.thor import pictures, scenes
from selu_hpc.sim.thor.pictures import PackedView, Wanted
from selu_hpc.sim.thor.world import Outcome, World

logger = logging.getLogger(__name__)

FIRST_SCENE = "FloorPlan1"
_SUFFIX = "_physics"


@dataclass(frozen=True)
class Answer:
    """One event, to be sent before the next message is handled. patch: what fast emit sends instead, or None.

    Packed and drawn by the channel that sends it, when it is asked for: a client can read its metadata while its
    pictures are drawn.
    """

    world: World
    sequence_id: int
    want: Wanted
    patch: dict[str, Any] | None = None

    @property
    def views(self) -> list[PackedView]:
        """What every agent sees."""
        return self._drawn[0]

    @property
    def cameras(self) -> list[PackedView]:
        """What every third-party camera sees."""
        return self._drawn[1]

    @cached_property
    def _drawn(self) -> tuple[list[PackedView], list[PackedView]]:
        return ([], []) if self.patch is not None else pictures.views(self.world, self.want)


class Session:
    """One client's build."""

    def __init__(self, *, known: bool, skin: Skin | None, screen: tuple[int, int], headless: bool) -> None:
        self._known, self._skin, self._headless = known, skin, headless
        self._sent_all = False
        self.world = self._load(FIRST_SCENE, screen)

    def first(self) -> Answer:
        """What a build says before it is asked."""
        return self._answer({}, 0)

    def handle(self, message: dict[str, Any]) -> Answer:
        """Apply one message and collect the answer."""
        sequence_id = message.get("sequenceId", 0)
        if message.get("action") == "Reset":
            self._reset(message)
        elif message.get("action") == "CreateHouse":
            self.world.apply({"action": "Pass"})
            self._refuse("CreateHouse", "this build has iTHOR's scenes only, no procedural houses")
        else:
            self._apply(message)
        return self._answer(message, sequence_id)

    def _apply(self, message: dict[str, Any]) -> None:
        """Apply an action; a fault of our own becomes a failed action, as it does in Unity, and is logged."""
        try:
            self.world.apply(message)
        except Exception as error:
            logger.exception("action %s failed in the build", str(message.get("action"))[:100])
            told = Outcome(False, f"{type(error).__name__}: {error}"[:500], "UnhandledException")
            self.world.tell(str(message.get("action"))[:100], told)

    def _reset(self, message: dict[str, Any]) -> None:
        asked = message.get("sceneName")
        name = str(asked or self.world.scene_name).removesuffix(_SUFFIX)
        if name == "Procedural":
            name = FIRST_SCENE
        if name not in scenes.scene_names():
            self._refuse("Reset", f"sceneName {str(asked)[:100]!r} is not in this build")
            return
        self.world = self._load(name, self.world.screen)
        self.world.tell("Reset", self.world.deed.outcome)
        self._sent_all = False

    def _refuse(self, action: str, why: str) -> None:
        self.world.tell(action, Outcome(False, why))

    def _load(self, scene: str, screen: tuple[int, int]) -> World:
        world = World(scene, known=self._known, skin=self._skin)
        world.screen = screen
        return world

    def _answer(self, message: dict[str, Any], sequence_id: int) -> Answer:
        world = self.world
        want = pictures.wanted(world, message, headless=self._headless)
        if world.deed.outcome.query and self._can_patch(message):
            return Answer(world, sequence_id, want, patch=world.describer.patch())
        self._sent_all = True
        return Answer(world, sequence_id, want)

    def _can_patch(self, message: dict[str, Any]) -> bool:
        asks = any(isinstance(key, str) and key.startswith("render") and key != "renderImage" for key in message)
        return self.world.settings.fast_emit and self._sent_all and not asks
