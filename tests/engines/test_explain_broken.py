"""Broken shards, as explain tells them, and the commands that put them aside."""

import pytest
from faked_slurm import ERROR, PLACE, QUORUM, attempted, finish

from selu_hpc.engines.why.explaining import explain
from selu_hpc.rounds.rundir import Stage


@pytest.fixture
def truncated(job):
    """Rollout 1 is finished but a byte short; its label is there; the gate has not been."""
    job.journal.append("started", engine="local", pid=1)
    finish(job, "r00/testset", "r00/evaluate", "r01/rollout", "r01/label")
    place = job.run.shard(1, Stage.ROLLOUT, 1)
    (place.path / "lines.jsonl").write_text("whole\n")
    place.write_marker(content="x", names=["lines.jsonl"], summary={"attempt": 0})
    (place.path / "lines.jsonl").write_text("whole")
    return place


def test_a_truncated_shard_of_a_sealed_round_is_put_aside_with_its_label(job, squeue, truncated):
    finish(job, "r01/gate")
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.state == "broken"
    assert "lines.jsonl has 5 bytes" in told.shard.reason
    aside, label, submit = (
        told.next.split(" && (cd ")[0],
        told.next.split(" && (cd ")[1],
        told.next.rpartition(") && ")[2],
    )
    assert aside.endswith("mkdir broken-1 && mv lines.jsonl done.json broken-1)")
    assert label.partition(") && ")[0].endswith("mkdir broken-1 && mv done.json broken-1")
    assert submit.startswith("python -m selu_hpc.submit")


def test_a_shard_of_the_right_size_with_wrong_bytes_is_broken_too(job, squeue, truncated):
    (truncated.path / "lines.jsonl").write_text("whale\n")
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.state == "broken"
    assert "its marker says 6 bytes, hash " in told.shard.reason
    assert "explain" not in told.shard.reason


def test_a_stage_that_failed_names_the_broken_shards_it_reads(job, squeue, truncated):
    attempted(job, "r01/gate/0", 0, log=ERROR.format(QUORUM))
    job.journal.append("ended", shard="r01-gate-s0000", attempt=0, code=1, seconds=1.0)
    told = explain(job.run, "", squeue.calls)
    assert told.stages[0].stage == "r01/gate"
    assert ("r01/rollout/1", "lines.jsonl has 5 bytes, its marker says 6") in [
        (group.shards, group.reason) for group in told.stages[0].groups
    ]
    assert told.next.startswith("python -m selu_hpc.submit")


@pytest.mark.parametrize("engine", ["local", "slurm"])
def test_before_the_gate_submit_puts_broken_shards_aside_itself(job, squeue, truncated, engine):
    job.journal.append("started", engine=engine)
    assert explain(job.run, PLACE, squeue.calls).next.startswith("python -m selu_hpc.submit")


def test_a_marker_that_is_none_is_a_broken_shard(job, squeue, truncated):
    truncated.marker_file.write_text("{")
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.state == "broken"
    assert "not a marker" in told.shard.reason
