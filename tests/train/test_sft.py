"""Training in this process, one rank, real DeepSpeed on tiny models; several ranks are in test_deepspeed.py."""

import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from make_run import DrawnFrames, write_dataset
from peft import PeftModel
from safetensors.torch import load_file

from selu_hpc.errors import ModelError, TrainingError
from selu_hpc.models.vlm import load_backbone
from selu_hpc.train import adapter, checkpoint, sft
from selu_hpc.train.features import _pack, _unpack
from selu_hpc.train.stop import StopWish

pytestmark = pytest.mark.deepspeed


def weights(place):
    return load_file(place.path / "adapter" / "adapter_model.safetensors")


def curve(place):
    return json.loads((place.path / "curve.json").read_text())


def losses(place):
    return [step["loss"] for step in curve(place)["steps"]]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stopping_after(step):
    wish = StopWish()

    def on_step(done, total):
        if done == step:
            wish.signal_name = "SIGUSR2"

    return {"wish": wish, "on_step": on_step}


@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl"])
def test_the_loss_goes_down_and_the_curve_says_so(trainer, request, family):
    train = trainer(request.getfixturevalue(family), **{"finetune.actor.epochs": 6})
    result = train()
    found = losses(train.place())
    assert found[-1] < 0.6 * found[0]
    assert result.summary["steps"] == len(found) == 18
    assert result.summary["loss_first"] == pytest.approx(found[0], abs=1e-6)
    assert 0 <= result.summary["data_wait_share"] <= 1
    assert result.summary["peak_memory_gb"] > 0


def test_the_adapter_is_a_plain_peft_folder_with_what_was_trained(trainer, llava_next):
    train = trainer()
    train()
    base, _ = load_backbone(train.config.model)
    model = PeftModel.from_pretrained(base, train.place().path / "adapter")
    loaded = {name: p for name, p in model.named_parameters() if "lora_B" in name}
    assert loaded
    assert all(p.abs().max() > 0 for p in loaded.values()), "fresh LoRA B matrices are zero"
    trained = weights(train.place())
    assert all(torch.equal(p, trained[name.replace(".default", "")]) for name, p in loaded.items())


def test_the_same_job_gives_the_same_adapter_wherever_its_folders_are(trainer, llava_next, tmp_path):
    moved = shutil.copytree(llava_next, tmp_path / "moved base")
    one, other = trainer(folder="one"), trainer(moved, folder="other")
    assert one().content == other().content
    assert equal(weights(one.place()), weights(other.place()))


@pytest.mark.parametrize("step", [1, 4, 5])
def test_a_stopped_training_resumes_to_the_same_bits_dropout_included(trainer, step):
    changes = {"model.lora_dropout": 0.2}
    whole, cut = trainer(folder="whole", **changes), trainer(folder="cut", **changes)
    result = whole()
    with pytest.raises(sft.Stopped, match=f"after step {step} of 6"):
        cut(**stopping_after(step))
    assert [p.name for p in (cut.place().path / "checkpoints").iterdir()] == [f"step-{step:06d}"]
    assert not (cut.place().path / "adapter").exists()
    assert cut().content == result.content
    assert equal(weights(cut.place()), weights(whole.place()))
    assert losses(cut.place()) == losses(whole.place())
    assert not (cut.place().path / "checkpoints").exists()


def test_each_attempt_that_is_stopped_at_once_has_gone_on_by_a_step(trainer):
    changes = {"finetune.actor.epochs": 1}
    whole, cut = trainer(folder="whole", **changes), trainer(folder="cut", **changes)
    for step in (1, 2):
        with pytest.raises(sft.Stopped, match=f"after step {step} of 3"):
            cut(wish=StopWish("SIGUSR2"))
        assert (cut.place().path / "checkpoints" / f"step-{step:06d}").is_dir()
    assert cut(wish=StopWish("SIGUSR2")).content == whole().content
    assert losses(cut.place()) == losses(whole.place())


