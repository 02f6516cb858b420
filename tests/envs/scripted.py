"""A tiny environment for testing the pool: counts its steps and fails when told to, once per mark on disk."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np

from selu_hpc.envs.base import Observation, StepResult
from selu_hpc.envs.worker import Place
from selu_hpc.records import Goal, Task, Truth

A_WHILE_S = 1000.0
"""What is said to take a while comes back within so long, not sooner."""


class Nothing:
    """What its scenes make feasible."""

    def goals(self, verb: str) -> list[Goal]:
        return []


class ScriptedEnvironment:
    """Its picture is a hash of everything that happened in the episode."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.said: list[str] = []

    def _look(self) -> Observation:
        digest = hashlib.sha256("\n".join(self.said).encode()).digest()
        frame = np.frombuffer(digest[:12], dtype=np.uint8).reshape(2, 2, 3).copy()
        return Observation(first_person=frame, third_person=frame.copy(), text=str(len(self.said)))

    def reset(self, task: Task, *, seed: int) -> Observation:
        self.said = [task.instruction, str(seed)]
        what, _, mark = task.instruction.partition(":")
        if what == "fail to start" and (not mark or Path(mark).exists()):
            raise RuntimeError("no display")
        if task.instruction == "hopeless":
            raise FileNotFoundError("/no/such/build")
        return self._look()

    def step(self, text: str) -> StepResult:
        what = self._told(text)
        self.said.append(what)
        return StepResult(observation=self._look(), parsed=what, ok=True)

    def feasible(self, scene: str) -> Nothing:
        self._told(scene)
        return Nothing()

    def _told(self, text: str) -> str:
        """What is left to do after failing as told: once per mark, or always."""
        what, _, mark = text.partition(":")
        if mark and not Path(mark).exists():
            Path(mark).touch()
            self._fail(what)
        elif what.startswith("always "):
            self._fail(what.removeprefix("always "))
        elif what == "take a while" and self.place.config.step_timeout_s < A_WHILE_S:
            self._fail("hang")
        return what

    def _fail(self, what: str) -> None:
        match what:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "abort":
                os.abort()
            case "hang":
                hang_mark().touch()
                time.sleep(3600)
            case "raise":
                raise RuntimeError("the client gave up")
            case "notice":
                self.place.on_death("the process ended with status -6")

    def truth(self, episode_id: str) -> Truth:
        return Truth(episode_id=episode_id, success_after=tuple(False for _ in self.said[1:]))

    def close(self) -> None:
        pass


def hang_mark() -> Path:
    """There while an environment hangs."""
    return Path(os.environ["SCRIPTED_HANGS"])


def make(place: Place) -> ScriptedEnvironment:
    if "SCRIPTED_HANGS" in os.environ:
        hang_mark().unlink(missing_ok=True)
    return ScriptedEnvironment(place)
