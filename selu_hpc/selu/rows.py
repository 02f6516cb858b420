"""Rows like those of the paper's tables over run summaries: base, last round, gain with its interval. Pure.

A row is a recipe with one set of settings in one simulator and world, averaged over its seeds. A gain's interval
knows of both seeds and episodes (measures.gain); base and last round are compared on the same episodes. Does not own
how a row is printed (table.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.measures import Gain, Matrix, gain, percent
from selu_hpc.selu.alike import as_critic_and_actor, on_the_same
from selu_hpc.summaries import Summary, by_settings, settings_of, without_copies

ORDER = (
    "selu", "selu_one", "no_self_asking", "no_hindsight", "no_critic", "any_verb", "zero_shot", "self_consistency",
    "self_refine", "self_refine_states", "lmsi", "scoring", "pictures_only", "trusting", "doubting", "no_hand", "paper",
    "random", "oracle",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One recipe in one simulator and world.

    settings: which, where other rows of the recipe have others; else empty.
    """

    recipe: str
    simulator: str
    world: str
    settings: str = ""
    seeds: tuple[int, ...]
    rounds: int
    critic: Gain
    own: Gain
    states: tuple[float, float]
    f1: tuple[float, float]
    false_yes: tuple[float, float]
    false_no: tuple[float, float]
    actor: Gain
    probe: tuple[float, float]
    episodes: float
    steps: float
    minutes: float | None = None
    by_verb: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    by_way: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)


def make_rows(summaries: Sequence[Summary]) -> list[TableRow]:
    """A row for every recipe, simulator and world among the summaries; seeds of one row have the same base, test sets
    and settings and have gone equally far, and no run is counted twice."""
    groups: dict[tuple[Any, ...], list[Summary]] = defaultdict(list)
    for one in without_copies(summaries):
        far = one["rounds"][-1]["round"]
        groups[one["simulator"], one["world"], one["recipe"], one.get("base", ""), far].append(one)
    alike = [part for group in groups.values() for part in on_the_same(group, as_critic_and_actor)]
    parts = [(settings, part) for group in alike for settings, part in by_settings(_once(group))]
    rows = [_row(part, settings) for settings, part in _told_apart(parts)]
    return sorted(rows, key=_order)


def _once(group: Sequence[Summary]) -> list[Summary]:
    """A run measured twice on sets that differ in bytes only is one seed."""
    return list({(one["signature"], one["seed"]): one for one in group}.values())


def _told_apart(parts: Sequence[tuple[str, list[Summary]]]) -> Iterator[tuple[str, list[Summary]]]:
    """Rows of one recipe that have gone equally far say by what they differ: settings, the base, or the test sets."""
    alike: dict[tuple[Any, ...], list[list[Summary]]] = defaultdict(list)
    for _, part in parts:
        alike[_heading(part[0])].append(part)
    for settings, part in parts:
        others = alike[_heading(part[0])]
        own = settings_of(part[0])
        if len(others) == 1 or settings:
            yield settings, part
        elif own and [settings_of(other[0]) for other in others].count(own) == 1:
            yield own, part
        else:
            yield _measured_on(part[0], others), part


def _measured_on(one: Summary, others: Sequence[Sequence[Summary]]) -> str:
    base = str(one.get("base", ""))
    if [str(other[0].get("base", "")) for other in others].count(base) == 1:
        return f"base {base[:8] or 'unknown'}"
    return f"test set {(one.get('testset') or ['unknown'])[0]:.8}"


def _heading(one: Summary) -> tuple[Any, ...]:
    return one["simulator"], one["world"], one["recipe"], one["rounds"][-1]["round"]


def _row(group: Sequence[Summary], settings: str) -> TableRow:
    first = group[0]
    truth = np.array([outcomes(one["truth"]) for one in group])
    critic = _pair(group, "first")
    own = _pair(group, "verdict")
    actor = _pair(group, "success")
    right = tuple(matrix == truth for matrix in critic)
    times = [one["minutes"] for one in group if one.get("minutes") is not None]
    return TableRow(
        recipe=first["recipe"],
        simulator=first["simulator"],
        world=first["world"],
        settings=settings,
        seeds=tuple(one["seed"] for one in group),
        rounds=first["rounds"][-1]["round"],
        critic=_gain(group, right[0], right[1], "critic"),
        own=_gain(group, own[0] == truth, own[1] == truth, "critic"),
        states=(_states(group, truth, 0), _states(group, truth, -1)),
        f1=_both(critic, lambda said: _f1(truth, said)),
        false_yes=_both(critic, lambda said: percent(said[truth == 0])),
        false_no=_both(critic, lambda said: percent(1 - said[truth == 1])),
        actor=_gain(group, *actor, "actor"),
        probe=(_probe(group, 0), _probe(group, -1)),
        episodes=float(np.mean([one["episodes"] for one in group])),
        steps=float(np.mean([one["steps"] for one in group])),
        minutes=float(np.mean(times)) if times else None,
        by_verb=_by_verb(first, right, actor),
        by_way=_by_way(first, truth[0], critic, own),
    )


