"""What games come to: a round's card, and an evaluation's numbers with their intervals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selu_hpc.measures import mean_number

SEED = 0
"""Of every bootstrap: the same rows give the same interval."""


def row_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """One game. success: a return above 0, as the paper counts; said: at how many steps an action could be read."""
    total = sum(line["rewards"])
    return {
        "episode": line["episode_id"],
        "return": total,
        "success": total > 0,
        "steps": len(line["rewards"]),
        "said": sum(answer["said"] for answer in line["answers"]),
    }


def numbers(rows: Sequence[Mapping[str, Any]], *, samples: int) -> dict[str, Any]:
    """success, return, steps and the share of steps whose action was said, each {value, low, high, count}."""

    def mean(name: str, values: Sequence[float]) -> dict[str, Any]:
        return mean_number(values, name=name, samples=samples, seed=SEED)[name].to_json()

    return {
        "success": mean("success", [float(row["success"]) for row in rows]),
        "return": mean("return", [row["return"] for row in rows]),
        "steps": mean("steps", [row["steps"] for row in rows]),
        "said": mean("said", [row["said"] / row["steps"] for row in rows]),
    }


def card_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a round's games were: counts and means, without intervals."""
    rows = [row_of(line) for line in lines]
    steps = sum(row["steps"] for row in rows)
    return {
        "episodes": len(rows),
        "steps": steps,
        "success": round(sum(row["success"] for row in rows) / len(rows), 4),
        "return": round(sum(row["return"] for row in rows) / len(rows), 4),
        "said": round(sum(row["said"] for row in rows) / steps, 4),
    }
