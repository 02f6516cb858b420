"""Blackjack's odds under the rules of blackjack.py, exact, by dynamic programming over the infinite deck.

Owns totals, the dealer's fate and the best way to play. Knows numbers only, no cards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

BEST = 21
DEALER_STANDS_AT = 17
CHANCE = {number: Fraction(4 if number == 10 else 1, 13) for number in range(1, 11)}
"""How likely the next card counts so much; 10, J, Q and K count 10."""


@dataclass(frozen=True, slots=True, order=True)
class Hand:
    """What cards count together.

    total: the best total, above 21 when the hand is bust.
    soft: an ace counts 11 in it.
    """

    total: int
    soft: bool

    @property
    def bust(self) -> bool:
        return self.total > BEST

    def plus(self, number: int) -> Hand:
        """The hand with one more card; an ace counts 11 as long as that does not bust."""
        hard = self.total - 10 * self.soft + number
        soft = (self.soft or number == 1) and hard + 10 <= BEST
        return Hand(hard + 10 * soft, soft)


def hand(numbers: Iterable[int]) -> Hand:
    """The hand of these cards; an ace is the number 1."""
    held = Hand(0, False)
    for number in numbers:
        held = held.plus(number)
    return held


@dataclass(frozen=True, slots=True)
class Odds:
    """How likely a game is won and lost; the rest are draws."""

    win: Fraction
    loss: Fraction

    @property
    def mean(self) -> Fraction:
        """The expected reward."""
        return self.win - self.loss


LOST = Odds(Fraction(0), Fraction(1))


@cache
def dealer_totals(held: Hand) -> dict[int, Fraction]:
    """How likely the dealer ends with each total, 0 for a bust."""
    if held.bust:
        return {0: Fraction(1)}
    if held.total >= DEALER_STANDS_AT:
        return {held.total: Fraction(1)}
    ends: dict[int, Fraction] = {}
    for number, chance in CHANCE.items():
        for total, then in dealer_totals(held.plus(number)).items():
            ends[total] = ends.get(total, Fraction(0)) + chance * then
    return ends


@cache
def standing(held: Hand, shown: int) -> Odds:
    """The odds of a player who stands while the dealer shows this number."""
    ends = dealer_totals(hand([shown]))
    return Odds(
        sum((chance for total, chance in ends.items() if total < held.total), Fraction(0)),
        sum((chance for total, chance in ends.items() if total > held.total), Fraction(0)),
    )


@cache
def hitting(held: Hand, shown: int) -> Odds:
    """The odds of a player who takes a card and plays on as well as can be."""
    return _mixed((chance, best(held.plus(number), shown)) for number, chance in CHANCE.items())


@cache
def best(held: Hand, shown: int) -> Odds:
    """The odds of the better of the two; of a lost game when the hand is bust."""
    if held.bust:
        return LOST
    return hitting(held, shown) if should_hit(held, shown) else standing(held, shown)


def should_hit(held: Hand, shown: int) -> bool:
    """Whether a card is expected to bring more than standing."""
    return held.total < BEST and hitting(held, shown).mean > standing(held, shown).mean


def whole_game() -> Odds:
    """The odds before the cards are dealt, of a player who always does the better thing."""
    return _mixed(
        (CHANCE[first] * CHANCE[second] * CHANCE[shown], best(hand((first, second)), shown))
        for first, second, shown in product(CHANCE, repeat=3)
    )


def _mixed(parts: Iterable[tuple[Fraction, Odds]]) -> Odds:
    win = loss = Fraction(0)
    for chance, odds in parts:
        win, loss = win + chance * odds.win, loss + chance * odds.loss
    return Odds(win, loss)
