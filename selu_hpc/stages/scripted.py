"""Scripted actors inside the pool's processes, where the simulator's state can be read.

A step's words are a policy's name ("expert"); the policy says what is really done, and the pool sees the outcome as
of any step. Used for frozen test sets only: learning never meets a scripted actor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selu_hpc.envs.base import Environment, Observation, StepResult
from selu_hpc.envs.worker import Place
from selu_hpc.records import Task, Truth

FACTORY = "selu_hpc.stages.scripted:make"


class ScriptedEnvironment:
    """An environment whose steps are spoken by a policy."""

    def __init__(self, environment: Any, script: Callable[..., Callable[[Any], str]]) -> None:
        self._environment = environment
        self._script = script
        self._speak: Callable[[Any], str] | None = None
        self._task: Task | None = None
        self._seed = 0

    def reset(self, task: Task, *, seed: int) -> Observation:
        self._task, self._seed, self._speak = task, seed, None
        seen: Observation = self._environment.reset(task, seed=seed)
        return seen

    def step(self, text: str) -> StepResult:
        if not text:  # the pool's, for a step that is lost
            lost: StepResult = self._environment.step("")
            return lost
        if self._speak is None:
            self._speak = self._script(text, self._task, self._environment.metadata, seed=self._seed)
        result: StepResult = self._environment.step(self._speak(self._environment.metadata))
        return result

    def truth(self, episode_id: str) -> Truth:
        found: Truth = self._environment.truth(episode_id)
        return found

    def close(self) -> None:
        self._environment.close()


def make(place: Place) -> Environment:
    """The configured simulator with scripted actors."""
    from selu_hpc.envs.make import make_environment

    return ScriptedEnvironment(make_environment(place), _script)


def _script(policy: str, task: Task, state: dict[str, Any], *, seed: int) -> Callable[[Any], str]:
    """From a policy's name, a task, a state and a seed to what is said next."""
    from selu_hpc.envs.expert import Policy, script

    return script(Policy(policy), task, state, seed=seed)
