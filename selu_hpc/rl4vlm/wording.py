"""What a player is asked, rendered from the versioned templates beside this file, and what an expert would answer.

    prompts/number_line.v1.txt  ez_points.v1.txt  points24.v1.txt  blackjack.v1.txt

The paper's own prompts are not copied; ours name the same fields in the same order, but for "formula", which there is
"current formula". A template never changes once a model was trained with it: a new wording is a new file and a new
number. Does not own how an answer is read (cot.py).
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from selu_hpc.config import Game
from selu_hpc.envs.cards.base import CardGame

VERSIONS = {Game.NUMBER_LINE: 1, Game.EZ_POINTS: 1, Game.POINTS24: 1, Game.BLACKJACK: 1}
NOTHING_YET = "nothing"


def prompt_of(name: Game, game: CardGame[Any], state: Any, *, thinks: bool) -> str:
    """What is asked before a step. thinks: whether the answer is to say what is seen and thought first."""
    fields = game.fields if thinks else ()
    return _template(name).format(
        answer="{" + ", ".join(f'"{field}": "..."' for field in [*fields, "action"]) + "}",
        actions=", ".join(game.action_names),
        formula=getattr(state, "written", "") or NOTHING_YET,
    )


def answer_of(game: CardGame[Any], state: Any, *, thinks: bool) -> str:
    """What the expert would say."""
    fields = game.thoughts(state) if thinks else {}
    return json.dumps({**fields, "action": game.expert(state)}, ensure_ascii=False)


@cache
def _template(name: Game) -> str:
    file = f"{name}.v{VERSIONS[name]}.txt"
    return files("selu_hpc.rl4vlm").joinpath("prompts", file).read_text(encoding="utf-8").strip()
