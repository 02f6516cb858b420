"""Whose jobs a journal names, and whether squeue would show them: copies of a run, other clusters, other users."""

import errno
import os
import re
import shutil

import pytest
from in_memory import SlurmInMemory, events, ids_of, stages, submit

from selu_hpc.cancel import cancel
from selu_hpc.engines.base import Job
from selu_hpc.engines.local.engine import refuse_live_slurm_jobs
from selu_hpc.engines.slurm import belonging
from selu_hpc.engines.slurm.belonging import UnseenJobsError
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import RunFolderError
from selu_hpc.rounds import lock
from selu_hpc.rounds.rundir import RunDir

PRIVATE = {"ClusterName": "lab", "PrivateData": "accounts,jobs"}


@pytest.fixture
def slurm(job):
    """A run that was submitted, and its jobs."""
    slurm = SlurmInMemory()
    submit(job, slurm)
    return slurm


@pytest.fixture
def copy(job, slurm, tmp_path):
    shutil.copytree(job.run.path, tmp_path / "copy", symlinks=True)
    return Job(RunDir(tmp_path / "copy"), job.config, job.plan)


def of_user(job, uid):
    """The journal as if all of it had been written by that user."""
    file = job.run.journal_file
    file.write_text(re.sub(r'"uid": \d+', f'"uid": {uid}', file.read_text()))


@pytest.fixture
def colleague(monkeypatch):
    """Who runs the tests may be root, who sees everything."""
    monkeypatch.setattr(belonging.os, "getuid", lambda: 1234)


def test_cancel_in_a_copy_leaves_the_originals_jobs_alone_and_says_whose_they_are(slurm, job, copy):
    before = dict(slurm.jobs)
    with pytest.raises(RunFolderError, match="this folder is a copy") as refused:
        cancel(copy.run, slurm, wait=False)
    assert str(job.run.path) in str(refused.value)
    assert slurm.jobs == before


def test_submit_in_a_copy_sends_jobs_of_its_own_and_touches_none_of_the_original(slurm, copy):
    before = dict(slurm.jobs)
    submit(copy, slurm)
    assert before.items() < slurm.jobs.items()
    assert len(slurm.jobs) == 2 * len(before)
    assert len({name for name, _ in slurm.jobs.values()}) == 2 * len(before)
    cancel(copy.run, slurm, wait=False)
    assert slurm.jobs == before


def test_after_a_cancel_a_local_runs_next_command_names_its_engine(slurm, job):
    job.journal.append("started", engine="local")
    assert cancel(job.run, slurm, wait=False).endswith("--engine local")


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_no_job_from_being_cancelled(slurm, job, monkeypatch, why):
    def full(*_, **__):
        raise OSError(why, os.strerror(why))

    count = len(slurm.jobs)
    monkeypatch.setattr(lock, "hold_lock", full)
    told = cancel(job.run, slurm, wait=False)
    assert slurm.jobs == {}
    assert told.startswith(f"cancelled {count} jobs of {job.run.path}; its disk is full")
    with pytest.raises(RunFolderError, match="make room there"), lock.hold_run(job.run, purpose="a submit"):
        pass


def test_one_job_that_is_cancelled_is_one(slurm, job):
    for job_id in list(slurm.jobs)[1:]:
        del slurm.jobs[job_id]
    assert cancel(job.run, slurm, wait=False).startswith("cancelled 1 job of ")


def test_a_copy_of_a_finished_run_cancels_nothing_of_the_original(slurm, copy):
    before = dict(slurm.jobs)
    Submission(copy, None, slurm, Limits(), by_person=True).sweep()
    assert slurm.jobs == before


def test_a_copy_may_run_on_this_machine_while_the_original_is_in_the_queue(slurm, copy):
    refuse_live_slurm_jobs(copy, slurm)


def test_a_run_that_was_moved_or_restored_keeps_its_jobs(slurm, job, tmp_path):
    before = dict(slurm.jobs)
    moved = Job(RunDir(job.run.path.rename(tmp_path / "moved")), job.config, job.plan)
    assert submit(moved, slurm).is_empty
    shutil.copytree(moved.run.path, job.run.path, symlinks=True)
    shutil.rmtree(moved.run.path)
    assert submit(job, slurm).is_empty
    assert slurm.jobs == before


def test_a_journal_that_says_nothing_of_its_folder_is_this_runs(slurm, copy):
    file = copy.run.journal_file
    file.write_text(re.sub(r', "folder": .*, "inodes": [^]]*]', "", file.read_text()))
    assert "inodes" not in file.read_text()
    assert submit(copy, slurm).is_empty


@pytest.mark.parametrize("by_person", [True, False])
def test_on_another_cluster_nothing_is_sent_and_nothing_is_taken_for_lost(slurm, job, by_person):
    other = SlurmInMemory(settings={"ClusterName": "annex"})
    with pytest.raises(UnseenJobsError, match="its jobs are on cluster lab, this one is annex"):
        Submission(job, None, other, Limits(cluster="annex"), by_person=by_person).advance(last_round=9)
    with pytest.raises(UnseenJobsError, match="cluster lab"):
        cancel(job.run, other, wait=False)
    assert other.jobs == {}
    assert events(job, "abandoned", "stopped") == []


def test_a_copy_goes_on_on_another_cluster(slurm, copy):
    other = SlurmInMemory(settings={"ClusterName": "annex"})
    submit(copy, other)
    assert len(other.jobs) == len(slurm.jobs)
    assert Ledger.read(copy.journal).cluster == "annex"


def test_where_others_jobs_are_not_shown_nothing_is_sent_while_theirs_may_be_at_work(slurm, job, colleague):
    of_user(job, 4321)
    slurm.settings, slurm.is_blind = PRIVATE, True
    before = dict(slurm.jobs)
    for act in (lambda: submit(job, slurm), lambda: cancel(job.run, slurm, wait=False)):
        with pytest.raises(UnseenJobsError, match=r"14 jobs of user 4321's .* the first is 1\d\d .* their own jobs"):
            act()
    assert slurm.jobs == before


def test_others_go_on_once_the_owner_has_stopped_the_run(slurm, job, colleague):
    cancel(job.run, slurm, wait=True)
    assert slurm.jobs == {}
    of_user(job, 4321)
    slurm.settings, slurm.is_blind = PRIVATE, True
    submit(job, slurm)
    assert len(stages(slurm)) == 15


def test_others_finished_jobs_and_ones_own_are_no_obstacle(slurm, job, colleague):
    of_user(job, 4321)
    slurm.settings = PRIVATE
    for stage in job.plan:
        for shard in range(stage.num_shards) if str(stage.key) != "r02/evaluate" else ():
            place = job.run.shard(stage.key.round_id, stage.key.stage, shard)
            place.write_marker(content="x", names=[], summary={})
    with pytest.raises(UnseenJobsError, match="1 jobs of user 4321's"):
        submit(job, slurm)
    of_user(job, 1234)
    assert submit(job, slurm).submit == []
    assert ids_of(slurm)["r02-evaluate"] in slurm.jobs
