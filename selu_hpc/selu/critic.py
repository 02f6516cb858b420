"""The critic: a verdict on each episode; after a no it asks itself about the objects' states and judges again;
what is still a no is relabelled in hindsight when the episode did something else (hindsight.py).

    first verdict ── yes ─────────────────────────────────────────▶ success
         └─ no ─▶ self-asking ─▶ second verdict ── yes ───────────▶ success (corrected)
                                     └─ no ─▶ hindsight ── found ─▶ success under another instruction
                                                  └─ none ────────▶ failure

`critic.doubt_yes` sends a yes through self-asking too, for a base that says yes too easily.
Pure of files and simulators. Controls and baselines judge in baselines.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from selu_hpc.config import CriticConfig, CriticFrames, Hindsight, Simulator
from selu_hpc.models.vlm import Generator
from selu_hpc.records import Label, Task
from selu_hpc.selu import hindsight, wording
from selu_hpc.selu.interview import Case, Interview, Question
from selu_hpc.selu.reading import read_yes_no


class Judge(Protocol):
    """Whatever labels episodes: the critic, a control or a baseline. A label depends on its own case only,
    unless the method says otherwise."""

    def judge(self, cases: Sequence[Case]) -> list[Label]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic:
    """SELU's critic over one adapter of the base."""

    generator: Generator
    adapter: str | None
    simulator: Simulator
    config: CriticConfig

    def judge(self, cases: Sequence[Case]) -> list[Label]:
        interview = Interview(self.generator, self.adapter, cases)
        first = verdicts(interview, range(len(cases)), self.config.frames)
        final = list(first)
        relabelled: list[Task | None] = [None] * len(cases)
        if self.config.self_asking:
            doubted = [place for place, yes in enumerate(final) if self.config.doubt_yes or not yes]
            for place, yes in zip(doubted, self._ask_oneself(interview, doubted), strict=True):
                final[place] = yes
        if self.config.hindsight is not Hindsight.OFF:
            failed = [place for place, yes in enumerate(final) if not yes]
            found = hindsight.relabel(interview, failed, self.config, simulator=self.simulator)
            for place, task in zip(failed, found, strict=True):
                relabelled[place] = task
        return [
            Label(
                episode_id=case.episode_id,
                first=first[place],
                verdict=final[place],
                relabelled=relabelled[place],
                exchanges=tuple(interview.exchanges[place]),
            )
            for place, case in enumerate(cases)
        ]

    def _ask_oneself(self, interview: Interview, places: Sequence[int]) -> list[bool]:
        """Ask about the state of the objects the task names, then for a second verdict with the answers told."""
        asked = [
            (place, wording.state_question(goal, simulator=self.simulator))
            for place in places
            for goal in interview.cases[place].task.goals
        ]
        states = interview.ask(
            [Question(place, "state", wording.state_prompt(question)) for place, question in asked], read=read_yes_no
        )
        told: dict[int, list[tuple[str, str]]] = {place: [] for place in places}
        for (place, question), state in zip(asked, states, strict=True):
            if state is not None:
                told[place].append((question, "yes" if state else "no"))
        return verdicts(interview, places, self.config.frames, told=told, purpose="second verdict")


def verdicts(
    interview: Interview,
    places: Sequence[int],
    frames: CriticFrames,
    *,
    told: dict[int, list[tuple[str, str]]] | None = None,
    purpose: str = "verdict",
) -> list[bool]:
    """The critic's verdict on each case; words that say neither yes nor no are a no."""
    questions = [
        Question(
            place,
            purpose,
            wording.verdict_prompt(
                interview.cases[place].task.instruction, frames=frames, answers=told[place] if told else ()
            ),
        )
        for place in places
    ]
    return [bool(answer) for answer in interview.ask(questions, read=read_yes_no)]