def _by_verb(
    first: Summary, right: Sequence[NDArray[Any]], actor: Sequence[Matrix]
) -> dict[str, tuple[float, float, float, float]]:
    critic_verbs, actor_verbs = np.array(first["critic_verbs"]), np.array(first["actor_verbs"])
    found = {}
    for verb in sorted({*first["critic_verbs"], *first["actor_verbs"]}):
        judged = [percent(matrix[:, critic_verbs == verb]) for matrix in right]
        acted = [percent(matrix[:, actor_verbs == verb]) for matrix in actor]
        found[verb] = (judged[0], judged[1], acted[0], acted[1])
    return found


def _by_way(
    first: Summary, truth: NDArray[Any], critic: Sequence[Matrix], own: Sequence[Matrix]
) -> dict[str, tuple[float, float, float, float]]:
    """Of the failures only, each way's share of yeses."""
    ways = np.array(first.get("critic_ways", []))
    found = {}
    for way in dict.fromkeys(ways[truth == 0] if ways.size else ()):
        plain, whole = (
            [percent(said[:, (ways == way) & (truth == 0)]) for said in verdicts] for verdicts in (critic, own)
        )
        found[str(way)] = (plain[0], plain[1], whole[0], whole[1])
    return dict(sorted(found.items()))


def _pair(group: Sequence[Summary], name: str) -> tuple[Matrix, Matrix]:
    """(seeds, episodes) of the base and of the last round."""
    found = [np.array([outcomes(one["rounds"][at][name]) for one in group]) for at in (0, -1)]
    return found[0], found[1]


def _gain(group: Sequence[Summary], before: Matrix, after: Matrix, role: str) -> Gain:
    """Nothing is known of a gain where one round alone was measured; of who was taught nothing it is certain."""
    found = gain(before, after, scenes_of(group, f"{role}_scenes"))
    if all(role in one.get("untaught", ()) for one in group) and not found.gain:
        found = replace(found, low=0.0, high=0.0)
    again = any(one["rounds"][0]["round"] != one["rounds"][-1]["round"] for one in group)
    return found if again else replace(found, gain=np.nan, low=np.nan, high=np.nan)


def _both(pair: tuple[Matrix, Matrix], measure: Callable[[Matrix], float]) -> tuple[float, float]:
    return measure(pair[0]), measure(pair[1])


def _f1(truth: Matrix, said: Matrix) -> float:
    total = truth.sum() + said.sum()
    return 100 * float(2 * (truth * said).sum() / total) if total else float("nan")


def _probe(group: Sequence[Summary], at: int) -> float:
    found = [value for one in group for value in one["rounds"][at]["probe"].values() if value is not None]
    return 100 * float(np.mean(found)) if found else float("nan")


def _states(group: Sequence[Summary], truth: Matrix, at: int) -> float:
    """How often what is seen to hold is the truth, over the seeds whose evaluation asked."""
    asked = [
        (one["rounds"][at]["states"], row)
        for one, row in zip(group, truth, strict=True)
        if "states" in one["rounds"][at]
    ]
    return percent(np.array([outcomes(bits) == row for bits, row in asked]))


def scenes_of(group: Sequence[Summary], name: str) -> list[str] | None:
    """The scene of each episode, if any of the summaries says it: their test sets are the same."""
    return next((one[name] for one in group if one.get(name)), None)


def outcomes(bits: str) -> NDArray[np.float64]:
    return np.array([bit == "1" for bit in bits], dtype=float)


def _order(row: TableRow) -> tuple[Any, ...]:
    return row.simulator, row.world, place(row.recipe), row.recipe, row.settings, -row.rounds


def place(recipe: str) -> int:
    return ORDER.index(recipe) if recipe in ORDER else len(ORDER)
