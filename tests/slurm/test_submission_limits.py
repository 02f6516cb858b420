"""Jobs that ask for more than there is, and retries that ask for more, against a Slurm in memory."""

import pytest
from in_memory import SITE, SlurmInMemory, events, finish, gate_at_work, ids_of, record, submit

from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.submission import Submission


def test_a_job_that_asks_for_what_no_node_has_is_cancelled_and_sent_again_until_retries_are_used_up(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    sent = []
    for _ in range(5):  # gates and the last job look
        last = max((job_id for job_id, (name, _) in slurm.jobs.items() if "r00-evaluate" in name), default=None)
        if last:
            sent.append(last)
            slurm.reasons[last] = "BadConstraints"
        Submission(job, SITE, slurm, Limits(), grace_s=0.0).advance(last_round=9)
    assert len(sent) == 1 + job.config.retry.max_retries
    assert set(sent).isdisjoint(slurm.jobs)
    assert [event["key"] for event in events(job, "gave_up")] == ["r00/evaluate"]


def test_a_person_who_submits_again_has_such_a_job_replaced(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    stuck = ids_of(slurm)["r01-rollout"]
    slurm.reasons[stuck] = "BadConstraints"
    decision = submit(job, slurm)
    assert [spec.label for spec in decision.submit] == ["r01-rollout"]
    assert stuck not in slurm.jobs
    assert [event["why"] for event in events(job, "cancelled")] == [
        "it asks for more than a node has or one job may have"
    ]


@pytest.mark.parametrize(("nodes", "mem_gb"), [("cpu|3000\ncpu|6000\ngpu|900000\n", 5), ("", 8)])
def test_a_gate_asks_for_no_more_memory_than_a_node_has(job, nodes, mem_gb):
    slurm = SlurmInMemory(nodes=nodes)
    submit(job, slurm)
    finish(job, 0)
    record(job, slurm, "rollout", 1, "c1", 137, oom=True)
    decision = gate_at_work(job, slurm)
    assert decision.submit[0].label == "r01-rollout"
    assert decision.submit[0].resources.mem_gb == mem_gb


@pytest.mark.parametrize(("nodes", "minutes"), [("cpu|3000|1:30:00\ngpu|900000|infinite\n", 90), ("", 120)])
def test_a_gate_asks_for_no_more_time_than_a_partition_allows(job, nodes, minutes):
    """A job is taken on hold whatever it asks for; above the limit it would pend for ever."""
    slurm = SlurmInMemory(nodes=nodes)
    submit(job, slurm)
    finish(job, 0)
    record(job, slurm, "rollout", 1, "c1", 75, signal="USR2", timeout=True)
    slurm.states[ids_of(slurm)["r01-rollout"], 1] = "TIMEOUT"
    decision = gate_at_work(job, slurm)
    assert decision.submit[0].label == "r01-rollout"
    assert decision.submit[0].resources.timeout_min == minutes
