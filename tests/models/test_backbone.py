"""Where a base is looked for, and what is said of one that is nowhere, incomplete, damaged or of a kind that is not
fed all it reads."""

import json
import re
import shutil

import numpy as np
import pytest
import tiny_models
import torch
from families import qwen2_5_vl, qwen2_vl
from safetensors.torch import load_file, save_file
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models.backbone import find, load, load_processor
from selu_hpc.models.chat import Chat


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {
        "llava": tiny_models.llava_next(folder / "llava"),
        "qwen": qwen2_vl(folder / "qwen"),
        "qwen2_5": qwen2_5_vl(folder / "qwen2_5"),
    }


@pytest.fixture
def llava(bases, tmp_path):
    return shutil.copytree(bases["llava"], tmp_path / "llava")


def begin(base):
    """What a job does first with a base."""
    _, processor = load(ModelConfig(base=str(base)))
    return Chat(processor)


def asked(base):
    """A question with a picture, as the model gets it."""
    return Chat(load_processor(base)).encode("is the apple red?", [np.full((64, 64, 3), 7, np.uint8)])


def change_json(file, **changes):
    found = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({name: value for name, value in {**found, **changes}.items() if value is not None}))


def change_weights(base, change):
    file = base / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def test_a_folder_that_is_not_there_may_be_one_the_image_does_not_show(tmp_path):
    with pytest.raises(ModelError, match=r"no such folder; .*in an image: one that the site's `mounts:` show"):
        find(str(tmp_path / "models"))


def test_a_hub_id_that_is_not_in_the_cache_is_refused_with_the_cache_that_was_looked_in(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=f"in the hub cache {tmp_path} .*where jobs get their environment too"):
        find("lab/no-such-model")


def test_a_hub_id_that_came_half_is_fetched_by_its_id_and_a_folder_into_itself(tmp_path, monkeypatch):
    half = tmp_path / "models--lab--half" / "snapshots" / "abc"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{}")
    (half.parents[1] / "refs").mkdir()
    (half.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"lacks .*model\.safetensors; on a login node run `hf download lab/half`, which"
    ):
        find("lab/half")
    with pytest.raises(ModelError, match=f"`hf download HUB_ID --local-dir {half}`"):
        find(str(half))


