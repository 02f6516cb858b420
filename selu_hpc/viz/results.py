"""Reads what a run has measured so far: one `RoundNumbers` per evaluated round, and the cards of its sets.

Does not own where the time went (times.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from selu_hpc.config import RunConfig
from selu_hpc.errors import CorruptShardError
from selu_hpc.rl4vlm import results as games
from selu_hpc.rounds.rundir import CARD, RESULTS, RunDir, Stage
from selu_hpc.selu.results import merge, numbers


@dataclass(frozen=True, slots=True)
class RoundNumbers:
    """An evaluation's figures: `numbers["critic"]["accuracy"]` is {value, low, high, count}."""

    round_id: int
    numbers: dict[str, Any]

    def figure(self, *path: str) -> dict[str, Any]:
        at: Any = self.numbers
        for key in path:
            at = at.get(key) if isinstance(at, dict) else None
        return at if isinstance(at, dict) else {"value": None, "low": None, "high": None, "count": 0}


def world_of(config: RunConfig) -> str:
    """Where a run acts, for the head of a page."""
    if config.plays_games:
        return str(config.game.name)
    return f"{config.env.simulator}, {config.env.world} world"


def read_rounds(run: RunDir, config: RunConfig) -> Iterator[RoundNumbers]:
    """Every round whose evaluation is whole."""
    for round_id in range(config.rounds + 1):
        shards = [run.shard(round_id, Stage.EVALUATE, shard) for shard in range(config.evaluate.num_shards)]
        if not all(shard.marker_file.exists() for shard in shards):
            continue
        found = [shard.read_json(RESULTS) for shard in shards]
        try:
            yield RoundNumbers(round_id, _numbers([one["rows"] for one in found], config))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CorruptShardError(
                f"{shards[0].path.parent}: results.json of a shard is not what an evaluation writes "
                f"({type(error).__name__}: {error}); {shards[0].remedy}"
            ) from error


def _numbers(rows: Sequence[Any], config: RunConfig) -> dict[str, Any]:
    samples = config.evaluate.bootstrap_samples
    if config.plays_games:
        return games.numbers([row for shard in rows for row in shard["games"]], samples=samples)
    return numbers(merge(rows), samples=samples)


def read_cards(run: RunDir, config: RunConfig) -> dict[int, dict[str, Any]]:
    """The data card of every sealed round."""
    cards = {}
    first = 0 if config.plays_games else 1
    for round_id in range(first, config.rounds + 1):
        place = run.shard(round_id, Stage.GATE)
        if place.marker_file.exists():
            cards[round_id] = place.read_json(CARD)
    return cards
