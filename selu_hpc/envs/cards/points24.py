"""Points24: four cards, a formula of 24. Owns its deal and its numbers; the rest is points.py's."""

from __future__ import annotations

import numpy as np

from selu_hpc.envs.cards.deck import draw
from selu_hpc.envs.cards.points import END, NUMBERS, PointsGame, PointsState


class Points24(PointsGame):
    """Four random cards; 27 % of the hands cannot be solved, and are dealt all the same."""

    RULES = 1
    action_names = (*NUMBERS, "+", "-", "*", "/", "(", ")", END)
    target = 24
    longest = 20

    def deal(self, rng: np.random.Generator) -> PointsState:
        return PointsState(cards=tuple(draw(rng) for _ in range(4)))