def test_checkpoints_go_only_after_the_marker(trainer):
    whole, cut = trainer(folder="whole"), trainer(folder="cut", **{"finetune.checkpoint_minutes": 1e-9})
    checkpoints = cut.place().path / "checkpoints"
    done = []

    def killed(result):
        assert (cut.place().path / "adapter").is_dir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut(mark=killed)
    assert sorted(p.name for p in checkpoints.iterdir()) == ["step-000004", "step-000005"]
    assert cut(on_step=lambda number, total: done.append(number)).content == whole().content
    assert done == [6]
    assert not checkpoints.exists()


@pytest.fixture
def full(monkeypatch):
    """`full(module, "name")`: what this writes meets a full disk."""

    def write(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda module, name: monkeypatch.setattr(module, name, write)


def test_a_due_checkpoint_that_cannot_be_written_does_not_end_the_training(trainer, full, caplog):
    whole, other = trainer(folder="whole"), trainer(folder="other", **{"finetune.checkpoint_minutes": 1e-9})
    expected = whole().content
    full(checkpoint, "sync_files")
    assert other().content == expected
    told = [record.getMessage() for record in caplog.records if "No space left on device" in record.getMessage()]
    assert len(told) == 5
    assert "step-000001 cannot be saved" in told[0]


def test_a_stop_whose_state_cannot_be_written_is_a_failure(trainer, full):
    full(checkpoint, "sync_files")
    with pytest.raises(OSError, match="No space left on device"):
        trainer()(**stopping_after(3))


@pytest.mark.parametrize("name", ["save_file", "put_in_place"])
def test_an_adapter_that_cannot_be_written_leaves_nothing_half_written_behind(trainer, full, name):
    train = trainer()
    full(adapter, name)
    with pytest.raises(OSError, match="No space left on device"):
        train()
    assert not list(train.place().path.glob(".*"))


def test_an_attempt_that_ends_just_after_another_leaves_what_that_one_made(trainer, monkeypatch):
    train = trainer(folder="one", **{"finetune.actor.epochs": 1})
    place = train.place()
    train(mark=lambda result: place.write_marker(content="first", names=["adapter", "curve.json"], summary={}))
    marker = place.marker_file.read_bytes()
    place.marker_file.unlink()
    write = sft.write_curve

    def while_the_other_marks(*args):
        write(*args)
        place.marker_file.write_bytes(marker)

    monkeypatch.setattr(sft, "write_curve", while_the_other_marks)
    assert train(mark=lambda result: pytest.fail("marked twice")).content == ""
    assert place.check().content == "first"


def test_dropout_is_really_there(trainer):
    assert trainer(folder="a")().content != trainer(folder="b", **{"model.lora_dropout": 0.2})().content


def test_a_torn_checkpoint_is_skipped_for_the_one_before(trainer, caplog):
    whole, cut = trainer(folder="whole"), trainer(folder="cut", **{"finetune.checkpoint_minutes": 1e-9})
    expected = whole().content
    with pytest.raises(sft.Stopped):
        cut(**stopping_after(4))
    newest = cut.place().path / "checkpoints" / "step-000004"
    file = newest / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert cut().content == expected
    assert f"checkpoint {newest} is skipped: torn" in caplog.text
    assert "resumed after step 3" in caplog.text


def test_a_checkpoint_of_other_data_is_not_continued(trainer, caplog):
    cut, other = trainer(folder="cut"), trainer(folder="other", num_samples=23)
    with pytest.raises(sft.Stopped):
        cut(**stopping_after(3))
    shutil.copytree(cut.place().path / "checkpoints", other.place().path / "checkpoints")
    fresh = trainer(folder="fresh", num_samples=23)
    assert other().content == fresh().content
    assert "of another dataset, base or setting" in caplog.text


def test_trainings_leave_nothing_behind_in_their_process(trainer):
    train = trainer()
    torch.manual_seed(5)
    before = (dict(os.environ), sys.excepthook, [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR2)])
    contents = []
    for _ in range(2):
        shutil.rmtree(train.place().path, ignore_errors=True)
        contents.append(train().content)
    assert contents[0] == contents[1]
    assert not torch.distributed.is_initialized()
    assert (dict(os.environ), sys.excepthook, [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR2)]) == before


