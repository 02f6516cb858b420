"""What an episode's own words say was tried: "open the fridge" was said, so the fridge may be open because of it.

The words are the actor's output, so nothing the simulator knows is in them: whether a deed worked is for the critic to
see. Owns reading goals out of actions; what a verdict makes of them is verdicts.py's and hindsight.py's.
"""

from __future__ import annotations

from collections.abc import Sequence

from selu_hpc.envs.language import Language
from selu_hpc.records import Goal

_VERBS = {"sit on": "sit"}
"""Words of an action whose goal is called otherwise."""


def deeds(said: Sequence[str], language: Language) -> list[Goal]:
    """What the actions would bring about if they worked, in their order: `[Goal("open", "Fridge")]`.

    said: canonical actions, "" for unreadable ones. The target of "put it …" is not said and stays empty.
    """
    commands = [language.read(words) for words in said if words]
    return [
        Goal(verb=_VERBS.get(command.verb, command.verb), target=command.target, place=command.place)
        for command in commands
        if command is not None and (command.target or command.place)
    ]


def tried(goals: Sequence[Goal], said: Sequence[str], language: Language) -> bool:
    """Whether the words name each goal's verb together with its object."""
    done = deeds(said, language)
    return all(any(is_for(deed, goal) for deed in done) for goal in goals)


def is_for(deed: Goal, goal: Goal) -> bool:
    """Whether a deed is about this goal; "put it in the fridge" is about whatever was to be put there."""
    return (
        deed.verb == goal.verb and deed.place == goal.place and deed.target in (goal.target, "" if goal.place else None)
    )
