"""Hindsight relabelling: an episode that failed its instruction may have succeeded at another.

The verb comes from the instruction, and the critic is asked which object it happened to ("Which object is open?");
when it names another object, the episode becomes a success for that instruction. An option asks over all verbs.
Where the actor's own words are looked at (`critic.own_words`), an object it never did the verb to is passed over, and
what it did do is wondered about as well, if the critic is asked to stand by it: words alone show no deed.
Of a composition that failed, a goal that was reached is such an instruction.
Before a new instruction is used the critic must stand by it (`critic.consistency_check`): judge it, as it judges any
task, to be done, and find it not yet so in the picture before the first step, or doing nothing would count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from selu_hpc.config import CriticConfig, Hindsight, Simulator
from selu_hpc.envs.goals import VERBS, make_task
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal, Purpose, Task
from selu_hpc.selu import wording
from selu_hpc.selu.deeds import deeds
from selu_hpc.selu.interview import Case, Interview, Question
from selu_hpc.selu.reading import read_which, read_yes_no, relabelled_goal
from selu_hpc.selu.verdicts import CONSISTENCY, Claim, judge

CONTRARY = {"close": "open", "toggle off": "toggle on", "switch off": "switch on"}
"""Verbs whose goal holds of most things all along, and the verb whose goal held before."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the critic said that the verb of a goal happened to, in the case at a place of the batch.

    answer: an object's type or "none"; None where nothing could be read.
    """

    place: int
    goal: Goal
    answer: str | None


def relabel(
    interview: Interview, places: Sequence[int], config: CriticConfig, *, simulator: Simulator
) -> list[Task | None]:
    """For each of these cases the task it did achieve, or None.

    The critic is asked which object it happened to; what it names and what the actor's own words did are candidates;
    the first that the critic stands by is taken. Without `critic.consistency_check` only what it names is.
    """
    named = _ask_which(interview, places, config, simulator)
    candidates = [claim for one in named for claim in _candidates(one, interview.cases[one.place], config, simulator)]
    agreed = _stood_by(interview, candidates, config, simulator) if config.consistency_check else candidates
    chosen: dict[int, Task] = {}
    for claim in agreed:
        chosen.setdefault(claim.place, claim.task)
    return [chosen.get(place) for place in places]


def _ask_which(interview: Interview, places: Sequence[int], config: CriticConfig, simulator: Simulator) -> list[Named]:
    language = language_of(simulator)
    asked = [(place, goal) for place in places for goal in _wondered(interview.cases[place].task, config, simulator)]
    prompts = [wording.which_prompt(wording.which_question(goal, simulator=simulator)) for _, goal in asked]
    answers = interview.ask(
        [Question(place, Purpose.WHICH, prompt, now=True) for (place, _), prompt in zip(asked, prompts, strict=True)],
        read=[partial(read_which, language=language, goal=goal) for _, goal in asked],
    )
    return [Named(place, goal, answer) for (place, goal), answer in zip(asked, answers, strict=True)]


def _candidates(named: Named, case: Case, config: CriticConfig, simulator: Simulator) -> list[Claim]:
    """The instruction with the object that was named, then those that the actor's own words did, the last first.

    Where words are looked at, what they never did is left out; the case's own task always is. A deed that only the
    words tell of, which may have failed, is a candidate where the critic is asked about it.
    """
    goal = relabelled_goal(named.goal, named.answer)
    seen = [] if goal is None else [goal]
    if config.own_words and case.said is not None:
        done = _done(case.said, named.goal, simulator)
        goals = [*(one for one in seen if one in done), *(done if config.consistency_check else ())]
    else:
        goals = seen
    return [
        Claim(named.place, make_task(case.task.scene, (one,), simulator=simulator))
        for one in dict.fromkeys(goals)
        if (one,) != case.task.goals
    ]


def _done(said: Sequence[str], goal: Goal, simulator: Simulator) -> list[Goal]:
    """What the words did with this goal's verb, the last first; "put it on the desk" puts what the goal puts."""
    return [
        replace(deed, target=goal.target) if deed.place and not deed.target else deed
        for deed in reversed(deeds(said, language_of(simulator)))
        if deed.verb == goal.verb
    ]


def _stood_by(interview: Interview, claims: Sequence[Claim], config: CriticConfig, simulator: Simulator) -> list[Claim]:
    """Those of the claims that the critic judges to be done and finds not to have been so at first."""
    judged = judge(interview, claims, config, simulator=simulator, purposes=CONSISTENCY)
    agreed = [claim for claim, one in zip(claims, judged, strict=True) if one.final]
    new = _not_yet(interview, agreed, simulator)
    return [claim for claim, is_new in zip(agreed, new, strict=True) if is_new]


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
            Purpose.BEFORE,
            wording.state_prompt(wording.state_question(goal, simulator=simulator)),
            before=True,
        )
        for at, goal in zip(known, contrary, strict=True)
    ]
    found = [True] * len(claims)
    for at, goal, state in zip(known, goals, interview.ask(questions, read=read_yes_no), strict=True):
        found[at] = state is (goal.verb in CONTRARY)
    return found
