"""Handing jobs to Slurm, against a Slurm in memory that refuses, falls silent or lies when a test says so."""

import pytest
from in_memory import FULL, SITE, SlurmInMemory, events, finish, ids_of, stages, submit

from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.engine import SlurmEngine, require_absolute
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.scheduler import SlurmSilentError, SubmitLimitError
from selu_hpc.engines.slurm.sending import SBATCH_AT_ONCE
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import ConfigError, EngineError, RunFolderError
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage, write_json


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


def test_a_gate_that_may_not_call_sbatch_only_cancels(job):
    slurm = SlurmInMemory()
    job.journal.append("started", engine="slurm")
    decision = Submission(job, SITE, slurm, Limits(), grace_s=0.0).advance(last_round=1, may_submit=False)
    assert decision.submit == []
    assert slurm.jobs == {}
    assert events(job, "intent") == []


def gate_at_work(job, slurm, **more):
    """The first round's gate, running as a job of the queue."""
    ids = ids_of(slurm)
    slurm.states |= {ids["r01-gate"]: "RUNNING", ids["r01-rollout"]: "FAILED", ids["r01-label"]: "CANCELLED"}
    submission = Submission(job, SITE, slurm, Limits(), me=ids["r01-gate"], **{"grace_s": 0.0} | more)
    return submission.advance(last_round=9, gate=Key(1, Stage.GATE))


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


@pytest.fixture
def bad_node(monkeypatch):
    monkeypatch.setattr(
        "selu_hpc.engines.slurm.submission.failing_nodes", lambda *_: {("cpu", "c1"): "tasks fail on it"}
    )


def test_only_the_waiting_tasks_of_an_array_are_kept_from_a_bad_node(job, bad_node):
    slurm = SlurmInMemory()
    submit(job, slurm)
    ids = ids_of(slurm)
    slurm.states[ids["r01-rollout"], 0] = "RUNNING"
    submit(job, slurm)
    assert slurm.avoids[f"{ids['r01-rollout']}_[1]"] == ("c1",)
    assert slurm.avoids[ids["r01-label"]] == ("c1",)


def test_a_task_that_begins_before_it_is_kept_from_a_bad_node_stops_nothing(job, bad_node):
    slurm = SlurmInMemory()
    submit(job, slurm)

    def too_late(target, nodes):
        raise EngineError(f"{target}: Job is no longer pending execution")

    slurm.avoid = too_late
    assert submit(job, slurm).is_empty
    assert len(slurm.jobs) == 15


def record(job, slurm, stage, shard, node, code, **more):
    """The record of a task that began and ended at once."""
    name = slurm.jobs[ids_of(slurm)[f"r01-{stage}"]][0]
    folder = job.run.shard(1, Stage(stage), shard).attempt(0)
    write_json(
        folder / "job.json", {"name": name, "job": "1", "node": node, "begun": 1.0, "ended": 2.0, "code": code, **more}
    )


def test_a_node_on_which_tasks_fail_at_once_is_avoided_until_a_person_says_submit(job):
    slurm = SlurmInMemory()
    submit(job, slurm)
    for shard in (0, 1):
        record(job, slurm, "rollout", shard, "c1", 1)
    record(job, slurm, "label", 0, "c2", 0)
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
