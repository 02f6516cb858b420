"""One update as a whole: where its ratios begin, what it costs, and that it goes on where it was stopped."""

import json
import sys
from pathlib import Path

import pytest
from make_update import Shown, Updater, drawn_turns, ref, turn
from safetensors.torch import load_file

from selu_hpc.models.vlm import Request, load_generator
from selu_hpc.rl4vlm import update as module
from selu_hpc.rl4vlm.cot import weighed
from selu_hpc.rl4vlm.rows import TurnRows
from selu_hpc.rl4vlm.state import STATE
from selu_hpc.rl4vlm.turns import lines
from selu_hpc.rounds.rundir import MARKER
from selu_hpc.train import setup, towers
from selu_hpc.train.result import Stopped
from selu_hpc.train.spawn import run_ranks
from selu_hpc.train.stop import StopWish

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_frozen_tower_sees_each_picture_once(learner, monkeypatch):
    calls = []
    encode = towers.Tower._encode
    monkeypatch.setattr(towers.Tower, "_encode", lambda self, parts: calls.append(len(parts)) or encode(self, parts))
    learner(model={"lora_targets": LANGUAGE_ONLY})()
    assert calls == [towers.IMAGES_PER_CALL] * 2, "24 turns, 20 pictures: two calls"


@pytest.mark.parametrize("micro_batch", [1, 4], ids=["some_of_its_micro_batches_are_empty", "all_hold_something"])
def test_an_update_learns_the_same_whether_alike_turns_share_a_row_or_not(learner, monkeypatch, micro_batch):
    settings = {"finetune": {"micro_batch": micro_batch}, "game": {"learning_rate": 1e-4}}
    together = learner("together", turns=drawn_turns(different=6), **settings)
    together()
    monkeypatch.setattr(TurnRows, "_kind", lambda rows, row: (row,))
    apart = learner("apart", turns=drawn_turns(different=6), **settings)
    apart()
    for one, other in zip(curve(together), curve(apart), strict=True):
        assert one["tokens"] < other["tokens"]
        for figure in ("loss", "policy_loss", "value_loss", "ratio", "clipped", "gradient_norm"):
            assert one[figure] == pytest.approx(other[figure], rel=2e-3, abs=2e-3), figure


def stop_after(train, step):
    wish = StopWish()

    def on_step(done, total):
        if done == step - 1:
            wish.signal_name = "SIGUSR2"

    if step == 1:
        wish.signal_name = "SIGUSR2"
    with pytest.raises(Stopped, match=f"after step {step} of 6"):
        train(wish=wish, on_step=on_step)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_update_that_is_stopped_goes_on_to_the_same_bytes_and_judges_once(learner, monkeypatch, dtype):
    whole = learner("whole", model={"dtype": dtype})().content
    judged = []
    judge = module._judge
    monkeypatch.setattr(module, "_judge", lambda *args: judged.append(1) or judge(*args))
    train = learner("stopped", model={"dtype": dtype})
    for step in (1, 3, 5):
        stop_after(train, step)
    done = []
    assert train(on_step=lambda number, total: done.append(number)).content == whole
    assert (done, judged) == ([6], [1])
    assert [step["step"] for step in curve(train)] == [1, 2, 3, 4, 5, 6]
    assert not (train.job.folder / "checkpoints").exists()


def test_an_attempt_that_ends_just_after_another_leaves_what_that_one_made(learner, monkeypatch):
    train = learner(game={"epochs": 1})
    train()
    made, marker = contents(train.job.folder), train.job.folder / MARKER
    assert {name.partition("/")[0] for name in made} >= {"adapter", STATE, "curve.json"}
    write = module.write_curve

    def while_the_other_marks(*args):
        write(*args)
        marker.write_text("{}")

    monkeypatch.setattr(module, "write_curve", while_the_other_marks)
    assert train().content == ""
    assert contents(train.job.folder) == made


def contents(folder):
    """But for what is written as training goes."""
    files = (path for part in ("adapter", STATE, "curve.json") for path in (folder / part, *(folder / part).rglob("*")))
    return {str(file.relative_to(folder)): (file.stat().st_ino, file.read_bytes()) for file in files if file.is_file()}


def test_each_attempt_that_is_stopped_at_once_has_gone_on_by_a_step(learner):
    train = learner()
    for step in (1, 2, 3):
        wish = StopWish("SIGUSR2")
        with pytest.raises(Stopped, match=f"after step {step} of 6"):
            train(wish=wish)


@pytest.mark.slow
def test_a_stopped_update_of_other_settings_is_not_continued(learner):
    stop_after(learner("one"), 2)
    done = []
    learner("one", game={"clip": 0.2})(on_step=lambda number, total: done.append(number))
    assert done == [1, 2, 3, 4, 5, 6]


