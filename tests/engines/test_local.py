"""The local engine's decisions, on a fork server whose shards do what a test tells them."""

import errno
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from selu_hpc.engines.base import Job
from selu_hpc.engines.broken import put_aside_broken_shards
from selu_hpc.engines.local.engine import Interrupted, LocalEngine, tail
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.why.explaining import explain
from selu_hpc.engines.why.words import How
from selu_hpc.errors import StageFailedError
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import Stage, shard_of


class ScriptedShards:
    """A fork server without processes: a shard ends at the next look, with the next code of its script.

    script: shard name → codes of its attempts; shards without a script succeed.  said: the log of one that fails.
    """

    said = "line one\nthe simulator would not start\n"

    def __init__(self, script=None, on_start=lambda shard: None):
        self.script = {name: list(codes) for name, codes in (script or {}).items()}
        self.on_start = on_start
        self.started = []
        self.alive = {}

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert not self.alive, "the engine left shards running"

    def start(self, shard):
        self.started.append(shard.place.name)
        self.alive[shard.name] = shard
        self.most_at_once = max(len(self.alive), getattr(self, "most_at_once", 0))
        self.on_start(shard)

    def kill(self, name, number):
        self.killed = number
        self.script[self.alive[name].place.name] = [-number]

    def messages(self, *, timeout_s):
        if not self.alive:
            return []
        name = next(iter(self.alive))
        shard = self.alive.pop(name)
        code = (self.script.get(shard.place.name) or [0]).pop(0)
        if code == 0:
            shard.place.write_marker(content="", names=[], summary={})
        else:
            shard.place.log(shard.attempt).write_text(self.said)
        return [{"ended": name, "code": code}]


@pytest.fixture
def job(small_run, small_config):
    return Job(small_run, small_config, make_plan(small_config))


def run(job, shards, workers=2):
    LocalEngine(workers=workers, fork_server=shards).run(job)
    return shards


def test_every_shard_runs_once_and_after_what_it_needs(job):
    started = run(job, ScriptedShards()).started
    assert len(started) == len(set(started)) == job.plan.num_tasks
    at = started.index
    for shard in ("s0000", "s0001"):
        assert at(f"r01-rollout-{shard}") < at(f"r01-label-{shard}") < at("r01-gate-s0000")
    assert at("r01-gate-s0000") < at("r01-finetune_actor-s0000") < at("r02-rollout-s0000")


def test_no_more_shards_run_at_once_than_workers(job):
    assert run(job, ScriptedShards(), workers=2).most_at_once == 2


def test_a_label_starts_when_its_own_rollout_is_done_not_when_all_are(job):
    started = run(job, ScriptedShards(), workers=1).started
    assert started.index("r02-rollout-s0000") < started.index("r02-label-s0000")
    script = {"r01-rollout-s0001": [1, 0]}
    (job.run.path / "rounds").rename(job.run.path / "old")
    started = run(job, ScriptedShards(script), workers=2).started
    assert started.index("r01-label-s0000") < len(started) - 1 - started[::-1].index("r01-rollout-s0001")


def test_a_failed_shard_is_tried_again_in_a_folder_of_its_own(job):
    shards = run(job, ScriptedShards({"r01-rollout-s0001": [1, -9, 0]}))
    assert shards.started.count("r01-rollout-s0001") == 3
    attempts = job.run.path / "rounds/01/rollout/shard-0001"
    assert sorted(p.name for p in attempts.glob("attempt-*")) == ["attempt-0", "attempt-1", "attempt-2"]


def test_giving_up_on_what_the_run_is_does_not_send_in_a_circle(job):
    class Blaming(ScriptedShards):
        said = "2026-11-29 08:00:00.000 ERROR   r01/rollout/1 x: TaskError: widen env.verbs or raise env.horizon\n"

    with pytest.raises(StageFailedError) as caught:
        run(job, Blaming({"r01-rollout-s0001": [1, 1, 1]}))
    text = str(caught.value)
    assert "env.horizon and env.verbs: part of what this run is" in text
    assert "another --run" in text
    assert "to go on" not in text