@pytest.mark.parametrize(
    ("family", "gone", "told"),
    [
        ("llava", "tokenizer.json", r"lacks tokenizer\.json or tokenizer\.model or vocab\.json; on a login node"),
        ("llava", "tokenizer_config.json", r"lacks tokenizer_config\.json; on a login node"),
        ("llava", "chat_template.jinja", r"llava: no usable chat template .*fetch the base's chat_template\.jinja"),
        ("llava", "processor_config.json", r"lacks processor_config\.json or preprocessor_config\.json; on a login"),
        ("qwen", "tokenizer.json", r"lacks tokenizer\.json or tokenizer\.model or vocab\.json; on a login node"),
        ("qwen", "tokenizer_config.json", r"lacks tokenizer_config\.json; on a login node"),
        ("qwen", "chat_template.jinja", r"qwen: no usable chat template .*fetch the base's chat_template\.jinja"),
        ("qwen", "model.safetensors", r"lacks model\.safetensors; on a login node"),
    ],
)
def test_a_file_that_a_base_lacks_is_named(bases, tmp_path, family, gone, told):
    base = shutil.copytree(bases[family], tmp_path / family)
    (base / gone).unlink()
    with pytest.raises(ModelError, match=told):
        begin(base)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("model.safetensors", r"cannot read model\.safetensors in .*remove that and on a login node run `hf download"),
        ("chat_template.jinja", r"llava: no usable chat template .*fetch the base's chat_template\.jinja"),
        ("tokenizer.json", r"cannot load .*llava"),
        ("model.safetensors.index.json", r"model\.safetensors\.index\.json: no JSON .*fetch the base again"),
    ],
)
def test_a_file_that_came_half_is_named(llava, file, told):
    (llava / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    data = (llava / file).read_bytes()
    (llava / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=told):
        begin(llava)


def test_weights_that_are_missing_are_not_made_up(llava):
    change_weights(llava, lambda found: {name: value for name, value in found.items() if "layers.1.mlp" not in name})
    with pytest.raises(ModelError, match=r"7 weights are not in .*layers\.1\.mlp.* and 4 more; they would be random"):
        begin(llava)


def test_weights_under_other_names_are_not_made_up(llava):
    change_weights(llava, lambda found: {f"module.{name}": value for name, value in found.items()})
    with pytest.raises(ModelError, match=r"they would be random: .*under transformers' own names"):
        begin(llava)


def test_weights_of_another_shape_are_not_made_up(llava):
    change_weights(llava, lambda found: {name: value[..., :-1].contiguous() for name, value in found.items()})
    with pytest.raises(ModelError, match=re.escape(str(llava))):
        begin(llava)


def test_a_tied_head_is_not_missing(llava):
    config = json.loads((llava / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (llava / "config.json").write_text(json.dumps(config))
    change_weights(llava, lambda found: {name: value for name, value in found.items() if "lm_head" not in name})
    model, _ = load(ModelConfig(base=str(llava)))
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_a_model_that_reads_of_each_token_what_it_is_not_told_is_refused(llava):
    """Gemma 3 sees all of a picture's tokens at once, by token_type_ids; without them it answers, and otherwise."""
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**words, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 300},
        vision_config={**tower, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=290,
    )
    torch.manual_seed(0)
    Gemma3ForConditionalGeneration(config).save_pretrained(llava)
    with pytest.raises(ModelError, match=r"gemma3 reads token_type_ids for each token, .*silently wrong"):
        begin(llava)


FOR_WORDS = "{% for message in messages %}{{ '<|im_start|>' + message.content + '<|im_end|>' }}{% endfor %}"
"""A template as language models have it: what is said is words there, not a list of words and pictures."""


@pytest.mark.parametrize("tokenizers_own", [None, FOR_WORDS], ids=["none", "for_words"])
def test_the_template_beside_a_processor_goes_before_its_tokenizers(bases, tmp_path, tokenizers_own):
    """Qwen2.5-VL's files on the hub are so: the tokenizer's template is its language model's."""
    base = shutil.copytree(bases["qwen2_5"], tmp_path / "qwen")
    change_json(base / "chat_template.json", chat_template=(base / "chat_template.jinja").read_text())
    (base / "chat_template.jinja").unlink()
    change_json(base / "tokenizer_config.json", chat_template=tokenizers_own)
    assert asked(base) == asked(bases["qwen2_5"])


@pytest.mark.parametrize("family", ["llava", "qwen2_5"])
def test_the_tokenizers_template_serves_where_there_is_no_other(bases, tmp_path, family):
    base = shutil.copytree(bases[family], tmp_path / family)
    change_json(base / "tokenizer_config.json", chat_template=(base / "chat_template.jinja").read_text())
    (base / "chat_template.jinja").unlink()
    assert asked(base) == asked(bases[family])


def test_a_template_that_takes_words_alone_is_no_usable_one(bases, tmp_path):
    base = shutil.copytree(bases["qwen2_5"], tmp_path / "qwen")
    (base / "chat_template.jinja").write_text(FOR_WORDS)
    with pytest.raises(ModelError, match=r"no usable chat template \(can only concatenate str"):
        asked(base)


def test_a_base_that_names_an_image_processor_of_torchvision_is_read_without_it(bases, tmp_path):
    base = shutil.copytree(bases["qwen2_5"], tmp_path / "qwen")
    change_json(base / "preprocessor_config.json", image_processor_type="Qwen2VLImageProcessorFast")
    assert asked(base) == asked(bases["qwen2_5"])
