"""Two real ranks: ZeRO stages agree, a killed rank costs nothing, another number of ranks continues."""

import json
import random
import sys
from pathlib import Path

import pytest
import torch
from make_run import Trainer, make_run, tiny_config
from safetensors.torch import load_file

from selu_hpc.errors import TrainingError
from selu_hpc.train import sft
from selu_hpc.train.spawn import run_ranks
from selu_hpc.train.stop import StopWish

pytestmark = pytest.mark.deepspeed

TOLERANCE = 2e-5
"""Largest difference between adapters of equal work done by other stages or numbers of ranks, in fp32."""
REQUEUE = 75
STAGES = (0, 2, 3)


def launch(folder, jobs, num_ranks=2):
    file = folder / "jobs.json"
    file.write_text(json.dumps(jobs))
    command = [sys.executable, str(Path(__file__).with_name("rank_jobs.py")), str(file)]
    return run_ranks(command, num_ranks=num_ranks, logs=folder / "logs", requeue_code=REQUEUE)


def weights(train):
    return load_file(train.place().path / "adapter" / "adapter_model.safetensors")


def losses(train):
    return [step["loss"] for step in json.loads((train.place().path / "curve.json").read_text())["steps"]]


def furthest(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def stop_here(train, step):
    wish = StopWish()

    def on_step(done, total):
        if done == step:
            wish.signal_name = "SIGUSR2"

    with pytest.raises(sft.Stopped):
        train(wish=wish, on_step=on_step)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, llava_next, qwen2_vl):
    """Everything two ranks are asked to do, in one launch of two processes."""

    folder = tmp_path_factory.mktemp("fleet")
    made, jobs = {}, []

    def job(name, base, stage, **what):
        config = tiny_config(base, **{"finetune.zero_stage": stage, "model.lora_dropout": 0.1})
        made[name] = Trainer(make_run(folder / name, config=config, num_samples=24), config)
        jobs.append({"run": str(folder / name), **what})
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SELU_FEATURE_CACHE", str(folder / "features"))
        patch.setenv("OMP_NUM_THREADS", "1")
        for stage in STAGES:
            job(f"llava_next-{stage}", llava_next, stage)
            job(f"qwen2_vl-{stage}", qwen2_vl, stage)
            stop_here(job(f"one-to-two-{stage}", llava_next, stage), 3)
            job(f"two-to-one-{stage}", llava_next, stage, stop=[1, 3])
        assert launch(folder, jobs) == 0
        for stage in STAGES:
            made[f"two-to-one-{stage}"]()
        for name, base in (("llava_next", llava_next), ("qwen2_vl", qwen2_vl)):
            job(f"{name}-alone", base, 0)()
    return made


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl"])
def test_two_ranks_and_all_stages_give_the_adapter_of_one_rank(fleet, family):
    alone = weights(fleet[f"{family}-alone"])
    apart = {stage: furthest(weights(fleet[f"{family}-{stage}"]), alone) for stage in STAGES}
    assert max(apart.values()) < TOLERANCE, apart
    for stage in STAGES:
        assert losses(fleet[f"{family}-{stage}"]) == pytest.approx(losses(fleet[f"{family}-alone"]), abs=1e-4)
        assert json.loads((fleet[f"{family}-{stage}"].run.path / "result.json").read_text())["zero_stage"] == stage


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_loss_goes_down_on_two_ranks(fleet, family, stage):
    found = losses(fleet[f"{family}-{stage}"])
    assert sum(found[-2:]) < 0.9 * sum(found[:2])


@pytest.mark.parametrize("stage", STAGES)
def test_one_rank_stops_and_two_continue(fleet, stage):
    assert furthest(weights(fleet[f"one-to-two-{stage}"]), weights(fleet["llava_next-alone"])) < TOLERANCE


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_stop_when_one_is_told_to_and_one_rank_of_that_stage_continues(fleet, stage):
    train = fleet[f"two-to-one-{stage}"]
    texts = {(train.run.path / f"stopped-{rank}").read_text() for rank in range(2)}
    assert texts == {"r01/actor: stopped after step 3 of 6"}
    assert furthest(weights(train), weights(fleet["llava_next-alone"])) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_rank_killed_at_a_random_step_costs_nothing(fleet, trainer, tmp_path, stage):
    changes = {"finetune.zero_stage": stage, "model.lora_dropout": 0.1, "finetune.checkpoint_minutes": 1e-9}
    train = trainer(**changes)
    step = random.SystemRandom().randint(2, 5)
    victim = random.SystemRandom().randint(0, 1)
    job = {"run": str(train.run.path)}
    with pytest.raises(TrainingError, match=f"rank {victim} of 2 was killed by SIGKILL"):
        launch(tmp_path, [{**job, "kill": [victim, step]}])
    assert not (train.place().path / "adapter").exists()
    assert launch(tmp_path, [job]) == 0
    log = "".join(file.read_text() for file in (tmp_path / "logs").glob("rank-0.txt"))
    assert f"resumed after step {step - 1}" in log, f"killed rank {victim} after step {step}"
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(train).values(), weights(fleet[f"llava_next-{stage}"]).values(), strict=True)
    )
