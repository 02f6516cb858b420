"""A run of games in a few hundred bytes, and a table over many of them. Pure but for reading a run's results.

{"recipe": "rl4vlm", "game": "number_line", "seed": 0, "signature": …, "commit": …, "episodes": 1280, "steps": 6100,
 "rounds": [{"round": 0, "success": "0110…", "return": -1.2}, …]}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from selu_hpc.config import RunConfig
from selu_hpc.rl4vlm.results import numbers
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.selu.measures import difference
from selu_hpc.selu.summary import commit_of

Summary = dict[str, Any]
SAMPLES = 2000


def is_game(summary: Summary) -> bool:
    return "game" in summary


def summarise(run: RunDir, config: RunConfig) -> Summary | None:
    """What the run has measured so far; None before the warm-up is evaluated."""
    rounds = [one for round_id in range(config.rounds + 1) if (one := _round(run, config, round_id)) is not None]
    if not rounds:
        return None
    cards = [_card(run, round_id) for round_id in range(1, rounds[-1]["round"] + 1)]
    return {
        "recipe": config.recipe,
        "game": str(config.game.name),
        "seed": config.seed,
        "signature": config.signature,
        "commit": commit_of(run),
        "episodes": sum(card["episodes"] for card in cards),
        "steps": sum(card["steps"] for card in cards),
        "rounds": rounds,
    }


def markdown(summaries: Sequence[Summary]) -> str:
    """Won games after the warm-up and after the last round, over seeds; the interval is over games."""
    groups: dict[tuple[str, str], list[Summary]] = defaultdict(list)
    for one in summaries:
        groups[one["game"], one["recipe"]].append(one)
    lines = [
        "### RL4VLM: held-out games won, %",
        "",
        "| game | recipe | seeds | updates | warm-up → last | gain [95 %] | return | env steps |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*lines, *(_row(*key, group) for key, group in sorted(groups.items()))]) + "\n"


def _row(game: str, recipe: str, group: Sequence[Summary]) -> str:
    before = [won == "1" for one in group for won in one["rounds"][0]["success"]]
    after = [won == "1" for one in group for won in one["rounds"][-1]["success"]]
    gain = difference(after, before, samples=SAMPLES, seed=0)
    returns = [np.mean([one["rounds"][at]["return"] for one in group]) for at in (0, -1)]
    steps = round(float(np.mean([one["steps"] for one in group])))
    updates = max(one["rounds"][-1]["round"] for one in group)
    assert gain.value is not None
    assert gain.low is not None
    assert gain.high is not None
    return (
        f"| {game} | {recipe} | {len(group)} | {updates} | {100 * np.mean(before):.1f} → {100 * np.mean(after):.1f} | "
        f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] | "
        f"{returns[0]:.2f} → {returns[1]:.2f} | {steps} |"
    )


def _round(run: RunDir, config: RunConfig, round_id: int) -> Summary | None:
    places = [run.shard(round_id, Stage.EVALUATE, shard) for shard in range(config.evaluate.num_shards)]
    if not all(place.marker_file.exists() for place in places):
        return None
    read = [place.read_json("results.json")["rows"]["games"] for place in places]
    rows = [row for shard in read for row in shard]
    found = numbers(rows, samples=0)
    return {
        "round": round_id,
        "success": "".join("1" if row["success"] else "0" for row in rows),
        "return": found["return"]["value"],
        "said": found["said"]["value"],
    }


def _card(run: RunDir, round_id: int) -> Summary:
    card: Summary = run.shard(round_id, Stage.GATE).read_json("card.json")
    return card
