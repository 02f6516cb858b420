"""What every card game is: a `gymnasium.Env` whose actions have names and whose state is a small frozen record.

Owns the spaces, seeding, the count of steps and the order of a step. Does not own rules (a module per game), drawing
(picture.py) or what an agent is asked and how its answer is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import gymnasium
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from PIL.Image import Image

from selu_hpc.envs.cards.picture import SIDE, pixels
from selu_hpc.records import FrameHWC

State = TypeVar("State")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[State]):
    """What an action led to.

    terminated: the game is over by its own rules.
    truncated: the game went on for too long.
    """

    state: State
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


# gymnasium is not followed by mypy (pyproject.toml), so that its class is Any to it
class CardGame(gymnasium.Env, ABC, Generic[State]):  # type: ignore[misc]
    """One game. Everything random comes from `reset(seed=…)`: same seed and actions, same bytes.

    `info["state"]` is what a person at the table knows, after every reset and step. A game keeps nothing else.
    """

    RULES: ClassVar[int]
    """Version of the rules; results of different versions are not comparable."""
    action_names: ClassVar[tuple[str, ...]]
    """The word for each action, in the order of the action space."""
    fields: ClassVar[tuple[str, ...]]
    """What `thoughts` has, known without thinking."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(self.action_names))
        self.num_steps = 0
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FrameHWC, dict[str, Any]]:
        """A new game; `options={"state": …}` begins it there instead of dealing."""
        super().reset(seed=seed)
        self.num_steps = 0
        begun: State | None = (options or {}).get("state")
        self._state = self.deal(self.np_random) if begun is None else begun
        return self._seen(self._state)

    def step(self, action: int) -> tuple[FrameHWC, float, bool, bool, dict[str, Any]]:
        """Do the action of that number; its word is `action_names[action]`."""
        if self._state is None:
            raise ResetNeeded(
                f"{type(self).__name__}: no game is on; call reset() before the first step and after an end"
            )
        if not 0 <= action < len(self.action_names):
            raise InvalidAction(f"{type(self).__name__}: action {action} is not in 0..{len(self.action_names) - 1}")
        outcome = self.play(self._state, self.action_names[action])
        self.num_steps += 1
        self._state = None if outcome.terminated or outcome.truncated else outcome.state
        frame, info = self._seen(outcome.state)
        return frame, outcome.reward, outcome.terminated, outcome.truncated, info

    def _seen(self, state: State) -> tuple[FrameHWC, dict[str, Any]]:
        return pixels(self.picture(state)), {"state": state}

    @abstractmethod
    def deal(self, rng: np.random.Generator) -> State:
        """The state a game begins with."""

    @abstractmethod
    def play(self, state: State, action: str) -> Outcome[State]:
        """What follows; `num_steps` actions were made before this one, `np_random` decides what is random."""

    @classmethod
    @abstractmethod
    def picture(cls, state: State) -> Image:
        """What the agent sees."""

    @classmethod
    @abstractmethod
    def expert(cls, state: State) -> str:
        """The best next action."""

    @classmethod
    @abstractmethod
    def thoughts(cls, state: State) -> dict[str, str]:
        """The fields of RL4VLM's answer that come before "action", the last of them a sentence that leads to it."""
