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
from dataclasses import dataclass, replace

from selu_hpc.config import CriticConfig, CriticFrames, Simulator
from selu_hpc.envs.words import language_of
from selu_hpc.records import Purpose, Task
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
class Judgement:
    """What a claim came to.

    first: the first verdict.  final: after the actor's own words and self-asking.
    tried: False when the actor's own words never did what is claimed; True where they are not looked at.
    """

    first: bool
    final: bool
    tried: bool


@dataclass(frozen=True, slots=True)
class Purposes:
    """What the record calls the three kinds of question."""

    first: Purpose
    state: Purpose
    second: Purpose


OWN_TASK = Purposes(Purpose.VERDICT, Purpose.STATE, Purpose.SECOND_VERDICT)
CONSISTENCY = Purposes(Purpose.CONSISTENCY, Purpose.CONSISTENCY_STATE, Purpose.SECOND_CONSISTENCY)


def verdicts(
    interview: Interview,
    claims: Sequence[Claim],
    frames: CriticFrames,
    *,
    told: Sequence[Answers] | None = None,
    purpose: Purpose = OWN_TASK.first,
) -> list[bool]:
    """The critic's verdict on each claim; words that say neither yes nor no are a no."""
    answers = told or [()] * len(claims)
    return [bool(yes) for yes in interview.ask(_questions(claims, frames, answers, purpose), read=read_yes_no)]


def _questions(
    claims: Sequence[Claim], frames: CriticFrames, told: Sequence[Answers], purpose: Purpose
) -> list[Question]:
    return [
        Question(claim.place, purpose, wording.verdict_prompt(claim.task.instruction, frames=frames, answers=known))
        for claim, known in zip(claims, told, strict=True)
    ]


def _first(
    interview: Interview, claims: Sequence[Claim], config: CriticConfig, purpose: Purpose
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
) -> list[Judgement]:
    """A first verdict on each claim, a look at the actor's own words, and a second verdict where there is doubt."""
    said = _first(interview, claims, config, purposes.first)
    judged = _heeding_words(interview, claims, [yes for yes, _ in said], config, simulator)
    if not config.self_asking:
        return judged
    least = config.sure_yes if config.sure_yes < 1 else math.inf
    doubted = [at for at, (yes, sure) in enumerate(said) if judged[at].tried and (not yes or sure < least)]
    second = ask_oneself(interview, [claims[at] for at in doubted], config.frames, simulator, purposes)
    for at, yes in zip(doubted, second, strict=True):
        judged[at] = replace(judged[at], final=yes)
    return judged


def _heeding_words(
    interview: Interview, claims: Sequence[Claim], first: Sequence[bool], config: CriticConfig, simulator: Simulator
) -> list[Judgement]:
    """What the actor's words never tried is a no, whatever the first verdict was; the record says by which words."""
    judged = []
    for claim, yes in zip(claims, first, strict=True):
        words = interview.cases[claim.place].said if config.own_words else None
        was_tried = words is None or tried(claim.task.goals, words, language_of(simulator))
        if not was_tried:
            interview.note(
                claim.place,
                Purpose.OWN_WORDS,
                question=f"Did the actor try to {claim.task.instruction}?",
                said=", ".join(filter(None, words or ())),
                taken="no",
            )
        judged.append(Judgement(first=yes, final=yes and was_tried, tried=was_tried))
    return judged


def ask_oneself(
    interview: Interview, claims: Sequence[Claim], frames: CriticFrames, simulator: Simulator, purposes: Purposes
) -> list[bool]:
    """Ask about the state of the objects a task names, then for a second verdict with the answers told."""
    told = [
        [(question, "yes" if state else "no") for question, state in known if state is not None]
        for known in states(interview, claims, simulator=simulator, purpose=purposes.state)
    ]
    return verdicts(interview, claims, frames, told=told, purpose=purposes.second)


def states(
    interview: Interview, claims: Sequence[Claim], *, simulator: Simulator, purpose: Purpose = OWN_TASK.state
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
