"""Judges beside SELU's critic: two controls, no critic at all, and the baselines, all over the same episodes.

    random            a coin: what learning from noise gives           oracle   reads the truth, and declares it
    none              every episode counts as a success                 self_consistency, lmsi   majority of samples
    self_refine       verdict → feedback → verdict, three rounds        scoring   the best third by P(yes)

A baseline differs from SELU in how episodes are judged, and for the voting ones in how the actor speaks (actor.py);
what happens with the labels is the same (mix.py). Choices the papers leave open are written down in docs/selu.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selu_hpc.config import CriticConfig, CriticFrames, CriticMode, Hindsight, Learning, RunConfig, Simulator
from selu_hpc.envs.goals import is_named, make_task
from selu_hpc.models.vlm import Generator
from selu_hpc.records import Exchange, Goal, Label, Purpose, Task, Truth, clean, derive_seed
from selu_hpc.selu import wording
from selu_hpc.selu.actor import VOTES, VOTING_TEMPERATURE
from selu_hpc.selu.critic import Critic, Judge
from selu_hpc.selu.interview import Case, Interview, Question
from selu_hpc.selu.reading import read_yes_no
from selu_hpc.selu.verdicts import Claim, Purposes, ask_oneself, verdicts

REFINEMENTS = 3
ACCEPTED_SHARE = 1 / 3
"""Of the episodes that are ranked together, the share that scoring takes as successes."""
_REFINING = Purposes(Purpose.VERDICT, Purpose.FEEDBACK, Purpose.REFINED_VERDICT)


def judge_of(
    config: RunConfig,
    generator: Generator | None,
    *,
    adapter: str | None,
    truths: Mapping[str, Truth] | None = None,
) -> Judge:
    """The judge a recipe names. Controls need no generator; `truths`, by episode, may be given to the oracle alone."""
    critic, simulator = config.critic, config.env.simulator
    match critic.mode:
        case CriticMode.RANDOM:
            return Coin()
        case CriticMode.NONE:
            return Everything()
        case CriticMode.ORACLE:
            assert truths is not None
            return Oracle(truths, simulator, critic)
    assert generator is not None
    match config.learning:
        case Learning.SELF_CONSISTENCY | Learning.LMSI:
            return Majority(generator, adapter, critic.frames)
        case Learning.SELF_REFINE:
            return SelfRefine(generator, adapter, simulator, critic)
        case Learning.SCORING:
            return Scoring(generator, adapter, critic.frames)
    return Critic(generator=generator, adapter=adapter, simulator=simulator, config=critic)


@dataclass(frozen=True, slots=True)
class Coin:
    """Verdicts by the episode's seed: half are yes, and none has to do with what happened."""

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        return [_label(case, derive_seed("coin", case.seed, case.episode_id) % 2 == 0) for case in cases]


@dataclass(frozen=True, slots=True)
class Everything:
    """All trajectories count: SELU without its critic."""

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        return [_label(case, True) for case in cases]


@dataclass(frozen=True, slots=True)
class Oracle:
    """The ceiling: verdicts and relabelling from the evaluation truth, which its stage opens for this purpose."""

    truths: Mapping[str, Truth]
    simulator: Simulator
    config: CriticConfig

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        return [self._one(case, self.truths[case.episode_id]) for case in cases]

    def _one(self, case: Case, truth: Truth) -> Label:
        done = [goal for goal in truth.achieved if self._may_count(goal, case.task) and (goal,) != case.task.goals]
        if truth.success or not done or self.config.hindsight is Hindsight.OFF:
            return _label(case, truth.success)
        task = make_task(case.task.scene, (done[0],), simulator=self.simulator)
        return Label(episode_id=case.episode_id, first=False, verdict=False, relabelled=task)

    def _may_count(self, goal: Goal, task: Task) -> bool:
        """What hindsight could ask about: things that have a name, and of puts what the instruction was to put."""
        if not is_named(goal, simulator=self.simulator):
            return False
        if goal.verb == "put":
            return any(one.verb == "put" and one.target == goal.target for one in task.goals)
        any_verb = self.config.hindsight is Hindsight.ANY_VERB
        return any_verb or any(one.verb == goal.verb for one in task.goals)