@pytest.mark.parametrize(("name", "value"), [("finetune.micro_batch", 8), ("finetune.micro_batch", 2)])
def test_accumulating_in_other_portions_changes_the_adapter_by_rounding_only(trainer, name, value):
    one, other = trainer(folder="one"), trainer(folder="other", **{name: value})
    one()
    other()
    for key, tensor in weights(one.place()).items():
        torch.testing.assert_close(weights(other.place())[key], tensor, atol=2e-5, rtol=0)


def test_gradient_checkpointing_changes_no_bit(trainer):
    one, other = trainer(folder="one"), trainer(folder="other", **{"finetune.gradient_checkpointing": True})
    assert one().content == other().content


def test_bfloat16_learns_and_keeps_full_precision_in_the_adapter(trainer):
    train = trainer(**{"model.dtype": "bfloat16", "finetune.actor.epochs": 6})
    assert train().summary["zero_stage"] == 2
    assert losses(train.place())[-1] < 0.7 * losses(train.place())[0]
    made = weights(train.place())
    assert all(tensor.dtype == torch.float32 for tensor in made.values())
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in made.values())


def test_bfloat16_resumes_to_the_same_bits(trainer):
    changes = {"model.dtype": "bfloat16"}
    whole, cut = trainer(folder="whole", **changes), trainer(folder="cut", **changes)
    expected = whole().content
    with pytest.raises(sft.Stopped):
        cut(**stopping_after(3))
    assert cut().content == expected


def test_the_next_round_continues_the_last_adapter_or_starts_from_the_base(trainer):
    train = trainer()
    train()
    first = weights(train.place())
    shutil.copytree(train.run.round(1) / "gate", train.run.round(2) / "gate")
    train(round_id=2)
    start = losses(train.place(round_id=2))[0]
    assert start < 0.8 * losses(train.place())[0]
    assert not equal(weights(train.place(round_id=2)), first)
    shutil.rmtree(train.place(round_id=2).path)
    train.config = train.config.but(finetune=train.config.finetune.but(start_from="base"))
    assert train.job(round_id=2).start is None
    train(round_id=2)
    assert losses(train.place(round_id=2))[0] > start


def test_selu_one_trains_one_adapter_on_both_sets(trainer):
    train = trainer(**{"model.shared_adapter": True})
    assert train().summary["samples"] == 48
    assert train.job(round_id=2).start == train.place(round_id=1).path / "adapter"


def test_an_exploding_training_stops_names_its_batch_and_keeps_the_last_good_checkpoint(trainer):
    train = trainer(**{"finetune.actor.learning_rate": 1e5, "finetune.checkpoint_minutes": 1e-9})
    with pytest.raises(TrainingError, match=r"the (loss|gradient) of step \d.* holds actor.jsonl:\d+, ") as error:
        train()
    (kept,) = (train.place().path / "checkpoints").glob("step-*")
    assert f"the last good checkpoint is {kept}" in str(error.value)
    good = load_file(kept / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in good.values())
    assert not (train.place().path / "adapter").exists()


def test_a_loss_far_above_guessing_counts_as_exploded(trainer, monkeypatch):
    monkeypatch.setattr(sft, "EXPLODED_TIMES_CHANCE", 1.0)
    with pytest.raises(TrainingError, match=r"the loss of step 1 .* is 6\.\d+, above 5\.\d+, 1 times that of guessing"):
        trainer()()


def test_a_frame_that_makes_the_loss_no_number_is_named(trainer, llava_next):
    """One damaged feature file with a good checksum: as a frame of the wrong kind would give."""
    train = trainer()
    train()
    shutil.rmtree(train.place().path)
    file = next(Path(os.environ["SELU_FEATURE_CACHE"]).rglob("*.bin"))
    file.write_bytes(_pack(torch.full_like(_unpack(file.read_bytes()), float("nan"))))
    with pytest.raises(TrainingError, match=r"is nan, no number; the batch holds actor.jsonl:\d+") as error:
        train()
    assert "no checkpoint was due yet" in str(error.value)


