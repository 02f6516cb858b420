"""Handing jobs to Slurm, against a Slurm in memory that refuses, falls silent or lies when a test says so."""

import pytest
from in_memory import FULL, SITE, SlurmInMemory, events, ids_of, stages, submit

from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.engine import SlurmEngine, require_absolute
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.scheduler import SlurmSilentError, SubmitLimitError
from selu_hpc.engines.slurm.sending import SBATCH_AT_ONCE
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import ConfigError, EngineError, RunFolderError
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage


def test_all_intents_are_written_before_the_first_sbatch_and_all_ids_before_the_release(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    kinds = [event["event"] for event in events(job, "intent", "submitted", "released")]
    assert kinds == ["intent"] * 15 + ["submitted"] * 15 + ["released"]
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert 1 < slurm.most_at_once <= SBATCH_AT_ONCE


def test_without_what_jobs_need_all_are_sent_and_none_is_let_go_until_a_submit_has_it(job):
    slurm = SlurmInMemory()

    def fails():
        assert len(slurm.jobs) == 15
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Submission(job, SITE, slurm, Limits(), by_person=True, before_release=fails).advance(last_round=9)
    assert slurm.released == []
    submit(job, slurm)
    assert len(slurm.jobs) == 15
    assert sorted(slurm.released) == sorted(slurm.jobs)


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
    assert Ledger.read(job.journal).refused == "no such partition"
    slurm.trouble = None
    submit(job, slurm)
    assert Ledger.read(job.journal).refused == ""
    assert held.items() <= slurm.jobs.items()
    assert len(slurm.jobs) == 15
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert len({name.rpartition("-g")[0] for name, _ in slurm.jobs.values()}) == 15, "a stage has one job"


def test_where_slurm_takes_no_more_whole_rounds_stay_and_the_rest_is_taken_back(job):
    def full(number, name):
        return SubmitLimitError("sbatch: QOSMaxSubmitJobPerUserLimit") if "r02-gate" in name else None

    slurm = SlurmInMemory(trouble=full)
    submit(job, slurm)
    assert {name[:3] for name in stages(slurm)} == {"r00", "r01", "clo"}
    assert sorted(slurm.released) == sorted(slurm.jobs)
    unsent = {event["name"].split("-", 2)[2] for event in events(job, "abandoned")}
    assert {"r02-gate-g0c0", "r02-finetune_actor-g0c0"} <= unsent
    settled = events(job, "abandoned", "cancelled", "submitted")
    assert {event["name"] for event in settled} == {event["name"] for event in events(job, "intent")}


def test_where_not_even_one_round_fits_nothing_is_left_on_hold(job):
    slurm = SlurmInMemory(trouble=lambda number, name: FULL if "r01-gate" in name else None)
    with pytest.raises(EngineError, match="not even one round fits: wait until your other jobs have ended"):
        submit(job, slurm)
    assert slurm.jobs == {}
    assert slurm.cancelled


def test_where_only_the_last_job_does_not_fit_all_others_stay_and_a_gate_sends_it(job):
    slurm = SlurmInMemory(trouble=lambda number, name: FULL if "close" in name else None)
    submit(job, slurm)
    assert len(slurm.jobs) == 14
    assert slurm.cancelled == []
    assert sorted(slurm.released) == sorted(slurm.jobs)
    slurm.trouble = None
    Submission(job, SITE, slurm, Limits(), grace_s=0.0).advance(last_round=9)
    assert "close-g1c0" in stages(slurm)


def test_what_waits_for_jobs_that_did_not_fit_is_not_pointed_at_them(job):
    config = job.config.but(rounds=3)
    job = Job(job.run, config, make_plan(config))
    slurm = SlurmInMemory()
    submit(job, slurm, last_round=1)
    slurm.trouble = lambda number, name: FULL if "r03-gate" in name else None
    submit(job, slurm)
    assert {name[:3] for name in stages(slurm)} == {"r00", "r01", "r02", "clo"}
    assert sorted(slurm.released) == sorted(slurm.jobs)


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


def test_an_evaluation_that_more_rounds_took_from_the_plan_is_cancelled_where_it_waits(job):
    few = job.config.but(rounds=3, evaluate=job.config.evaluate.but(every=2))
    slurm = SlurmInMemory()
    submit(Job(job.run, few, make_plan(few)), slurm)
    of_the_last = ids_of(slurm)["r03-evaluate"]
    more = few.but(rounds=4)
    submit(Job(job.run, more, make_plan(more)), slurm)
    assert slurm.cancelled == [of_the_last]
    assert {"r02-evaluate", "r04-evaluate"} <= ids_of(slurm).keys()
    assert submit(Job(job.run, more, make_plan(more)), slurm).is_empty


def test_it_is_cancelled_where_nothing_else_is_due_too(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    less = job.config.but(evaluate=job.config.evaluate.but(every=2))
    waiting = ids_of(slurm)["r01-evaluate"]
    for stage in make_plan(less):
        for shard in range(stage.num_shards):
            job.run.shard(stage.key.round_id, stage.key.stage, shard).write_marker(content="x", names=[], summary={})
    slurm.jobs = {waiting: slurm.jobs[waiting]}
    Submission(Job(job.run, less, make_plan(less)), SITE, slurm, Limits(cluster="lab"), by_person=True).sweep()
    assert slurm.cancelled == [waiting]
    assert events(job, "cancelled")[-1]["why"] == "the plan has it no more"


def test_one_that_is_at_work_already_may_end(job):
    few = job.config.but(evaluate=job.config.evaluate.but(every=2), rounds=3)
    slurm = SlurmInMemory()
    submit(Job(job.run, few, make_plan(few)), slurm)
    slurm.states[ids_of(slurm)["r03-evaluate"]] = "RUNNING"
    more = few.but(rounds=4)
    submit(Job(job.run, more, make_plan(more)), slurm)
    assert slurm.cancelled == []


def test_who_lost_the_lock_releases_nothing_and_its_heir_makes_no_second_copy(job):
    slurm, lock = SlurmInMemory(), job.run.lock_file
    with hold_lock(lock, purpose="a submit that stood still") as still_mine:
        lock.unlink()
        with pytest.raises(RunFolderError, match="another command took this lock over"):
            Submission(job, SITE, slurm, Limits(), by_person=True, still_mine=still_mine).advance(last_round=9)
    assert slurm.released == []
    submit(job, slurm)
    assert sorted(slurm.released) == sorted(slurm.jobs)
    assert len(slurm.jobs) == 15


@pytest.mark.parametrize("setting", ["model.base", "env.unity_releases"])
def test_a_path_that_means_another_place_where_jobs_begin_is_refused(tmp_path, monkeypatch, setting):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("{}")
    with pytest.raises(ConfigError, match=f"{setting} 'mine': jobs begin in another folder; write {tmp_path}/mine"):
        require_absolute(load_recipe("selu", [f"{setting}=mine"]))
    require_absolute(load_recipe("selu", [f"{setting}={tmp_path}/mine"]))
    require_absolute(load_recipe("selu", ["model.base=llava-hf/llava-v1.6-mistral-7b-hf"]))


def test_a_run_whose_path_would_end_pythonpath_early_is_refused(small_config, tmp_path):
    run, config = open_run(tmp_path / "2026-11-27T10:00", small_config)
    with pytest.raises(RunFolderError, match="which ends at a colon"):
        SlurmEngine(slurm=SlurmInMemory()).run(Job(run, config, make_plan(config)), wait=False)


def test_of_an_array_of_which_some_tasks_run_only_those_that_wait_are_re_pointed(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    ids = ids_of(slurm)
    job.run.shard(1, Stage.ROLLOUT, 0).write_marker(content="x", names=[], summary={})
    slurm.states |= {
        (ids["r01-rollout"], 0): "COMPLETED", (ids["r01-rollout"], 1): "FAILED", (ids["r01-label"], 0): "RUNNING"
    }  # fmt: skip
    decision = submit(job, slurm)
    rollout = next(job_id for job_id, (name, _) in slurm.jobs.items() if name.endswith("r01-rollout-g1c0"))
    assert any(name.endswith("r01-label-g0c0") for name in decision.rewire)
    assert slurm.waits[f"{ids['r01-label']}_[1]"] == f"aftercorr:{rollout}"


def test_a_last_job_that_already_runs_gets_another_behind_it(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    close = ids_of(slurm)["close"]
    for stage in job.plan:
        for shard in range(stage.num_shards):
            job.run.shard(stage.key.round_id, stage.key.stage, shard).write_marker(content="x", names=[], summary={})
    slurm.states = {job_id: "RUNNING" if job_id == close else "COMPLETED" for job_id in slurm.jobs}
    more = job.config.but(rounds=job.config.rounds + 1)
    later = Job(job.run, more, make_plan(more))
    later.settle()
    submit(later, slurm)
    assert "close-g1c0" in stages(slurm)


def test_the_journal_is_on_the_disk_before_the_first_job_may_run(job, monkeypatch):
    order, slurm = [], SlurmInMemory()
    sync, release = Journal.sync, slurm.release
    monkeypatch.setattr(Journal, "sync", lambda journal: order.append("sync") or sync(journal))
    slurm.release = lambda ids: order.append("release") or release(ids)
    submit(job, slurm)
    assert order[: order.index("release") + 1][-2:] == ["sync", "release"]
