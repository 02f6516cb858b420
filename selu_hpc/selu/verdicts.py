"""The critic's verdict on a task in an episode, and its second one after questioning itself about the objects' states.

    first verdict ── the actor never said to do it ─▶ no
         ├─ a sure yes ─▶ yes
         └─ no, or an unsure yes ─▶ self-asking: "Is the fridge open?" ─▶ second verdict, told its own answers

The same way of judging serves an episode's own instruction (critic.py) and one that hindsight proposes (hindsight.py).
Does not own which is judged when, or what follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from selu_hpc.config import CriticConfig, CriticFrames, Simulator
from selu_hpc.envs.words import language_of
from selu_hpc.records import Task
from selu_hpc.selu import wording
from selu_hpc.selu.deeds import tried
from selu_hpc.selu.interview import Interview, Question
from selu_hpc.selu.reading import read_yes_no

Answers = Sequence[tuple[str, str]]
"""Questions about states with the critic's own answers: ("Is the fridge open?", "yes")."""


@dataclass(frozen=True, slots=True)
class Claim:
    """That the episode at a place of the batch has done a task."""

    place: int
    task: Task


@dataclass(frozen=True, slots=True)
class Purposes:
    """What the record calls the three kinds of question."""

    first: str
    state: str
    second: str


OWN_TASK = Purposes("verdict", "state", "second verdict")
CONSISTENCY = Purposes("consistency", "consistency state", "second consistency")
OWN_WORDS = "own words"
"""What the record calls the look at what the actor said."""


def verdicts(
    interview: Interview,
    claims: Sequence[Claim],
    frames: CriticFrames,
    *,
    told: Sequence[Answers] | None = None,
    purpose: str = OWN_TASK.first,
) -> list[bool]:
    """The critic's verdict on each claim; words that say neither yes nor no are a no."""
    answers = told or [()] * len(claims)
    return [bool(yes) for yes in interview.ask(_questions(claims, frames, answers, purpose), read=read_yes_no)]


def _questions(claims: Sequence[Claim], frames: CriticFrames, told: Sequence[Answers], purpose: str) -> list[Question]:
    return [
        Question(claim.place, purpose, wording.verdict_prompt(claim.task.instruction, frames=frames, answers=known))
        for claim, known in zip(claims, told, strict=True)
    ]


def _first(
    interview: Interview, claims: Sequence[Claim], config: CriticConfig, purpose: str
) -> list[tuple[bool, float]]:
    """Each first verdict, with how sure the critic is of it where `critic.sure_yes` asks for that."""
    if not 0 < config.sure_yes < 1:
        return [(yes, 1.0) for yes in verdicts(interview, claims, config.frames, purpose=purpose)]
    questions = _questions(claims, config.frames, [()] * len(claims), purpose)
    return [(bool(yes), sure) for yes, sure in interview.weigh(questions)]


def judge(
    interview: Interview,
    claims: Sequence[Claim],
    config: CriticConfig,
    *,
    simulator: Simulator,
    purposes: Purposes = OWN_TASK,
) -> tuple[list[bool], list[bool]]:
    """First and final verdict on each claim."""
    said = _first(interview, claims, config, purposes.first)
    first = [yes for yes, _ in said]
    possible = was_tried(interview, claims, config, simulator=simulator)
    final = [yes and can_be for yes, can_be in zip(first, possible, strict=True)]
    for claim, can_be in zip(claims, possible, strict=True):
        if not can_be:
            words = ", ".join(filter(None, interview.cases[claim.place].said or ()))
            interview.note(
                claim.place,
                OWN_WORDS,
                question=f"Did the actor try to {claim.task.instruction}?",
                said=words,
                taken="no",
            )
    if config.self_asking:
        least = config.sure_yes if config.sure_yes < 1 else math.inf
        doubted = [at for at, (yes, sure) in enumerate(said) if possible[at] and (not yes or sure < least)]
        second = _ask_oneself(interview, [claims[at] for at in doubted], config.frames, simulator, purposes)
        for at, yes in zip(doubted, second, strict=True):
            final[at] = yes
    return first, final


def was_tried(
    interview: Interview, claims: Sequence[Claim], config: CriticConfig, *, simulator: Simulator
) -> list[bool]:
    """Whether the actor's own words say that it tried what is claimed; True where they are not looked at."""
    if not config.own_words:
        return [True] * len(claims)
    language = language_of(simulator)
    said = [interview.cases[claim.place].said for claim in claims]
    return [
        words is None or tried(claim.task.goals, words, language) for claim, words in zip(claims, said, strict=True)
    ]


def _ask_oneself(
    interview: Interview, claims: Sequence[Claim], frames: CriticFrames, simulator: Simulator, purposes: Purposes
) -> list[bool]:
    """Ask about the state of the objects a task names, then for a second verdict with the answers told."""
    told = [
        [(question, "yes" if state else "no") for question, state in known if state is not None]
        for known in states(interview, claims, simulator=simulator, purpose=purposes.state)
    ]
    return verdicts(interview, claims, frames, told=told, purpose=purposes.second)


def states(
    interview: Interview, claims: Sequence[Claim], *, simulator: Simulator, purpose: str = OWN_TASK.state
) -> list[list[tuple[str, bool | None]]]:
    """For each claim the question about each of its goals, asked of the last picture alone, and what was read."""
    asked = [
        (at, wording.state_question(goal, simulator=simulator))
        for at, claim in enumerate(claims)
        for goal in claim.task.goals
    ]
    answers = interview.ask(
        [Question(claims[at].place, purpose, wording.state_prompt(question), now=True) for at, question in asked],
        read=read_yes_no,
    )
    found: list[list[tuple[str, bool | None]]] = [[] for _ in claims]
    for (at, question), state in zip(asked, answers, strict=True):
        found[at].append((question, state))
    return found
