import pytest
import torch
from make_run import DrawnFrames, make_samples, tiny_config

from selu_hpc.models.chat import Chat
from selu_hpc.models.vlm import load_backbone
from selu_hpc.records import Sample, View
from selu_hpc.train.data import Dataset, Pictures
from selu_hpc.train.loader import Loader
from selu_hpc.train.order import plan_steps


@pytest.fixture
def dataset(llava_next):
    backbone, processor = load_backbone(tiny_config(llava_next).model)
    chat = Chat(processor)
    samples = [(f"x:{i}", s) for i, s in enumerate(make_samples("store", View.FIRST_PERSON, 10, 3))]
    samples.append(("x:10", Sample(prompt="yes or no?", answer="no", images=(), source="test", verb="look")))
    samples.append(("x:11", Sample(prompt="two", answer="yes", images=samples[0][1].images * 2, source="t", verb="v")))
    pictures = Pictures(DrawnFrames(64, 64), chat, None, None)
    pictures.look([ref for _, sample in samples for ref in sample.images])
    return Dataset(samples, pictures, chat, backbone.config)


def test_only_the_answer_and_its_end_are_targets_and_each_is_predicted_from_the_token_before(dataset):
    batch = dataset.batch(range(12), stand_in=0)
    ids, answers = batch.inputs["input_ids"], batch.answers_bl
    shifted = torch.roll(ids, -1, dims=1)
    assert torch.equal(shifted[answers], batch.targets_a)
    for at, row in enumerate(dataset.rows):
        assert int(answers[at].sum()) == len(row.answer_ids)
        assert tuple(ids[at, : row.length].tolist()) == row.prompt_ids + row.answer_ids
        assert not answers[at, row.length :].any()
    decoded = dataset._chat.tokenizer.decode(dataset.rows[10].answer_ids)
    assert decoded == "no</s>"


def test_rows_are_padded_on_the_right_and_little(dataset):
    batch = dataset.batch([0, 1], stand_in=0)
    longest = max(dataset.rows[row].length for row in (0, 1))
    assert longest <= batch.inputs["input_ids"].shape[1] < longest + 8


def test_a_row_with_no_picture_and_one_with_two_share_a_batch(dataset):
    pixels = dataset.batch([10, 11], stand_in=0).inputs["pixel_values"]
    assert len(pixels) == 2
    assert "pixel_values" not in dataset.batch([10], stand_in=0).inputs


def test_an_empty_micro_batch_is_one_row_that_counts_for_nothing(dataset):
    batch = dataset.batch([], stand_in=3)
    assert (batch.weight, batch.rows, len(batch.inputs["input_ids"])) == (0.0, (), 1)


def test_special_tokens_spelled_in_a_prompt_are_words_not_pictures(dataset):
    chat = dataset._chat
    sample = Sample(prompt="say <image> twice", answer="<image></s>", images=(), source="t", verb="v")
    made = Dataset([("x:0", sample)], dataset.pictures, chat, load_config(dataset))
    assert chat.image_token_id not in made.rows[0].prompt_ids + made.rows[0].answer_ids


def load_config(dataset):
    class Config:
        model_type = "llava_next"

        def get_text_config(self):
            return type("Text", (), {"max_position_embeddings": dataset._longest})()

    return Config()


def steps_of(dataset, batch=4):
    lengths = [row.length for row in dataset.rows]
    return plan_steps(lengths, epochs=1, global_batch=batch, micro_batch=2, seed=0)


def test_the_loader_gives_each_rank_its_share_in_order(dataset):
    steps = steps_of(dataset)
    seen = []
    for rank in range(2):
        with Loader(dataset, steps, rank=rank, world=2, device=torch.device("cpu")) as loader:
            seen.append([(step.number, [batch.rows for batch in batches]) for step, batches in loader])
    assert [[number for number, _ in rank] for rank in seen] == [[1, 2, 3], [1, 2, 3]]
    for step, (_, first), (_, second) in zip(steps, *seen, strict=True):
        assert (*first, *second) == step.micro_batches


def test_an_error_while_assembling_is_raised_where_training_waits(dataset, monkeypatch):
    def broken(rows, *, stand_in):
        raise RuntimeError("no more frames")

    monkeypatch.setattr(dataset, "batch", broken)
    with (
        pytest.raises(RuntimeError, match="no more frames"),
        Loader(dataset, steps_of(dataset), rank=0, world=1, device=torch.device("cpu")) as loader,
    ):
        list(loader)


def test_leaving_the_loop_early_ends_the_thread(dataset):
    with Loader(dataset, steps_of(dataset) * 20, rank=0, world=1, device=torch.device("cpu")) as loader:
        next(iter(loader))
    assert not loader._thread.is_alive()
