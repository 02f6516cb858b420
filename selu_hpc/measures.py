"""What a list of outcomes comes to: accuracy, F1, false verdicts, success, each with a 95 % interval. Pure.

Does not own where outcomes come from (stages/evaluate.py) or how they are printed (evaluate.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Row = TypeVar("Row")
Matrix = NDArray[np.float64]
INTERVAL = (2.5, 97.5)
BOOTSTRAP = 10_000
STUDENTS_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


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


def gain(before: NDArray[Any], after: NDArray[Any], scenes: Sequence[str] | None = None) -> Gain:
    """Of outcomes (0 to 1) measured twice, (seeds, episodes), the episodes being the same for all seeds.

    Its interval has two parts, each a deviation from the mean, added as independent ones are: a bootstrap over scenes
    (over episodes, where nobody says whose they are), and Student's t over seeds. Episodes of one scene share its rooms
    and its skin, now and then the very picture. The bootstrap's percentiles are expanded, as Hesterberg (2015) has it:
    the plain ones are too narrow for so few scenes. Resampling two or three seeds as well would tell too little of how
    seeds differ: of three it covers 82 % where their spread is as large as a coin's critics have. Where not one outcome
    changed, resampling would be certain of it; but n episodes without a change leave room for a share of 3/n that does.
    """
    difference = after.astype(float) - before.astype(float)
    if not difference.size:
        return Gain(percent(before), percent(after), np.nan, np.nan, np.nan)
    if not difference.any():
        hidden = 100 * (1 - 0.05 ** (1 / difference.shape[1]))
        return Gain(percent(before), percent(after), 0.0, -hidden, hidden)
    mean = float(difference.mean())
    low, high = _expanded_interval(difference.mean(axis=0), scenes)
    seeds = _over_seeds(difference.mean(axis=1))
    ends = np.clip([mean - np.hypot(mean - low, seeds), mean + np.hypot(high - mean, seeds)], -1, 1)
    return Gain(percent(before), percent(after), 100 * mean, 100 * float(ends[0]), 100 * float(ends[1]))


def _expanded_interval(values: Matrix, scenes: Sequence[str] | None) -> tuple[float, float]:
    """Of the mean over as many scenes as there are, each with all its episodes, however often it is drawn; a single one
    tells nothing of others, and its episodes are all there is."""
    alone = scenes is None or len(set(scenes)) < 2
    names, where = np.unique(np.arange(len(values)) if alone else np.array(scenes), return_inverse=True)
    count = len(names)
    if count < 2:
        return float(values.mean()), float(values.mean())
    sizes, sums = np.bincount(where), np.bincount(where, weights=values)
    drawn = np.random.default_rng(0).integers(count, size=(BOOTSTRAP, count))
    tail = 100 * NormalDist().cdf(-_students_t(count - 1) * np.sqrt(count / (count - 1)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), (tail, 100 - tail))
    return float(low), float(high)


def _over_seeds(means: Matrix) -> float:
    """Half the 95 % interval of the mean over further seeds; one seed tells nothing of it."""
    if len(means) < 2:
        return 0.0
    return _students_t(len(means) - 1) * float(means.std(ddof=1)) / float(np.sqrt(len(means)))


def _students_t(freedom: int) -> float:
    """The 97.5 % quantile: from ten degrees of freedom on by Cornish and Fisher's series, good to 0.003."""
    if freedom <= len(STUDENTS_T):
        return STUDENTS_T[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


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
