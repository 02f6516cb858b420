"""What explain prints of a run, a stage, a shard and a job: whole outputs, the JSON, the command."""

import json
import os
import shlex
import subprocess
import sys
import time

import pytest
from faked_slurm import BEGUN, attempted, finish, row, submitted

from selu_hpc.engines.why.explaining import explain
from selu_hpc.engines.why.target import UnknownWhatError
from selu_hpc.engines.why.text import as_text, duration
from selu_hpc.engines.why.words import How
from selu_hpc.rounds.rundir import Stage

FAILURE = """\
2026-01-01 00:00:01.000 INFO    r01/rollout/1 selu_hpc.stages.rollout: going on
2026-01-01 00:00:09.000 ERROR   r01/rollout/1 selu_hpc.stages.entry: unexpected failure
Traceback (most recent call last):

> File "entry.py", line 82, in _call
    importlib.import_module(MODULES[stage]).run(**arguments)
RuntimeError: the simulator is gone
2026-01-01 00:00:10.000 INFO    r01/rollout/1 selu_hpc.stages.entry: closing
"""
KILLED = "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0."


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def told(job, squeue):
    """What explain prints, with the run's folder as RUN."""

    def tell(what=""):
        path = str(job.run.path)
        return as_text(explain(job.run, what, squeue.calls)).replace(shlex.quote(path), "RUN").replace(path, "RUN")

    return tell


@pytest.fixture
def chain(job, squeue):
    """Round 1 on Slurm: rollout 0 is done, 1 failed, its label was cancelled for it, the gate waits."""
    job.journal.append("started", engine="slurm")
    rollout = submitted(job, "r01-rollout", "7")
    label = submitted(job, "r01-label", "8", waits=[("aftercorr", rollout)])
    gate = submitted(job, "r01-gate", "9", "0", waits=[("afterany", label)])
    job.journal.append("released", names=[rollout, label, gate])
    finish(job, "r00/testset", "r00/evaluate")
    for stage in (Stage.ROLLOUT, Stage.LABEL):
        job.run.shard(1, stage, 0).write_marker(content="x", names=[], summary={"attempt": 0})
    squeue.says(row("9", None, "PENDING", gate, "Dependency", waits="afterany:8_*"))
    return rollout, label, gate


def test_of_a_finished_run_it_says_so_and_asks_nobody(job, squeue, told):
    submitted(job, "r01-rollout", "7")
    finish(job)
    assert told() == "RUN\nfinished: nothing holds it up\nnext: python -m selu_hpc.report --run RUN\n"
    job.run.report.mkdir()
    (job.run.report / "index.html").touch()
    assert told().endswith("next: read RUN/report/index.html\n")
    os.utime(job.run.report / "index.html", (1, 1))  # something has happened since
    assert told().endswith("next: python -m selu_hpc.report --run RUN\n")
    assert squeue.times_asked == squeue.times_accounting_was_asked == 0


def test_a_local_run_that_was_killed_is_told_from_what_it_left(job, told):
    job.journal.append("started", engine="local", pid=1)
    finish(job, "r00/testset")
    attempted(job, "r01/rollout/0", 0, log="2026-01-01 00:00:01.000 INFO    - x: begun\n")
    assert told() == (
        "RUN, engine local\n"
        "held up by r01/rollout: 2 of 2 shards unfinished (2 open)\n"
        "  r01/rollout/0 open: attempt 0: vanished, the local run that watched it was killed, or this machine stopped; "
        "retry: not by itself: no local run is at work\n"
        "    do: submit goes on from it\n"
        "  r01/rollout/1 open: it has not begun and nothing that could start it is on its way\n"
        "    do: submit\n"
        "  r01/label waits for r01/rollout: 2 of 2 shards unfinished\n"
        "  r01/gate waits for r01/label: 2 of 2 shards unfinished\n"
        "  r01/finetune_actor waits for r01/gate\n"
        "  r01/finetune_critic waits for r01/gate\n"
        "  r01/evaluate waits for r01/finetune_actor; r01/finetune_critic\n"
        "  r02/rollout waits for r01/finetune_actor\n"
        "  r02/label waits for r02/rollout: 2 of 2 shards unfinished; r01/finetune_critic\n"
        "  r02/gate waits for r02/label: 2 of 2 shards unfinished\n"
        "  r02/finetune_actor waits for r02/gate\n"
        "  r02/finetune_critic waits for r02/gate\n"
        "  r02/evaluate waits for r02/finetune_actor; r02/finetune_critic\n"
        "besides r00/evaluate: 1 of 1 shard unfinished (1 open)\n"
        "  r00/evaluate/0 open: it has not begun and nothing that could start it is on its way\n"
        "    do: submit\n"
        "next: python -m selu_hpc.submit --run RUN --engine local\n"
    )


