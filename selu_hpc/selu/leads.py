"""How far one recipe is ahead of each other one in the end: the same test episodes, the same seeds, one pair at a time.

Two gains over one base do not say it: their intervals hold the episodes' luck, which both share. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selu_hpc.measures import Gain, gain
from selu_hpc.selu.alike import as_critic, on_the_same
from selu_hpc.selu.rows import outcomes, place, scenes_of
from selu_hpc.selu.table import interval
from selu_hpc.summaries import Summary, by_settings, without_copies

Seeds = Mapping[int, Summary]


@dataclass(frozen=True, slots=True)
class Lead:
    """Over `recipe` after as many rounds, in points; `seeds` are those that both have.

    episodes: its own and ours on the average: a lead is fair where they are as many.
    """

    simulator: str
    world: str
    recipe: str
    rounds: int
    seeds: tuple[int, ...]
    critic: Gain
    actor: Gain
    episodes: tuple[float, float]

    @property
    def name(self) -> str:
        theirs, ours = self.episodes
        return self.recipe if theirs == ours else f"{self.recipe} ({theirs:g} episodes, not {ours:g})"


def make_leads(summaries: Sequence[Summary], *, of: str = "selu") -> list[Lead]:
    """Over all recipes of one set of settings that went as far on the same test sets, and further than the base."""
    found = []
    for (simulator, world, _, far), recipes in _by_recipe(summaries):
        ours = recipes.get(of, {})
        for recipe, theirs in recipes.items():
            seeds = tuple(sorted(ours.keys() & theirs.keys()))
            if recipe == of or not seeds or not far:
                continue
            pairs = [(theirs[seed], ours[seed]) for seed in seeds]
            played = tuple(float(np.mean([pair[at]["episodes"] for pair in pairs])) for at in (0, 1))
            found.append(Lead(simulator, world, recipe, far, seeds, *_both(pairs), (played[0], played[1])))
    return sorted(found, key=lambda lead: (lead.simulator, lead.world, place(lead.recipe), lead.recipe, -lead.rounds))


def leads_markdown(leads: Sequence[Lead], *, of: str = "selu") -> str:
    lines: list[str] = []
    for simulator, world in dict.fromkeys((lead.simulator, lead.world) for lead in leads):
        lines += [
            f"#### {simulator}, {world} world: {of} ahead in the end, points [95 %]",
            "",
            "| over | rounds | seeds | critic | actor |",
            "|---|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {lead.name} | {lead.rounds} | {len(lead.seeds)} | {interval(lead.critic)} | {interval(lead.actor)} |"
            for lead in leads
            if (lead.simulator, lead.world) == (simulator, world)
        ]
        lines.append("")
    return "\n".join(lines)


def way_markdown(summaries: Sequence[Summary], way: str, *, of: str = "selu") -> str:
    """How often each recipe's plain verdict calls the failures of one way a success in the end, and how far `of` is
    from that."""
    lines: list[str] = []
    for (simulator, world, _, far), recipes in _by_recipe(summaries):
        ours = recipes.get(of, {})
        if not far or not all(_fails_by(one, way).any() for one in ours.values()) or not ours:
            continue
        title = f"#### {simulator}, {world} world, round {far}: failures by {way.replace('_', ' ')} called a success"
        lines += [title, "", f"| recipe | seeds | % | {of} less this [95 %] |", "|---|--:|--:|--:|"]
        for recipe, theirs in sorted(recipes.items(), key=lambda item: (place(item[0]), item[0])):
            pairs = [(theirs[seed], ours[seed]) for seed in sorted(ours.keys() & theirs.keys())]
            pairs = [pair for pair in pairs if _fails_by(pair[0], way).any()]
            if pairs:
                found = _by_way(pairs, way)
                lines.append(
                    f"| {recipe} | {len(pairs)} | {found.base:.1f} | {'–' if recipe == of else interval(found)} |"
                )
        lines.append("")
    return "\n".join(lines)


def _by_way(pairs: Sequence[tuple[Summary, Summary]], way: str) -> Gain:
    before, after = (np.array([_said_yes(pair[at])[_fails_by(pair[at], way)] for pair in pairs]) for at in (0, 1))
    scenes = scenes_of([one for pair in pairs for one in pair], "critic_scenes")
    kept = (
        [scene for scene, fails in zip(scenes, _fails_by(pairs[0][0], way), strict=True) if fails] if scenes else None
    )
    return gain(before, after, kept)


def _fails_by(one: Summary, way: str) -> Any:
    """Which episodes of the critic's test set are failures of that way."""
    ways = one.get("critic_ways") or [""] * len(one["critic_verbs"])
    return (np.array(ways) == way) & (outcomes(one["truth"]) == 0)


def _said_yes(one: Summary) -> Any:
    return outcomes(one["rounds"][-1]["first"])


def _by_recipe(summaries: Sequence[Summary]) -> Iterator[tuple[tuple[Any, ...], dict[str, Seeds]]]:
    """Runs that may be compared, by recipe, and where they ran, on which base and how far."""
    groups: dict[tuple[Any, ...], list[Summary]] = defaultdict(list)
    for one in without_copies(summaries):
        groups[one["simulator"], one["world"], one.get("base", ""), one["rounds"][-1]["round"]].append(one)
    for where, group in groups.items():
        for part in on_the_same(group, as_critic):
            recipes: dict[str, list[Summary]] = defaultdict(list)
            for one in part:
                recipes[one["recipe"]].append(one)
            yield where, dict(_unmistakable(recipes))


def _unmistakable(recipes: Mapping[str, list[Summary]]) -> Iterator[tuple[str, Seeds]]:
    """Recipes with one set of settings: of others a table's rows say which is which, and a lead would not."""
    for recipe, some in recipes.items():
        settings = list(by_settings(some))
        if len(settings) == 1:
            yield recipe, {one["seed"]: one for one in settings[0][1]}


def _both(pairs: Sequence[tuple[Summary, Summary]]) -> tuple[Gain, Gain]:
    """The critic's and the actor's."""
    return _over(pairs, _right, "critic_scenes"), _over(pairs, _done, "actor_scenes")


def _over(pairs: Sequence[tuple[Summary, Summary]], measure: Any, scenes: str) -> Gain:
    before, after = (np.array([measure(pair[at]) for pair in pairs]) for at in (0, 1))
    return gain(before, after, scenes_of([one for pair in pairs for one in pair], scenes))


def _right(one: Summary) -> Any:
    return _said_yes(one) == outcomes(one["truth"])


def _done(one: Summary) -> Any:
    return outcomes(one["rounds"][-1]["success"])
