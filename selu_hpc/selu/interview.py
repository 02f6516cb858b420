"""Questions to the critic about a batch of episodes, and the record of every one.

All questions of one step of an algorithm are asked in one batch over all episodes; questions about the same episode
share its pictures, which the generator reads once. Does not own what is asked or concluded (critic.py, hindsight.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp, isnan, nan
from typing import TypeVar

from selu_hpc.config import CriticFrames
from selu_hpc.errors import ModelError
from selu_hpc.models.vlm import Answer, Generator, Request
from selu_hpc.records import UNREADABLE, Exchange, FrameHWC, Purpose, Task, clean, derive_seed
from selu_hpc.selu.reading import read_yes_no

Read = TypeVar("Read")
_WORD_AND_END = 2
SURE_DIGITS = 6
_SAID = re.compile(r"\b(?:yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One episode as the critic meets it: its task and third-person pictures, and nothing of the simulator's.

    images: what a verdict is asked over.  before: the picture before the first step, where hindsight needs it.
    said: the actor's own actions in canonical words, "" for unreadable ones; None where they are not looked at.
    """

    episode_id: str
    task: Task
    images: tuple[FrameHWC, ...] = field(repr=False)
    before: FrameHWC | None = field(default=None, repr=False)
    said: tuple[str, ...] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt about the case at a place in the batch, and what it is for.

    before: it is asked of the picture before the first step.
    now: it is asked of the last picture alone, for its words do not say which of several they mean.
    """

    place: int
    purpose: Purpose
    prompt: str
    before: bool = False
    now: bool = False


class Interview:
    """`interview.ask(questions, read=read_yes_no)`; `exchanges[place]` holds what was said about each case."""

    def __init__(self, generator: Generator, adapter: str | None, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.exchanges: list[list[Exchange]] = [[] for _ in cases]
        self._generator = generator
        self._adapter = adapter

    def ask(
        self,
        questions: Sequence[Question],
        *,
        read: Callable[[str], Read | None] | Sequence[Callable[[str], Read | None]],
        temperature: float = 0.0,
        vote: int = 0,
    ) -> list[Read | None]:
        """What was read from each answer, None where nothing was; above temperature 0 `vote` seeds a fresh sample.

        read: one way to read for all questions, or one for each.
        """
        reads = [read] * len(questions) if callable(read) else read
        said = self._said(questions, reads, temperature, vote)
        for question, (taken, answer) in zip(questions, said, strict=True):
            self._keep(question, answer.text, _written(taken))
        return [taken for taken, _ in said]

    def weigh(self, questions: Sequence[Question]) -> list[tuple[bool | None, float]]:
        """Yes or no to each, and how sure of it the model is.

        Where it said the one word, its probability as spelled, end of turn included. A longer answer's would fall with
        every word: there it is that of the word against the other one, both spelled as the answer spells its own.
        """
        said = self._said(questions, [read_yes_no] * len(questions))
        sure = [self._sureness(taken, answer) for taken, answer in said]
        unknown = [at for at, known in enumerate(sure) if isnan(known)]
        yes = self._odds([questions[at] for at in unknown], [_spelled(said[at][1].text) for at in unknown])
        for at, likely in zip(unknown, yes, strict=True):
            sure[at] = likely if said[at][0] else 1 - likely
        for question, (taken, answer), known in zip(questions, said, sure, strict=True):
            self._keep(question, answer.text, _written(taken), None if taken is None else round(known, SURE_DIGITS))
        return [(taken, known) for (taken, _), known in zip(said, sure, strict=True)]

    def _sureness(self, taken: bool | None, answer: Answer) -> float:
        """What the answer itself tells of it; NaN where the model has to be asked."""
        if not isnan(answer.sure):
            return answer.sure
        if isnan(answer.logprob):
            raise ModelError(
                "critic.sure_yes needs to know how likely an answer was, and the server at model.server_url does not "
                "tell; set critic.sure_yes to 0 or 1, or generate in process"
            )
        if taken is None:
            return 0.0
        one_word = clean(answer.text).lower() in ("yes", "no") and answer.num_tokens <= _WORD_AND_END
        return exp(min(answer.logprob, 0.0)) if one_word else nan

    def _said(
        self,
        questions: Sequence[Question],
        reads: Sequence[Callable[[str], Read | None]],
        temperature: float = 0.0,
        vote: int = 0,
    ) -> list[tuple[Read | None, Answer]]:
        if not questions:
            return []
        seeds = [derive_seed("ask", self.cases[q.place].seed, q.prompt, vote) for q in questions]
        answers = self._generator.generate(
            [Request(question.prompt, self._pictures(question)) for question in questions],
            adapter=self._adapter,
            temperature=temperature,
            seeds=seeds if temperature > 0 else None,
        )
        return [(read(answer.text), answer) for answer, read in zip(answers, reads, strict=True)]

    def probability_of(self, questions: Sequence[Question], answer: str, other: str) -> list[float]:
        """How likely `answer` is where only it and `other` may be said; kept in the record."""
        found = self._odds(questions, [(answer, other)] * len(questions))
        for question, likely in zip(questions, found, strict=True):
            self._keep(question, "", f"{likely:.4f}")
        return found

    def _odds(self, questions: Sequence[Question], pairs: Sequence[tuple[str, str]]) -> list[float]:
        """How likely the first of each question's pair of answers is against the second."""
        if not questions:
            return []
        requests = [Request(question.prompt, self._pictures(question)) for question in questions]
        both = [request for request in requests for _ in range(2)]
        answers = [answer for pair in pairs for answer in pair]
        scores = self._generator.logprobs(both, answers, adapter=self._adapter)
        return [1 / (1 + exp(min(two - one, 700.0))) for one, two in zip(scores[::2], scores[1::2], strict=True)]

    def note(self, place: int, purpose: Purpose, *, question: str, said: str, taken: str) -> None:
        """Keep what was found out without asking the model."""
        self.exchanges[place].append(Exchange(purpose=purpose, question=question, answer=said, taken=taken))

    def _pictures(self, question: Question) -> tuple[FrameHWC, ...]:
        case = self.cases[question.place]
        if not question.before:
            return case.images[-1:] if question.now else case.images
        assert case.before is not None, "asked of a picture the case does not have"
        return (case.before,)

    def _keep(self, question: Question, said: str, taken: str, sure: float | None = None) -> None:
        """An answer is read whole and kept as far as a record goes."""
        exchange = Exchange(
            purpose=question.purpose, question=question.prompt, answer=clean(said), taken=taken, sure=sure
        )
        self.exchanges[question.place].append(exchange)


def critic_steps(num_frames: int, which: CriticFrames) -> tuple[int, ...]:
    """Which of an episode's frames a verdict is asked over: `critic_steps(11, CriticFrames.LAST) == (10,)`."""
    last = num_frames - 1
    match which:
        case CriticFrames.LAST:
            return (last,)
        case CriticFrames.FIRST_AND_LAST:
            return (0, last) if last else (0,)
        case CriticFrames.ALL:
            return tuple(range(num_frames))


def _spelled(said: str) -> tuple[str, str]:
    """Yes and no as an answer spells its own: ("Yes", "No") for "Yes, it is open."."""
    word = _SAID.search(said)
    if word is None or word[0].islower():
        return "yes", "no"
    return ("YES", "NO") if word[0].isupper() else ("Yes", "No")


def _written(taken: object) -> str:
    if taken is None:
        return UNREADABLE
    if isinstance(taken, bool):
        return "yes" if taken else "no"
    return str(taken)
