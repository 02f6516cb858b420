"""What a list of outcomes comes to: accuracy, F1, false verdicts, success, each with a 95 % bootstrap interval. Pure.

Does not own where outcomes come from (stages/evaluate.py) or how they are printed (evaluate.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Row = TypeVar("Row")
Matrix = NDArray[np.float64]
INTERVAL = (2.5, 97.5)
BOOTSTRAP = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A figure with its interval and how many outcomes it rests on; shares lie between 0 and 1, None is undefined."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


@dataclass(frozen=True, slots=True)
class Gain:
    """In percentage points: before, after, difference and its 95 % interval."""

    base: float
    last: float
    gain: float
    low: float
    high: float


def critic_numbers(truth: Sequence[bool], said: Sequence[bool], *, samples: int, seed: int) -> dict[str, Number]:
    """accuracy, f1 (of yes), false_yes (share of true failures called a success; its count is theirs), false_no."""
    pairs = np.array([truth, said], dtype=bool).T.reshape(-1, 2)
    found = _bootstrap(pairs, _critic, samples=samples, seed=seed)
    successes = sum(map(bool, truth))
    found["false_yes"] = replace(found["false_yes"], count=len(truth) - successes)
    found["false_no"] = replace(found["false_no"], count=successes)
    return found


def mean_number(outcomes: Sequence[float], *, name: str, samples: int, seed: int) -> dict[str, Number]:
    """The mean of outcomes (yes is 1), or of any figure an episode has."""
    return _bootstrap(
        np.array(outcomes, dtype=float).reshape(-1, 1), lambda x: {name: _mean(x[:, 0])}, samples=samples, seed=seed
    )


def by_type(
    rows: Sequence[Row], key: Callable[[Row], str], measure: Callable[[Sequence[Row]], Mapping[str, Number]]
) -> dict[str, dict[str, Number]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return {name: dict(measure(group)) for name, group in sorted(groups.items())}


def gain(before: NDArray[Any], after: NDArray[Any]) -> Gain:
    """Of outcomes measured twice, (seeds, episodes); its interval resamples seeds and, within them, episodes."""
    difference = after.astype(float) - before.astype(float)
    draws = list(_resampled(difference))
    low, high = np.percentile(draws, (2.5, 97.5)) if draws else (np.nan, np.nan)
    return Gain(percent(before), percent(after), percent(difference), 100 * float(low), 100 * float(high))


def _resampled(values: Matrix) -> Iterator[float]:
    draw = np.random.default_rng(0)
    num_seeds, num_episodes = values.shape
    if not num_episodes:
        return
    for _ in range(BOOTSTRAP):
        seeds = draw.integers(num_seeds, size=num_seeds)
        episodes = draw.integers(num_episodes, size=num_episodes)
        yield float(values[np.ix_(seeds, episodes)].mean())


def percent(values: NDArray[Any]) -> float:
    return 100 * float(np.mean(values)) if values.size else float("nan")


def _critic(pairs: np.ndarray[Any, Any]) -> dict[str, float]:
    truth, said = pairs[:, 0], pairs[:, 1]
    hits, claimed, real = (truth & said).sum(), said.sum(), truth.sum()
    return {
        "accuracy": _mean(truth == said),
        "f1": float(2 * hits / (claimed + real)) if claimed + real else float("nan"),
        "false_yes": _mean(said[~truth]),
        "false_no": _mean(~said[truth]),
    }


def _bootstrap(
    rows: np.ndarray[Any, Any], measure: Callable[[np.ndarray[Any, Any]], dict[str, float]], *, samples: int, seed: int
) -> dict[str, Number]:
    whole = measure(rows)
    draw = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in whole}
    for _ in range(samples if len(rows) else 0):
        for name, value in measure(rows[draw.integers(len(rows), size=len(rows))]).items():
            found[name].append(value)
    return {name: _number(value, found[name], len(rows)) for name, value in whole.items()}


def _number(value: float, resampled: Sequence[float], count: int) -> Number:
    if np.isnan(value):
        return Number(value=None, low=None, high=None, count=count)
    low, high = np.percentile([one for one in resampled if not np.isnan(one)] or [value], INTERVAL)
    return Number(value=_rounded(value), low=_rounded(low), high=_rounded(high), count=count)


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _rounded(value: float) -> float:
    return round(float(value), 4)
