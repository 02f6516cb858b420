"""The stage as a user starts it: a run folder with a real store in, an adapter, a curve and a marker out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from make_run import make_run, mark_sets, tiny_config, write_episodes

from selu_hpc.errors import TruthLeakError
from selu_hpc.rounds import rundir
from selu_hpc.rounds.rundir import RunDir, Stage, hash_files
from selu_hpc.stages import entry
from selu_hpc.train import keep, sft

pytestmark = pytest.mark.deepspeed


@pytest.fixture
def run_of(tmp_path, llava_next):
    def make(name, **changes):
        config = tiny_config(llava_next, **changes)
        run = make_run(tmp_path / name, config=config, num_samples=24)
        write_episodes(run, config)
        return run

    return make


def place(run: RunDir, role="actor"):
    return run.shard(1, Stage(f"finetune_{role}"))


def call(run, role="actor"):
    return entry.run_stage(Stage(f"finetune_{role}"), run=str(run.path), round_id=1)


def command(run, role="actor"):
    return [sys.executable, "-m", "selu_hpc.stages.finetune", "--run", str(run.path), "--round", "1", "--role", role]


def test_a_stage_leaves_adapter_curve_events_and_a_marker_that_holds(run_of):
    run = run_of("run")
    assert call(run) == 0
    marker = place(run).check()
    assert {name.partition("/")[0] for name in marker.files} == {"adapter", "curve.json", "tensorboard"}
    assert marker.summary["steps"] == 6
    assert marker.summary["attempt"] == 0
    assert json.loads(place(run).progress(0).read_text()) == {"done": 6, "total": 6}
    assert run.adapter(1, "actor") == place(run).path / "adapter"


def test_a_finished_stage_does_nothing_again(run_of):
    run = run_of("run")
    assert call(run) == 0
    before = place(run).marker_file.stat()
    assert call(run) == 0
    after = place(run).marker_file.stat()
    # Not the whole stat: reading the marker moves its access time.
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)


def at_step(monkeypatch, number, do):
    """Let something happen in a training right after a step of it was made."""
    train = sft.train

    def train_and_do(job, team, frames, wish, on_step, mark):
        def then(done, total):
            on_step(done, total)
            if done == number:
                do()

        return train(job, team, frames, wish, then, mark)

    monkeypatch.setattr(sft, "train", train_and_do)


@pytest.mark.parametrize("num_samples", [24, 0])
def test_an_attempt_that_comes_late_leaves_what_another_published_and_succeeds(run_of, monkeypatch, num_samples):
    first, late = run_of("first"), run_of("late", **{"finetune.checkpoint_minutes": 1e-9, "seed": 9})
    for run in (first, late) if not num_samples else ():
        run.dataset(1, "actor").write_text("")
        mark_sets(run)
    assert call(first) == 0
    published = {}

    def made():
        names = ("adapter", "curve.json", "tensorboard", "done.json")
        return hash_files(place(late).path, names)

    def publish():
        shutil.copytree(place(first).path, place(late).path, dirs_exist_ok=True)
        published.update(made())

    if num_samples:
        at_step(monkeypatch, 6, publish)
    else:
        load = keep.load_backbone
        monkeypatch.setattr(keep, "load_backbone", lambda *args: publish() or load(*args))
    assert call(late) == 0
    assert published == made()
    assert "done.json" in published
    assert not (place(late).path / "checkpoints").exists()


def test_an_adapter_without_a_marker_is_replaced(run_of):
    run, calm = run_of("run"), run_of("calm")
    orphan = place(run).path / "adapter"
    orphan.mkdir(parents=True)
    (orphan / "left.txt").write_text("by an attempt that was killed before its marker")
    assert [call(run), call(calm)] == [0, 0]
    assert place(run).check().content == place(calm).require_marker().content
    assert sorted(p.name for p in orphan.iterdir()) == sorted(p.name for p in (place(calm).path / "adapter").iterdir())
    assert not list(place(run).path.glob(".*"))


def test_an_attempt_that_cannot_write_its_marker_loses_nothing(run_of, monkeypatch):
    calm, run = run_of("calm"), run_of("run", **{"finetune.checkpoint_minutes": 1e-9})
    with monkeypatch.context() as patch:

        def full(*_, **__):
            raise OSError("Disk quota exceeded")

        patch.setattr(rundir.ShardDir, "write_marker", full)
        assert call(run) == entry.EXIT_FAILED
    assert sorted(p.name for p in (place(run).path / "checkpoints").iterdir()) == ["step-000004", "step-000005"]
    assert [call(run), call(calm)] == [0, 0]
    assert "resumed after step 5" in place(run).log(1).read_text()
    assert place(run).check().content == place(calm).require_marker().content
    assert not (place(run).path / "checkpoints").exists()


def test_each_attempt_writes_its_own_events_until_it_publishes_them(run_of, monkeypatch):
    run = run_of("run")
    seen = []
    at_step(monkeypatch, 3, lambda: seen.append([p.parent.parent.name for p in place(run).path.rglob("events.out.*")]))
    assert call(run) == 0
    assert seen == [["attempt-0"]]
    assert [p.parent for p in place(run).path.rglob("events.out.*")] == [place(run).path / "tensorboard"]


def test_what_a_kill_right_after_the_marker_left_goes_with_the_next_call(run_of):
    run = run_of("run")
    assert call(run) == 0
    (place(run).path / "checkpoints" / "step-000005").mkdir(parents=True)
    assert call(run) == 0
    assert not (place(run).path / "checkpoints").exists()


def test_actor_and_critic_share_what_was_encoded_when_they_look_at_the_same_frames(run_of):
    run = run_of("run")
    run.dataset(1, "critic").write_bytes(run.dataset(1, "actor").read_bytes())
    mark_sets(run)
    assert [call(run, role) for role in ("actor", "critic")] == [0, 0]
    encoded = [place(run, role).require_marker().summary["frames_encoded"] for role in ("actor", "critic")]
    assert encoded[0] > 0
    assert encoded[1] == 0


def test_training_cannot_open_the_truth(run_of, monkeypatch):
    run = run_of("run")
    (run.truth / "01").mkdir(parents=True)
    (run.truth / "01" / "truth.json").write_text("{}")
    opened = []

    def peek(*_, **__):
        with pytest.raises(TruthLeakError):
            (run.truth / "01" / "truth.json").open()
        opened.append(True)
        raise sft.Stopped("enough")

    monkeypatch.setattr(sft, "train", peek)
    assert call(run) == entry.EXIT_REQUEUE
    assert opened == [True]


def test_a_bad_dataset_fails_the_stage_with_words_in_its_log(run_of):
    run = run_of("run")
    run.dataset(1, "actor").write_text("{}\n")
    mark_sets(run)
    assert call(run) == entry.EXIT_FAILED
    assert "TrainingError" in place(run).log(0).read_text()
    assert "actor.jsonl:1: not a sample" in place(run).log(0).read_text()
    assert place(run).read_marker() is None


def test_a_set_that_lost_lines_since_its_gate_is_not_learned_from(run_of):
    run = run_of("run")
    lines = run.dataset(1, "actor").read_text().splitlines(keepends=True)
    run.dataset(1, "actor").write_text("".join(lines[:-1]))
    assert call(run) == entry.EXIT_FAILED
    said = place(run).log(0).read_text()
    assert "actor.jsonl has" in said
    assert run.command("explain", "r01/gate/0") in said
    assert place(run).read_marker() is None


def test_training_does_not_go_on_from_an_adapter_with_a_flipped_byte(run_of):
    run = run_of("run")
    assert call(run) == 0
    flip_a_byte(run.adapter(1, "actor") / "adapter_model.safetensors")
    shutil.copytree(run.shard(1, Stage.GATE).path, run.shard(2, Stage.GATE).path)
    assert entry.run_stage(Stage.FINETUNE_ACTOR, run=str(run.path), round_id=2) == entry.EXIT_FAILED
    said = run.shard(2, Stage.FINETUNE_ACTOR).log(0).read_text()
    assert "adapter_model.safetensors has" in said
    assert run.command("explain", "r01/finetune_actor/0") in said


def flip_a_byte(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("start_from", ["last_round", "base"])
def test_an_empty_set_keeps_the_last_rounds_adapter_and_says_so(run_of, start_from):
    run = run_of("run", **{"finetune.start_from": start_from})
    assert call(run) == 0
    run.dataset(2, "actor").parent.mkdir(parents=True)
    run.dataset(2, "actor").write_text("")
    mark_sets(run, 2)
    assert entry.run_stage(Stage.FINETUNE_ACTOR, run=str(run.path), round_id=2) == 0
    after = run.shard(2, Stage.FINETUNE_ACTOR)
    assert after.check().content == place(run).require_marker().content
    assert "the round's set is empty, so the adapter stays as it was" in after.log(0).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_to_a_stage_with_ranks_of_its_own_saves_asks_for_requeue_and_loses_nothing(run_of, signal_number):
    whole = run_of("whole", **{"finetune.actor.epochs": 20})
    assert call(whole) == 0
    run = run_of("cut", **{"finetune.actor.epochs": 20, "finetune.num_ranks": 2})
    process = subprocess.Popen(command(run), env={**os.environ, "OMP_NUM_THREADS": "1"})
    progress = place(run).progress(0)
    while not progress.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal_number)
    assert process.wait(timeout=800) == entry.EXIT_REQUEUE
    assert len(list((place(run).path / "checkpoints").glob("step-*"))) == 1
    assert subprocess.run(command(run), check=False, timeout=800).returncode == 0
    summary = place(run).check().summary
    assert summary["num_ranks"] == 2
    assert summary["attempt"] == 1
    assert summary["loss_last"] == pytest.approx(place(whole).require_marker().summary["loss_last"], abs=1e-3)


@pytest.mark.slow
def test_torchrun_starts_the_same_entry(run_of):
    run = run_of("run")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    launcher += ["--rdzv-endpoint=localhost:0", "-m", "--", *command(run)[2:], "--attempt", "0"]
    done = subprocess.run(launcher, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, timeout=800)
    assert done.returncode == 0
    assert place(run).check().summary["num_ranks"] == 2
