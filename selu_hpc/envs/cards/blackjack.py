"""Blackjack: stand or hit against a dealer who shows one card. Owns its rules, picture and expert; odds.py the odds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL.Image import Image

from selu_hpc.envs.cards.base import CardGame, Outcome
from selu_hpc.envs.cards.deck import Card, draw
from selu_hpc.envs.cards.odds import DEALER_STANDS_AT, Hand, hand, should_hit
from selu_hpc.envs.cards.picture import SIDE, WHITE, blank, lay, write


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackjackState:
    """What lies face up. The dealer's second card is nobody's yet: see `Blackjack.play`."""

    player: tuple[Card, ...]
    dealer: Card

    @property
    def hand(self) -> Hand:
        return hand(card.number for card in self.player)


class Blackjack(CardGame[BlackjackState]):
    """+1 for a win, −1 for a loss, 0 for a draw; the dealer draws below 17, soft or hard; the deck is infinite.

    A natural, an ace and a ten at once, is 21 like any other: it wins +1 as a plain win, not 3:2, and it draws with a
    dealer's 21 of more cards.
    """

    RULES = 1
    action_names = ("stand", "hit")
    fields = ("thoughts",)

    def deal(self, rng: np.random.Generator) -> BlackjackState:
        return BlackjackState(player=(draw(rng), draw(rng)), dealer=draw(rng))

    def play(self, state: BlackjackState, action: str) -> Outcome[BlackjackState]:
        if action == "hit":
            more = replace(state, player=(*state.player, draw(self.np_random)))
            return Outcome(state=more, reward=-1.0 if more.hand.bust else 0.0, terminated=more.hand.bust)
        return Outcome(state=state, reward=self._compared(state), terminated=True)

    def _compared(self, state: BlackjackState) -> float:
        """The dealer's face-down card is drawn only now: from an infinite deck that makes no difference."""
        dealer = hand([state.dealer.number]).plus(draw(self.np_random).number)
        while dealer.total < DEALER_STANDS_AT:
            dealer = dealer.plus(draw(self.np_random).number)
        if dealer.bust:
            return 1.0
        return float(np.sign(state.hand.total - dealer.total))

    @classmethod
    def picture(cls, state: BlackjackState) -> Image:
        picture = blank()
        write(picture, (8, 10), "Dealer", 26, WHITE)
        lay(picture, (state.dealer, None), (130, 4, SIDE - 4, 124), num_columns=2)
        write(picture, (8, 132), "Player", 26, WHITE)
        num_columns, num_rows = _grid(len(state.player))
        lay(picture, state.player, (4, 158, SIDE - 4, SIDE - 2), num_columns=num_columns, num_rows=num_rows)
        return picture

    @classmethod
    def expert(cls, state: BlackjackState) -> str:
        return "hit" if should_hit(state.hand, state.dealer.number) else "stand"

    @classmethod
    def thoughts(cls, state: BlackjackState) -> dict[str, str]:
        held, shown = state.hand, state.dealer.letter
        total = f"a soft {held.total}" if held.soft else str(held.total)
        reason = "one more card is better" if cls.expert(state) == "hit" else "it is better to stop"
        return {"thoughts": f"I have {total} and the dealer shows {shown}, so {reason}."}


def _grid(num_cards: int) -> tuple[int, int]:
    """Columns and rows; no hand below 22 has more than 21 cards, so one that is bust has 22 at most."""
    if num_cards <= 4:
        return 4, 1
    return (5, 2) if num_cards <= 10 else (8, 3)
