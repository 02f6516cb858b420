"""The gate as a Slurm job, on the login environment's python, without torch and outside any image.

    python -m selu_hpc.engines.slurm.gate_job --run RUN --round 1        decides over a round's shards
    python -m selu_hpc.engines.slurm.gate_job --run RUN --close          the run's last job: one more look at everything

A gate runs when its labels have ended, however. Shards that are missing or broken are sent again, alone, with another
gate behind them to which everything that waited for this one is re-pointed. When no retry is left, the round is sealed
if the quorum is there; otherwise the chain stops, with the reason in the journal, and nothing is left pending.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from selu_hpc.engines.base import Job
from selu_hpc.engines.broken import put_aside_broken_shards
from selu_hpc.engines.slurm.launch import saved_site, script_file, site_file
from selu_hpc.engines.slurm.limits import ask_limits
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.engines.slurm.sending import TakenBackError
from selu_hpc.engines.slurm.snapshot import refuse_open_folders
from selu_hpc.engines.slurm.submission import Submission, horizon, this_element
from selu_hpc.errors import EngineError, RunFolderError, SeluError
from selu_hpc.logs import set_up_logging
from selu_hpc.recipes import load_run
from selu_hpc.rounds.lock import wait_for_lock
from selu_hpc.rounds.plan import SEALED, Key, make_plan
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.stages import entry
from selu_hpc.terminal import count, enter

logger = logging.getLogger(__name__)

OURS = re.compile(r"selu-[0-9a-f]{8}-")
"""How the name of a run's job begins; stage.sh knows it, too."""

LOCK_PATIENCE_S = 600.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Decide over a round's shards inside a Slurm job.")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--round", type=int, dest="round_id", help="the round")
    what.add_argument("--close", action="store_true", help="look at the whole run once more")
    parser.add_argument("--shard", type=int, default=0, help="0; taken as every stage takes it")
    parser.add_argument("--attempt", type=count, help="attempt number (default: the next free one)")
    options = parser.parse_args(argv)
    set_up_logging()
    try:
        job = open_job(options.run)
        require_sent(job.run)
        if options.close:
            return close(job)
        return gate(job, options.round_id, options.attempt)
    except SeluError as error:
        logger.error("%s", error)
        return error.exit_code


def open_job(path: Path) -> Job:
    run = RunDir(path)
    refuse_open_folders(run)
    config = load_run(path)
    return Job(run, config, make_plan(config))


def require_sent(run: RunDir) -> None:
    """Refuse a run that no submit has told its site, as `submit --prepare` leaves it, and one that lies where this
    job's own lay before it was deleted or moved away."""
    name = os.environ.get("SLURM_JOB_NAME", "")
    if OURS.match(name) and not script_file(run, name).is_file():
        raise RunFolderError(f"{name} is a job of another run, which lay in {run.path} before; nothing is done for it")
    if not site_file(run).is_file():
        raise RunFolderError(
            f"{site_file(run)}: no such file, for nothing of this run was sent to Slurm; `{run.command('submit')}` "
            "sends it, and `python -m selu_hpc.stages.gate` is a round's gate by hand"
        )


def gate(job: Job, round_id: int, attempt: int | None) -> int:
    """Retry what is missing, else seal; then send what may follow.

    Where Slurm refuses the retry the quorum decides. Without one this fails and nothing is given up: the run's last job
    tries once more.
    """
    with _run_lock(job, purpose=f"the gate of round {round_id}"):  # the journal is written to
        put_aside_broken_shards(job, round_id)
    refused = ""
    try:
        if send_again(job, round_id):
            logger.info("round %s: missing shards were sent again, the gate behind them decides", round_id)
            return 0
    except TakenBackError as error:  # any other may leave jobs behind that will decide over this round
        refused = str(error)
        logger.warning("round %s: missing shards can't be sent again, so the quorum decides: %s", round_id, refused)
    code = entry.run_stage(Stage.GATE, run=str(job.run.path), round_id=round_id, attempt=attempt)
    if code == 0 or not refused:
        follow(job, round_id, failed=code != 0, refused=refused)
    return code