def test_an_empty_dataset_is_refused_with_what_to_look_at(trainer):
    train = trainer()
    write_dataset(train.run.dataset(1, "actor"), [])
    with pytest.raises(TrainingError, match=r"actor\.jsonl: no samples to learn from; look at card\.json"):
        train()


def test_a_missing_dataset_and_a_broken_line_are_named(trainer):
    train = trainer()
    file = train.run.dataset(1, "actor")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:4], '{"prompt": 1}']))
    with pytest.raises(TrainingError, match=r"actor\.jsonl:5: not a sample"):
        train()
    file.unlink()
    with pytest.raises(TrainingError, match="no such dataset"):
        train()


def test_a_missing_frame_is_named(trainer):
    class Broken(DrawnFrames):
        def read(self, ref):
            if (ref.episode, ref.step) == (2, 3):
                raise IndexError("index 3 is out of bounds")
            return super().read(ref)

    with pytest.raises(TrainingError, match=r"frame .*episodes\.zarr episode 2 step 3 first_person cannot be read"):
        trainer()(frames=Broken(64, 64))


def test_a_sample_longer_than_the_model_reads_is_named(trainer):
    train = trainer()
    file = train.run.dataset(1, "actor")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[2]["prompt"] = "apple " * 600
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(TrainingError, match=r"actor\.jsonl:3: \d+ tokens, more than the model's 512"):
        train()


@pytest.mark.parametrize(("limit", "warns"), [(1, True), (64, False)])
def test_answers_longer_than_the_model_may_say_are_told_of(trainer, caplog, limit, warns):
    trainer(**{"model.max_new_tokens": limit})()
    told = [record.getMessage() for record in caplog.records if "lets it say 1: set that to" in record.getMessage()]
    assert bool(told) == warns


def test_an_adapter_of_another_base_is_refused(trainer, qwen2_vl):
    train, other = trainer(folder="one"), trainer(qwen2_vl, folder="other")
    train()
    with pytest.raises(TrainingError, match=r"was trained on base .*llava_next.*not on .*qwen2_vl"):
        other(start=train.place().path / "adapter")


def test_an_adapter_of_another_rank_is_refused_even_without_our_note(trainer):
    train, other = trainer(folder="one"), trainer(folder="other", **{"model.lora_rank": 2})
    train()
    folder = train.place().path / "adapter"
    with pytest.raises(TrainingError, match="belongs to another base, rank or lora_targets"):
        other(start=folder)
    (folder / "base.json").unlink()
    with pytest.raises(TrainingError, match="belongs to another base, rank or lora_targets"):
        other(start=folder)


def test_an_adapter_folder_without_weights_is_refused(trainer, tmp_path):
    with pytest.raises(TrainingError, match=r"cannot read adapter_model\.safetensors"):
        trainer()(start=tmp_path)


def test_lora_targets_that_match_nothing_list_the_layers_there_are(trainer):
    with pytest.raises(ModelError, match=r"matches no layer of LlavaNext.*q_proj"):
        trainer(**{"model.lora_targets": "nothing"})()


def test_float16_is_refused(trainer):
    with pytest.raises(TrainingError, match="float16"):
        trainer(**{"model.dtype": "float16"})()


def test_tensorboard_shows_each_step_once_after_a_resume(trainer):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train = trainer()
    with pytest.raises(sft.Stopped):
        train(**stopping_after(3))
    train()
    events = EventAccumulator(str(train.place().path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        f"train/{t}" for t in ("loss", "learning_rate", "gradient_norm", "tokens_per_s")
    }
    shown = events.Scalars("train/loss")
    assert [event.step for event in shown] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in shown] == pytest.approx(losses(train.place()))


def test_the_rate_rises_then_follows_a_cosine_to_nothing():
    rates = [sft.learning_rate(step, total=100, peak=1.0, warmup_fraction=0.1) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 0.001
    assert sft.learning_rate(1, total=1, peak=1.0, warmup_fraction=0.0) == 1.0
