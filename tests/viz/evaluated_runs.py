"""Writes what evaluations, gates and Slurm jobs leave behind, with outcomes that can be counted by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from selu_hpc.rounds.rundir import RunDir, Stage, write_json

KINDS = ("open", "slice")
A_TYPE = 12
"""Outcomes of each task type; half the critic's episodes are successes."""
BEGUN = 1_795_700_000.25


def selu_rows(*, sliced: bool) -> dict[str, list[dict[str, Any]]]:
    """The critic is right except for every third success; opening always succeeds, slicing always or never."""
    critic = [
        {"verb": kind, "way": "expert" if n % 2 == 0 else "wrong_object", "truth": n % 2 == 0,
         "first": n % 2 == 0 and n % 6 > 0, "verdict": n % 2 == 0}
        for kind in KINDS
        for n in range(A_TYPE)
    ]  # fmt: skip
    actor = [{"verb": kind, "success": kind == "open" or sliced} for kind in KINDS for _ in range(A_TYPE)]
    probe = [{"role": role, "right": n > 0} for role in ("actor", "critic") for n in range(10)]
    labels = [{**row, "relabelled": False, "relabelled_truth": None} for row in critic]
    return {"critic": critic, "actor": actor, "probe": probe, "labels": labels}


def write_evaluation(run: RunDir, round_id: int, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    place = run.shard(round_id, Stage.EVALUATE)
    write_json(place.path / "results.json", {"rows": rows})
    place.write_marker(content="", names=["results.json"], summary={})


def write_card(run: RunDir, round_id: int, card: Mapping[str, Any]) -> None:
    place = run.shard(round_id, Stage.GATE)
    write_json(place.path / "card.json", card)
    place.write_marker(content="", names=["card.json"], summary={})


def write_job(
    run: RunDir,
    shard: int,
    attempt: int,
    *,
    seconds: float | None = None,
    code: int | None = None,
    stage: Stage = Stage.ROLLOUT,
) -> None:
    """An attempt's record of round 1 as slurm/stage.sh leaves it; without seconds nobody could write its end."""
    end = {} if seconds is None else {"ended": BEGUN + seconds, "code": code}
    folder = run.shard(1, stage, shard).attempt(attempt)
    folder.mkdir(parents=True)
    record = {"name": str(stage), "job": f"7_{shard}", "restart": 0, "node": "c1", "begun": BEGUN, **end}
    (folder / "job.json").write_text(json.dumps(record))