def sampled_turns(train, *, temperature, dtype):
    """Answers of the adapter that the update begins with, as a rollout has them."""
    config = train.job.model.but(dtype=dtype, batch_size=4)
    generator = load_generator(config, adapters={"actor": train.job.start})
    requests = [Request("what colour is the apple?", (Shown().read(ref(n)),)) for n in range(24)]
    answers = generator.generate(requests, adapter="actor", temperature=temperature, seeds=range(24))
    return [
        turn(n, answer.ids, thoughts=2, reward=float(n % 2), logprob=weighed(answer.drawn, 2, 0.5))
        for n, answer in enumerate(answers)
    ]


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_answers_weigh_in_an_update_what_they_did_when_they_were_sampled(learner, caplog, temperature):
    train = learner(game={"temperature": temperature, "learning_rate": 1e-6, "last_learning_rate": 1e-6})
    train.job.turns.write_text(lines(sampled_turns(train, temperature=temperature, dtype="float32")))
    summary = train().summary
    # a sampler never draws a picture's placeholder, to which a random model gives its share
    assert 0 <= summary["mismatch_mean"] <= summary["mismatch_p95"] < 0.03
    assert "WARNING" not in caplog.text


def test_a_sampler_that_is_another_policy_is_measured_and_warned_of(learner, caplog):
    train = learner(game={"temperature": 0.2})
    train.job.turns.write_text(lines(sampled_turns(train, temperature=1.0, dtype="float32")))
    summary = train().summary
    assert summary["mismatch_p95"] > summary["mismatch_mean"] > 0.1
    assert "log-probabilities lie" in caplog.text


def test_turns_whose_sampler_told_nothing_are_learned_from_all_the_same(learner):
    assert "mismatch_mean" not in learner()().summary


def test_ratios_that_do_not_begin_at_one_are_warned_of(learner, caplog, monkeypatch):
    monkeypatch.setattr(module, "_without_dropout", lambda model: None)
    monkeypatch.setattr(setup, "merge_lora", lambda model: None)
    learner(model={"lora_dropout": 0.5})()
    assert "before anything was learned" in caplog.text


def test_an_update_that_goes_too_far_is_warned_of_with_what_to_lower(learner, caplog):
    summary = learner(game={"learning_rate": 0.1, "epochs": 4})().summary
    assert summary["clipped_last"] > module.FAR
    assert "lower game.learning_rate" in caplog.text


def weights(folder):
    return load_file(folder / "made" / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def by_two_ranks(tmp_path_factory, tiny_base):
    """Updates under ZeRO 2 in one launch of two processes, and the same by one rank without: folders by name."""
    folder = tmp_path_factory.mktemp("ranks")
    shared = {"model": {"lora_dropout": 0.2}, "finetune": {"gradient_checkpointing": True}}
    jobs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SELU_FEATURE_CACHE", str(folder / "features"))
        patch.setenv("OMP_NUM_THREADS", "1")
        for dtype in ("float32", "bfloat16"):
            for name, stage in (("one", 0), ("two", 2)):
                changes = {
                    "model": {**shared["model"], "dtype": dtype},
                    "finetune": {**shared["finetune"], "zero_stage": stage},
                }
                train = Updater.make(folder / f"{name}-{dtype}", tiny_base, changes)  # what ranks must not make at once
                if name == "one":
                    train()
                else:
                    jobs.append({"folder": str(folder / f"two-{dtype}"), "base": str(tiny_base), "changes": changes})
        (folder / "jobs.json").write_text(json.dumps(jobs))
        command = [sys.executable, str(Path(__file__).with_name("update_jobs.py")), str(folder / "jobs.json")]
        assert run_ranks(command, num_ranks=2, logs=folder / "logs", requeue_code=75) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_two_ranks_under_zero_2_learn_what_one_rank_does(by_two_ranks, dtype, tolerance):
    one, two = (weights(by_two_ranks / f"{name}-{dtype}") for name in ("one", "two"))
    start = load_file(by_two_ranks / f"one-{dtype}" / "start" / "adapter_model.safetensors")
    assert one.keys() == two.keys()
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    moved = max(float((one[name] - start[name]).abs().max()) for name in one)
    assert apart < tolerance
    assert moved > apart
    steps = json.loads((by_two_ranks / f"two-{dtype}" / "made" / "curve.json").read_text())["steps"]
    assert steps[0]["clipped"] == 0


@pytest.mark.slow
def test_the_heads_products_in_float32_are_made_under_zero_3_as_well(learner):
    """With LoRA on the head, whose matrices are gathered for a call and are gone after it."""
    model = {"dtype": "bfloat16", "lora_targets": r".*(q_proj|lm_head)"}
    found = {stage: learner(f"zero-{stage}", model=model, finetune={"zero_stage": stage}) for stage in (2, 3)}
    for train in found.values():
        assert train().summary["clipped_first"] == 0
    two, three = (curve(train)[-1]["policy_loss"] for train in found.values())
    assert two == pytest.approx(three, abs=1e-2)
