"""From a round's turns to batches that the policy takes: tokens, pictures, weights.

Turns that are alike are one row of a batch: games of few states have the same answer to the same prompt and picture
again and again, and the model weighs it once for all of them.
Owns how an answer's tokens are placed and weighed. Does not own reading pictures (train/data.py).

Shape legend: T turns of the batch, B answers among them that differ, L padded length, A tokens of these answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selu_hpc.errors import TrainingError
from selu_hpc.models.chat import Chat
from selu_hpc.rl4vlm.turns import Turn
from selu_hpc.train.data import PAD_TO, Pictures


@dataclass(frozen=True, slots=True)
class TurnBatch:
    """One micro-batch; see Policy.forward for the tensors.

    rows: its turns.  answer_t: which of the answers is each turn's.  weight: 0 for the stand-in of an empty one.
    """

    inputs: dict[str, Tensor]
    answers_bl: Tensor
    targets_a: Tensor
    weights_a: Tensor
    asked_b: Tensor
    rows: tuple[int, ...]
    answer_t: Tensor
    weight: float

    def weighed_by(self, policy: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Log-probability and value of each turn; turns that are alike share theirs."""
        logprobs_b, values_b = policy(
            self.inputs,
            answers_bl=self.answers_bl,
            targets_a=self.targets_a,
            weights_a=self.weights_a,
            asked_b=self.asked_b,
        )
        return logprobs_b[self.answer_t], values_b[self.answer_t]

    def to(self, device: torch.device) -> TurnBatch:
        return replace(
            self,
            inputs={name: value.to(device) for name, value in self.inputs.items()},
            answers_bl=self.answers_bl.to(device),
            targets_a=self.targets_a.to(device),
            weights_a=self.weights_a.to(device),
            asked_b=self.asked_b.to(device),
            answer_t=self.answer_t.to(device),
        )


class TurnRows:
    """A round's turns, tokenised under their own prompts or all under the first one."""

    def __init__(
        self,
        turns: Sequence[Turn],
        pictures: Pictures,
        chat: Chat,
        config: Any,
        *,
        thought_weight: float,
        first_prompt: bool = False,
    ) -> None:
        self.turns = turns
        self._pictures = pictures
        self._pad = int(chat.tokenizer.pad_token_id)
        self._image = chat.image_token_id
        self._wants_types = config.model_type.startswith("qwen")
        self._thought_weight = thought_weight
        longest = int(config.get_text_config().max_position_embeddings)
        self.prompts = [self._encode(chat, turn, turns[0].prompt if first_prompt else turn.prompt) for turn in turns]
        for number, turn in enumerate(turns):
            if self.length(number) > longest:
                raise TrainingError(
                    f"{turn.episode_id} step {turn.step}: {self.length(number)} tokens, more than the model's "
                    f"{longest}; lower model.max_new_tokens"
                )
        numbers: dict[tuple[Hashable, ...], int] = {}
        self.kinds = [numbers.setdefault(self._kind(row), len(numbers)) for row in range(len(turns))]
        """A number a turn, equal for turns that are alike."""

    def length(self, row: int) -> int:
        return len(self.prompts[row]) + len(self.turns[row].answer_ids)

    @property
    def lengths(self) -> list[int]:
        return [self.length(row) for row in range(len(self.turns))]

    def batch(self, rows: Sequence[int], *, stand_in: int) -> TurnBatch:
        """The rows as tensors; an empty micro-batch becomes one row that counts for nothing."""
        turns = list(rows) or [stand_in]
        first: dict[int, int] = {}
        for row in turns:
            first.setdefault(self.kinds[row], row)
        chosen = list(first.values())
        place = {kind: at for at, kind in enumerate(first)}
        longest = -(-max(self.length(row) for row in chosen) // PAD_TO) * PAD_TO
        ids_bl = torch.full((len(chosen), longest), self._pad)
        answers_bl = torch.zeros(len(chosen), longest, dtype=torch.bool)
        weights: list[float] = []
        for at, row in enumerate(chosen):
            prompt, turn = self.prompts[row], self.turns[row]
            ids_bl[at, : self.length(row)] = torch.tensor(prompt + turn.answer_ids)
            answers_bl[at, len(prompt) - 1 : self.length(row) - 1] = True
            thoughts = min(turn.num_thought_tokens, len(turn.answer_ids))
            weights += [self._thought_weight] * thoughts + [1.0] * (len(turn.answer_ids) - thoughts)
        inputs = {"input_ids": ids_bl, **self._pictures.tensors([self.turns[row].image for row in chosen])}
        if self._wants_types:
            inputs["mm_token_type_ids"] = (ids_bl == self._image).int()
        return TurnBatch(
            inputs,
            answers_bl,
            torch.tensor([token for row in chosen for token in self.turns[row].answer_ids]),
            torch.tensor(weights),
            torch.tensor([len(self.prompts[row]) - 1 for row in chosen]),
            tuple(turns),
            torch.tensor([place[self.kinds[row]] for row in turns]),
            1.0 if rows else 0.0,
        )

    def _kind(self, row: int) -> tuple[Hashable, ...]:
        turn = self.turns[row]
        return self.prompts[row], turn.answer_ids, turn.num_thought_tokens, self._pictures.key(turn.image)

    def _encode(self, chat: Chat, turn: Turn, prompt: str) -> tuple[int, ...]:
        blank = np.zeros(self._pictures.shape(turn.image), np.uint8)
        return chat.encode(prompt, (blank,)).prompt_ids