def test_a_stage_that_failed_when_run_by_hand_is_told_with_its_error(job, squeue):
    attempted(job, "r01/rollout/0", 0, log=FAILURE)
    last = explain(job.run, "r01/rollout/0", squeue.calls).shard.tries[-1]
    assert last.how is How.FAILED
    assert "nobody wrote down its end" in last.note
    assert last.said


@pytest.mark.parametrize("code", [None, 137])
def test_an_attempt_that_the_marker_names_is_done_whatever_was_written_down_of_its_end(job, told, code):
    job.journal.append("started", engine="local", pid=1)
    for number in (0, 1):
        attempted(job, "r00/testset/0", number, log="2026-01-01 00:00:01.000 INFO    - x: begun\n")
    if code is not None:
        job.journal.append("ended", shard="r00-testset-s0000", attempt=1, code=code, seconds=2.0)
    job.run.shard(0, Stage.TESTSET, 0).write_marker(content="x", names=[], summary={"attempt": 1})
    first, second = (line for line in told("r00/testset/0").splitlines() if line.startswith("  attempt "))
    assert first.endswith(": vanished, the local run that watched it was killed, or this machine stopped")
    assert second.endswith(": done, it finished")


def test_a_failed_shard_that_a_gate_sends_again_needs_nobody(job, squeue, told, chain):
    attempted(job, "r01/rollout/1", 0, name=chain[0], job="7_1", ended=BEGUN + 9, code=1, log=FAILURE)
    lines = told().splitlines()
    assert lines[:4] == [
        "RUN, engine slurm",
        "held up by r01/rollout: 1 of 2 shards unfinished (1 failed)",
        "  r01/rollout/1 failed: attempt 0: failed, exit code 1; it said: RuntimeError: the simulator is gone; "
        "retry: yes: r01/gate, job 9, when its turn comes, sends it again, with 4 GB and 60 minutes",
        "    do: mend the cause its log names",
    ]
    assert lines[-2:] == [
        "! Slurm's accounting is not known: Slurm accounting storage is disabled",
        "next: wait; python -m selu_hpc.status --run RUN says how far it is",
    ]
    assert (squeue.times_asked, squeue.times_accounting_was_asked) == (1, 1)


def test_a_shard_out_of_memory_in_full(job, squeue, told, chain):
    record = {"name": chain[0], "job": "7_1", "ended": BEGUN + 200, "code": 137, "oom": True}
    attempted(job, "r01/rollout/1", 0, **record, slurm_log=KILLED)
    squeue.accounts(
        f"7_1|{chain[0]}|OUT_OF_MEMORY|0:125|2026|2026|2026-01-01T00:03:20|c1||4G",
        "7_1.0|python|OUT_OF_MEMORY|0:125|2026|2026|2026|c1|4193280K|",
    )
    assert told("r01/rollout/1") == (
        "RUN, engine slurm\n"
        "r01/rollout/1 failed: attempt 0: out of memory, it took more memory than its job had; it said: "
        f"{KILLED}\n"
        "  do: give it more memory\n"
        "  attempt 0, job 7_1 on c1, 2026-01-01 00:00:00 to 2026-01-01 00:03:20: out of memory, it took more memory "
        "than its job had (Slurm: OUT_OF_MEMORY), exit code 137\n"
        "    memory 4.00 GB of 4 GB, time 3 min 20 s of 60 min\n"
        f"    {KILLED}\n"
        "    log: RUN/rounds/01/rollout/shard-0001/attempt-0/slurm.log\n"
        "  retry: yes: r01/gate, job 9, when its turn comes, sends it again, with 8 GB and 60 minutes\n"
        "  folder: RUN/rounds/01/rollout/shard-0001\n"
        "next: wait; python -m selu_hpc.status --run RUN says how far it is\n"
    )


