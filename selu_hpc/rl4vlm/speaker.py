"""Who answers: the model by sampling, or the expert of the warm-up, who also answers for states that chance led to."""

from __future__ import annotations

import random
from collections.abc import Sequence

from selu_hpc.config import GameConfig
from selu_hpc.models.asking import Generator, Request
from selu_hpc.models.chat import Chat
from selu_hpc.records import derive_seed
from selu_hpc.rl4vlm.cot import num_thought_tokens, read_action, weighed
from selu_hpc.rl4vlm.playing import Reply, Seat
from selu_hpc.rl4vlm.wording import answer_of

LOGPROB_DIGITS = 4
"""Kept of a log-probability, which is compared with another and never learned from."""


class ModelSpeaker:
    """The model. chat: what made its tokens, to find where an answer's action begins."""

    def __init__(self, generator: Generator, chat: Chat, settings: GameConfig, *, adapter: str | None) -> None:
        self._generator = generator
        self._chat = chat
        self._settings = settings
        self._adapter = adapter

    def answer(self, seats: Sequence[Seat]) -> list[Reply]:
        answers = self._generator.generate(
            [Request(seat.prompt, (seat.picture,)) for seat in seats],
            adapter=self._adapter,
            temperature=self._settings.temperature,
            seeds=[seat.seed for seat in seats],
        )
        found = []
        for seat, answer in zip(seats, answers, strict=True):
            read = read_action(answer.text, seat.names, seed=derive_seed(seat.seed, "action"))
            thoughts = num_thought_tokens(answer.ids, self._chat.decode)
            logprob = round(weighed(answer.drawn, thoughts, self._settings.thought_weight), LOGPROB_DIGITS)
            found.append(Reply(answer.text, answer.ids, thoughts, read.action, read.said, logprob))
        return found


class ExpertSpeaker:
    """Says what is best and, for a share of the steps, does something else, so that it answers for many states."""

    def __init__(self, settings: GameConfig) -> None:
        self._settings = settings

    def answer(self, seats: Sequence[Seat]) -> list[Reply]:
        return [self._one(seat) for seat in seats]

    def _one(self, seat: Seat) -> Reply:
        text = answer_of(seat.game, seat.state, thinks=self._settings.chain_of_thought)
        draw = random.Random(seat.seed)
        strays = draw.random() < self._settings.warmup_noise
        action = draw.choice(seat.names) if strays else seat.game.expert(seat.state)
        return Reply(text, (), 0, action, said=not strays)
