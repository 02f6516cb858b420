"""What every simulator's environment does alike: words are read and done, and what they brought about is kept.

Owns a step's answer and the record of what was achieved. Does not own what a command does or what holds in a
simulator: thor/ and virtualhome/ do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from selu_hpc.config import Simulator
from selu_hpc.envs.base import Observation, StepResult
from selu_hpc.envs.language import Command
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal, Truth


class SpokenEnvironment(ABC):
    """An episode under way. A subclass's `reset` ends with `_begin`."""

    def __init__(self, simulator: Simulator) -> None:
        self._language = language_of(simulator)
        self._seen: Observation | None = None
        self._goals: frozenset[Goal] = frozenset()
        self._at_start: frozenset[Goal] = frozenset()
        self._success_after: list[bool] = []

    @abstractmethod
    def _do(self, command: Command) -> tuple[bool, str]:
        """Do it and look: whether it worked, and else why not."""

    @abstractmethod
    def _holding(self) -> frozenset[Goal]:
        """Every goal that holds now."""

    def step(self, text: str) -> StepResult:
        command = self._language.read(text)
        parsed, ok, error = "", False, "no action could be read from these words"
        if command is not None:
            parsed, ok, error = self._language.say(command), True, ""
            if command.verb != "done":
                ok, error = self._do(command)
        self._success_after.append(self._goals <= self._holding())
        seen = self._seen
        assert seen is not None, "step before reset"
        own = Observation(
            first_person=np.array(seen.first_person), third_person=np.array(seen.third_person), text=seen.text
        )
        said_done = command is not None and command.verb == "done"
        return StepResult(observation=own, parsed=parsed, ok=ok, error=error, said_done=said_done)

    def truth(self, episode_id: str) -> Truth:
        achieved = self._holding() - self._at_start
        return Truth(
            episode_id=episode_id,
            success_after=tuple(self._success_after),
            achieved=tuple(sorted(achieved, key=lambda goal: (goal.verb, goal.target, goal.place))),
        )

    def _begin(self, goals: Sequence[Goal]) -> Observation:
        """An episode's first moment, once the simulator is prepared and looked at."""
        self._goals, self._at_start = frozenset(goals), self._holding()
        self._success_after = [self._goals <= self._at_start]
        assert self._seen is not None
        return self._seen
