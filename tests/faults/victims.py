"""Whom a fault strikes: a stage's process, everything on a node, a shard made slow, a journal that may be torn."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from harness import Lab, patience

SLOW = "0.7"
LIMIT_S = 900.0


def slow(lab: Lab, run: Path, *names: str, pause_s: str = SLOW) -> None:
    for name in names:
        lab.fault(run, f"slow-{name}", pause_s)


def process_of(lab: Lab, run: Path, stage: str, shard: int, *, what: str = "") -> int:
    """The process id of a stage's task, once it works."""
    folder = run / "rounds" / "01" / stage / f"shard-{shard:04d}"
    wanted = what or f"selu_hpc.stages.{stage}"
    for _ in patience(300, f"{stage} {shard} at work", context=lambda: lab.describe(run)):
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or not (folder / "lines.jsonl").exists():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            ours = str(run).encode() in words and any(wanted.encode() in word for word in words)
            index = f"SLURM_ARRAY_TASK_ID={shard}".encode() in environment
            if ours and index and b"srun" not in words[0] and (what or b"python" in words[0]):
                return int(entry.name)
    raise AssertionError


def kill_everything_on(run: Path, node: str) -> None:
    """What a power cut does to a run's processes on a node whose daemons are gone already."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (entry / "environ").read_bytes()
            of_run = str(run).encode() in environment + (entry / "cmdline").read_bytes()
            if of_run and f"SLURMD_NODENAME={node}\0".encode() in environment:
                os.kill(int(entry.name), signal.SIGKILL)


def ended(attempt: Path) -> dict:
    """The record of an attempt, once it has ended."""
    for _ in patience(LIMIT_S, f"the end of {attempt}"):
        file = attempt / "job.json"
        if file.exists() and "ended" in (record := json.loads(file.read_text())):
            return record
    raise AssertionError


def whole_lines(run: Path) -> list[dict]:
    found = []
    for line in (run / "journal.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
