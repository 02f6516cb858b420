"""In-process generation: an answer depends on its own request only, and a shared prefix is read once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models import prefix
from selu_hpc.models.backbone import load
from selu_hpc.models.chat import stack_images
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.merged import MergedModel
from selu_hpc.models.prefix import Prefix, PrefixCache, bucket
from selu_hpc.models.vlm import Generator, Request, load_generator


@pytest.fixture
def generator(pocket_config: ModelConfig, adapters: dict[str, Path]) -> LocalGenerator:
    return LocalGenerator.load(pocket_config, adapters=adapters)


def fresh(config: ModelConfig, adapters: dict[str, Path]) -> Generator:
    return load_generator(config, adapters=adapters)


def test_a_greedy_answer_is_bit_identical_alone_and_among_others(generator, pocket_config, adapters, ask):
    requests = ask(7)
    among = generator.generate(requests, adapter="actor")
    alone = [fresh(pocket_config, adapters).generate([request], adapter="actor")[0] for request in requests[:3]]
    assert alone == among[:3]
    reversed_order = fresh(pocket_config, adapters).generate(requests[::-1], adapter="actor")[::-1]
    assert reversed_order == among


def test_a_prompt_that_fills_its_bucket_is_bit_identical_alone_and_among_others(generator, ask):
    """A batch without padding would take another path through attention than one with some."""
    [short, *_, shown] = ask(5)
    length = len(generator.chat.encode("", shown.images).prompt_ids)
    words = [replace(shown, prompt="yes " * count) for count in range(20, 40)]
    full = [r for r in words if (len(generator.chat.encode(r.prompt, r.images).prompt_ids) - length + 1) % 32 == 0]
    assert full
    for request in full:
        assert generator.generate([short, request], adapter=None)[1:] == generator.generate([request], adapter=None)


def test_log_probabilities_are_bit_identical_alone_and_among_others(generator, pocket_config, adapters, ask):
    requests, answers = ask(5), ["yes", "no", "the fridge", "done", "go to the counter top"]
    among = generator.logprobs(requests, answers, adapter="critic")
    other = fresh(pocket_config, adapters)
    alone = [other.logprobs([r], [a], adapter="critic")[0] for r, a in zip(requests, answers, strict=True)]
    assert alone == among


def test_questions_over_one_picture_read_it_once_and_answer_as_if_asked_alone(generator, pocket_config, adapters, ask):
    [shown] = ask(1)
    questions = [
        replace(shown, prompt=words) for words in ("is it open?", "what do you see here?", "where is the mug?")
    ]
    together = generator.generate(questions, adapter="critic")
    assert generator._prefixes.num_computed == 1
    later = generator.generate(questions[:1], adapter="critic")
    assert generator._prefixes.num_computed == 1
    alone = fresh(pocket_config, adapters).generate(questions[2:], adapter="critic")
    assert (later, alone) == (together[:1], together[2:])


def test_fresh_pictures_that_are_asked_questions_of_two_lengths_are_read_in_one_pass(
    generator, pocket_config, adapters, ask, monkeypatch
):
    size = pocket_config.batch_size
    short = ask(size)
    mixed = [replace(one, prompt=one.prompt * (1 + 5 * (place % 2))) for place, one in enumerate(short)]
    passes, plain = [], generator.forwards.prefix
    monkeypatch.setattr(generator.forwards, "prefix", lambda batch: passes.append(len(batch)) or plain(batch))
    said = generator.generate(mixed, adapter="actor")
    assert passes == [size]
    other = fresh(pocket_config, adapters)
    assert said == [other.generate([one], adapter="actor")[0] for one in mixed]


def test_kept_pictures_may_take_a_fifth_of_what_a_gpu_has_free_and_no_less_than_on_a_cpu(monkeypatch):
    on_a_cpu = prefix.budget_bytes()
    monkeypatch.setattr(prefix, "has_gpu", lambda: True)
    for free, expected in ((25 << 30, 5 << 30), (1 << 30, on_a_cpu)):
        monkeypatch.setattr(prefix.torch.cuda, "mem_get_info", lambda free=free: (free, 40 << 30))
        assert prefix.budget_bytes() == expected


def test_a_shared_prefix_gives_the_plain_models_own_answer(generator, ask):
    import torch

    request = ask(4)[3]
    encoded = generator.chat.encode(request.prompt, request.images)
    pixels = encoded.images[0].tensors["pixel_values"]
    ids = torch.tensor([encoded.prompt_ids])
    with torch.inference_mode(), generator.model.disable_adapter():
        said = generator.model.generate(input_ids=ids, pixel_values=pixels, do_sample=False, max_new_tokens=5)
    expected = generator.chat.decode(said[0, ids.shape[1] :].tolist())
    assert generator.generate([request], adapter=None)[0].text == expected


def test_adapters_by_name_differ_and_none_is_the_base(generator, pocket_config, ask):
    requests = ask(3)
    said = {name: generator.generate(requests, adapter=name) for name in ("actor", "critic", None)}
    assert said["actor"] != said["critic"] != said[None] != said["actor"]
    assert fresh(pocket_config, {}).generate(requests, adapter=None) == said[None]


def test_one_batch_may_mix_adapters(generator, ask):
    requests = ask(4)
    names = ["actor", None, "critic", "actor"]
    mixed = generator.generate(requests, adapter=names)
    for request, name, answer in zip(requests, names, mixed, strict=True):
        alone = generator.generate([request], adapter=name)[0]
        assert answer.text == alone.text
        assert answer.logprob == pytest.approx(alone.logprob, abs=1e-4)


def test_a_sampled_answer_follows_its_own_seed(generator, ask):
    requests = ask(4)
    said = generator.generate(requests, adapter="actor", temperature=1.0, seeds=[1, 2, 3, 4])
    again = generator.generate(requests[::-1], adapter="actor", temperature=1.0, seeds=[4, 3, 2, 1])[::-1]
    other = generator.generate(requests, adapter="actor", temperature=1.0, seeds=[5, 6, 7, 8])
    assert said == again
    assert [a.text for a in said] != [a.text for a in other]


def test_samples_follow_the_models_distribution(generator, ask):
    [request] = ask(1)
    words = ["yes", "no", "fridge", "apple"]
    ids = [generator.chat.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
    bias = dict(zip(ids, (3.0, 2.0, 1.0, 0.0), strict=True))
    found = dict.fromkeys(words, 0)
    original = generator.forwards.forward

    def biased(*args, **kwargs):
        out = original(*args, **kwargs)
        out.logits[:] = -30.0
        for token, value in bias.items():
            out.logits[..., token] = value
        return out

    generator.forwards.forward = biased
    count = 400
    said = generator.generate([request] * count, adapter=None, temperature=1.0, seeds=range(count), max_new_tokens=1)
    for answer in said:
        found[answer.text] += 1
    total = sum(math.exp(value) for value in bias.values())
    for word, value in zip(words, bias.values(), strict=True):
        assert found[word] / count == pytest.approx(math.exp(value) / total, abs=0.07)


def test_logprobs_of_what_was_generated_agree_with_generation(generator, ask):
    requests = ask(3)
    stop = generator.chat.tokenizer.eos_token_id
    original = generator.forwards.forward

    def soon_done(*args, **kwargs):
        out = original(*args, **kwargs)
        out.logits[..., stop] += 3.0
        return out

    generator.forwards.forward = soon_done
    answers = generator.generate(requests, adapter=None, max_new_tokens=12)
    finished = [
        (r, a)
        for r, a in zip(requests, answers, strict=True)
        if len(generator.chat.answer_ids(a.text)) == a.num_tokens and a.num_tokens < 12
    ]
    values = generator.logprobs([r for r, _ in finished], [a.text for _, a in finished], adapter=None)
    assert values == pytest.approx([a.logprob for _, a in finished], abs=1e-3)


@pytest.mark.parametrize("num_images", [0, 1])
def test_an_answer_may_be_longer_than_the_prompt_it_follows(generator, ask, num_images):
    import torch

    images, answer = ask(1)[0].images[:num_images], "apple " * 70
    encoded = generator.chat.encode("why?", images, answer=answer)
    ids = torch.tensor([encoded.ids])
    with torch.inference_mode(), generator.model.disable_adapter():
        logits = generator.model(input_ids=ids, **stack_images(encoded.images)).logits
    scores = torch.log_softmax(logits[0, :-1].float(), dim=-1).gather(1, ids[0, 1:, None])
    plain = float(scores[-len(encoded.answer_ids) :].sum())
    assert generator.logprobs([Request("why?", images)], [answer], adapter=None) == pytest.approx([plain], rel=1e-4)
    assert generator.choose([Request("why?", images)], [[answer, "no"]], adapter=None) == [1]


def test_choose_takes_the_likeliest(generator, ask):
    requests = ask(3)
    choices = [["yes", "no"], ["no", "yes", "the apple"], ["done"]]
    picked = generator.choose(requests, choices, adapter="critic")
    for request, row, at in zip(requests, choices, picked, strict=True):
        scores = generator.logprobs([request] * len(row), row, adapter="critic")
        assert at == scores.index(max(scores))


def test_rows_may_have_no_one_or_several_pictures(generator, ask):
    (a, *_), (b, *_) = (request.images for request in ask(2))
    requests = [Request("hello", ()), Request("one", (a,)), Request("two", (a, b)), Request("again", (b, a, b))]
    together = generator.generate(requests, adapter="actor")
    assert together == [generator.generate([request], adapter="actor")[0] for request in requests]


def test_prefixes_beyond_the_memory_budget_are_dropped_and_made_again(pocket_config, adapters, ask):
    small = LocalGenerator.load(pocket_config, adapters=adapters)
    small._prefixes = PrefixCache(budget_bytes=1 << 20)
    requests = ask(9)
    said = small.generate(requests, adapter="actor")
    assert len(small._prefixes._rows) <= 4
    held = []
    plain = small.forwards.prefix
    small.forwards.prefix = lambda batch: held.append(len(small._prefixes._rows)) or plain(batch)
    small.generate(ask(13)[9:], adapter="actor")
    assert held == [0]  # what has to go for new ones is gone before they are computed
    assert said == LocalGenerator.load(pocket_config, adapters=adapters).generate(requests, adapter="actor")


def test_one_new_prefix_beside_a_batch_that_is_kept_is_copied_alone(pocket_config, ask, monkeypatch):
    """Beside the pass itself, two batches of keys and values are all that memory has to hold."""
    small = LocalGenerator.load(pocket_config, adapters={})
    small._prefixes = PrefixCache(budget_bytes=1)
    size = pocket_config.batch_size
    small.generate(ask(size), adapter=None)
    held, split = [], Prefix.split

    def counted(cache, mask, **rest):
        made = split(cache, mask, **rest)
        held.append(len(small._prefixes._rows) + len(made))
        return made

    monkeypatch.setattr(Prefix, "split", counted)
    small.generate(ask(size, first=1), adapter=None)
    assert held == [size]


def spoil(parameters, part):
    for name, parameter in parameters:
        if part in name:
            parameter.data.fill_(math.nan)


@pytest.mark.parametrize(
    "answer",
    [
        lambda generator, requests, name: generator.generate(requests, adapter=name),
        lambda generator, requests, name: generator.generate(requests, adapter=name, temperature=1.0, seeds=[1, 2]),
        lambda generator, requests, name: generator.logprobs(requests, ["yes", "no"], adapter=name),
        lambda generator, requests, name: generator.choose(requests, [["yes", "no"]] * 2, adapter=name),
    ],
    ids=["greedy", "sampled", "logprobs", "choose"],
)
def test_a_model_whose_logits_are_no_numbers_answers_nothing(pocket_config, adapters, ask, answer):
    generator = LocalGenerator.load(pocket_config, adapters=adapters)
    spoil(generator.model.named_parameters(), "lora_B.actor")
    with pytest.raises(ModelError, match=r"model\.base '.*' with adapter 'actor' gives .* no numbers in float32"):
        answer(generator, ask(2), "actor")
    assert len(answer(generator, ask(2), "critic")) == 2
    base = LocalGenerator.load(pocket_config, adapters={})
    spoil(base.model.named_parameters(), "layers.1.mlp.down_proj")
    with pytest.raises(ModelError, match=r"with no adapter gives .* no numbers in float32"):
        answer(base, ask(2), None)


def test_an_unknown_adapter_is_named_with_those_that_are_loaded(generator, ask):
    with pytest.raises(ModelError, match=r"'judge' is not loaded \(loaded: actor, critic\)"):
        generator.generate(ask(1), adapter="judge")


def test_an_unfinished_adapter_folder_is_refused(pocket_config, tmp_path):
    with pytest.raises(ModelError, match=r"'actor'.*no adapter_config\.json"):
        load_generator(pocket_config, adapters={"actor": tmp_path})


def test_sampling_without_seeds_is_refused(generator, ask):
    with pytest.raises(ValueError, match="seed"):
        generator.generate(ask(1), adapter=None, temperature=0.5)


@pytest.mark.parametrize(("length", "step", "width"), [(0, 8, 0), (1, 8, 8), (64, 8, 64), (65, 8, 96), (257, 32, 384)])
def test_lengths_are_padded_to_few_buckets(length, step, width):
    assert bucket(length, step) == width


def test_an_adapter_in_the_weights_answers_as_beside_them_whoever_spoke_before(generator, pocket_config, adapters, ask):
    requests = ask(4)
    alone = {
        name: fresh(pocket_config, adapters).logprobs(requests, ["yes"] * 4, adapter=name)
        for name in ("actor", "critic", None)
    }
    for name in ("critic", "actor", None, "critic"):
        assert generator.logprobs(requests, ["yes"] * 4, adapter=name) == alone[name]
    mixed = generator.logprobs(requests, ["yes"] * 4, adapter=["actor", None, "critic", "actor"])
    beside = [alone[name][at] for at, name in enumerate(["actor", None, "critic", "actor"])]
    assert mixed == pytest.approx(beside, abs=1e-4)
    assert generator.logprobs(requests, ["yes"] * 4, adapter="actor") == alone["actor"]


def test_a_lora_on_a_head_that_shares_the_words_stays_beside_them(pocket_config):
    """In the weights it would change what the model reads as well."""
    model, _ = load(pocket_config)
    targets = LoraConfig(r=2, target_modules=r".*lm_head", task_type="CAUSAL_LM")
    with pytest.warns(UserWarning, match="a tied layer is part of the adapter"):
        tied = get_peft_model(model, targets, adapter_name="actor")
    assert not MergedModel(tied).possible


def test_what_was_computed_of_pictures_can_be_forgotten(generator, ask):
    (request,) = ask(1)
    generator.generate([request], adapter="actor")
    assert generator.chat._images
    generator.forget()
    assert not generator.chat._images
    assert generator._prefixes.num_computed == 0


def test_a_lora_that_cannot_be_added_up_stays_beside_the_weights(generator, ask):
    said = generator.generate(ask(3), adapter="actor")
    generator.forwards.merged.as_peft()
    generator.forwards.merged.possible = False
    beside = generator.generate(ask(3), adapter="actor")
    assert [answer.text for answer in beside] == [answer.text for answer in said]