def test_giving_up_shows_the_end_of_the_log_and_the_next_command(job):
    with pytest.raises(StageFailedError) as caught:
        run(job, ScriptedShards({"r01-rollout-s0001": [1, 1, 1]}))
    text = str(caught.value)
    assert "round 1 rollout: shard 1 failed 3 times" in text
    assert "the simulator would not start" in text
    assert f"`{job.run.command('submit', '--engine', 'local')}`" in text


def test_what_a_log_quotes_reaches_the_terminal_without_its_control_characters(tmp_path):
    log = tmp_path / "a1.log"
    log.write_bytes(b"long ago\n" + b"x\n" * 30 + b"the model said \x1b[2Jdone \xe2\x80\xaeno\n\tfile.py\xff\n")
    lines = tail(log).splitlines()
    assert lines[-2:] == ["the model said \u27e8U+001B\u27e9[2Jdone \u27e8U+202E\u27e9no", "        file.py\ufffd"]
    assert len(lines) == 25
    assert "no log" in tail(tmp_path / "a2.log")


def test_giving_up_on_a_full_disk_says_so_though_the_log_found_no_room(job, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=4096))
    with pytest.raises(StageFailedError, match="No space left on device: 4 kB are free in"):
        run(job, ScriptedShards({"r01-rollout-s0001": [1, 1, 1]}))


def test_the_same_command_goes_on_after_a_shard_was_given_up(job):
    with pytest.raises(StageFailedError):
        run(job, ScriptedShards({"r01-gate-s0000": [1, 1, 1]}))
    again = run(job, ScriptedShards())
    assert "r01-rollout-s0000" not in again.started
    assert "r01-gate-s0000" in again.started
    assert job.due() == {}


def test_a_lost_shard_above_the_quorum_does_not_stop_the_run(job):
    config = job.config.but(retry=job.config.retry.but(quorum=0.5))
    job = Job(job.run, config, job.plan)

    def seal(shard):
        if shard.place.name == "r01-gate-s0000":
            Seal(1, {0: {}}).write(job.run)

    shards = ScriptedShards({"r01-rollout-s0001": [1, 1, 1]}, on_start=seal)
    run(job, shards)
    assert "r01-label-s0001" not in shards.started
    assert "r02-evaluate-s0000" in shards.started
    assert job.due() == {}, "a sealed round waits for nothing more"
    again = ScriptedShards()
    run(job, again)
    assert not again.started


def test_shards_that_end_together_are_all_written_down_though_the_first_stops_the_run(job):
    class Together(ScriptedShards):
        def messages(self, *, timeout_s):
            return [one for _ in range(len(self.alive)) for one in ScriptedShards.messages(self, timeout_s=timeout_s)]

    shards = Together({"r01-rollout-s0000": [1, 1, 1], "r01-rollout-s0001": [1, 1, 1]})
    with pytest.raises(StageFailedError, match="round 1 rollout: shard 0 failed 3 times"):
        run(job, shards)
    assert [event["shard"] for event in job.journal if event["event"] == "ended"] == shards.started


def test_a_shard_that_asks_for_a_requeue_is_no_failure(job):
    shards = run(job, ScriptedShards({"r01-finetune_actor-s0000": [75, 75, 75, 75, 75, 0]}))
    assert shards.started.count("r01-finetune_actor-s0000") == 6


def test_success_without_a_marker_is_a_failure(job):
    class Liars(ScriptedShards):
        def messages(self, *, timeout_s):
            said = super().messages(timeout_s=timeout_s)
            return [{**message, "code": 0} for message in said]

    shards = run(job, Liars({"r00-testset-s0000": [1, 0]}))
    assert shards.started.count("r00-testset-s0000") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_shards_and_says_how_to_go_on(job, number):
    def interrupt(shard):
        if shard.place.name == "r01-rollout-s0001":
            signal.raise_signal(number)

    shards = ScriptedShards(on_start=interrupt)
    with pytest.raises(Interrupted, match=r"finished shards.*are kept: run the same command"):
        run(job, shards)
    assert shards.killed == signal.SIGTERM
    assert run(job, ScriptedShards()).started
    assert job.due() == {}


