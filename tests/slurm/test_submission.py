"""Handing jobs to Slurm, against a Slurm in memory that refuses, falls silent or lies when a test says so."""

import re
import threading
from dataclasses import dataclass, field

import pytest

from selu_hpc.config import Site
from selu_hpc.engines.base import Job
from selu_hpc.engines.ledger import Ledger
from selu_hpc.engines.limits import Limits
from selu_hpc.engines.sbatch import read_array_text
from selu_hpc.engines.scheduler import SlurmSilentError, SubmitLimitError
from selu_hpc.engines.slurm_state import QueueRow
from selu_hpc.engines.submission import SBATCH_AT_ONCE, Submission
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import make_plan

SITE = Site.model_validate({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}})


@dataclass
class SlurmInMemory:
    """Takes jobs on hold, remembers them by id. `trouble(number, name)` may raise; `lies` are accepted all the same."""

    trouble: object = None
    lies: bool = False
    jobs: dict = field(default_factory=dict)
    released: list = field(default_factory=list)
    cancelled: list = field(default_factory=list)
    most_at_once: int = 0
    _two: threading.Event = field(default_factory=threading.Event)
    _count: int = 0
    _at_once: int = 0
    _lock: object = field(default_factory=threading.Lock)

    def sbatch(self, script, *, arguments):
        text = script.read_text()
        name = re.search(r"^#SBATCH --job-name=(\S+)$", text, re.MULTILINE)[1]
        array = re.search(r"^#SBATCH --array=(\S+)$", text, re.MULTILINE)
        dependency = next((a.partition("=")[2] for a in arguments if a.startswith("--dependency=")), "")
        assert "--hold" in arguments
        with self._lock:
            assert set(re.findall(r"\d+", dependency)) <= self.jobs.keys(), "waits for a job that is not there yet"
            self._count += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            number, job_id = self._count, str(100 + self._count)
            if self._at_once > 1:
                self._two.set()
        self._two.wait(5.0)  # the first call stays until there is a second beside it
        try:
            error = self.trouble(number, name) if self.trouble else None
            if error is None or self.lies:
                self.jobs[job_id] = (name, tuple(read_array_text(array[1])) if array else (0,))
            if error:
                raise error
            return job_id
        finally:
            with self._lock:
                self._at_once -= 1

    def squeue(self, names):
        wanted = set(names)
        return [
            QueueRow(job_id, indices, "PENDING", "", name, "" if job_id in self.released else "JobHeldUser", "", "")
            for job_id, (name, indices) in self.jobs.items()
            if name in wanted
        ]

    def release(self, ids):
        assert set(ids) <= self.jobs.keys()
        self.released += ids

    def cancel(self, ids):
        self.cancelled += ids
        for job_id in ids:
            self.jobs.pop(job_id)

    def sacct(self, ids):
        return []


@pytest.fixture
def job(small_run, small_config):
    return Job(small_run, small_config, make_plan(small_config))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("selu_hpc.engines.submission.LOOKS_S", (0.0,))


def submit(job, slurm, last_round=9):
    submission = Submission(job, SITE, slurm, Limits(), by_person=True, grace_s=0.0)
    job.journal.append("started", engine="slurm")
    return submission.advance(last_round=last_round)


def events(job, *kinds):
    return [event for event in job.journal if event["event"] in kinds]


def stages(slurm, job_ids=None):
    return sorted(slurm.jobs[job_id][0].split("-", 2)[2] for job_id in job_ids or slurm.jobs)


def test_all_intents_are_written_before_the_first_sbatch_and_all_ids_before_the_release(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    kinds = [event["event"] for event in events(job, "intent", "submitted", "released")]
    assert kinds == ["intent"] * 15 + ["submitted"] * 15 + ["released"]
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert 1 < slurm.most_at_once <= SBATCH_AT_ONCE


def test_submitting_again_sends_nothing(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    before = dict(slurm.jobs)
    assert submit(job, slurm).is_empty
    assert slurm.jobs == before


def test_a_refused_sbatch_leaves_held_jobs_that_the_next_submit_counts_and_completes(job):
    slurm = SlurmInMemory(trouble=lambda number, name: EngineError("no such partition") if number == 6 else None)
    with pytest.raises(EngineError, match="no such partition"):
        submit(job, slurm)
    held = dict(slurm.jobs)
    assert 5 <= len(held) <= 5 + SBATCH_AT_ONCE
    assert slurm.released == []
    slurm.trouble = None
    submit(job, slurm)
    assert held.items() <= slurm.jobs.items()
    assert len(slurm.jobs) == 15
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert len({name.rpartition("-g")[0] for name, _ in slurm.jobs.values()}) == 15, "a stage has one job"


def test_where_slurm_takes_no_more_whole_rounds_stay_and_the_rest_is_taken_back(job):
    def full(number, name):
        return SubmitLimitError("sbatch: QOSMaxSubmitJobPerUserLimit") if "r02-gate" in name else None

    slurm = SlurmInMemory(trouble=full)
    submit(job, slurm)
    assert {name[:3] for name in stages(slurm)} == {"r00", "r01"}
    assert sorted(slurm.released) == sorted(slurm.jobs)
    unsent = {event["name"].split("-", 2)[2] for event in events(job, "abandoned")}
    assert {"r02-gate-g0c0", "r02-finetune_actor-g0c0", "close-g0c0"} <= unsent
    settled = events(job, "abandoned", "cancelled", "submitted")
    assert {event["name"] for event in settled} == {event["name"] for event in events(job, "intent")}


def test_an_sbatch_that_errs_after_acceptance_is_adopted_every_time(job):
    slurm = SlurmInMemory(trouble=lambda number, name: SlurmSilentError("Socket timed out"), lies=True)
    submit(job, slurm)
    assert len(slurm.jobs) == 15
    assert len(events(job, "adopted")) == 15
    assert slurm.cancelled == []
    assert sorted(slurm.released) == sorted(slurm.jobs)


def test_a_job_accepted_only_after_it_was_sent_again_loses_its_copy_before_the_release(job):
    slurm = SlurmInMemory()

    def late(number, name):
        if "r01-gate" in name and not any("r01-gate" in one for one, _ in slurm.jobs.values()):
            if number not in seen:
                seen.append(number)
            if len(seen) == 1:
                return SlurmSilentError("Socket timed out")
            slurm.jobs["99"] = (name, (0,))  # the first one arrives while the second is on its way
        return None

    seen = []
    slurm.trouble = late
    submit(job, slurm)
    assert len(slurm.jobs) == 15
    assert len(slurm.cancelled) == 1
    assert sorted(slurm.released) == sorted(slurm.jobs)


def test_ids_that_a_power_cut_took_from_the_journal_are_found_by_name(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    file = job.run.journal_file
    kept = [line for line in file.read_bytes().splitlines(keepends=True) if b'"submitted"' not in line]
    file.write_bytes(b"".join(kept))
    before = dict(slurm.jobs)
    submit(job, slurm)
    assert slurm.jobs == before
    assert len(events(job, "adopted")) == 15
    assert all(entry.job_id for entry in Ledger.read(job.journal).entries.values())


def test_a_gate_that_may_not_call_sbatch_only_cancels(job):
    slurm = SlurmInMemory()
    job.journal.append("started", engine="slurm")
    decision = Submission(job, SITE, slurm, Limits(), grace_s=0.0).advance(last_round=1, may_submit=False)
    assert decision.submit == []
    assert slurm.jobs == {}
    assert events(job, "intent") == []
