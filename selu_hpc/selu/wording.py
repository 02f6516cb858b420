"""Every prompt, rendered from the versioned templates beside this file: the one place that words a question.

    prompts/actor.v1.txt  explore.v1.txt      the actor's turn, and the first round's
    prompts/verdict.v1.txt                    the critic's verdict; with answers put in, the second one
    prompts/state.v1.txt + state_questions    self-asking: "Is the fridge open? yes or no?"
    prompts/which.v1.txt + which_questions    hindsight: "Which object is open? Say the object or none."

A template never changes once a model was trained with it: a new wording is a new file and a new number in `VERSIONS`.
Does not own what is done with an answer (actor.py, critic.py, hindsight.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from selu_hpc.config import CriticFrames, RunConfig, Simulator
from selu_hpc.envs.language import Language, Takes
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal

VERSIONS: Mapping[str, int] = {
    "actor": 1,
    "explore": 1,
    "verdict": 1,
    "state": 1,
    "which": 1,
    "feedback": 1,
    "frames": 1,
    "state_questions": 1,
    "which_questions": 1,
}
RECALLED_ACTIONS = 6
"""Actions of the history that the actor is told."""
NO_ACTION = "nothing"
"""Stands in the history for words no action could be read from."""


def actor_prompt(
    instruction: str, *, seen: str, history: Sequence[str], explore: bool = False, allowed: str = ""
) -> str:
    """What the actor is asked before each step.

    seen: `Observation.text`.  history: canonical actions so far, "" for unreadable ones.
    allowed: `allowed_actions(...)` for a base that does not know the actions by heart.
    """
    recent = [action or NO_ACTION for action in history[-RECALLED_ACTIONS:]]
    return _render(
        "explore" if explore else "actor",
        instruction=instruction,
        seen=seen or "You see this.",
        history=", ".join(recent) or "none",
        allowed=allowed,
    )


def listed_actions(config: RunConfig) -> str:
    """What a run's actor is told of the forms an action may take, acting and learning alike; '' where it knows them."""
    return allowed_actions(config.env.simulator) if config.model.list_actions else ""


def allowed_actions(simulator: Simulator) -> str:
    """The forms an action may take, for the prompt of a base that was never taught them."""
    verbs = language_of(simulator).verbs
    alone = [verb.words for verb in verbs if verb.takes is Takes.NOTHING]
    with_object = [f"{verb.words} the OBJECT" for verb in verbs if verb.takes is Takes.OBJECT]
    return f"Answer with one action and nothing else: {', '.join([*alone, *with_object, 'put it in the OBJECT'])}. "


def verdict_prompt(
    instruction: str, *, frames: CriticFrames = CriticFrames.LAST, answers: Sequence[tuple[str, str]] = ()
) -> str:
    """What the critic is asked; `answers` are its own to the state questions: ("Is the fridge open?", "yes")."""
    told = "".join(f"{question} {answer}. " for question, answer in answers)
    return _render("verdict", instruction=instruction, frames=_frames(frames), answers=told)


def feedback_prompt(instruction: str, *, verdict: bool, frames: CriticFrames = CriticFrames.LAST) -> str:
    """Self-Refine's question after a verdict; what comes back is put into the next verdict's prompt."""
    return _render("feedback", instruction=instruction, frames=_frames(frames), verdict="yes" if verdict else "no")


def state_question(goal: Goal, *, simulator: Simulator) -> str:
    """ "Is the fridge open?" for open Fridge."""
    return _filled("state_questions", goal, simulator)


def state_prompt(question: str) -> str:
    return _render("state", question=question)


def which_question(goal: Goal, *, simulator: Simulator) -> str:
    """ "Which object is open?" for any open goal; for put, where its target is."""
    return _filled("which_questions", goal, simulator)


def which_prompt(question: str) -> str:
    return _render("which", question=question)


def where(place: str, language: Language) -> str:
    return "in" if place in language.inside else "on"


def _filled(table: str, goal: Goal, simulator: Simulator) -> str:
    language = language_of(simulator)
    return _table(table)[goal.verb].format(
        target=language.name(goal.target), place=language.name(goal.place), where=where(goal.place, language)
    )


def _frames(frames: CriticFrames) -> str:
    said = _table("frames")[frames.value]
    return f"{said} " if said else ""


def _render(name: str, **values: str) -> str:
    return _template(name).format_map(values)


@cache
def _template(name: str) -> str:
    file = files("selu_hpc.selu") / "prompts" / f"{name}.v{VERSIONS[name]}.txt"
    return file.read_text(encoding="utf-8").rstrip("\n")


@cache
def _table(name: str) -> Mapping[str, str]:
    """Lines of `key: words`."""
    pairs = (line.partition(":") for line in _template(name).splitlines())
    return {key.strip(): words.strip() for key, _, words in pairs}
