"""Stop a run's Slurm jobs and leave the run as it is: `python -m selu_hpc.cancel --run RUN`.

Finished shards, flushed episodes and checkpoints stay; `python -m selu_hpc.submit --run RUN` goes on from them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.engines.overview import counted, engine_of, submit_again
from selu_hpc.engines.slurm.belonging import require_all_seen, require_original
from selu_hpc.engines.slurm.ledger import BY_PERSON, Ledger, match
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import RunFolderError, SeluError
from selu_hpc.logs import set_up_logging
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.lock import hold_run, is_full
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.terminal import enter

PATIENCE_S = 90.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.cancel",
        description="Cancel every job of a run that Slurm still has. The run can be continued at any time by submit.",
        epilog="example: python -m selu_hpc.cancel --run runs/selu-thor-s0-1a2b3c4d5e6f",
    )
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the tasks have ended")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    set_up_logging()
    try:
        print(cancel(RunDir(options.run.absolute()), Slurm(), wait=not options.no_wait))  # noqa: T201
    except SeluError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def cancel(run: RunDir, slurm: Slurm, *, wait: bool = True) -> str:
    """Cancel what the journal and the queue agree on, later stages first; returns what was done in words."""
    run.require()
    try:
        return _cancel(run, slurm, wait=wait)
    except RunFolderError as error:
        if not is_full(error.__cause__):
            raise
    return _cancel_unwritten(run, slurm)


def _cancel_unwritten(run: RunDir, slurm: Slurm) -> str:
    """Where nothing can be written down any more: what fills the disk may be these very jobs."""
    ledger = Ledger.read(Journal(run.journal_file))
    require_original(ledger, run)
    if ledger.entries:
        require_all_seen(ledger, run, slurm.config())
    queue = match(ledger, slurm.squeue(ledger.entries) if ledger.entries else [])
    jobs = {live.entry.job_id for live in queue.live.values()} | {job_id for _, job_id in queue.strays}
    if jobs:
        slurm.cancel(sorted(jobs, key=int, reverse=True))
    return (
        f"cancelled {counted(len(jobs), 'job')} of {run.path}; its disk is full, so nothing of it is written down: "
        f"make room, then go on with: {run.command('submit')}"
    )


def _cancel(run: RunDir, slurm: Slurm, *, wait: bool) -> str:
    with hold_run(run, purpose="a cancel"):
        journal = Journal(run.journal_file)
        events = list(journal)
        ledger = Ledger.read(events)
        require_original(ledger, run)
        if ledger.entries:
            require_all_seen(ledger, run, slurm.config())
        queue = match(ledger, slurm.squeue(ledger.entries) if ledger.entries else [])
        jobs = {live.entry.job_id: name for name, live in queue.live.items()}
        jobs |= {job_id: name for name, job_id in queue.strays}
        for name, job_id in queue.adopted.items():
            journal.append("adopted", name=name, job=job_id)
        if jobs:
            slurm.cancel(sorted(jobs, key=int, reverse=True))
            for job_id, name in jobs.items():
                journal.append("cancelled", name=name, job=job_id, why=BY_PERSON)
        ended = _wait_until_gone(slurm, ledger) if wait else not jobs
        if ended and ledger.entries:
            journal.append("stopped")
    nothing = f"{run.path}: no job of this run is in the queue"
    done = f"cancelled {counted(len(jobs), 'job')} of {run.path}" if jobs else nothing
    late = "" if ended or not wait else "; some tasks are still ending"
    finished = next((event["event"] == "finished" for event in reversed(events) if event["event"] != "stopped"), False)
    return f"{done}{late}" + ("" if finished and not jobs else f"\ngo on with: {submit_again(run, engine_of(events))}")


def _wait_until_gone(slurm: Slurm, ledger: Ledger) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while match(ledger, slurm.squeue(ledger.entries) if ledger.entries else []).live:
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)
    return True


if __name__ == "__main__":
    enter(main)
