"""A run that a group shares: Slurm lets nobody change another user's jobs."""

import logging
import os

import pytest
from in_memory import SITE, SlurmInMemory, events, finish, ids_of, stages, submit

from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.rundir import Stage

ANN, BOB = 4001, 4002


@pytest.fixture
def as_user(monkeypatch):
    def become(uid):
        monkeypatch.setattr(os, "getuid", lambda: uid)

    become(ANN)
    return become


def with_rounds(job, rounds):
    config = job.config.but(rounds=rounds)
    return Job(job.run, config, make_plan(config))


def of(slurm, uid):
    return {job_id for job_id in slurm.jobs if slurm.owners[job_id] == uid}


def waited_for(slurm, job_id):
    return set(slurm.waits[job_id].removeprefix("afterany:").split(":"))


def closes(slurm):
    return [job_id for job_id, (name, _) in slurm.jobs.items() if "-close-" in name]


def test_more_rounds_of_a_colleague_have_a_last_job_of_their_own(job, as_user, caplog):
    slurm = SlurmInMemory(guards=True)
    submit(with_rounds(job, 1), slurm)
    anns = dict(slurm.waits)
    as_user(BOB)
    more = with_rounds(job, 2)
    submit(more, slurm)
    theirs, own = closes(slurm)
    assert waited_for(slurm, own) == slurm.jobs.keys() - {theirs, own}
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert anns.items() <= slurm.waits.items()
    assert f"only user {ANN} may tell it" in caplog.text
    assert events(job, "rewired") == []
    before = dict(slurm.jobs)
    assert submit(more, slurm).is_empty
    submit(with_rounds(job, 3), slurm)
    assert closes(slurm) == [theirs, own]
    assert before.items() <= slurm.jobs.items()


def anns_gate(job, slurm):
    """Ann's gate of the first round at work, a shard of which has failed."""
    ids = ids_of(slurm)
    finish(job, 0)
    slurm.states |= {ids["r01-gate"]: "RUNNING", ids["r01-rollout"]: "FAILED", ids["r01-label"]: "CANCELLED"}
    return Submission(job, SITE, slurm, Limits(cluster="lab"), me=ids["r01-gate"], grace_s=0.0)


def lost(slurm, *parts):
    """Jobs that Slurm has no more."""
    for job_id in [job_id for job_id, (name, _) in slurm.jobs.items() if any(part in name for part in parts)]:
        slurm.jobs.pop(job_id)


@pytest.mark.parametrize("parts", [["close"], ["r01-finetune", "r01-evaluate", "r02-", "close"]])
def test_a_gate_whose_shards_are_sent_again_does_not_fail_over_jobs_of_a_colleague(job, as_user, caplog, parts):
    slurm = SlurmInMemory(guards=True)
    submit(job, slurm)
    lost(slurm, *parts)
    as_user(BOB)
    submit(job, slurm)
    as_user(ANN)
    bobs = of(slurm, BOB)
    waits = {job_id: slurm.waits[job_id] for job_id in bobs}
    assert {slurm.jobs[job_id][0].rpartition("-g")[2] for job_id in bobs} == {"1c0"}
    anns_gate(job, slurm).advance(last_round=9, gate=Key(1, Stage.GATE))
    again = {slurm.jobs[job_id][0].split("-", 2)[2] for job_id in of(slurm, ANN)}
    assert {"r01-rollout-g1c0", "r01-label-g1c0", "r01-gate-g1c0", "close-g2c0"} <= again
    assert slurm.jobs.keys() <= set(slurm.released)
    assert waits.items() <= slurm.waits.items()
    assert f"only user {BOB} may tell it" in caplog.text
    assert not {event["name"] for event in events(job, "rewired")} & {slurm.jobs[job_id][0] for job_id in bobs}


def killed_before_release(job, slurm):
    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Submission(job, SITE, slurm, Limits(cluster="lab"), by_person=True, before_release=killed).advance(last_round=9)


def test_jobs_that_a_colleague_left_on_hold_are_left_to_them_and_ones_own_are_released(job, as_user, caplog):
    slurm = SlurmInMemory(guards=True)
    killed_before_release(with_rounds(job, 1), slurm)
    as_user(BOB)
    more = with_rounds(job, 2)
    with pytest.raises(EngineError, match=rf"are on hold and user {ANN}'s: let them run `.*submit --run"):
        submit(more, slurm)
    assert sorted(slurm.released) == sorted(of(slurm, BOB))
    before = dict(slurm.jobs)
    as_user(ANN)
    submit(more, slurm)
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert {job_id for job_id in slurm.jobs if job_id not in before} == set()


def test_a_gate_says_so_and_does_its_work(job, as_user, caplog):
    slurm = SlurmInMemory(guards=True)
    submit(with_rounds(job, 1), slurm)
    as_user(BOB)
    killed_before_release(job, slurm)
    as_user(ANN)
    anns_gate(job, slurm).advance(last_round=9, gate=Key(1, Stage.GATE))
    assert {"r01-rollout-g1c0", "r01-label-g1c0", "r01-gate-g1c0"} <= set(stages(slurm))
    assert f"are on hold and user {BOB}'s: let them run `" in caplog.text
    assert sorted(slurm.released) == sorted(of(slurm, ANN))


def test_a_colleagues_job_that_cannot_start_is_named_and_its_shards_are_sent_again(job, as_user, caplog):
    slurm = SlurmInMemory(guards=True)
    submit(job, slurm)
    stuck = ids_of(slurm)["r01-rollout"]
    slurm.reasons[stuck] = "BadConstraints"
    as_user(BOB)
    submit(job, slurm)
    assert stuck in slurm.jobs
    assert f"{stuck} (" in caplog.text
    assert f"is user {ANN}'s, who alone may cancel it: let them run `scancel {stuck}`" in caplog.text
    assert "r01-rollout-g1c0" in stages(slurm)
    assert events(job, "cancelled") == []


def test_one_that_could_still_start_is_not_sent_beside_itself(job, as_user):
    """Shards of one array that wait for different jobs from now on must be sent anew."""
    slurm = SlurmInMemory(guards=True)
    submit(job, slurm)
    ids = ids_of(slurm)
    slurm.states |= {(ids["r01-rollout"], 0): "RUNNING", (ids["r01-rollout"], 1): "FAILED"}
    before = dict(slurm.jobs)
    as_user(BOB)
    alone = rf"{ids['r01-label']}_\[1\] \(.*\) is user {ANN}'s, who alone may cancel it: let them run `"
    with pytest.raises(EngineError, match=alone + "(?s:.*)nothing was sent"):
        submit(job, slurm)
    assert slurm.jobs == before
    as_user(ANN)
    assert [spec.label for spec in submit(job, slurm).submit] == ["r01-rollout", "r01-label"]


def test_a_second_copy_of_a_colleagues_stays_on_hold_and_is_named(job, as_user, caplog):
    slurm = SlurmInMemory(guards=True)
    submit(job, slurm)
    name = slurm.jobs[ids_of(slurm)["r01-gate"]][0]
    slurm.jobs["999"], slurm.owners["999"] = (name, (0,)), ANN
    as_user(BOB)
    with caplog.at_level(logging.INFO):
        assert submit(job, slurm).is_empty
    assert f"job 999 ({name}) is a second copy on hold, which only user {ANN} may cancel" in caplog.text
    assert "999" in slurm.jobs
    assert "999" not in slurm.released
    as_user(ANN)
    submit(job, slurm)
    assert slurm.cancelled == ["999"]
