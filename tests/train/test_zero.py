"""What a user's DeepSpeed file may say, what becomes of it, and what DeepSpeed is given to begin with."""

import json
import os

import pytest
import torch

from selu_hpc.config import FinetuneConfig
from selu_hpc.errors import ConfigError
from selu_hpc.train import ranks, sft
from selu_hpc.train.stop import StopWish
from selu_hpc.train.zero import Engine, deepspeed_config


@pytest.fixture
def write(tmp_path):
    """`write({...})` is the path of such a file."""

    def make(settings):
        file = tmp_path / "mine.json"
        file.write_text(settings if isinstance(settings, str) else json.dumps(settings))
        return str(file)

    return make


def made(*, dtype="float32", **changes):
    return deepspeed_config(FinetuneConfig(**changes), dtype=dtype, world=1, micro_batch=4, learning_rate=1e-3)


def test_a_file_may_tune(write):
    file = write(
        {
            "zero_optimization": {"stage": 2, "reduce_bucket_size": 1000},
            "optimizer": {"type": "adamw", "params": {"eps": 1e-6}},
        }
    )
    found = made(deepspeed=file)
    assert found["zero_optimization"] == {"stage": 2, "reduce_bucket_size": 1000}
    assert found["optimizer"]["type"] == "adamw"
    assert (found["optimizer"]["params"]["eps"], found["optimizer"]["params"]["lr"]) == (1e-6, 1e-3)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"gradient_clipping": 3}, r"says gradient_clipping, which finetune\.max_grad_norm decides"),
        ({"torch_autocast": {"enabled": True}}, r"says torch_autocast, which model\.dtype decides"),
        ({"amp": {"enabled": True}}, r"says amp, which model\.dtype decides"),
        ({"optimizer": {"type": "SGD"}}, r"says optimizer\.type is 'SGD'; .* it is AdamW"),
        ({"optimizer": None}, "says optimizer is None; it is an object"),
        ({"optimizer": {"params": None}}, r"says optimizer\.params is None; it is an object"),
        ({"optimizer": {"params": {"lr": "auto", "betas": "auto"}}}, r"says optimizer\.params\.betas is 'auto'"),
        ({"zero_optimization": {"stage": "auto"}}, r"says zero_optimization\.stage is 'auto'; it is a number"),
        ({"zero_optimization": {"stage": 4}}, r"says zero_optimization\.stage is 4; it is a number"),
        ({"zero_optimization": True}, "says zero_optimization is True; it is an object"),
    ],
)
def test_a_file_may_not_overrule_the_recipe_or_say_what_training_would_break_at(write, said, told):
    with pytest.raises(ConfigError, match=rf"mine\.json' {told}"):
        made(deepspeed=write(said))


def test_what_the_recipe_decides_of_adamw_may_be_auto_as_in_many_peoples_files(write):
    params = {"lr": "auto", "weight_decay": "auto"}
    assert made(deepspeed=write({"optimizer": {"params": params}}))["optimizer"]["params"]["lr"] == 1e-3


def test_a_file_that_is_no_json_is_named(write):
    with pytest.raises(ConfigError, match=r"mine\.json: cannot read the DeepSpeed settings"):
        made(deepspeed=write("{"))


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 2)])
@pytest.mark.parametrize("of_recipe", [0, 1, 2])
def test_in_bfloat16_the_stage_is_2_at_least_whoever_asked_for_less(write, dtype, stage, of_recipe):
    file = write({"zero_optimization": {"stage": 0}})
    assert made(dtype=dtype, zero_stage=of_recipe, deepspeed=file)["zero_optimization"]["stage"] == stage
    assert made(dtype=dtype, zero_stage=0)["zero_optimization"]["stage"] == stage


@pytest.mark.deepspeed
def test_bfloat16_with_a_file_that_asks_for_stage_0_resumes_to_the_same_bits(trainer, write):
    changes = {"model.dtype": "bfloat16", "finetune.deepspeed": write({"zero_optimization": {"stage": 0}})}
    whole, cut = trainer(folder="whole", **changes), trainer(folder="cut", **changes)
    expected = whole()
    assert expected.summary["zero_stage"] == 2
    with pytest.raises(sft.Stopped):
        cut(wish=StopWish("SIGUSR2"))
    assert cut().content == expected.content


@pytest.mark.deepspeed
def test_at_stage_3_no_parameter_is_whole_any_more_when_deepspeed_moves_the_model(trainer, monkeypatch):
    """A base larger than the device would end there."""
    import deepspeed

    moves, whole = deepspeed.initialize, []

    def watched(*, model, **rest):
        whole.extend(name for name, param in model.named_parameters() if param.numel())
        return moves(model=model, **rest)

    monkeypatch.setattr(deepspeed, "initialize", watched)
    assert trainer(**{"model.dtype": "bfloat16", "finetune.zero_stage": 3})().summary["zero_stage"] == 3
    assert whole == []


class Slope(torch.nn.Module):
    """Its loss at a number has that number as the gradient of the one weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, number):
        return (self.weight * number).sum()


@pytest.mark.deepspeed
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_sum_of_micro_batches_in_bfloat16_does_not_lose_the_small_ones(tmp_path, monkeypatch, stage):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    settings = FinetuneConfig(global_batch=16, micro_batch=1, zero_stage=stage, max_grad_norm=100.0)
    config = deepspeed_config(settings, dtype="bfloat16", world=1, micro_batch=1, learning_rate=1e-3)
    numbers = [1.0] + [2.0**-9] * 15
    with ranks.meet(ranks.find_place(os.environ), meeting_file=tmp_path / "meeting.json"):
        engine = Engine(Slope(), config)
        for at, number in enumerate(numbers):
            engine.engine.backward(engine.engine(torch.tensor([number], dtype=torch.bfloat16)))
            if at < len(numbers) - 1:
                engine.engine.step()
        norm = engine.step()
        engine.close()
    assert norm == pytest.approx(sum(numbers) / len(numbers), rel=1e-4)


def test_a_file_may_have_gradients_summed_in_another_type(write):
    assert made(dtype="bfloat16", zero_stage=2)["data_types"] == {"grad_accum_dtype": "fp32"}
    file = write({"data_types": {"grad_accum_dtype": "bf16"}})
    assert made(dtype="bfloat16", zero_stage=2, deepspeed=file)["data_types"] == {"grad_accum_dtype": "bf16"}
    assert "data_types" not in made(dtype="float32", zero_stage=2)
