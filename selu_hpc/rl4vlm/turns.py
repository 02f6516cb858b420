"""One step of a game as learning sees it, and its JSON form.

Owns the record. Does not own the picture it refers to (store/) or how it is judged (gae.py, ppo.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selu_hpc.errors import TrainingError
from selu_hpc.records import FrameRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was asked and answered at one step, and what the game paid for it.

    answer_ids: the very tokens that were sampled, end of turn included; of these are thought the first
    num_thought_tokens.
    said: False when no action could be read and one was drawn.  last: the step ended its episode.
    logprob: what the answer weighed with whoever sampled it; the update only compares its own weighing with it.
    """

    episode_id: str
    step: int
    prompt: str
    answer_ids: tuple[int, ...]
    num_thought_tokens: int
    action: str
    said: bool
    reward: float
    last: bool
    image: FrameRef
    logprob: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Turn:
        fields = {**value, "answer_ids": tuple(value["answer_ids"]), "image": FrameRef.from_json(value["image"])}
        return cls(**fields)


def lines(turns: Iterable[Turn]) -> str:
    return "".join(json.dumps(turn.to_json(), ensure_ascii=False, sort_keys=True) + "\n" for turn in turns)


def read_turns(file: Path) -> list[Turn]:
    """A round's turns, episode after episode."""
    try:
        found = [Turn.from_json(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise TrainingError(f"{file}: no such set; the round's gate makes it: submit the run again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{file}: not a set of turns ({type(error).__name__}: {error}); remove the gate's marker and submit the "
            "run again to build it anew"
        ) from error
    if not found:
        raise TrainingError(f"{file}: no turns to learn from; raise rollout.episodes_per_shard")
    return found
