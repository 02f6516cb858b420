"""A gate and the run's last job, as processes of their own run them, against the Slurm in memory."""

import pytest
from in_memory import FULL, SITE, SlurmInMemory, events, finish, ids_of, stages, submit

from selu_hpc.engines import gate_job
from selu_hpc.engines.base import Job
from selu_hpc.engines.limits import Limits
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import Stage

REFUSED = EngineError("sbatch refused: Invalid account")


@pytest.fixture
def slurm(job, monkeypatch):
    """The first round's labels have ended, shard 1 has failed, and a gate's sbatch is refused from now on."""
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    ids = ids_of(slurm)
    slurm.states |= {ids["r01-gate"]: "RUNNING", ids["r01-rollout"]: "FAILED", ids["r01-label"]: "CANCELLED"}
    monkeypatch.setattr(gate_job, "Slurm", lambda: slurm)
    monkeypatch.setattr(gate_job, "saved_site", lambda _: SITE)
    monkeypatch.setattr(gate_job, "ask_limits", lambda *_: Limits())
    monkeypatch.setattr(gate_job, "this_element", lambda: ids["r01-gate"])
    monkeypatch.setattr("selu_hpc.engines.submission.GRACE_S", 0.0)
    return slurm


@pytest.fixture
def quorum(job, monkeypatch):
    """The stage that seals: `quorum(met=True)`."""

    def is_(*, met):
        def run_stage(stage, *, run, round_id, attempt):
            if met:
                job.run.shard(round_id, stage).write_marker(content="sealed", names=[], summary={})
            return 0 if met else 1

        monkeypatch.setattr(gate_job.entry, "run_stage", run_stage)

    return is_


@pytest.mark.parametrize("error", [FULL, REFUSED])
def test_a_gate_whose_retry_is_refused_seals_with_the_quorum_and_leaves_nothing_of_the_retry(job, slurm, quorum, error):
    quorum(met=True)
    before = dict(slurm.jobs)
    slurm.trouble = lambda number, name: error if "-g1c" in name and "gate" in name else None
    assert gate_job.gate(job, 1, 0) == 0
    assert job.due()[gate_job.Key(1, Stage.ROLLOUT)] == [1]
    assert Stage.GATE not in {key.stage for key in job.due() if key.round_id == 1}
    assert slurm.jobs.items() <= before.items(), "what was sent of the retry was taken back"
    assert ids_of(slurm).keys() >= {"r01-finetune_actor", "r02-rollout", "close"}
    (given_up, _) = events(job, "gave_up")
    assert (given_up["key"], given_up["shard"]) == ("r01/rollout", 1)
    assert "could not be sent again" in given_up["why"]


def test_a_gate_whose_retry_is_refused_fails_without_a_quorum_and_the_last_job_tries_once_more(job, slurm, quorum):
    quorum(met=False)
    slurm.trouble = lambda number, name: REFUSED
    assert gate_job.gate(job, 1, 0) == 1
    assert events(job, "gave_up") == []
    ids = ids_of(slurm)
    slurm.trouble = None
    slurm.states = {job_id: "FAILED" if "r01" in stage else "CANCELLED" for stage, job_id in ids.items()}
    assert gate_job.close(job) == 0
    assert {"r01-rollout-g2c0", "r01-gate-g2c0"} <= set(stages(slurm))


def test_a_gate_that_began_before_more_rounds_were_asked_for_leaves_their_jobs_alone(job, slurm, quorum):
    quorum(met=True)
    finish(job, 1)
    more = job.config.but(rounds=4)
    later = Job(job.run, more, make_plan(more))
    later.settle()
    submit(later, slurm)
    sent = {stage for stage in ids_of(slurm) if stage.startswith(("r03", "r04"))}
    assert len(sent) == 12
    assert gate_job.gate(job, 1, 0) == 0
    assert sent <= ids_of(slurm).keys()
    assert slurm.cancelled == []


def test_a_sealed_round_stays_so_when_slurm_takes_nothing_of_the_next(job, slurm, quorum):
    quorum(met=True)
    finish(job, 1)
    for job_id in [job_id for stage, job_id in ids_of(slurm).items() if stage == "close"]:
        slurm.jobs.pop(job_id)
    slurm.trouble = lambda number, name: REFUSED
    assert gate_job.gate(job, 1, 0) == 0
