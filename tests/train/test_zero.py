"""What a user's DeepSpeed file may say, what becomes of it, and what DeepSpeed is given to begin with."""

import json

import pytest

from selu_hpc.config import FinetuneConfig
from selu_hpc.errors import ConfigError
from selu_hpc.train import sft
from selu_hpc.train.stop import StopWish
from selu_hpc.train.zero import deepspeed_config


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
        ({"zero_optimization": True}, "says zero_optimization is True; it is an object"),
    ],
)
def test_a_file_may_not_overrule_the_recipe_or_say_what_training_would_break_at(write, said, told):
    with pytest.raises(ConfigError, match=rf"mine\.json' {told}"):
        made(deepspeed=write(said))


def test_a_file_that_is_no_json_is_named(write):
    with pytest.raises(ConfigError, match=r"mine\.json: cannot read the DeepSpeed settings"):
        made(deepspeed=write("{"))


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 1)])
@pytest.mark.parametrize("of_recipe", [0, 2])
def test_in_bfloat16_stage_0_becomes_1_whoever_asked_for_it(write, dtype, stage, of_recipe):
    file = write({"zero_optimization": {"stage": 0}})
    assert made(dtype=dtype, zero_stage=of_recipe, deepspeed=file)["zero_optimization"]["stage"] == stage
    assert made(dtype=dtype, zero_stage=0)["zero_optimization"]["stage"] == stage


@pytest.mark.deepspeed
def test_bfloat16_with_a_file_that_asks_for_stage_0_resumes_to_the_same_bits(trainer, write):
    changes = {"model.dtype": "bfloat16", "finetune.deepspeed": write({"zero_optimization": {"stage": 0}})}
    whole, cut = trainer(folder="whole", **changes), trainer(folder="cut", **changes)
    expected = whole()
    assert expected.summary["zero_stage"] == 1
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
