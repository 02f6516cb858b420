"""What status says of a run, from markers, a queue that a script plays, and what attempts left behind."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from faked_slurm import BEGUN, attempted, finish, row, submitted

from selu_hpc import status
from selu_hpc.engines.local.engine import LocalEngine
from selu_hpc.engines.overview import Overview, StageState, Verdict, look, read_part
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.engines.why.explaining import explain
from selu_hpc.errors import EngineError
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.rundir import RunDir, Stage, write_bytes, write_json


def states(found):
    return {str(one.key): (one.done, one.running, one.pending, one.failed, one.open) for one in found.stages}


def test_of_a_finished_run_nobody_asks_slurm(job, squeue):
    submitted(job, "r01-rollout", "7")
    finish(job)
    found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.FINISHED
    assert found.num_open == 0
    assert squeue.times_asked == 0
    assert all(one.share == 1.0 for one in found.stages)


def test_what_a_round_was_sealed_without_is_not_waited_for(job, squeue):
    finish(job)
    for stage in (Stage.ROLLOUT, Stage.LABEL):
        job.run.shard(1, stage, 1).marker_file.unlink()
    assert look(job.run, squeue.calls).num_open == 2, "nothing says that the round went on without them"
    Seal(1, {0: {}}).write(job.run)
    found = look(job.run, squeue.calls)
    assert (found.verdict, found.num_open) == (Verdict.FINISHED, 0)
    assert "\nr01/rollout: its round was sealed without 1 of 2 shards (retry.quorum)\n" in status.as_text(found)
    rollout = next(one for one in status.as_json(found)["stages"] if one["stage"] == "rollout" and one["round"] == 1)
    assert (rollout["done"], rollout["left_out"], rollout["share"]) == (1, 1, 1.0)
    told = explain(job.run, "r01/rollout/1", squeue.calls)
    assert (told.shard.state, told.shard.reason) == (
        "left out",
        "its round was sealed without it, as retry.quorum allows",
    )
    assert explain(job.run, "", squeue.calls).stages == []
    job.run.shard(1, Stage.LABEL, 0).marker_file.unlink()
    assert look(job.run, squeue.calls).num_open == 1, "what the seal speaks of is missing"


def test_shards_are_counted_by_marker_then_queue_then_attempts(job, squeue):
    job.journal.append("started", engine="slurm")
    rollout, label = submitted(job, "r01-rollout", "7"), submitted(job, "r01-label", "8")
    submitted(job, "r02-rollout", "9")
    finish(job, "r00/testset", "r00/evaluate")
    job.run.shard(1, Stage.ROLLOUT, 0).write_marker(content="x", names=[], summary={})
    write_json(job.run.shard(1, Stage.ROLLOUT, 1).attempt(0) / "progress.json", {"done": 1, "total": 4})
    record = {"name": "n", "job": "9_0", "node": "c1", "begun": 1.0, "ended": 2.0}
    write_json(job.run.shard(2, Stage.ROLLOUT, 0).attempt(0) / "job.json", {**record, "code": 1})
    write_json(job.run.shard(2, Stage.ROLLOUT, 1).attempt(0) / "job.json", {**record, "code": 75, "requeued": True})
    squeue.says(
        f"7|0|7_0|COMPLETED|2026-01-01T00:00:00|{rollout}|None|c1|",
        f"7|1|7_1|RUNNING|2026-01-01T00:00:00|{rollout}|None|c1|",
        f"8|0-1|8_[0-1]|PENDING|2026-01-01T00:00:00|{label}|Dependency||aftercorr:7_*(unfulfilled)",
    )
    found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.RUNNING
    assert squeue.times_asked == 1
    told = states(found)
    assert told["r01/rollout"] == (1, 1, 0, 0, 0)
    assert told["r01/label"] == (0, 0, 2, 0, 0)
    assert told["r02/rollout"] == (0, 0, 0, 1, 1)
    assert next(one.share for one in found.stages if str(one.key) == "r01/rollout") == (1 + 0.25) / 2


@pytest.mark.parametrize(("state", "counted"), [("TIMEOUT", (0, 0, 0, 1, 1)), ("COMPLETED", (0, 0, 0, 0, 2))])
def test_a_shard_that_saved_its_work_has_failed_only_where_its_time_is_too_short(job, squeue, state, counted):
    attempted(job, "r01/rollout/0", 0, name="n", job="9_0", ended=BEGUN + 9, code=75, state=state)
    assert states(look(job.run, squeue.calls))["r01/rollout"] == counted


def test_a_run_with_nothing_on_its_way_is_stopped_and_says_how_to_go_on(job, squeue):
    submitted(job, "r01-rollout", "7")
    found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.STOPPED
    assert f"go on: {job.run.command('submit')}\n" in status.as_text(found)


def test_why_the_last_submission_was_refused_is_told_until_another_goes_through(job, squeue):
    submitted(job, "r01-rollout", "7")
    told = "what was to be sent last was refused: sbatch: error: QOSMaxSubmitJobPerUserLimit"
    job.journal.append("refused", why="sbatch: error:\nQOSMaxSubmitJobPerUserLimit")
    assert told in status.as_text(look(job.run, squeue.calls))
    assert told in "\n".join(explain(job.run, "", squeue.calls).trouble)
    job.journal.append("released", names=[])
    assert told not in status.as_text(look(job.run, squeue.calls))


def test_jobs_on_hold_that_nobody_releases_are_nothing_on_its_way(job, squeue):
    rollout, label = submitted(job, "r01-rollout", "7"), submitted(job, "r01-label", "8")
    squeue.says(row("7", "0-1", "PENDING", rollout, "JobHeldUser"), row("8", "0-1", "PENDING", label, "JobHeldUser"))
    with hold_lock(job.run.lock_file, purpose="a submit"):
        found = look(job.run, squeue.calls)
        assert (found.verdict, found.trouble) == (Verdict.RUNNING, [])
    found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.STOPPED
    assert found.trouble == [
        f"2 jobs, the first is 7 ({rollout}), are on hold: whoever submitted ended before the release; submit releases"
    ]
    job.journal.append("released", names=[rollout, label])
    assert look(job.run, squeue.calls).verdict is Verdict.RUNNING, "a person's hold is the person's"


def test_what_to_type_of_a_local_run_names_its_engine_in_status_and_explain_alike(job, squeue):
    job.journal.append("started", engine="local", due={})
    again = job.run.command("submit", "--engine", "local")
    assert shlex.split(again)[-4:] == ["--run", str(job.run.path), "--engine", "local"]
    assert status.as_text(look(job.run, squeue.calls)).endswith(f"go on: {again}\n")
    assert explain(job.run, "", squeue.calls).next == again


def test_status_and_explain_say_the_same_of_jobs_and_nodes(job, squeue):
    label, gate = submitted(job, "r01-label", "8"), submitted(job, "r01-gate", "9")
    job.journal.append("quarantined", partition="cpu", node="c1", why="2 tasks failed on it")
    squeue.says(
        row("8", 1, "PENDING", label, "DependencyNeverSatisfied", waits="aftercorr:7_*(failed)"),
        row("10", None, "PENDING", gate, "JobHeldUser"),
    )
    told = look(job.run, squeue.calls).trouble
    assert len(told) == 3
    assert set(told) <= set(explain(job.run, "", squeue.calls).trouble)


def says_cluster(squeue, text):
    tool = squeue.tool.with_name("scontrol")
    tool.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    tool.chmod(0o755)


def test_on_another_cluster_than_the_jobs_the_empty_queue_says_nothing(job, squeue):
    job.journal.append("slurm_run", id="1a2b3c4d", cluster="lab")
    submitted(job, "r01-rollout", "7")
    says_cluster(squeue, "ClusterName = annex\n")
    found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.UNKNOWN
    assert found.answer == "Slurm's queue is not known: its jobs are on cluster lab, this one is annex"
    says_cluster(squeue, "ClusterName = lab\n")
    assert look(job.run, squeue.calls).verdict is Verdict.STOPPED


def test_a_copy_of_a_run_has_none_of_its_jobs(job, squeue, tmp_path):
    job.journal.append("slurm_run", id="1a2b3c4d", cluster="lab", folder="/elsewhere/run", inodes=[1, 2])
    rollout = submitted(job, "r01-rollout", "7")
    squeue.says(f"7|0|7_0|RUNNING|2026-01-01T00:00:00|{rollout}|None|c1|")
    assert look(job.run, squeue.calls).verdict is Verdict.STOPPED
    assert squeue.times_asked == 0


def test_a_queue_that_does_not_answer_is_not_known_and_not_empty(job, squeue):
    submitted(job, "r01-rollout", "7")
    squeue.fails("slurm_load_jobs error: Unable to contact slurm controller")
    found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.UNKNOWN
    told = status.as_json(found)
    assert next(one for one in told["stages"] if one["stage"] == "rollout")["pending"] is None
    assert "Unable to contact slurm controller" in told["trouble"][0]
    row = next(line for line in status.as_text(found).splitlines() if line.startswith("r01/rollout"))
    assert row.split()[1:] == ["2", "?", "?", "?", "0%"]


def test_without_any_squeue_the_same(job, tmp_path):
    submitted(job, "r01-rollout", "7")
    assert look(job.run, Calls(environment={"PATH": str(tmp_path)})).verdict is Verdict.UNKNOWN


def test_jobs_that_can_never_start_shards_given_up_and_bad_nodes_are_named(job, squeue):
    label = submitted(job, "r01-label", "8")
    log = job.run.shard(1, Stage.ROLLOUT, 1).log(2)
    write_bytes(log, b"the reason")
    job.journal.append("gave_up", key="r01/rollout", shard=1, why="failed 3 times")
    job.journal.append("quarantined", node="c1", why="2 tasks failed on it")
    squeue.says(f"8|1|8_1|PENDING|2026-01-01T00:00:00|{label}|DependencyNeverSatisfied||aftercorr:7_*(failed)")
    found = look(job.run, squeue.calls)
    assert found.trouble == [
        f"r01/rollout shard 1 is given up: failed 3 times; read {log}",
        f"job 8 ({label}): 1 tasks wait for what can't come any more; submit cancels and resends them",
        "node c1 is excluded for this run: 2 tasks failed on it",
    ]
    assert found.verdict is Verdict.STOPPED


def test_a_local_run_at_work_is_running_and_its_failed_shards_are_counted(job, squeue):
    for shard in (0, 1):
        job.run.shard(1, Stage.ROLLOUT, shard).attempt(0).mkdir(parents=True)
    job.journal.append("ended", shard="r01-rollout-s0000", attempt=0, code=1, seconds=1.0)
    with hold_lock(job.run.lock_file, purpose="a local run"):
        found = look(job.run, squeue.calls)
    assert found.verdict is Verdict.RUNNING
    assert states(found)["r01/rollout"] == (0, 1, 0, 1, 0)
    assert "a local run is at work" in status.as_text(found)
    assert squeue.times_asked == 0


def test_nearly_done_is_not_done(job):
    for done, share, words in ((999, 0.999, "99%"), (999, 1.0, "99%"), (1000, 1.0, "100%"), (290, 0.29, "29%")):
        state = StageState(Key(1, Stage.ROLLOUT), 1000, done=done, share=share)
        found = Overview(job.run, "slurm", Verdict.RUNNING, [state], [])
        row = next(line for line in status.as_text(found).splitlines() if line.startswith("r01/rollout"))
        assert row.split()[-1] == words


@pytest.mark.parametrize(
    "text",
    ["[]", "3", "{", "null", *(f'{{"done": {done}, "total": 4}}' for done in ("null", "NaN", "-2", "{}", "[]"))],
)
def test_odd_words_of_how_far_an_attempt_is_count_as_nothing(job, tmp_path, text):
    file = tmp_path / "progress.json"
    file.write_text(text)
    assert read_part(file) == 0.0
    file.write_text('{"done": 9, "total": 4}')
    assert read_part(file) == 1.0


def test_the_log_that_is_named_is_there(job, squeue):
    place = job.run.shard(1, Stage.ROLLOUT, 1)
    job.journal.append("started", engine="local")
    job.journal.append("gave_up", shard=place.name, attempts=1, code=-9)
    trouble = "r01/rollout shard 1 is given up: failed 1 time; read "
    assert look(job.run, squeue.calls).trouble == [f"{trouble}{job.run.journal_file}"]
    place.attempt(0).mkdir(parents=True)
    assert look(job.run, squeue.calls).trouble == [f"{trouble}{place.attempt(0)}"]
    (place.attempt(0) / "slurm.log").touch()
    assert look(job.run, squeue.calls).trouble == [f"{trouble}{place.attempt(0) / 'slurm.log'}"]


def test_one_shard_to_go_is_one(job, squeue):
    finish(job)
    job.run.shard(2, Stage.EVALUATE).marker_file.unlink()
    assert status.next_step(look(job.run, squeue.calls)).startswith("1 shard to go and nothing on its way; ")


def test_a_run_begun_by_hand_has_its_shape_from_the_config(small_run, small_config, squeue):
    found = look(small_run, squeue.calls)
    assert [str(one.key) for one in found.stages] == [str(stage.key) for stage in make_plan(small_config)]


def test_the_command_prints_text_and_json_and_loads_no_settings(job):
    finish(job)
    line = [sys.executable, "-X", "importtime", "-m", "selu_hpc.status", "--run", str(job.run.path)]
    text = subprocess.run(line, capture_output=True, text=True, check=True)
    assert text.stdout.splitlines()[-1] == (f"finished: write the report: {job.run.command('report')}".splitlines()[-1])
    assert "msgspec" not in text.stderr
    told = json.loads(subprocess.run([*line, "--json"], capture_output=True, text=True, check=True).stdout)
    assert told["verdict"] == "finished"
    assert told["stages"][0] == {
        "round": 0, "stage": "testset", "done": 1, "running": 0, "pending": 0, "failed": 0, "open": 0, "left_out": 0,
        "share": 1.0, "shards": 1,
    }  # fmt: skip


@pytest.mark.parametrize("stage", [Stage.EVALUATE, Stage.GATE])
def test_a_report_that_is_older_than_what_it_would_show_is_not_handed_out(job, squeue, stage):
    finish(job)
    job.journal.append("started", engine="slurm")
    page = job.run.report / "index.html"
    write_bytes(page, b"a report")
    assert status.next_step(look(job.run, squeue.calls)) == f"report: {page}"
    marker, now = job.run.shard(2, stage).marker_file, page.stat().st_mtime
    os.utime(marker, (now + 60, now + 60))
    again = job.run.command("report")
    assert status.next_step(look(job.run, squeue.calls)) == f"write the report: {again}"
    assert again in explain(job.run, "", squeue.calls).next


def test_a_hostile_folder_name_gives_the_terminal_no_orders(job, squeue):
    run = RunDir(job.run.path.rename(job.run.path.with_name("a\x1b[2Jb")))
    assert status.as_text(look(run, squeue.calls)).splitlines()[0].endswith("a⟨U+001B⟩[2Jb")


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert status.main(["--run", str(tmp_path)]) == 1
    assert "not a run folder" in capsys.readouterr().err


def test_the_local_engine_refuses_a_run_whose_jobs_slurm_still_has(job, squeue):
    name = submitted(job, "r01-rollout", "7")
    squeue.says(f"7|0-1|7_[0-1]|PENDING|2026-01-01T00:00:00|{name}|Priority||")
    engine = LocalEngine(fork_server=lambda: pytest.fail("a shard was started"), slurm=Slurm(calls=squeue.calls))
    with pytest.raises(EngineError, match=rf"still has 1 jobs of this run, the first is 7 .*squeue --name={name}"):
        engine.run(job)
    assert not job.run.lock_file.exists()


def test_the_local_engine_does_not_take_silence_for_an_empty_queue(job, squeue):
    submitted(job, "r01-rollout", "7")
    squeue.fails("slurm_load_jobs error: Invalid user id")
    with pytest.raises(EngineError, match="whether jobs of it are left is not known"):
        LocalEngine(fork_server=lambda: pytest.fail("a shard was started"), slurm=Slurm(calls=squeue.calls)).run(job)
