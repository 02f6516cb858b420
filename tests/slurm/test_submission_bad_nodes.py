"""A node on which tasks fail at once: what still waits is kept from it, against a Slurm in memory."""

import pytest
from in_memory import SITE, SlurmInMemory, events, gate_at_work, ids_of, record, submit

from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import EngineError


@pytest.fixture
def slurm(job):
    """Both rollouts failed at once on c1, a label succeeded on c2, in the same partition; all jobs are in the queue."""
    made = SlurmInMemory()
    submit(job, made)
    for shard in (0, 1):
        record(job, made, "rollout", shard, "c1", 1)
    record(job, made, "label", 0, "c2", 0)
    return made


def look_again(job, slurm):
    """What a job of the run does beside its own work; a person's submit would forgive the node."""
    return Submission(job, SITE, slurm, Limits(), grace_s=0.0).advance(last_round=9)


def test_only_the_waiting_tasks_of_an_array_are_kept_from_a_bad_node(job, slurm):
    ids = ids_of(slurm)
    slurm.states[ids["r01-rollout"], 0] = "RUNNING"
    look_again(job, slurm)
    assert slurm.avoids[f"{ids['r01-rollout']}_[1]"] == ("c1",)
    assert slurm.avoids[ids["r01-label"]] == ("c1",)


def test_a_task_that_begins_before_it_is_kept_from_a_bad_node_stops_nothing(job, slurm, monkeypatch):
    told = []

    def too_late(target, nodes):
        told.append(nodes)
        raise EngineError(f"{target}: Job is no longer pending execution")

    monkeypatch.setattr(slurm, "avoid", too_late)
    assert look_again(job, slurm).is_empty
    assert set(told) == {("c1",)}
    assert len(slurm.jobs) == 15


def test_a_node_on_which_tasks_fail_at_once_is_avoided_until_a_person_says_submit(job, slurm):
    decision = gate_at_work(job, slurm)
    assert {spec.label: spec.excluded for spec in decision.submit}["r01-rollout"] == ("c1",)
    assert slurm.avoids[ids_of(slurm)["r01-finetune_actor"]] == ("c1",)
    assert [event["node"] for event in events(job, "quarantined")] == ["c1"]
    submit(job, slurm)
    assert slurm.avoids[ids_of(slurm)["r01-finetune_actor"]] == ()
    assert len(events(job, "readmitted")) == 1
    assert Ledger.read(job.journal).quarantined == {}
    slurm.avoids.clear()
    submit(job, slurm)
    assert slurm.avoids == {}
