"""Faults of a submission: submit and gates killed between two journal lines, an sbatch that lies, a torn journal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import SMALL, Lab, journal
from victims import LIMIT_S, whole_lines


def kill_submit_everywhere(lab: Lab, run: Path) -> int:
    """submit killed at its first journal line, then a new one at its second, and so on, in one run folder.

    Every other time just after the line and not before it, so that a job may or may not be with Slurm already.
    """
    for place in range(1, 60):
        done = lab.python(
            "-c", KILLED_SUBMIT, str(place), "before" if place % 2 else "after",
            "--run", str(run), "--rounds", "1", "--engine", "slurm",
            *(word for setting in SMALL for word in ("--set", setting)), check=False,
        )  # fmt: skip
        if done.returncode != 77:
            assert done.returncode == 0, done.stderr
            return place - 1
    raise AssertionError("submit does not get ahead")


KILLED_SUBMIT = """
import os, sys, threading
from selu_hpc.rounds.journal import Journal
place, moment = int(sys.argv[1]), sys.argv[2]
write, count, lock = Journal._write, 0, threading.Lock()
def killed(self, lines, *, sync):
    global count
    with lock:
        for number, line in enumerate(lines):
            count += 1
            if count == place:  # a block of lines may be cut in its middle
                write(self, lines[: number + (moment == "after")], sync=sync)
                os._exit(77)
        write(self, lines, sync=sync)
Journal._write = killed
from selu_hpc.submit import main
sys.exit(main(sys.argv[3:]))
"""


def kill_gates_everywhere(lab: Lab, run: Path) -> int:
    """A gate that resends a failed shard is killed at its first journal line, the next gate at its second, and so on.

    The shard fails each time, so that every gate has something to resend; the last one comes through.
    """
    places = range(1, 12)
    lab.fault(run, "fail-r01-rollout-s0001", len(places))
    lab.fault(run, "gates-die", " ".join(map(str, places)))
    lab.submit(run, settings=(*SMALL, f"retry.max_retries={2 * len(places)}"))
    lab.wait_done(run, LIMIT_S)
    return len(places) - len(run.with_name(f"{run.name}.faults").joinpath("gates-die").read_text().split())


def lying_sbatch(lab: Lab, run: Path) -> int:
    """sbatch that says "Socket timed out" after Slurm accepted the job, every time."""
    return _with_sbatch(lab, run, 'real "$@" >/dev/null; said=1')


def failing_sbatch(lab: Lab, run: Path) -> int:
    """sbatch that fails without having reached Slurm, the first three times it is called."""
    return _with_sbatch(lab, run, 'if (( count % 2 && count < 6 )); then said=1; else real "$@"; exit; fi')


def slow_sbatch(lab: Lab, run: Path) -> int:
    """sbatch whose job is accepted only after it has failed, and was sent again: two copies, one must go."""
    return _with_sbatch(lab, run, 'if (( count == 3 )); then (sleep 25; real "$@") <&8 >/dev/null 2>&1 & fi; '
                        'if (( count == 3 )); then said=1; else real "$@"; exit; fi', again=True)  # fmt: skip


def _with_sbatch(lab: Lab, run: Path, body: str, *, again: bool = False) -> int:
    tools = lab.home / f"tools-{run.name}"
    tools.mkdir()
    shutil.chown(tools, lab.user, lab.user)
    real = shutil.which("sbatch")
    (tools / "sbatch").write_text(
        f'#!/bin/bash\nreal() {{ {real} "$@"; }}\n'
        f"[[ $1 == --version ]] && exec {real} --version\n"
        "exec 8<&0\n"  # the script, for who is sent to the background
        f"exec 9>> {tools}/lock; flock 9; echo >> {tools}/count; count=$(wc -l < {tools}/count); exec 9>&-; said=0\n"
        f"{body}\n"
        'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2\nexit 1\n'
    )
    (tools / "sbatch").chmod(0o755)
    mine = Lab(lab.cluster, lab.home, lab.code, lab.user, extra_path=tools)
    mine.submit(run)
    count = len((tools / "count").read_text().splitlines())
    if again:
        time.sleep(15)
        lab.resubmit(run)
        return 1
    return count


def two_submits_at_once(lab: Lab, run: Path) -> int:
    """The same submit in two shells: one is told that the other is at work, or finds everything done."""
    with ThreadPoolExecutor(2) as pool:
        codes = [one.returncode for one in pool.map(lambda _: lab.submit(run, check=False), range(2))]
    assert 0 in codes
    assert len([e for e in journal(run) if e["event"] == "submitted"]) == 9
    return 1


def lost_before_the_end(lab: Lab, run: Path) -> int:
    """The journal's last lines are lost and one is torn (a full disk): submit finds the jobs by their names."""
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run)
        file = run / "journal.jsonl"
        lines = file.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if b'"submitted"' not in line or b"rollout" not in line]
        file.write_bytes(b"".join(kept) + b'{"time": 1, "event": "subm')
        lab.resubmit(run)
    assert any(event["event"] == "adopted" for event in whole_lines(run))
    return 1


FAULTS: dict[str, Callable[[Lab, Path], int]] = {
    "submit killed at every journal line": kill_submit_everywhere,
    "gates killed at every journal line": kill_gates_everywhere,
    "sbatch errs after acceptance": lying_sbatch,
    "sbatch errs before acceptance": failing_sbatch,
    "sbatch accepted after the retry": slow_sbatch,
    "two submits at once": two_submits_at_once,
    "journal loses lines": lost_before_the_end,
}
