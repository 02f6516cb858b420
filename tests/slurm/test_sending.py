"""Runs of which Slurm takes only a part, against a Slurm in memory that refuses what a test names."""

import time

import pytest
from in_memory import FULL, SITE, SlurmInMemory, events, ids_of, stages, submit

from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.scheduler import SlurmSilentError
from selu_hpc.engines.slurm.sending import TakenBackError
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import Stage


@pytest.fixture
def job(small_run, small_config):
    """Three rounds: two entries, then six stages a round, and the last job."""
    config = small_config.but(rounds=3)
    return Job(small_run, config, make_plan(config))


def refuses(*parts):
    return lambda number, name: FULL if any(part in name for part in parts) else None


def takes(slurm, most):
    """Slurm takes so many jobs at once, whatever they are."""
    slurm.trouble = lambda number, name: FULL if len(slurm.jobs) >= most else None


def kill_before_release(job, slurm):
    def killed():
        raise KeyboardInterrupt

    job.journal.append("started", engine="slurm")
    with pytest.raises(KeyboardInterrupt):
        Submission(job, SITE, slurm, Limits(cluster="lab"), by_person=True, grace_s=0.0, before_release=killed).advance(
            last_round=9
        )
    assert slurm.released == []


def rounds(slurm):
    return {name[:3] for name in stages(slurm)}


def seal(job, slurm, round_id):
    """All up to a round's gate has ended well; its gate is at work."""
    ids = ids_of(slurm)
    for stage in job.plan:
        name = f"r{stage.key.round_id:02d}-{stage.key.stage}"
        is_before = stage.key.stage in (Stage.ROLLOUT, Stage.LABEL, Stage.GATE)
        if stage.key.round_id < round_id or (stage.key.round_id == round_id and is_before):
            for shard in range(stage.num_shards):
                place = job.run.shard(stage.key.round_id, stage.key.stage, shard)
                place.write_marker(content="x", names=[], summary={})
            if name != f"r{round_id:02d}-gate" and name in ids:
                slurm.jobs.pop(ids[name])
    gate = ids[f"r{round_id:02d}-gate"]
    slurm.states[gate] = "RUNNING"
    return gate


@pytest.mark.parametrize("full", [("r02-rollout", "r03-"), ("r02-", "r03-", "close")])
def test_what_a_killed_submit_left_on_hold_is_released_by_the_next_though_slurm_takes_no_more(job, full):
    slurm = SlurmInMemory(trouble=refuses(*full))
    kill_before_release(job, slurm)
    held = set(slurm.jobs)
    submit(job, slurm)
    assert set(slurm.jobs) >= held
    assert sorted(slurm.released) == sorted(slurm.jobs)


def test_what_a_submit_that_was_killed_within_a_round_left_of_it_goes_where_the_rest_does_not_fit(job):
    slurm = SlurmInMemory(trouble=lambda number, name: EngineError("killed") if "r02-gate" in name else None)
    with pytest.raises(EngineError, match="killed"):
        submit(job, slurm)
    assert {"r02-rollout-g0c0", "r02-label-g0c0"} <= set(stages(slurm))
    slurm.trouble = refuses("r02-gate", "r03-")
    submit(job, slurm)
    assert rounds(slurm) == {"r00", "r01", "clo"}
    assert sorted(slurm.released) == sorted(slurm.jobs)
    slurm.trouble = None
    submit(job, slurm)
    assert len({name.rpartition("-g")[0] for name in stages(slurm)}) == len(slurm.jobs) == 21
    assert sorted(slurm.released) == sorted(slurm.jobs)


@pytest.mark.parametrize("most", [8, 9, 12])
def test_the_same_command_again_sends_nothing_where_slurm_takes_no_more(job, most):
    slurm = SlurmInMemory()
    takes(slurm, most)
    submit(job, slurm)
    before, released = dict(slurm.jobs), list(slurm.released)
    submit(job, slurm)
    assert (slurm.jobs, slurm.released) == (before, released)


def test_it_does_so_when_no_gate_is_left_but_the_last_job(job):
    slurm = SlurmInMemory(trouble=refuses("r02-", "r03-"))
    submit(job, slurm)
    seal(job, slurm, 1)
    slurm.jobs.pop(ids_of(slurm)["r01-gate"])
    before = dict(slurm.jobs)
    assert "close-g0c0" in stages(slurm)
    submit(job, slurm)
    assert slurm.jobs == before


