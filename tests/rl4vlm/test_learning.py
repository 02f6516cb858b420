"""One update as a whole: where its ratios begin, what it costs, and that it goes on where it was stopped."""

import json

import pytest
import torch
from make_update import Updater

from selu_hpc.train import setup, towers

pytestmark = pytest.mark.deepspeed
LANGUAGE_ONLY = r".*language_model.*(q_proj|v_proj)"


@pytest.fixture
def learner(tmp_path, tiny_base):
    """`learner("one", game={"epochs": 1})`: an update in a folder of its own."""

    def make(folder="one", turns=None, **changes):
        return Updater.make(tmp_path / folder, tiny_base, changes, turns=turns)

    return make


def curve(train):
    return json.loads((train.job.folder / "curve.json").read_text())["steps"]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_ratios_begin_at_one_though_the_warm_up_trained_with_dropout(learner, checkpointing):
    train = learner(model={"lora_dropout": 0.5}, finetune={"gradient_checkpointing": checkpointing})
    summary = train().summary
    first = curve(train)[0]
    assert first["ratio"] == pytest.approx(1, abs=1e-4)
    assert first["clipped"] == summary["clipped_first"] == 0
    kept = json.loads((train.job.folder / "adapter" / "adapter_config.json").read_text())
    assert kept["lora_dropout"] == 0.5


def test_a_stage_that_a_users_file_asks_for_decides_what_is_merged(learner, tmp_path, monkeypatch):
    merged = []
    monkeypatch.setattr(setup, "merge_lora", merged.append)
    learner("plain")()
    assert len(merged) == 1
    file = tmp_path / "three.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    train = learner("three", finetune={"deepspeed": str(file)})
    assert train().summary["steps"] == 6
    assert len(merged) == 1


def test_a_frozen_tower_sees_each_picture_once(learner, monkeypatch):
    calls = []
    encode = towers.Tower._encode
    monkeypatch.setattr(towers.Tower, "_encode", lambda self, parts: calls.append(len(parts)) or encode(self, parts))
    learner(model={"lora_targets": LANGUAGE_ONLY})()
    assert calls == [towers.IMAGES_PER_CALL] * 2, "24 pictures are two calls"
