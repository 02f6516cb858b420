"""A run of games in a few hundred bytes, and a table over many of them. Pure but for reading a run's results.

{"recipe": "rl4vlm", "game": "number_line", "rules": 1, "wording": 1, "seed": 0, "signature": …, "settings": …,
 "commit": …, "episodes": 1280, "steps": 6100, "rounds": [{"round": 0, "success": "0110…", "return": -1.2}, …]}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from selu_hpc.config import RunConfig
from selu_hpc.measures import Matrix, gain
from selu_hpc.rl4vlm.results import numbers
from selu_hpc.rounds.rundir import CARD, RESULTS, RunDir, Stage
from selu_hpc.summaries import Summary, by_settings, commit_of, settings_of_run, without_copies

FIRST = 1
"""The version of rules and prompts that results were measured under which do not name one."""


def is_game(summary: Summary) -> bool:
    return "game" in summary


def summarise(run: RunDir, config: RunConfig) -> Summary | None:
    """What the run has measured so far; None before the warm-up is evaluated, which nothing after it waits for."""
    rounds = [one for round_id in range(config.rounds + 1) if (one := _round(run, config, round_id)) is not None]
    if not rounds or rounds[0]["round"] > 0:
        return None
    first = _results(run, 0, 0)
    cards = [_card(run, round_id) for round_id in range(1, rounds[-1]["round"] + 1)]
    return {
        "recipe": config.recipe,
        "game": str(config.game.name),
        "rules": first.get("rules", FIRST),
        "wording": first.get("wording", FIRST),
        "seed": config.seed,
        "signature": config.signature,
        "settings": settings_of_run(config),
        "commit": commit_of(run),
        "episodes": sum(card["episodes"] for card in cards),
        "steps": sum(card["steps"] for card in cards),
        "rounds": rounds,
    }


def markdown(summaries: Sequence[Summary]) -> str:
    """Won games after the warm-up and after the last round. A row is a recipe with one set of settings, over its seeds
    that have gone equally far; games are the same for every seed."""
    groups: dict[tuple[Any, ...], list[Summary]] = defaultdict(list)
    for one in without_copies(summaries):
        versions = one.get("rules", FIRST), one.get("wording", FIRST)
        far = one["rounds"][-1]["round"]
        groups[one["game"], *versions, one["recipe"], len(one["rounds"][0]["success"]), far].append(one)
    lines = [
        "### RL4VLM: games won of fresh deals, %",
        "",
        "| game | rules, wording | recipe | seeds | updates | warm-up → last | gain [95 %] | return | env steps |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for key in sorted(groups):
        lines += [_row(settings, part) for settings, part in by_settings(groups[key])]
    return "\n".join(lines) + "\n"


def _row(settings: str, group: Sequence[Summary]) -> str:
    first = group[0]
    before, after = (np.array([_won(one["rounds"][at]["success"]) for one in group]) for at in (0, -1))
    found = gain(before, after)
    returns = [np.mean([one["rounds"][at]["return"] for one in group]) for at in (0, -1)]
    cells = [
        first["game"],
        f"{first.get('rules', FIRST)}, {first.get('wording', FIRST)}",
        f"{first['recipe']} ({settings})" if settings else first["recipe"],
        str(len(group)),
        str(first["rounds"][-1]["round"]),
        f"{found.base:.1f} → {found.last:.1f}",
        f"{found.gain:+.1f} [{found.low:+.1f}, {found.high:+.1f}]" if first["rounds"][-1]["round"] else "–",
        f"{returns[0]:.2f} → {returns[1]:.2f}",
        str(round(float(np.mean([one["steps"] for one in group])))),
    ]
    return f"| {' | '.join(cells)} |"


def _won(bits: str) -> Matrix:
    return np.array([bit == "1" for bit in bits], dtype=float)


def _round(run: RunDir, config: RunConfig, round_id: int) -> Summary | None:
    places = [run.shard(round_id, Stage.EVALUATE, shard) for shard in range(config.evaluate.num_shards)]
    if not all(place.marker_file.exists() for place in places):
        return None
    rows = [row for shard in range(len(places)) for row in _results(run, round_id, shard)["rows"]["games"]]
    found = numbers(rows, samples=0)
    return {
        "round": round_id,
        "success": "".join("1" if row["success"] else "0" for row in rows),
        "return": found["return"]["value"],
        "said": found["said"]["value"],
    }


def _results(run: RunDir, round_id: int, shard: int) -> dict[str, Any]:
    found: dict[str, Any] = run.shard(round_id, Stage.EVALUATE, shard).read_json(RESULTS)
    return found


def _card(run: RunDir, round_id: int) -> Summary:
    card: Summary = run.shard(round_id, Stage.GATE).read_json(CARD)
    return card