@pytest.mark.parametrize("full", ["r02-rollout", "r02-gate", "r02-evaluate", "r03-label"])
def test_the_last_job_stands_behind_what_was_kept(job, full):
    slurm = SlurmInMemory(trouble=refuses(full))
    submit(job, slurm)
    ids = ids_of(slurm)
    close = ids.pop("close")
    assert set(slurm.waits[close].removeprefix("afterany:").split(":")) == set(ids.values())
    assert sorted(slurm.released) == sorted(slurm.jobs)


def test_a_last_job_from_before_is_pointed_behind_what_was_kept(job):
    slurm = SlurmInMemory()
    submit(job, slurm, last_round=1)
    close = ids_of(slurm)["close"]
    slurm.trouble = refuses("r03-gate")
    submit(job, slurm)
    ids = ids_of(slurm)
    assert ids.pop("close") == close
    assert set(slurm.waits[close].removeprefix("afterany:").split(":")) == set(ids.values())
    slurm.waits.clear()
    submit(job, slurm)
    assert close not in slurm.waits, "it is told once"


def slow(*parts, most=None, full=()):
    """Slurm that is slow with some jobs, refuses others, and has room for so many."""
    slurm = SlurmInMemory()

    def trouble(number, name):
        if any(part in name for part in parts):
            time.sleep(0.2)
        no_room = most is not None and len(slurm.jobs) >= most
        return FULL if no_room or any(part in name for part in full) else None

    slurm.trouble = trouble
    return slurm


@pytest.mark.parametrize("late", ["r01-finetune_critic", "r01-evaluate", "r00-evaluate"])
def test_a_round_that_fits_stays_though_a_job_of_the_next_is_refused_before_all_of_it_is_sent(job, late):
    slurm = slow(late, full=["r02-rollout"])
    submit(job, slurm)
    assert rounds(slurm) == {"r00", "r01", "clo"}
    assert sorted(slurm.released) == sorted(slurm.jobs)


@pytest.mark.parametrize("most", [8, 9, 10, 14])
@pytest.mark.parametrize("late", ["finetune_critic", "evaluate"])
def test_what_was_sent_of_the_next_round_makes_room_for_this_one(job, late, most):
    slurm = slow(late, most=most)
    submit(job, slurm)
    assert rounds(slurm) - {"clo"} == ({"r00", "r01", "r02"} if most == 14 else {"r00", "r01"})
    assert sorted(slurm.released) == sorted(slurm.jobs)
    settled = events(job, "abandoned", "cancelled", "submitted")
    assert {event["name"] for event in settled} == {event["name"] for event in events(job, "intent")}


@pytest.mark.parametrize("most", [7, 3, 1])
def test_nothing_stays_of_a_first_round_that_does_not_fit(job, most):
    slurm = slow("finetune_critic", most=most)
    with pytest.raises(TakenBackError, match="not even one round fits"):
        submit(job, slurm)
    assert slurm.jobs == {}


def test_a_gate_for_whose_next_round_there_is_no_room_leaves_it_to_a_gate_behind_it(job):
    slurm = SlurmInMemory(trouble=refuses("r03-"))
    submit(job, slurm)
    me = seal(job, slurm, 1)
    before = dict(slurm.jobs)
    Submission(job, SITE, slurm, Limits(cluster="lab"), me=me, grace_s=0.0).advance(last_round=9)
    assert slurm.jobs == before
    me = seal(job, slurm, 2)
    with pytest.raises(TakenBackError):
        Submission(job, SITE, slurm, Limits(cluster="lab"), me=me, grace_s=0.0).advance(last_round=9)
    assert {"close-g0c0", "r02-evaluate-g0c0"} <= set(stages(slurm))


def test_a_last_job_of_which_slurm_says_nothing_holds_nothing_up_and_is_not_sent_twice(job):
    def silent(number, name):
        return SlurmSilentError("Socket timed out") if "close" in name else refuses("r02-", "r03-")(number, name)

    slurm = SlurmInMemory(trouble=silent)
    submit(job, slurm)
    assert rounds(slurm) == {"r00", "r01"}
    assert sorted(slurm.released) == sorted(slurm.jobs)
    name = next(name for name, entry in Ledger.read(job.journal).entries.items() if not entry.key)
    slurm.jobs["999"] = (name, (0,))  # it came after all
    slurm.trouble = refuses("r02-", "r03-")
    submit(job, slurm)
    assert [name for name in stages(slurm) if "close" in name] == ["close-g0c0"]
    assert sorted(slurm.released) == sorted(slurm.jobs)
