"""Which runs were measured on the same test sets, and so may stand in one row or be compared. Pure.

The sets' bytes say it. Where they differ, the sets may still be the same: until it was compiled without fastmath, the
stand-in drew other last bits on other CPUs. Then those are taken for the same on whose every episode the base did
alike; a base that does not answer to the last bit alike everywhere sets runs apart so, which `notes` tells. One that
always says the same tells no sets apart, so its word does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from selu_hpc.summaries import Summary, settings_of

Did = Callable[[Summary], str]
"""What the base did on the test sets, as far as it counts, an episode a bit."""


def as_critic_and_actor(one: Summary) -> str:
    return str(one["rounds"][0]["first"] + one["rounds"][0]["success"])


def as_critic(one: Summary) -> str:
    """How its actor fares does not count between recipes: some have it act otherwise, by a vote or without a word on
    what it holds."""
    return str(one["rounds"][0]["first"])


def on_the_same(summaries: Sequence[Summary], did: Did) -> list[list[Summary]]:
    """The summaries by test sets, in their order: one joins all with which it has the bytes or the base in common."""
    leader: dict[Hashable, Hashable] = {}

    def led(mark: Hashable) -> Hashable:
        while leader.setdefault(mark, mark) != mark:
            mark = leader[mark]
        return mark

    marks = [_marks(one, did) for one in summaries]
    for first, *others in marks:
        for other in others:
            leader[led(other)] = led(first)
    groups: dict[Hashable, list[Summary]] = defaultdict(list)
    for one, (first, *_) in zip(summaries, marks, strict=True):
        groups[led(first)].append(one)
    return list(groups.values())


def _marks(one: Summary, did: Did) -> list[Hashable]:
    """What it must share one of with another, beside the tasks and their truth."""
    tasks = str([one["critic_verbs"], one["truth"], one["actor_verbs"]])
    places = str([one.get(name) for name in ("critic_scenes", "actor_scenes")])
    told = one["rounds"][0]["round"] == 0 and len(set(did(one))) > 1
    bytes_known = bool(one.get("testset")) or not told
    marks: list[Hashable] = [(tasks, "bytes", str(one.get("testset")))] if bytes_known else []
    return [*marks, (tasks, "base", places, did(one))] if told else marks


def notes(summaries: Sequence[Summary]) -> Iterator[str]:
    """A sentence for each part of the runs that the base's answers alone set apart from the first, for a person."""
    groups: dict[tuple[Any, ...], list[Summary]] = defaultdict(list)
    for one in summaries:
        tasks = str([one["critic_verbs"], one["truth"], one["actor_verbs"]])
        groups[one["simulator"], one["world"], one.get("base", ""), tasks].append(one)
    for (simulator, world, *_), runs in groups.items():
        place = f"{simulator}, {world} world"
        for recipe, settings in dict.fromkeys((one["recipe"], settings_of(one)) for one in runs):
            some = [one for one in runs if (one["recipe"], settings_of(one)) == (recipe, settings)]
            for mine, theirs in _apart(some, as_critic_and_actor):
                yield (
                    f"{place}: {recipe}'s seeds {_names(mine, 'seed')} and {_names(theirs, 'seed')} are not of one row"
                    f"{_why(mine[0], theirs[0], as_critic_and_actor)}"
                )
        for mine, theirs in _apart(runs, as_critic):
            if not {one["recipe"] for one in mine} & {one["recipe"] for one in theirs}:
                yield (
                    f"{place}: {_names(mine, 'recipe')} and {_names(theirs, 'recipe')} are not compared"
                    f"{_why(mine[0], theirs[0], as_critic)}"
                )


def _apart(runs: Sequence[Summary], did: Did) -> Iterator[tuple[list[Summary], list[Summary]]]:
    first, *others = on_the_same(runs, did)
    yield from ((first, other) for other in others)


def _why(one: Summary, other: Summary, did: Did) -> str:
    mine, theirs = did(one), did(other)
    differ = sum(here != there for here, there in zip(mine, theirs, strict=True))
    return (
        f": their test sets differ in bytes, and the base did otherwise on {differ} of {len(mine)} episodes; where "
        "these are few, the sets may be the same, drawn or answered with other last bits on another machine"
    )


def _names(part: Sequence[Summary], what: str) -> str:
    return ", ".join(map(str, sorted({one[what] for one in part})))
