"""LlavaNext, Qwen2-VL, Qwen2.5-VL and Qwen3-VL through the very code the pocket runs through."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selu_hpc.config import ModelConfig
from selu_hpc.models.backbone import load_processor
from selu_hpc.models.chat import Chat, stack_images
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.vlm import Request

sys.path.append(str(Path(__file__).parent))
from conftest import make_adapters
from families import FAMILIES, llava_mistral, llava_next, qwen2_vl


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelConfig, dict[str, Path]]:
    folder = tmp_path_factory.mktemp(request.param)
    FAMILIES[request.param](folder / "base")
    config = ModelConfig(base=str(folder / "base"), batch_size=4, max_new_tokens=4)
    return config, make_adapters(folder / "base", folder)


@pytest.fixture(scope="module")
def generator(family) -> LocalGenerator:
    config, adapters = family
    return LocalGenerator.load(config, adapters=adapters)


def picture(seed: int, height: int, width: int):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


REQUESTS = [
    Request("is the apple red? yes or no", (picture(0, 64, 64),)),
    Request("and what of these two? please say", (picture(1, 40, 90), picture(2, 64, 64))),
    Request("what is the colour of the door", (picture(3, 90, 40),)),
    Request("no picture at all", ()),
]


def with_adapters_beside(generator: LocalGenerator):
    """The peft model, whatever was last added to the base's weights."""
    assert generator.forwards.merged is not None
    return generator.forwards.merged.as_peft()


def test_a_batch_of_different_pictures_answers_as_the_plain_model_does_alone(generator):
    answers = generator.generate(REQUESTS, adapter=None)
    for request, answer in zip(REQUESTS, answers, strict=True):
        encoded = generator.chat.encode(request.prompt, request.images)
        ids = torch.tensor([encoded.prompt_ids])
        tensors = stack_images(encoded.images)
        if "image_grid_thw" in tensors:
            tensors["mm_token_type_ids"] = (ids == generator.chat.image_token_id).int()
        model = with_adapters_beside(generator)
        with torch.inference_mode(), model.disable_adapter():
            model.get_base_model().model.rope_deltas = None
            said = model.generate(input_ids=ids, **tensors, do_sample=False, max_new_tokens=4)
        assert answer.text == generator.chat.decode(said[0, ids.shape[1] :].tolist())


def test_answers_do_not_depend_on_the_batch(family, generator):
    config, adapters = family
    among = generator.generate(REQUESTS, adapter="actor")
    fresh = LocalGenerator.load(config, adapters=adapters)
    assert [fresh.generate([request], adapter="actor")[0] for request in REQUESTS] == among


def test_adapters_change_the_language_model_and_never_the_tower(generator):
    hit = {name for name, _ in with_adapters_beside(generator).named_parameters() if "lora_" in name}
    assert hit
    assert not [name for name in hit if "vision" in name or "visual" in name]
    scores = {name: generator.logprobs(REQUESTS, ["yes"] * 4, adapter=name) for name in ("actor", "critic", None)}
    assert scores["actor"] != scores["critic"] != scores[None]


def test_training_and_generation_share_one_encoding(generator):
    request = REQUESTS[0]
    asked = generator.chat.encode(request.prompt, request.images)
    taught = generator.chat.encode(request.prompt, request.images, answer="green")
    assert taught.prompt_ids == asked.prompt_ids
    assert taught.labels[: len(asked.prompt_ids)] == (-100,) * len(asked.prompt_ids)
    assert generator.chat.decode(taught.answer_ids) == "green"
    assert taught.answer_ids[-1] == generator.chat.tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("make", "answer", "taught"),
    [
        (llava_mistral, "yes", ["▁yes", "</s>"]),
        (llava_mistral, "open the door", ["▁open", "▁the", "▁door", "</s>"]),
        # Its prompt ends with a space that "Ġye" would swallow: no answer can begin so, and "yes" stays apart.
        (llava_next, "yes", ["ye", "s", "</s>"]),
    ],
)
def test_an_answer_is_taught_in_tokens_that_can_follow_the_prompt(make, answer, taught, tmp_path):
    chat = Chat(load_processor(make(tmp_path)))
    asked = chat.encode("is the apple red? yes or no")
    whole = chat.encode("is the apple red? yes or no", answer=answer)
    assert whole.prompt_ids == asked.prompt_ids
    assert chat.tokenizer.convert_ids_to_tokens(list(whole.answer_ids)) == taught


@pytest.mark.parametrize("make", [llava_next, qwen2_vl])
def test_a_special_token_without_a_name_is_words_when_it_is_said(make, tmp_path):
    folder = make(tmp_path)
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text())
    settings.write_text(json.dumps({k: v for k, v in named.items() if k not in ("image_token", "video_token")}))
    chat = Chat(load_processor(folder))
    assert chat.image_token not in chat.tokenizer.all_special_tokens
    added = chat.tokenizer.added_tokens_decoder
    hostile = chat.encode(" ".join(str(token) for token in added.values()), REQUESTS[0].images)
    asked = chat.encode("no harm", REQUESTS[0].images)
    assert [i for i in hostile.prompt_ids if i in added] == [i for i in asked.prompt_ids if i in added]


def test_the_processor_agrees_on_what_a_turn_with_pictures_is(generator):
    """Our expansion of placeholders is the processor's own."""
    from PIL import Image

    request = REQUESTS[1]
    content = [{"type": "image"}] * 2 + [{"type": "text", "text": request.prompt}]
    processor = generator.chat.processor
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    pictures = [Image.fromarray(frame) for frame in request.images]
    made = processor(text=[text], images=[pictures], add_special_tokens=False, return_tensors="pt")
    assert tuple(made["input_ids"][0].tolist()) == generator.chat.encode(request.prompt, request.images).prompt_ids
