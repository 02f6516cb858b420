"""Cards and the infinite deck. Owns ranks, suits and what they count; not how they look (picture.py)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

NUM_RANKS = 13
TEN = 10
_LETTERS = {1: "A", 11: "J", 12: "Q", 13: "K"}


class Suit(StrEnum):
    """The four suits; the value is the glyph."""

    SPADES = "♠"
    HEARTS = "♥"
    DIAMONDS = "♦"
    CLUBS = "♣"

    @property
    def red(self) -> bool:
        return self in (Suit.HEARTS, Suit.DIAMONDS)


SUITS = tuple(Suit)


@dataclass(frozen=True, slots=True)
class Card:
    """`Card(12, Suit.HEARTS)` is the queen of hearts; ranks go from 1, the ace, to 13, the king."""

    rank: int
    suit: Suit

    @property
    def letter(self) -> str:
        """What is printed on it: A, 2 … 10, J, Q, K."""
        return _LETTERS.get(self.rank, str(self.rank))

    @property
    def number(self) -> int:
        """What it counts: J, Q and K count 10, an ace 1."""
        return min(self.rank, TEN)

    def __str__(self) -> str:
        return f"{self.letter}{self.suit}"


def any_suit(rng: np.random.Generator) -> Suit:
    """One of four, each as likely."""
    return SUITS[int(rng.integers(len(SUITS)))]


def draw(rng: np.random.Generator) -> Card:
    """A card from a deck that never runs out: a rank may come again and again, even with the same suit."""
    return Card(int(rng.integers(1, NUM_RANKS + 1)), any_suit(rng))
