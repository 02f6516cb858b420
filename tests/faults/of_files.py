"""Faults of what a run's jobs left on shared storage: cut short before or behind who reads it, or away for a while."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness import Lab, patience, started
from victims import LIMIT_S, ended, whole_lines


def truncated_shard(lab: Lab, run: Path) -> int:
    """A finished rollout's file loses its end before the gate looks at it."""
    with lab.held(run, "r01-label-s0002"):
        lab.submit(run)
        truncate(finished(run, "rollout", 0))
    return 1


def behind_its_label(lab: Lab, run: Path) -> int:
    """A rollout loses its end when its label is finished: that label is of other episodes, and both are made again."""
    with lab.held(run, "r01-label-s0002"):
        lab.submit(run)
        finished(run, "label", 0)
        truncate(finished(run, "rollout", 0))
    lab.wait_done(run, LIMIT_S)
    assert broken(run) == ["r01-label-s0000", "r01-rollout-s0000"]
    again = started(run)
    assert {len(again[f"01/{stage}/shard-0000"]) for stage in ("rollout", "label")} == {2}
    return 1


def storage_away(lab: Lab, run: Path) -> int:
    """Nobody can read what the rollouts wrote, for as long as a gate has patience: nothing is moved or made again."""
    with lab.held(run, "r01-label-s0002"):
        lab.submit(run)
        places = [finished(run, "rollout", shard) for shard in range(3)]
        for place in places:
            (place / "lines.jsonl").chmod(0)
    try:
        gate = run / "rounds" / "01" / "gate" / "shard-0000" / "attempt-0"
        assert ended(gate)["code"] != 0
    finally:
        for place in places:
            (place / "lines.jsonl").chmod(0o644)
    assert "nothing was changed" in (gate / "slurm.log").read_text()
    lab.wait_done(run, LIMIT_S)
    assert broken(run) == []
    return 1


def finished(run: Path, stage: str, shard: int) -> Path:
    place = run / "rounds" / "01" / stage / f"shard-{shard:04d}"
    for _ in patience(LIMIT_S, f"the end of {stage} {shard}"):
        if (place / "done.json").exists():
            return place
    raise AssertionError


def truncate(place: Path) -> None:
    with (place / "lines.jsonl").open("r+b") as file:
        file.truncate(100)


def broken(run: Path) -> list[str]:
    return sorted(event["shard"] for event in whole_lines(run) if event["event"] == "corrupt")


FAULTS: dict[str, Callable[[Lab, Path], int]] = {
    "shard truncated before the gate": truncated_shard,
    "rollout truncated behind its label": behind_its_label,
    "storage away at the gate": storage_away,
}
