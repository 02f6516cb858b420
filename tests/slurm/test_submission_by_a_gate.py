"""What a round's gate sends again and re-points while it runs as a job itself, against a Slurm in memory."""

import pytest
from in_memory import SITE, SlurmInMemory, events, finish, gate_at_work, ids_of, stages, submit

from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import EngineError


def test_a_gate_that_may_not_call_sbatch_only_cancels(job):
    slurm = SlurmInMemory()
    job.journal.append("started", engine="slurm")
    decision = Submission(job, SITE, slurm, Limits(), grace_s=0.0).advance(last_round=1, may_submit=False)
    assert decision.submit == []
    assert slurm.jobs == {}
    assert events(job, "intent") == []


def test_a_gate_that_sends_a_shard_again_puts_another_gate_behind_it(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    decision = gate_at_work(job, slurm)
    assert [spec.label for spec in decision.submit] == ["r01-rollout", "r01-label", "r01-gate"]
    assert {name.split("-", 2)[2] for name in decision.rewire} >= {
        "r01-finetune_actor-g0c0",
        "r01-finetune_critic-g0c0",
    }


def test_a_gate_that_has_nothing_to_send_again_decides_itself_and_nothing_is_re_pointed(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    job.journal.append("gave_up", key="r01/rollout", shard=1, why="failed 3 times")
    decision = gate_at_work(job, slurm)
    assert (decision.submit, decision.rewire, decision.cancel) == ([], {}, {})


@pytest.fixture
def naps(monkeypatch):
    """How often the grace period slept; every nap takes no time and may bring something."""
    found = []

    def nap(seconds):
        found.append(seconds)
        for come in list(naps_bring):
            come()

    naps_bring = []
    monkeypatch.setattr("selu_hpc.engines.slurm.submission.time.sleep", nap)
    nap.bring, nap.taken = naps_bring, found
    return nap


def test_a_failed_shard_in_an_array_whose_others_completed_is_not_waited_for(job, naps):
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    slurm.states[ids_of(slurm)["r01-rollout"], 0] = "COMPLETED"
    gate_at_work(job, slurm, grace_s=60.0)
    assert naps.taken == []


def test_a_completed_shard_whose_marker_comes_late_is_not_made_again(job, naps):
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    for stage in ("rollout", "label"):
        slurm.states[ids_of(slurm)[f"r01-{stage}"], 1] = "COMPLETED"
    naps.bring.append(lambda: finish(job, 1))
    decision = gate_at_work(job, slurm, grace_s=60.0)
    assert naps.taken == [0.5]
    assert [spec.label for spec in decision.submit] == []


def test_what_begins_before_it_could_be_re_pointed_stops_no_submit(job, monkeypatch):
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)

    def depend(target, dependency):
        raise EngineError(f"scontrol: {target}: Job is no longer pending execution")

    monkeypatch.setattr(slurm, "depend", depend)
    assert gate_at_work(job, slurm).rewire
    assert events(job, "rewired")


def test_what_slurm_cancelled_before_it_could_be_re_pointed_is_sent_again_at_once(job, monkeypatch):
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    before, killed = stages(slurm), []

    def depend(target, dependency):
        if killed:
            return SlurmInMemory.depend(slurm, target, dependency)
        killed.append(slurm.jobs.pop(target.partition("_")[0])[0])
        raise EngineError(f"`scontrol update jobid={target}` failed: Job has already finished for job {target}")

    monkeypatch.setattr(slurm, "depend", depend)
    decision = gate_at_work(job, slurm)
    assert killed
    again = killed[0].split("-", 2)[2].rpartition("-g")[0]
    assert [spec.name for spec in decision.submit if f"-{again}-g" in spec.name]
    assert {name.rpartition("-g")[0] for name in stages(slurm)} >= {name.rpartition("-g")[0] for name in before}
    assert {event["name"] for event in events(job, "rewired")}.isdisjoint(killed)