def test_a_stage_in_full(job, squeue, told):
    job.journal.append("started", engine="slurm")
    rollout = submitted(job, "r01-rollout", "7")
    label = submitted(job, "r01-label", "8", waits=[("aftercorr", rollout)])
    finish(job, "r00/testset", "r00/evaluate")
    job.run.shard(1, Stage.ROLLOUT, 0).write_marker(content="x", names=[], summary={})
    squeue.says(
        row("7", 1, "RUNNING", rollout, node="c1"),
        row("8", 0, "PENDING", label, "Resources"),
        row("8", 1, "PENDING", label, "Dependency", waits="aftercorr:7_*"),
    )
    assert told("r01/label") == (
        "RUN, engine slurm\n"
        "r01/label: 2 of 2 shards unfinished (2 pending)\n"
        "  needs r01/rollout (aftercorr): not met, 1 of 2 shards unfinished, each shard waits for its own\n"
        "  r01/label/0 pending: job 8 is pending, Resources: it is next in line and waits for nodes to become free\n"
        "    do: wait\n"
        "  r01/label/1 pending: job 8 is pending, Dependency: it waits for other jobs (aftercorr on job 7, "
        "r01/rollout)\n"
        "    do: look at what it waits for\n"
        f"  job 8 ({label}), shards 0-1: 2 waiting, 0 running; Slurm's log: RUN/jobs/{label}.log\n"
        "  r01/gate waits for r01/label: 2 of 2 shards unfinished\n"
        "  r01/finetune_actor waits for r01/gate\n"
        "  r01/finetune_critic waits for r01/gate\n"
        "  r01/evaluate waits for r01/finetune_actor; r01/finetune_critic\n"
        "  r02/rollout waits for r01/finetune_actor\n"
        "  r02/label waits for r02/rollout: 2 of 2 shards unfinished; r01/finetune_critic\n"
        "  r02/gate waits for r02/label: 2 of 2 shards unfinished\n"
        "  r02/finetune_actor waits for r02/gate\n"
        "  r02/finetune_critic waits for r02/gate\n"
        "  r02/evaluate waits for r02/finetune_actor; r02/finetune_critic\n"
        "  logs: RUN/rounds/01/label/shard-*/attempt-*/log.txt\n"
        "next: wait; python -m selu_hpc.status --run RUN says how far it is\n"
    )


def test_what_a_gate_waits_for_is_told_by_what_has_ended(job, squeue, told):
    job.journal.append("started", engine="local", pid=1)
    finish(job, "r00/testset", "r00/evaluate", "r01/rollout")
    attempted(job, "r01/label/0", 0, log=FAILURE)
    job.journal.append("ended", shard="r01-label-s0000", attempt=0, code=1, seconds=2.0)
    assert "  needs r01/label (afterany): not met, 1 of 2 shards not ended, 1 ended badly\n" in told("r01/gate")
    attempted(job, "r01/label/1", 0, log=FAILURE)
    job.journal.append("ended", shard="r01-label-s0001", attempt=0, code=1, seconds=2.0)
    assert "  needs r01/label (afterany): met, all 2 shards have ended, 2 of them badly\n" in told("r01/gate")


def test_one_failure_is_one(job, squeue, told):
    job.journal.append("started", engine="local", pid=1)
    attempted(job, "r01/rollout/1", 0, log=FAILURE)
    job.journal.append("gave_up", shard="r01-rollout-s0001", attempts=1, code=1)
    assert "no: failed 1 time, which is more than" in told("r01/rollout/1")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (59.94, "59.9 s"), (59.97, "1 min 0 s"), (119.7, "2 min 0 s"), (200, "3 min 20 s")],
)
def test_no_time_has_sixty_seconds(seconds, words):
    assert duration(seconds) == words


def test_shards_that_failed_alike_are_told_once(job, squeue, told, chain):
    for shard in (0, 1):
        job.run.shard(1, Stage.ROLLOUT, shard).marker_file.unlink(missing_ok=True)
        record = {"name": chain[0], "job": f"7_{shard}", "ended": BEGUN + 9, "code": 1}
        attempted(job, f"r01/rollout/{shard}", 0, **record, log=FAILURE)
    assert told().count("the simulator is gone") == 1
    assert "r01/rollout/0-1 failed" in told()


def test_a_job_is_found_by_its_number_and_its_element(job, squeue, told, chain):
    assert "r01/rollout: 1 of 2" in told("7")
    assert told("7_1").splitlines()[1].startswith("r01/rollout/1 ")
    assert told("9").splitlines()[1].startswith("r01/gate/0 pending: job 9 is pending, Dependency")


def test_a_job_of_a_stage_that_the_plan_has_no_more_is_said_to_be_one(job, squeue, told, chain):
    submitted(job, "r05-evaluate", "13")
    with pytest.raises(UnknownWhatError, match="job 13 is of r05/evaluate, which the run's plan has no more"):
        told("13")


