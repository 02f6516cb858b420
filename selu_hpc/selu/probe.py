"""A probe of general ability: questions about what is plain to see, asked before and after learning.

The questions are about scripted episodes' last frames and their answers follow from the simulator's state, so only
evaluation asks them. Does not own the episodes (stages/testset.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selu_hpc.config import Simulator
from selu_hpc.envs.goals import HOLDING, OPPOSITES, is_named
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal, Truth, derive_seed
from selu_hpc.selu import wording
from selu_hpc.selu.reading import read_which, read_yes_no

QUESTIONS_AN_EPISODE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeQuestion:
    """One question about an episode's last frame. expected: "yes", "no" or an object type; goal: what it is about."""

    place: int
    kind: str
    prompt: str
    expected: str
    goal: Goal


def probe_questions(truths: Sequence[Truth], *, simulator: Simulator) -> list[ProbeQuestion]:
    """A yes, a no and a which about what each episode brought about of what has a name: the lettuce, no slice of it."""
    achieved = [
        next((goal for goal in truth.achieved if is_named(goal, simulator=simulator)), None) for truth in truths
    ]
    targets = sorted({goal.target for goal in achieved if goal})
    found = []
    for place, (goal, truth) in enumerate(zip(achieved, truths, strict=True)):
        if goal is None:
            continue
        other = _false_goal(goal, truth, targets, simulator)
        found += [
            ProbeQuestion(
                place=place, kind=f"is {one.verb}", prompt=_state(one, simulator), expected=expected, goal=one
            )
            for one, expected in ((goal, "yes"), (other, "no"))
        ]
        prompt = wording.which_prompt(wording.which_question(goal, simulator=simulator))
        expected = goal.place or goal.target
        found.append(ProbeQuestion(place=place, kind=f"which {goal.verb}", prompt=prompt, expected=expected, goal=goal))
    return found


def is_right(question: ProbeQuestion, answer: str, *, simulator: Simulator) -> bool:
    if question.expected in ("yes", "no"):
        read = read_yes_no(answer)
        return read is not None and read == (question.expected == "yes")
    return read_which(answer, language_of(simulator), goal=question.goal) == question.expected


def _state(goal: Goal, simulator: Simulator) -> str:
    return wording.state_prompt(wording.state_question(goal, simulator=simulator))


def _false_goal(goal: Goal, truth: Truth, targets: Sequence[str], simulator: Simulator) -> Goal:
    """Something near the goal that does not hold: its opposite, holding it, or holding something else."""
    if goal.verb in OPPOSITES:
        return Goal(verb=OPPOSITES[goal.verb], target=goal.target)
    holding = HOLDING[simulator]
    if goal.verb != holding:
        return Goal(verb=holding, target=goal.target)
    others = [target for target in targets if target != goal.target] or ["Plate", "plate"]
    return Goal(verb=holding, target=others[derive_seed("probe", truth.episode_id) % len(others)])
