"""What the built-in VLM is: LLaVA's own transformers classes with a few million parameters, weights shipped beside it.

Owns its architecture, tokenizer and processor and where its files lie. Does not own what it is taught
(lessons/questions.py, lessons/episodes.py), how (teaching/train.py) or how its weights are packed (build.py).
"""

from __future__ import annotations

import logging
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

logger = logging.getLogger(__name__)

IMAGE_SIZE = 96
PATCH_SIZE = 12
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<user>", "<assistant>")
CHAT_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<assistant>' }}"
    "{% else %}{{ '<user>' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;?!'\"()[]{}<>/\\|_-+*=&%$#@~^`"


def weights_folder() -> Path:
    """Where the shipped model lies; until weights are shipped, a randomly initialised one made on the fly."""
    shipped = Path(str(files("selu_hpc.models.pocket"))) / "weights"
    if (shipped / "model.safetensors").is_file():
        return shipped
    return _untrained()


@cache
def _untrained() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pocket-untrained-"))
    logger.warning("no pocket weights are shipped with this package; %s holds random ones", folder)
    save(build_model(seed=0), folder)
    return folder


def save(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Model and processor as any transformers checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    build_processor().save_pretrained(folder)


def words() -> tuple[str, ...]:
    """The domain's vocabulary, one token each, in a fixed order."""
    text = (files("selu_hpc.models.pocket") / "words.txt").read_text(encoding="utf-8")
    return tuple(dict.fromkeys(line for line in text.split() if line))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word of the domain, single letters for any other word; case is not kept."""
    pieces = [*SPECIALS, *_CHARACTERS, *(f"##{c}" for c in _CHARACTERS)]
    known = frozenset(pieces)
    pieces += [word for word in words() if word not in known]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>", "user_token": "<user>", "assistant_token": "<assistant>"},
        padding_side="left",
        model_max_length=2048,
    )


def build_processor() -> Any:
    """LLaVA's processor on our tokenizer and picture size."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    pictures = CLIPImageProcessorPil(
        size=size, crop_size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.25] * 3
    )
    return LlavaProcessor(
        pictures,
        build_tokenizer(),
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_config() -> LlavaConfig:
    """4–5 million parameters: a tower that sees 8×8 patches and a language model of the same width."""
    tokenizer = build_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=6,
        num_attention_heads=6,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=192,
        hidden_act="gelu_pytorch_tanh",
    )
    text = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // PATCH_SIZE) ** 2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_model(*, seed: int) -> LlavaForConditionalGeneration:
    """Random weights, the same for the same seed; leaves torch's own random state alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlavaForConditionalGeneration(build_config()).eval()