def test_a_job_that_slurm_holds_after_a_requeue_is_not_waited_for(job, squeue, told, chain):
    squeue.says(row("9", None, "REQUEUE_HOLD", chain[2], "launch failure limit exceeded requeued held"))
    text = told("9")
    assert "job 9 is REQUEUE_HOLD: Slurm holds it for a person, launch failure limit exceeded" in text
    assert "do: submit cancels and resends it" in text


def test_the_job_behind_everything_is_named(job, squeue, told, chain):
    close = submitted(job, "close", "12", "0", waits=[("afterany", chain[2])])
    squeue.says(row("12", None, "PENDING", close, "Dependency"))
    assert told("12").splitlines()[1] == (
        "job 12 is the run's last job, which retries what no gate came after; it waits until all have ended"
    )


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("r01/lable", "no stage, shard or job 'r01/lable' in this run; did you mean r01/label? there are r00/(testset, "
         "evaluate), r01-r02/(rollout, label, gate, finetune_actor, finetune_critic, evaluate); a shard is written "
         "r00/testset/0, a job by its number; its jobs are 7 to 9"),
        ("r01/rolout/1", "did you mean r01/rollout/1?"),
        ("r07/gate", "did you mean r0"),
        ("r01/label/2", "r01/label has no shard 2; it has r01/label/0-1"),
        ("70", "the run's journal has no job 70; its jobs are 7 to 9, the nearest is 7"),
        ("r01/label/²", "no stage, shard or job 'r01/label/²' in this run; did you mean r01/label? there"),
        ("7_5", "job 7 (r01/rollout) has no element 5; it has 7_[0-1]"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_run_is_refused_with_what_there_is_before_slurm_is_asked(job, squeue, chain, what, says):
    with pytest.raises(UnknownWhatError) as refused:
        explain(job.run, what, squeue.calls)
    assert says in str(refused.value)
    assert refused.value.exit_code == 2
    assert squeue.times_asked == squeue.times_accounting_was_asked == 0


def test_an_evaluation_that_is_not_done_yet_holds_nothing_up(job, told, chain):
    job.run.shard(0, Stage.EVALUATE, 0).marker_file.unlink()
    text = told()
    assert text.splitlines()[1].startswith("held up by r01/rollout")
    assert "besides r00/evaluate" in text


def test_the_command_prints_text_or_json_and_loads_no_settings_and_no_torch(job):
    job.journal.append("started", engine="local", pid=1)
    line = [sys.executable, "-X", "importtime", "-m", "selu_hpc.explain", "--run", str(job.run.path)]
    text = subprocess.run(line, capture_output=True, text=True, check=True)
    assert f"next: python -m selu_hpc.submit --run {shlex.quote(str(job.run.path))} --engine local" in text.stdout
    imported = {one.rpartition("|")[2].strip().split(".")[0] for one in text.stderr.splitlines()}
    assert "selu_hpc" in imported
    assert not imported & {"msgspec", "torch", "numpy", "submitit", "rich"}
    shard = subprocess.run([*line, "r01/rollout/1", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(shard.stdout)["shard"] == {
        "shard": "r01/rollout/1", "state": "open", "tries": [], "needs": [], "job": "",
        "reason": "it has not begun and nothing that could start it is on its way", "do": "submit",
        "retry": {"will": False, "words": "not by itself: no local run is at work", "failures": 0, "asks": None},
        "folder": str(job.run.shard(1, Stage.ROLLOUT, 1).path),
    }  # fmt: skip
    stage = json.loads(subprocess.run([*line, "--json"], capture_output=True, text=True, check=True).stdout)
    assert stage["what"] == "run"
    assert [one["stage"] for one in stage["stages"]] == ["r00/testset", "r01/rollout"]
    assert stage["stages"][1]["counts"] == {"done": 0, "open": 2}


def test_a_wrong_what_ends_with_2_and_a_folder_that_is_no_run_with_1(job, tmp_path):
    line = [sys.executable, "-m", "selu_hpc.explain", "--run"]
    wrong = subprocess.run([*line, str(job.run.path), "r01/gates"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "did you mean r01/gate?" in wrong.stderr
    none = subprocess.run([*line, str(tmp_path)], capture_output=True, text=True)
    assert none.returncode == 1
    assert "not a run folder" in none.stderr


def test_it_writes_nothing(job, told, chain):
    attempted(job, "r01/rollout/1", 0, name=chain[0], job="7_1", ended=BEGUN + 9, code=1, log=FAILURE)

    def seen():
        return {file: file.stat().st_mtime_ns for file in job.run.path.rglob("*")}

    before = seen()
    told(), told("r01/rollout"), told("r01/rollout/1")
    assert seen() == before