def stopped_by(job, *, signalled):
    """A drive that ends while both first rollouts run: by Ctrl-C, or since one of them gives up."""

    def interrupt(shard):
        if signalled and shard.place.name == "r01-rollout-s0001":
            signal.raise_signal(signal.SIGINT)

    script = {} if signalled else {"r01-rollout-s0000": [1, 1, 1]}
    with pytest.raises(Interrupted if signalled else StageFailedError):
        run(job, ScriptedShards(script, on_start=interrupt))


@pytest.mark.parametrize("signalled", [True, False])
def test_shards_that_the_engine_stops_are_told_as_stopped_and_neither_failed_nor_vanished(job, signalled):
    job.note_plan()
    config = job.config.but(retry=job.config.retry.but(max_retries=0))
    stopped_by(Job(job.run, config, job.plan), signalled=signalled)
    ended = {event["shard"]: event for event in Journal(job.run.journal_file) if event["event"] == "ended"}
    begun = {shard_of(path).name for path in job.run.path.glob("rounds/*/*/*/attempt-0")}
    assert begun == set(ended)
    stopped = [name for name, event in ended.items() if event.get("why") == "stopped"]
    assert stopped
    for name in stopped:
        round_id, stage, shard = name.split("-")
        (attempt,) = explain(job.run, f"{round_id}/{stage}/{int(shard[1:])}", Calls()).shard.tries
        assert attempt.how is How.STOPPED


def test_the_journal_tells_every_end(job):
    run(job, ScriptedShards({"r01-rollout-s0001": [1, 0]}))
    ends = [e for e in Journal(job.run.journal_file) if e["event"] == "ended"]
    assert len(ends) == job.plan.num_tasks + 1
    assert [e["code"] for e in ends if e["shard"] == "r01-rollout-s0001"] == [1, 0]


def test_a_shard_whose_bytes_were_changed_is_made_anew_with_its_label_before_the_gate(job):
    run(job, ScriptedShards())
    rollout, label = (job.run.shard(2, stage, 0) for stage in (Stage.ROLLOUT, Stage.LABEL))
    (rollout.path / "episodes").write_text("whole")
    rollout.write_marker(content="", names=["episodes"], summary={})
    (rollout.path / "episodes").write_text("torn")
    job.run.shard(2, Stage.GATE, 0).marker_file.unlink()
    shards = run(job, ScriptedShards())
    assert shards.started[:3] == [rollout.name, label.name, job.run.shard(2, Stage.GATE, 0).name]
    assert [path.name for path in rollout.path.glob("broken-*/episodes")] == ["episodes"]
    assert [event["shard"] for event in Journal(job.run.journal_file) if event["event"] == "corrupt"] == [
        rollout.name,
        label.name,
    ]


def test_a_shard_whose_putting_aside_was_cut_short_is_found_broken_again(job, monkeypatch):
    run(job, ScriptedShards())
    rollout = job.run.shard(2, Stage.ROLLOUT, 0)
    (rollout.path / "episodes").write_text("whole")
    rollout.write_marker(content="", names=["episodes"], summary={})
    (rollout.path / "episodes").write_text("torn")
    rename = Path.rename

    def fail_at_the_second(path, target):
        if path.parent == rollout.path and list(rollout.path.glob("broken-*/*")):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail_at_the_second)
        with pytest.raises(OSError, match="quota"):
            put_aside_broken_shards(job, 2)
    assert [path.name for path in rollout.path.glob("broken-*/*")] == ["episodes"]
    put_aside_broken_shards(job, 2)
    assert not rollout.marker_file.exists()


def test_a_signal_before_the_workers_are_up_ends_the_run_at_once(job):
    class Loading(ScriptedShards):
        def __enter__(self):
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("went on loading")

    with pytest.raises(Interrupted, match=r"stopped by SIGINT; finished shards .* are kept"):
        run(job, Loading())
