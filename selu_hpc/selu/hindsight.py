"""Hindsight relabelling: an episode that failed its instruction may have succeeded at another.

The verb comes from the instruction, and the critic is asked which object it happened to ("Which object is open?");
when it names another object, the episode becomes a success for that instruction. An option asks over all verbs.
Where the actor's own words are looked at (`critic.own_words`), an object it never did the verb to is passed over, and
what it did do is wondered about as well. Of a composition that failed, a goal that was reached is such an instruction.
Before a new instruction is used the critic must stand by it (`critic.consistency_check`): judge it, as it judges any
task, to be done, and find it not yet so in the picture before the first step, or doing nothing would count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from selu_hpc.config import CriticConfig, Hindsight, Simulator
from selu_hpc.envs.goals import VERBS, make_task
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal, Task
from selu_hpc.selu import wording
from selu_hpc.selu.deeds import deeds
from selu_hpc.selu.interview import Interview, Question
from selu_hpc.selu.reading import read_which, read_yes_no, relabelled_goal
from selu_hpc.selu.verdicts import CONSISTENCY, Claim, judge

CONTRARY = {"close": "open", "toggle off": "toggle on", "switch off": "switch on"}
"""Verbs whose goal holds of most things all along, and the verb whose goal held before."""


def relabel(
    interview: Interview, places: Sequence[int], config: CriticConfig, *, simulator: Simulator
) -> list[Task | None]:
    """For each of these cases the task it did achieve, or None."""
    language = language_of(simulator)
    asked = [(place, goal) for place in places for goal in _wondered(interview.cases[place].task, config, simulator)]
    said = interview.ask(
        [
            Question(place, "which", wording.which_prompt(wording.which_question(goal, simulator=simulator)), now=True)
            for place, goal in asked
        ],
        read=[partial(read_which, language=language, goal=goal) for _, goal in asked],
    )
    candidates: list[Claim] = []
    for (place, goal), answer in zip(asked, said, strict=True):
        case = interview.cases[place]
        named = relabelled_goal(goal, answer)
        found = [named] if named is not None else []
        if config.own_words and case.said is not None:
            done = [_completed(deed, goal) for deed in reversed(deeds(case.said, language)) if deed.verb == goal.verb]
            found = [one for one in found if one in done] + [one for one in done if one != named]
        for one in dict.fromkeys(found):
            if (one,) != case.task.goals:
                candidates.append(Claim(place, make_task(case.task.scene, (one,), simulator=simulator)))
    agreed = [True] * len(candidates)
    if config.consistency_check:
        _, agreed = judge(interview, candidates, config, simulator=simulator, purposes=CONSISTENCY)
        candidates = [claim for claim, yes in zip(candidates, agreed, strict=True) if yes]
        agreed = _not_yet(interview, candidates, simulator)
    chosen: dict[int, Task] = {}
    for claim, yes in zip(candidates, agreed, strict=True):
        if yes:
            chosen.setdefault(claim.place, claim.task)
    return [chosen.get(place) for place in places]


def _completed(deed: Goal, goal: Goal) -> Goal:
    """ "put it on the desk" puts what the instruction was to put."""
    return replace(deed, target=goal.target) if deed.place and not deed.target else deed


def _wondered(task: Task, config: CriticConfig, simulator: Simulator) -> list[Goal]:
    """The goals whose verbs are asked about, the instruction's first; each stands for its verb with any object."""
    goals = {goal.verb: goal for goal in task.goals}
    if config.hindsight is Hindsight.ANY_VERB:
        target = task.goals[0].target
        # Where something lies tells of a put only when the instruction was to put it.
        goals |= {
            verb: Goal(verb=verb, target=target) for verb in VERBS[simulator] if verb not in goals and verb != "put"
        }
    return list(goals.values())


def _not_yet(interview: Interview, claims: Sequence[Claim], simulator: Simulator) -> list[bool]:
    """Whether the critic says that what is claimed was not so at first; only words that say so count.

    What is claimed closed or off must be seen open or on: most things are closed and off all along, and of what the
    first picture does not show a no says nothing. A case without its first picture is taken as it is.
    """
    known = [at for at, claim in enumerate(claims) if interview.cases[claim.place].before is not None]
    goals = [claims[at].task.goals[0] for at in known]
    contrary = [replace(goal, verb=CONTRARY.get(goal.verb, goal.verb)) for goal in goals]
    questions = [
        Question(
            claims[at].place,
            "before",
            wording.state_prompt(wording.state_question(goal, simulator=simulator)),
            before=True,
        )
        for at, goal in zip(known, contrary, strict=True)
    ]
    found = [True] * len(claims)
    for at, goal, state in zip(known, goals, interview.ask(questions, read=read_yes_no), strict=True):
        found[at] = state is (goal.verb in CONTRARY)
    return found
