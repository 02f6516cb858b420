"""Going where one is told: "Task: find the tomato." means "go to the tomato", whatever there is to be seen.

Reading, not acting: no task type is among these instructions, and what to do when one is there is not told. A base of
the papers' size repeats a word it has just read; the built-in one, which had said the names of a third of the things
only, said "apple" where a task named the tomato, and what an actor never says no hindsight can teach it.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from selu_hpc.config import Simulator
from selu_hpc.envs.language import Command
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.data import Tokens
from selu_hpc.models.pocket.lessons.questions import Asked
from selu_hpc.models.pocket.teaching.packing import Block
from selu_hpc.selu import wording

KIND = "named"
"""What tables call these questions."""
WAYS = ("go to", "walk to", "move to", "find", "look for", "reach", "get to", "go near")
"""How an instruction says it; none is a verb of a task."""
GOING = {Simulator.THOR: "go to", Simulator.VIRTUALHOME: "walk to"}
TURNS = {Simulator.THOR: ("turn right", "turn left", "move ahead"), Simulator.VIRTUALHOME: ("turn right", "turn left")}
ARRIVED = 0.15
"""How often one is there already and says done."""


def named(simulator: Simulator, rng: np.random.Generator) -> tuple[Block, str]:
    """An instruction to go to one of all things that have a name in the simulator, and its kind."""
    language, nouns = language_of(simulator), _nouns(simulator)
    noun, other = (nouns[at] for at in rng.integers(len(nouns), size=2))
    going = language.say(Command(GOING[simulator], noun))
    before = [language.say(Command(GOING[simulator], other)), *TURNS[simulator]]
    history = [before[at] for at in rng.integers(len(before), size=rng.integers(3))]
    arrived = rng.random() < ARRIVED
    seen = "You hold nothing." if rng.random() < 0.8 else f"You hold the {language.name(other)}."
    prompt = wording.actor_prompt(
        f"{WAYS[rng.integers(len(WAYS))]} the {language.name(noun)}",
        seen=seen,
        history=[*history, going] if arrived else history,
    )
    [(ids, num_answer, kind)] = _tokens().of([Asked(prompt, "done" if arrived else going, KIND)])
    return Block(np.array(ids, dtype=np.int16), num_answer), kind


@cache
def _nouns(simulator: Simulator) -> tuple[str, ...]:
    return tuple(sorted(language_of(simulator).nouns))


@cache
def _tokens() -> Tokens:
    return Tokens()