def send_again(job: Job, round_id: int) -> bool:
    """Whether shards that this gate would decide over are on their way again."""
    site, slurm = saved_site(job.run), Slurm()
    sealed = [Key(round_id, stage) for stage in SEALED]
    if not site.resubmit_inside_jobs or not any(key in job.due() for key in sealed):
        return False
    with _run_lock(job, purpose=f"the gate of round {round_id}") as still_mine:
        job = open_job(job.run.path)
        submission = Submission(job, site, slurm, ask_limits(site, slurm), me=this_element(), still_mine=still_mine)
        decision = submission.advance(last_round=horizon(job, round_id), gate=Key(round_id, Stage.GATE))
    return any(key in sealed for key in decision.cover)


def _run_lock(job: Job, *, purpose: str) -> AbstractContextManager[Callable[[], None]]:
    """The run's lock; a gate waits for a submit that is at work, where a person is told at once.

    What that submit asked for (more rounds, say) is on disk when the lock is ours: the job is to be opened anew, or
    what it sent would be taken for stages that the plan does not have.
    """
    return wait_for_lock(job.run.lock_file, purpose=purpose, patience_s=LOCK_PATIENCE_S)


def follow(job: Job, round_id: int, *, failed: bool, refused: str = "") -> None:
    """After the decision: stop what can't come any more, or submit the rounds that were left to this gate.

    A round that is sealed stays so when Slurm takes nothing more, another holds the lock or the disk is full: what
    waits for its gate starts all the same.
    """
    site, slurm = saved_site(job.run), Slurm()
    if not (failed or site.resubmit_inside_jobs):
        return
    try:
        with _run_lock(job, purpose=f"the gate of round {round_id}") as still_mine:
            job = open_job(job.run.path)
            _give_up(job, round_id, failed=failed, refused=refused)
            Submission(job, site, slurm, ask_limits(site, slurm), me=this_element(), still_mine=still_mine).advance(
                last_round=horizon(job, round_id + 1), may_submit=site.resubmit_inside_jobs
            )
    except (EngineError, RunFolderError, OSError) as error:
        if failed:
            raise
        logger.warning("round %s is sealed; a later job sends what is left to send: %s", round_id, error)


def _give_up(job: Job, round_id: int, *, failed: bool, refused: str) -> None:
    """Write down that the chain stops, or which shards the seal does without because Slurm did not take them again."""
    due = job.due()
    sealed = [Key(round_id, stage) for stage in SEALED]
    missing = [(key, shard) for key in sealed for shard in due.get(key, ())]
    if failed and missing:
        count = len({shard for _, shard in missing})
        why = f"{count} shards are missing and the quorum is not met: the chain stops"
        job.journal.append("gave_up", key=f"r{round_id:02d}/gate", shard=0, why=why)
    elif refused:
        why = f"it could not be sent again, and the round was sealed without it: {refused}"
        job.journal.append_all("gave_up", [{"key": str(key), "shard": shard, "why": why} for key, shard in missing])


def close(job: Job) -> int:
    """Retry what no gate came after; say how the run ended."""
    site, slurm = saved_site(job.run), Slurm()
    with _run_lock(job, purpose="the run's last job") as still_mine:
        job = open_job(job.run.path)
        due = job.due()
        if not due:
            job.journal.append("finished", engine="slurm")
            return 0
        if not site.resubmit_inside_jobs:
            logger.error("%s stages are unfinished; run submit on the login node", len(due))
            return 1
        submission = Submission(job, site, slurm, ask_limits(site, slurm), me=this_element(), still_mine=still_mine)
        decision = submission.advance(last_round=horizon(job, max(key.round_id for key in due)))
    if decision.cover:
        return 0
    logger.error("the run can't go on by itself; mend the cause, then run `%s`", job.run.command("submit"))
    return 1


if __name__ == "__main__":
    enter(main)
