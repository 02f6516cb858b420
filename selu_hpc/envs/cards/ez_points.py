"""EZPoints: two cards, a sum or a product of 12. Owns how its hands come about; the rest is points.py's."""

from __future__ import annotations

import numpy as np

from selu_hpc.envs.cards.deck import NUM_RANKS, Card, any_suit
from selu_hpc.envs.cards.points import END, NUMBERS, PointsGame, PointsState


class EZPoints(PointsGame):
    """Every hand can be solved, with + or with *."""

    RULES = 1
    action_names = (*NUMBERS, "+", "*", END)
    target = 12
    longest = 5

    def deal(self, rng: np.random.Generator) -> PointsState:
        """The first card is any but an ace; the second makes 12 with it, in half of the hands that can by a product."""
        first = Card(int(rng.integers(2, NUM_RANKS + 1)), any_suit(rng))
        quotient, remainder = divmod(self.target, first.number)
        product = remainder == 0 and bool(rng.integers(2))
        second = Card(quotient if product else self.target - first.number, any_suit(rng))
        return PointsState(cards=(second, first) if rng.integers(2) else (first, second))
