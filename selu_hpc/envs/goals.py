"""The types of tasks that the two simulators know, and how a task is told in words. Pure.

Whether a goal holds is read by thor/state.py and virtualhome/state.py; which tasks an episode is given, tasks.py draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from selu_hpc.config import EnvConfig, Simulator
from selu_hpc.envs.language import Command, Language
from selu_hpc.envs.words import language_of
from selu_hpc.errors import ConfigError
from selu_hpc.records import Goal, Task

THOR_VERBS = ("pick up", "put", "open", "close", "break", "slice", "toggle on", "toggle off")
VIRTUALHOME_VERBS = ("grab", "open", "close", "sit", "switch on", "put")
VERBS = {Simulator.THOR: THOR_VERBS, Simulator.VIRTUALHOME: VIRTUALHOME_VERBS}
HOLDING = {Simulator.THOR: "pick up", Simulator.VIRTUALHOME: "grab"}
"""What each calls taking something into the hand."""
OPPOSITES = {
    "open": "close",
    "close": "open",
    "toggle on": "toggle off",
    "toggle off": "toggle on",
    "switch on": "switch off",
    "switch off": "switch on",
}
"""What undoes what a verb does, where another verb does it; no task of VirtualHome asks to switch off."""


def verbs_of(config: EnvConfig) -> tuple[str, ...]:
    """The task types of a run."""
    known = VERBS[config.simulator]
    unknown = sorted(set(config.verbs) - set(known))
    if unknown:
        raise ConfigError(f"env.verbs has {', '.join(unknown)}; {config.simulator} has {', '.join(known)}")
    return config.verbs or known


def instruction_for(goals: Sequence[Goal], *, simulator: Simulator) -> str:
    """The words of a task: "open the fridge and put the apple in the fridge"."""
    language = language_of(simulator)
    said = [_say(goal, language) for goal in goals]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def make_task(scene: str, goals: Sequence[Goal], *, simulator: Simulator) -> Task:
    return Task(instruction=instruction_for(goals, simulator=simulator), scene=scene, goals=tuple(goals))


def is_named(goal: Goal, *, simulator: Simulator) -> bool:
    """Whether all that a goal is about can be said: an apple can, not one of its slices."""
    nouns = language_of(simulator).nouns
    return all(kind in nouns for kind in (goal.target, goal.place) if kind)


@lru_cache(maxsize=4096)
def command_for(goal: Goal) -> Command:
    """What is said to bring a goal about."""
    return Command("sit on" if goal.verb == "sit" else goal.verb, goal.target, goal.place)


def _say(goal: Goal, language: Language) -> str:
    return language.say(command_for(goal))
