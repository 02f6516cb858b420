"""The critic: a verdict on each episode; after a no it asks itself about the objects' states and judges again;
what is still a no is relabelled in hindsight when the episode did something else (hindsight.py).

    first verdict ── a sure yes ─────────────────────────────────────▶ success
         └─ no ─▶ self-asking ─▶ second verdict ── yes ──────────────▶ success (corrected)
                                     └─ no ─▶ hindsight ── found ────▶ success under another instruction
                                                  └─ none ───────────▶ failure

A yes said with less probability than `critic.sure_yes` goes the way of a no. What the actor's own words never tried is
a no without being asked again (`critic.own_words`), and goes to hindsight.
Pure of files and simulators. Controls and baselines judge in baselines.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from selu_hpc.config import CriticConfig, Hindsight, Simulator
from selu_hpc.models.vlm import Generator
from selu_hpc.records import Label, Task
from selu_hpc.selu import hindsight
from selu_hpc.selu.interview import Case, Interview
from selu_hpc.selu.verdicts import Claim, judge


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
        claims = [Claim(place, case.task) for place, case in enumerate(cases)]
        judged = judge(interview, claims, self.config, simulator=self.simulator)
        relabelled: list[Task | None] = [None] * len(cases)
        if self.config.hindsight is not Hindsight.OFF:
            failed = [place for place, one in enumerate(judged) if not one.final]
            found = hindsight.relabel(interview, failed, self.config, simulator=self.simulator)
            for place, task in zip(failed, found, strict=True):
                relabelled[place] = task
        return [
            Label(
                episode_id=case.episode_id,
                first=judged[place].first,
                verdict=judged[place].final,
                relabelled=relabelled[place],
                exchanges=tuple(interview.exchanges[place]),
                tried=judged[place].tried,
            )
            for place, case in enumerate(cases)
        ]
