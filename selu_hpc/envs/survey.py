"""What a scene makes feasible, and whether it can really be done: tried by the scripted actor that sees the state.

Owns that trial and its memory. Used beside an environment, in this process or in the pool's; never by a stage that
learns. Does not decide which of the feasible goals are asked for (tasks.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from selu_hpc.envs.base import StartRefusedError
from selu_hpc.envs.expert import Simulated, play
from selu_hpc.records import Goal, Task

logger = logging.getLogger(__name__)

PATIENCE = 16
"""Steps the trial may take; more than an episode, since a start may be unlucky."""
SEED = 0


class Feasible(Protocol):
    """The goals that a scene's state offers."""

    def goals(self, verb: str) -> Sequence[Goal]: ...

    def compositions(self) -> Sequence[tuple[Goal, ...]]: ...


class Surveyed(Simulated, Protocol):
    """An environment that can say what a scene offers."""

    def feasible(self, scene: str) -> Feasible: ...


class Survey:
    """Answers about scenes from one environment, each worked out once."""

    def __init__(self, environment: Surveyed) -> None:
        self._environment = environment
        self._scenes: dict[str, Feasible] = {}
        self._possible: dict[Task, bool] = {}

    def goals(self, scene: str, verb: str) -> Sequence[Goal]:
        return self._scene(scene).goals(verb)

    def compositions(self, scene: str) -> Sequence[tuple[Goal, ...]]:
        return self._scene(scene).compositions()

    def possible(self, task: Task) -> bool:
        """Whether the task is not done at the start and is at the end of the scripted actor's episode."""
        if task not in self._possible:
            self._possible[task] = self._tried(task)
        return self._possible[task]

    def give_up(self, task: Task) -> bool:
        """No, of a task at whose trial the process dies every time. The scene is looked at: a simulator that is broken
        itself is an error, not a home without tasks."""
        self._scene(task.scene)
        self._possible[task] = False
        return False

    def _tried(self, task: Task) -> bool:
        try:
            play(self._environment, task, seed=SEED, horizon=PATIENCE)
        except StartRefusedError as error:
            logger.warning("%r in %s is impossible: %s", task.instruction, task.scene, error)
            return False
        truth = self._environment.truth("survey")
        return truth.success and not truth.success_after[0]

    def _scene(self, scene: str) -> Feasible:
        if scene not in self._scenes:
            self._scenes[scene] = self._environment.feasible(scene)
        return self._scenes[scene]


class SceneSurvey:
    """One scene's part of a survey; `source` answers `(what, scene or task, …)`."""

    def __init__(self, source: Source, scene: str) -> None:
        self._source = source
        self._scene = scene

    def goals(self, verb: str) -> Sequence[Goal]:
        return self._source.goals(self._scene, verb)

    def compositions(self) -> Sequence[tuple[Goal, ...]]:
        return self._source.compositions(self._scene)

    def possible(self, task: Task) -> bool:
        return self._source.possible(task)


class Source(Protocol):
    """A survey, here or in another process."""

    def goals(self, scene: str, verb: str) -> Sequence[Goal]: ...

    def compositions(self, scene: str) -> Sequence[tuple[Goal, ...]]: ...

    def possible(self, task: Task) -> bool: ...
