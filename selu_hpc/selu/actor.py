"""The actor: `a_t = M_a(I, p_a, o_t)` — instruction, prompt and first-person picture in, an action's words out.

Many episodes are asked at once; an answer depends on its own situation only. Does not own what the words do
(envs/language.py reads them, the environment acts) or when an episode ends (stages/playing.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from selu_hpc.config import Learning, RunConfig, Simulator
from selu_hpc.envs.words import language_of
from selu_hpc.models.vlm import Generator, Request
from selu_hpc.records import LONGEST_KEPT, FrameHWC, clean, derive_seed
from selu_hpc.selu import wording

_TOKEN = re.compile(r"\w+|[^\w\s]")
SHAPE_TOKENS = 32
"""About the step in which generation pads prompts (models/forwards.py); a wrong guess costs speed alone."""
VOTES = 5
"""Samples of one majority vote."""
VOTING_TEMPERATURE = 0.7
"""Voting needs answers that differ; a greedy actor would say the same thing five times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One moment of one episode: what the actor sees, was told and did so far.

    history: canonical actions, "" for unreadable ones.  seed: the episode's.  explore: with the first round's prompt.
    """

    instruction: str
    first_person: FrameHWC = field(repr=False)
    seen: str
    history: tuple[str, ...]
    seed: int
    explore: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """How a run's actor is asked. num_votes: 1, or a majority of samples."""

    generator: Generator
    adapter: str | None
    simulator: Simulator
    temperature: float = 0.0
    num_votes: int = 1
    batch_size: int = 16
    allowed: str = ""

    @classmethod
    def of(cls, config: RunConfig, generator: Generator, *, adapter: str | None) -> Actor:
        voting = config.learning in (Learning.SELF_CONSISTENCY, Learning.LMSI)
        return cls(
            generator=generator,
            adapter=adapter,
            simulator=config.env.simulator,
            temperature=config.rollout.temperature,
            num_votes=VOTES if voting else 1,
            batch_size=config.model.batch_size,
            allowed=wording.listed_actions(config),
        )

    def act(self, situations: Sequence[Situation]) -> list[str]:
        """The next words of each, safe to keep; hostile or empty words are returned as they are read."""
        requests = [Request(self._prompt(one), (one.first_person,)) for one in situations]
        if self.num_votes > 1:
            return self._vote(requests, situations)
        seeds = [_seed(one, 0) for one in situations] if self.temperature > 0 else None
        answers = self.generator.generate(requests, adapter=self.adapter, temperature=self.temperature, seeds=seeds)
        return [spoken(answer.text) for answer in answers]

    def shape(self, one: Situation) -> int:
        """Situations whose prompts are about as long are best answered together."""
        return len(_TOKEN.findall(self._prompt(one))) // SHAPE_TOKENS

    def _prompt(self, one: Situation) -> str:
        return wording.actor_prompt(
            one.instruction, seen=one.seen, history=one.history, explore=one.explore, allowed=self.allowed
        )

    def _vote(self, requests: Sequence[Request], situations: Sequence[Situation]) -> list[str]:
        """The action most samples mean; among equals the one said first."""
        count = self.num_votes
        answers = self.generator.generate(
            [request for request in requests for _ in range(count)],
            adapter=self.adapter,
            temperature=self.temperature or VOTING_TEMPERATURE,
            seeds=[_seed(one, vote) for one in situations for vote in range(count)],
        )
        said = [spoken(answer.text) for answer in answers]
        return [self._majority(said[at : at + count]) for at in range(0, len(said), count)]

    def _majority(self, said: Sequence[str]) -> str:
        language = language_of(self.simulator)
        commands = [language.read(text) for text in said]
        meant = [
            text if command is None else language.say(command) for text, command in zip(said, commands, strict=True)
        ]
        return Counter(meant).most_common(1)[0][0]


def spoken(text: str) -> str:
    """Words that are safe to read, line by line: a "not" in one line denies nothing in the next."""
    lines = map(clean, text[: 4 * LONGEST_KEPT].split("\n"))
    return "\n".join(filter(None, lines))[:LONGEST_KEPT].rstrip()


def _seed(one: Situation, vote: int) -> int:
    return derive_seed("act", one.seed, len(one.history), vote)
