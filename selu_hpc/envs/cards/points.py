"""What EZPoints and Points24 share: write a formula with every card once, symbol by symbol, and end it with "=".

Owns rules, picture and expert of both; ez_points.py and points24.py say which cards, symbols and target.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

from PIL.Image import Image

from selu_hpc.envs.cards.base import CardGame, Outcome
from selu_hpc.envs.cards.deck import TEN, Card
from selu_hpc.envs.cards.formula import after, read, value
from selu_hpc.envs.cards.picture import SIDE, WHITE, blank, lay, write, write_formula
from selu_hpc.envs.cards.search import completion

NUMBERS = tuple(str(number) for number in range(1, TEN + 1))
END = "="
RIGHT, WRONG = 10.0, -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsState:
    """The cards on the table and the symbols written so far, "=" never among them."""

    cards: tuple[Card, ...]
    formula: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the cards count."""
        return tuple(card.number for card in self.cards)

    @property
    def unused(self) -> tuple[int, ...]:
        """The numbers that are not in the formula yet, in the order of the cards."""
        used = Counter(int(symbol) for symbol in self.formula if symbol.isdecimal())
        left: list[int] = []
        for number in self.numbers:
            if used[number]:
                used[number] -= 1
            else:
                left.append(number)
        return tuple(left)

    @property
    def written(self) -> str:
        return " ".join(self.formula)


class PointsGame(CardGame[PointsState]):
    """+10 for "=" after a formula that uses every card and meets the target, −1 for any other "=".

    −1 for a number that no unused card has. With `checks_syntax` also for a symbol that cannot follow; without, as in
    RL4VLM's own games, that is written for nothing, and the formula is wrong for good. What costs 1 leaves no trace in
    the formula but takes a place: after `longest` actions and one more the next costs 1, whatever it is, and the game
    is truncated.
    """

    fields = ("cards", "formula", "thoughts")
    target: ClassVar[int]
    longest: ClassVar[int]

    def __init__(self, *, checks_syntax: bool) -> None:
        super().__init__()
        self.checks_syntax = checks_syntax

    def play(self, state: PointsState, action: str) -> Outcome[PointsState]:
        if self.num_steps > self.longest:
            return Outcome(state=state, reward=WRONG, truncated=True)
        if action == END:
            return Outcome(state=state, reward=RIGHT if self.is_right(state) else WRONG, terminated=True)
        if not (self._may_follow(state, action) if self.checks_syntax else self._has_card(state, action)):
            return Outcome(state=state, reward=WRONG)
        return Outcome(state=replace(state, formula=(*state.formula, action)))

    @classmethod
    def is_right(cls, state: PointsState) -> bool:
        """Whether "=" would be right now."""
        return not state.unused and value(state.formula) == cls.target

    @classmethod
    def legal(cls, state: PointsState) -> tuple[str, ...]:
        """Every action that costs nothing by itself, "=" among them."""
        return tuple(symbol for symbol in cls.action_names if symbol == END or cls._may_follow(state, symbol))

    @classmethod
    def _may_follow(cls, state: PointsState, symbol: str) -> bool:
        levels = read(state.formula)
        return levels is not None and after(levels, symbol) is not None and cls._has_card(state, symbol)

    @classmethod
    def _has_card(cls, state: PointsState, symbol: str) -> bool:
        return not symbol.isdecimal() or int(symbol) in state.unused

    @classmethod
    def picture(cls, state: PointsState) -> Image:
        picture = blank()
        lay(picture, state.cards, (4, 4, SIDE - 4, 150), num_columns=len(state.cards))
        write(picture, (8, 162), "Formula:", 30, WHITE)
        write_formula(picture, state.formula, (8, 196, SIDE - 8, SIDE - 2))
        return picture

    @classmethod
    def expert(cls, state: PointsState) -> str:
        rest = cls.rest(state)
        if rest is not None:
            return (*rest, END)[0]
        # nothing is right any more: all the cards into one sum, then the end
        way = (*map(str, state.unused), "+" if state.unused else ")", END)
        return next(symbol for symbol in way if symbol in cls.legal(state))

    @classmethod
    def rest(cls, state: PointsState) -> tuple[str, ...] | None:
        """What is to be written before "="; None when the formula cannot become right any more."""
        return completion(state.formula, state.unused, cls.target, cls.action_names)

    @classmethod
    def thoughts(cls, state: PointsState) -> dict[str, str]:
        letters = ", ".join(card.letter for card in state.cards)
        return {"cards": f"[{letters}]", "formula": state.written, "thoughts": cls._reason(state)}

    @classmethod
    def _reason(cls, state: PointsState) -> str:
        rest, action = cls.rest(state), cls.expert(state)
        if rest is None:
            return f"These cards cannot make {cls.target} any more, so {action} is as good as anything."
        whole = " ".join((*state.formula, *rest))
        if not rest:
            return f"{whole} is {cls.target} and uses every card, so the formula ends with {END}."
        return f"{whole} is {cls.target}, so the next symbol is {action}."
