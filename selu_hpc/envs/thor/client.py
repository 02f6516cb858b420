"""The real `ai2thor.controller.Controller` as a driver.

Owns one Controller and its life. The client can wait for ever for a process that died before it opened its pipe, and
spins until its time-out for one that was aborted: `death` tells of the process itself, for a watch (watch.py).
Does not own what the actions mean (environment.py) or what happens after a death (pool.py).
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from ai2thor.controller import Controller

from selu_hpc.envs.base import NoSuchSceneError
from selu_hpc.envs.launch import Launch
from selu_hpc.envs.thor.environment import INITIALIZE
from selu_hpc.envs.thor.state import Metadata
from selu_hpc.errors import SimulatorError
from selu_hpc.records import FrameHWC

_NO_SCENE = "not contained in build"
"""The client's words; the rest of its message is a list of every scene."""


class ThorClient:
    """A THOR process behind the official client; `ThorEnvironment(ThorClient(launch))`."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._stack = contextlib.ExitStack()
        self._controller: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self.stopping = threading.Event()

    def start(self, scene: str) -> None:
        """Start the process in a scene; what `death` sees begins before the client's constructor returns."""
        launch = self._launch
        launch.link_release()
        display = self._stack.enter_context(launch.display())
        controller = self._controller = Controller.__new__(Controller)
        controller.start = _only_once(controller.start)
        # No time-out in the client: with one it reads more slowly, and does not see a death at all.
        controller.__init__(
            **launch.arguments(display),
            scene=scene,
            server_timeout=None,
            server_start_timeout=launch.config.start_timeout_s,
            **INITIALIZE,
        )

    def reset(self, scene: str) -> Metadata:
        try:
            if self._controller is None:
                self.start(scene)
            else:
                self._controller.reset(scene)
        except ValueError as error:
            if _NO_SCENE not in str(error):
                raise
            build = f"the build of env.unity_commit {self._launch.config.unity_commit!r}"
            raise NoSuchSceneError(f"{build} has no scene {scene}; name one that has") from error
        found: Metadata = self._controller.last_event.metadata
        return found

    def call(self, action: dict[str, Any], *, render: bool = False) -> Metadata:
        try:
            found: Metadata = self._controller.step({**action, "renderImage": render}).metadata
        except ValueError:
            # How the client reports an action that the build does not know or whose arguments it refuses.
            found = self._controller.last_event.metadata
        return found

    def ask(self, action: dict[str, Any]) -> Any:
        answer = self.call(action)
        return answer["actionReturn"] if answer["lastActionSuccess"] else None

    def frames(self) -> tuple[FrameHWC, FrameHWC]:
        event = self._controller.last_event
        if event.frame is None or not event.third_party_camera_frames:
            raise SimulatorError("the THOR process sent no pictures; is it running headless (-nographics)?")
        third_person = event.third_party_camera_frames[0][:, :, :3]  # Unity sends four channels
        return np.array(event.frame, order="C"), np.array(third_person, order="C")

    def close(self) -> None:
        self.stopping.set()
        if self._controller is not None and getattr(self._controller, "server", None) is not None:
            self._controller.stop()
            process = self._controller.server.unity_proc
            if process is not None:
                process.wait()
        self._stack.close()

    def death(self) -> str:
        """How the process ended, or nothing while it lives."""
        if self._process is None:
            self._process = getattr(getattr(self._controller, "server", None), "unity_proc", None)
        process = self._process
        if self.stopping.is_set() or process is None or process.poll() is None:
            return ""
        return f"the THOR process {process.pid} ended with status {process.returncode}"


def _only_once(start: Callable[..., Any]) -> Callable[..., Any]:
    """A Controller's `start` that refuses its second call.

    After an abort or a segmentation fault the client starts another process by itself, in a scene that has forgotten
    the episode, and the pool would not know of it.
    """
    calls = 0

    def start_once(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise SimulatorError("the THOR process crashed; it is the pool that starts it again, not the client")
        return start(*arguments, **named)

    return start_once
