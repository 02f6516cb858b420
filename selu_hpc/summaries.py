"""What the summaries of runs have in common, however they learned: what must be in one, whose run it was, which are one
row of a table.

A summary is what a few kilobytes of JSON keep of a run: selu/summary.py, rl4vlm/summary.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import Any

from selu_hpc.config import RunConfig
from selu_hpc.rounds.rundir import RunDir

Summary = dict[str, Any]
LONGEST_NAME = 200
MEASURED = {"base": "", "testset": "", "rules": 1, "wording": 1}
"""What else than its settings tells measurements of a run apart, and what a summary that doesn't say it has."""


def settings_of_run(config: RunConfig) -> str:
    """What a run has set, but for the seed: the signature that seed 0 has."""
    return config.but(seed=0).signature


def settings_of(summary: Summary) -> str:
    """What its run had set, but for the seed: the signature that seed 0 has; empty where a summary doesn't say."""
    return str(summary.get("settings") or ("" if summary["seed"] else summary["signature"]))


def without_copies(summaries: Iterable[Summary]) -> list[Summary]:
    """Each run once, as it was when it had gone furthest: a run and its summary are often found side by side.

    What was measured otherwise (on another base or test set, by other rules or words) is another run.
    """
    found: dict[tuple[str, ...], Summary] = {}
    for one in summaries:
        measured = (str(one.get(name, default)) for name, default in MEASURED.items())
        run = (one["signature"], str(one["seed"]), *measured)
        if run not in found or _how_far(one) > _how_far(found[run]):
            found[run] = one
    return list(found.values())


def as_of(summaries: Iterable[Summary], number: int) -> list[Summary]:
    """Those that were measured after that round, without what came later."""
    cut = (
        {
            **one,
            "rounds": [each for each in one["rounds"] if each["round"] <= number],
            "episodes": one["episodes"] * number // max(1, _how_far(one)[0]),  # of every round as many
        }
        for one in summaries
    )
    return [one for one in cut if one["rounds"] and one["rounds"][-1]["round"] == number]


def _how_far(one: Summary) -> tuple[int, int]:
    """The last round that was measured, then how many were: `evaluate.every` leaves some out."""
    return one["rounds"][-1]["round"], len(one["rounds"])


def commit_of(run: RunDir) -> str:
    """The code a run began with, `+` where it had been changed."""
    try:
        code = json.loads(run.provenance_file.read_bytes())["code"]
        return f"{(code['commit'] or '')[:12]}{'+' if code['dirty'] else ''}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def by_settings(group: Sequence[Summary]) -> Iterator[tuple[str, list[Summary]]]:
    """The summaries of each row, sorted by seed. One that doesn't say its settings is a further seed of the only ones
    there are; where there are several it stands alone, under its signature."""
    group = sorted(group, key=lambda one: int(one["seed"]))
    known = {settings_of(one) for one in group} - {""}
    if len(known) < 2 and len({one["seed"] for one in group}) == len(group):
        yield "", group
        return
    parts: dict[str, list[Summary]] = defaultdict(list)
    for one in group:
        parts[settings_of(one) or one["signature"]].append(one)
    yield from parts.items()


def check(summary: Summary) -> Summary:
    """The summary, if a table can be made of it; else a ValueError, LookupError or TypeError says what is wrong."""
    for fault in _faults(summary):
        raise ValueError(fault)
    return summary


def _faults(summary: Summary) -> Iterator[str]:
    plays = "game" in summary
    names = ("recipe", "signature", *(["game"] if plays else ["simulator", "world"]))
    yield from _faults_of_names({name: summary[name] for name in names})
    yield from _faults_of_names({name: summary.get(name, "") for name in ("base", "settings")})
    whole = {**{name: summary[name] for name in ("seed", "episodes", "steps")}, "rules": summary.get("rules", 1)}
    yield from _of_another_kind({**whole, "wording": summary.get("wording", 1)}, (int,), "a whole number")
    yield from _of_another_kind({"minutes": summary.get("minutes")}, (int, float, type(None)), "a number")
    counted = {name: summary.get(name) or 0 for name in ("seed", "episodes", "steps", "minutes")}
    yield from (f"{name} is {value!r}, which nothing can be" for name, value in counted.items() if not 0 <= value < inf)
    if not summary["rounds"]:
        yield "it has no rounds"
    for one in summary["rounds"]:
        yield from _of_another_kind({"round": one["round"]}, (int,), "a whole number")
    yield from _faults_of_games(summary) if plays else _faults_of_verdicts(summary)


def _faults_of_names(names: Mapping[str, Any]) -> Iterator[str]:
    """What stands in a table as it is: nothing that a terminal obeys, and nothing that begins another cell or row."""
    for name, value in names.items():
        if type(value) is not str or not value.isprintable() or "|" in value or len(value) > LONGEST_NAME:
            yield f"{name} is {value!r:.{LONGEST_NAME}}, not a name"


def _of_another_kind(values: Mapping[str, Any], kinds: Sequence[type], what: str) -> Iterator[str]:
    """Types to the letter: to Python true is a whole number."""
    yield from (f"{name} is {value!r}, not {what}" for name, value in values.items() if type(value) not in kinds)


def _faults_of_games(summary: Summary) -> Iterator[str]:
    num_games = len(summary["rounds"][0]["success"])
    for one in summary["rounds"]:
        yield from _faults_of_bits(one, {"success": num_games}, f"round {one['round']}: ")
        yield from _of_another_kind({f"round {one['round']}: return": one["return"]}, (int, float), "a number")
        if not isfinite(one["return"]):
            yield f"round {one['round']}: return is {one['return']!r}, which nothing can be"


def _faults_of_verdicts(summary: Summary) -> Iterator[str]:
    judged, acted = len(summary["critic_verbs"]), len(summary["actor_verbs"])
    for holder in ("critic_verbs", "actor_verbs", "critic_ways", "critic_scenes", "actor_scenes", "testset"):
        for one in dict.fromkeys(summary.get(holder, ())):
            yield from _faults_of_names({f"one of {holder}": one})
    yield from _faults_of_bits(summary, {"truth": judged})
    for holder, length in (("critic_ways", judged), ("critic_scenes", judged), ("actor_scenes", acted)):
        names = summary.get(holder, [""] * length)
        if not isinstance(names, list) or len(names) != length or not all(isinstance(name, str) for name in names):
            yield f"{holder} is no list of {length} names"
    for one in summary["rounds"]:
        states = {"states": judged} if "states" in one else {}
        place = f"round {one['round']}: "
        yield from _faults_of_bits(one, {"first": judged, "verdict": judged, "success": acted, **states}, place)
        probe = {f"{place}probe, {role}": value for role, value in one["probe"].items()}
        yield from _of_another_kind(probe, (int, float, type(None)), "a share")
        yield from (f"{name} is {value!r}, not a share" for name, value in probe.items() if not 0 <= (value or 0) <= 1)


def _faults_of_bits(holder: Mapping[str, Any], lengths: Mapping[str, int], place: str = "") -> Iterator[str]:
    for name, length in lengths.items():
        bits = holder[name]
        if not isinstance(bits, str) or set(bits) - {"0", "1"}:
            yield f"{place}{name} is not a string of 0 and 1"
        elif len(bits) != length:
            yield f"{place}{name} has {len(bits)} outcomes of {length}"
