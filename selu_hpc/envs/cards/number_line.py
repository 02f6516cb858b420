"""NumberLine: bring the current number to the target by single steps. Owns its rules, picture and expert."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL.Image import Image

from selu_hpc.envs.cards.base import CardGame, Outcome
from selu_hpc.envs.cards.picture import BLACK, WHITE, blank, write

HIGHEST = 5
MOST_STEPS = 10
SIZE_PX = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberLineState:
    """Two numbers in 0..5."""

    current: int
    target: int

    @property
    def distance(self) -> int:
        return abs(self.target - self.current)


class NumberLine(CardGame[NumberLineState]):
    """+1 at the target, −1 for a step that comes no closer, else 0; over after ten steps."""

    RULES = 1
    action_names = ("-", "+")
    fields = ("current number", "target number", "thoughts")

    def deal(self, rng: np.random.Generator) -> NumberLineState:
        current = int(rng.integers(HIGHEST + 1))
        # one of the other five, each as likely: whoever starts at the target has nothing to do
        target = int(rng.integers(HIGHEST))
        return NumberLineState(current=current, target=target + (target >= current))

    def play(self, state: NumberLineState, action: str) -> Outcome[NumberLineState]:
        moved = state.current + (1 if action == "+" else -1)
        there = replace(state, current=min(max(moved, 0), HIGHEST))
        if there.distance == 0:
            return Outcome(state=there, reward=1.0, terminated=True)
        reward = 0.0 if there.distance < state.distance else -1.0
        return Outcome(state=there, reward=reward, truncated=self.num_steps + 1 >= MOST_STEPS)

    @classmethod
    def picture(cls, state: NumberLineState) -> Image:
        picture = blank(WHITE)
        write(picture, (30, 70), f"Target: {state.target}", SIZE_PX, BLACK)
        write(picture, (30, 190), f"Current: {state.current}", SIZE_PX, BLACK)
        return picture

    @classmethod
    def expert(cls, state: NumberLineState) -> str:
        return "+" if state.current < state.target else "-"

    @classmethod
    def thoughts(cls, state: NumberLineState) -> dict[str, str]:
        relation, way = ("smaller", "up") if cls.expert(state) == "+" else ("larger", "down")
        return {
            "current number": str(state.current),
            "target number": str(state.target),
            "thoughts": f"The current number {state.current} is {relation} than the target {state.target}, "
            f"so it has to go {way}.",
        }