@dataclass(frozen=True, slots=True)
class Majority:
    """Self-consistency: the verdict of most of five samples."""

    generator: Generator
    adapter: str | None
    frames: CriticFrames

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        interview = Interview(self.generator, self.adapter, cases)
        questions = [
            Question(place, Purpose.VERDICT, wording.verdict_prompt(case.task.instruction, frames=self.frames))
            for place, case in enumerate(cases)
        ]
        votes = [
            interview.ask(questions, read=read_yes_no, temperature=VOTING_TEMPERATURE, vote=vote)
            for vote in range(VOTES)
        ]
        won = [sum(bool(vote) for vote in column) * 2 > VOTES for column in zip(*votes, strict=True)]
        return [
            _label(case, yes, interview.exchanges[place])
            for place, (case, yes) in enumerate(zip(cases, won, strict=True))
        ]


@dataclass(frozen=True, slots=True)
class SelfRefine:
    """A verdict, then up to three rounds of feedback on it and a new verdict; ends when a round changes nothing."""

    generator: Generator
    adapter: str | None
    simulator: Simulator
    config: CriticConfig

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        interview = Interview(self.generator, self.adapter, cases)
        first = verdicts(interview, [Claim(place, case.task) for place, case in enumerate(cases)], self.config.frames)
        now = list(first)
        open_places = list(range(len(cases)))
        for _ in range(REFINEMENTS):
            refined = self._refine(interview, open_places, now)
            open_places = [place for place, yes in zip(open_places, refined, strict=True) if yes != now[place]]
            for place in open_places:
                now[place] = not now[place]
        return [
            Label(episode_id=c.episode_id, first=first[p], verdict=now[p], exchanges=tuple(interview.exchanges[p]))
            for p, c in enumerate(cases)
        ]

    def _refine(self, interview: Interview, places: Sequence[int], now: Sequence[bool]) -> list[bool]:
        claims = [Claim(place, interview.cases[place].task) for place in places]
        if self.config.feedback == "states":
            return ask_oneself(interview, claims, self.config.frames, self.simulator, _REFINING)
        questions = [
            Question(
                claim.place,
                _REFINING.state,
                wording.feedback_prompt(claim.task.instruction, verdict=now[claim.place], frames=self.config.frames),
            )
            for claim in claims
        ]
        said = interview.ask(questions, read=lambda text: clean(text) or None)
        told = [[("You see:", text or "nothing")] for text in said]
        return verdicts(interview, claims, self.config.frames, told=told, purpose=_REFINING.second)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Self-rewarding: the critic's own P(yes) is the score, and the best third of the episodes are successes.

    Episodes judged together are ranked together, so a stage hands it a whole shard; of however few the best is one.
    """

    generator: Generator
    adapter: str | None
    frames: CriticFrames

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        interview = Interview(self.generator, self.adapter, cases)
        questions = [
            Question(place, Purpose.SCORE, wording.verdict_prompt(case.task.instruction, frames=self.frames))
            for place, case in enumerate(cases)
        ]
        scores = interview.probability_of(questions, "yes", "no")
        ranked = sorted(range(len(cases)), key=lambda place: (-scores[place], place))
        accepted = set(ranked[: max(1, round(len(cases) * ACCEPTED_SHARE))])
        return [_label(case, place in accepted, interview.exchanges[place]) for place, case in enumerate(cases)]


def _label(case: Case, yes: bool, exchanges: Sequence[Exchange] = ()) -> Label:
    return Label(episode_id=case.episode_id, first=yes, verdict=yes, exchanges=tuple(exchanges))
