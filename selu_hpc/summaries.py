"""What the summaries of runs have in common, however they learned: whose run it was, which are one row of a table.

A summary is what a few kilobytes of JSON keep of a run: selu/summary.py, rl4vlm/summary.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from selu_hpc.config import RunConfig
from selu_hpc.rounds.rundir import RunDir

Summary = dict[str, Any]
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
        if run not in found or len(one["rounds"]) > len(found[run]["rounds"]):
            found[run] = one
    return list(found.values())


def commit_of(run: RunDir) -> str:
    """The code a run began with, `+` where it had been changed."""
    try:
        code = json.loads(run.provenance_file.read_bytes())["code"]
    except (OSError, ValueError, KeyError):
        return ""
    return f"{(code['commit'] or '')[:12]}{'+' if code['dirty'] else ''}"


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
