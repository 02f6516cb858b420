"""From a name to a card game. Owns the list of them; docs/cards.md says what a new game needs."""

from __future__ import annotations

from typing import Any

from selu_hpc.config import Game
from selu_hpc.envs.cards.base import CardGame
from selu_hpc.envs.cards.blackjack import Blackjack
from selu_hpc.envs.cards.ez_points import EZPoints
from selu_hpc.envs.cards.number_line import NumberLine
from selu_hpc.envs.cards.points import PointsGame
from selu_hpc.envs.cards.points24 import Points24
from selu_hpc.errors import ConfigError

GAMES: dict[Game, type[CardGame[Any]]] = {
    Game.NUMBER_LINE: NumberLine,
    Game.EZ_POINTS: EZPoints,
    Game.POINTS24: Points24,
    Game.BLACKJACK: Blackjack,
}


def make_cards(name: str, *, checks_syntax: bool = False) -> CardGame[Any]:
    """The game of that name, before its first reset. checks_syntax: see PointsGame; the others write no formula."""
    if name not in list(Game):
        raise ConfigError(f"there is no card game {name!r}; it is one of {', '.join(GAMES)}")
    game = GAMES[Game(name)]
    return game(checks_syntax=checks_syntax) if issubclass(game, PointsGame) else game()
