"""A stage that a person starts: what the run's plan does not have is refused, and nothing is made for it."""

import subprocess
import sys

import pytest

from selu_hpc.rounds.rundir import RunDir, Stage


def by_hand(run, *words, stage="gate"):
    line = [sys.executable, "-m", f"selu_hpc.stages.{stage}", "--run", str(run.path), *words]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("stage", "words", "there"),
    [
        ("rollout", ["--round", "9"], "no rollout in round 9; its plan has it in rounds 1 to 2"),
        ("rollout", ["--round", "-1"], "no rollout in round -1; its plan has it in rounds 1 to 2"),
        ("gate", ["--round", "0"], "no gate in round 0; its plan has it in rounds 1 to 2"),
        ("label", ["--round", "1", "--shard", "99"], "no shard 99 of r01/label; its plan has 0 to 1"),
        ("label", ["--round", "1", "--shard", "-1"], "no shard -1 of r01/label; its plan has 0 to 1"),
        ("finetune", ["--round", "3", "--role", "critic"], "no finetune_critic in round 3; its plan has it in rounds"),
    ],
)
def test_a_round_or_a_shard_outside_the_plan_is_refused_with_what_there_is(small_run, stage, words, there):
    done = by_hand(small_run, *words, stage=stage)
    assert done.returncode == 2
    assert f"{small_run.path}: {there}" in done.stderr
    assert sorted(path.name for path in small_run.path.iterdir()) == ["config.yaml", "provenance.json"]


def test_a_folder_that_is_no_run_is_refused_and_not_made(tmp_path):
    done = by_hand(RunDir(tmp_path / "nope"), "--round", "1")
    assert done.returncode == 2
    assert "not a run folder (no config.yaml)" in done.stderr
    assert not (tmp_path / "nope").exists()


@pytest.mark.parametrize("stage", ["rollout", "gate"])
def test_a_run_that_takes_no_attempt_is_named_with_what_to_do(small_run, stage):
    (small_run.path / "rounds").touch()
    done = by_hand(small_run, "--round", "1", stage=stage)
    assert done.returncode == 1
    shard = small_run.shard(1, Stage(stage), 0).path
    where = f"error: {shard}/attempt-0: Not a directory; a file is where a folder should be; move it away\n"
    assert done.stderr.endswith(where)
    assert "Traceback" not in done.stderr
