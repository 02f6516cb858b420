"""Tiny random VLMs of the real transformers classes, saved as checkpoints: LlavaNext and Qwen2-VL, offline.

`llava_next(folder)` and `qwen2_vl(folder)` write a folder that `model.base` can name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

CORPUS = (
    "what colour is the apple? what colour is the fridge? what colour is the door? what colour is the cup? please",
    "red green blue yellow yes no pick up open break put the apple into the fridge move ahead rotate left right done",
)
SPECIALS = ["<pad>", "<s>", "</s>", "<image>"]
QWEN_SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
QWEN_PADS = ["<|image_pad|>", "<|video_pad|>"]
LLAVA_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def llava_next(folder: Path, *, seed: int = 0) -> Path:
    """LlavaNext with a 2-layer CLIP tower, 28-pixel crops in a 2×2 grid, and a 2-layer Llama."""
    words = tokenizer(SPECIALS, pad="<pad>", eos="</s>", bos="<s>", extra={"image_token": "<image>"})
    grid = [[28, 56], [56, 28], [56, 56]]
    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        pictures,
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        projection_dim=32,
    )
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(seed)
    _readable(LlavaNextForConditionalGeneration(config)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def qwen2_vl(folder: Path, *, seed: int = 0) -> Path:
    """Qwen2-VL with a 2-layer tower and a 2-layer language model."""
    words = tokenizer(
        [*QWEN_SPECIALS, *QWEN_PADS],
        pad="<|endoftext|>",
        eos="<|im_end|>",
        bos=None,
        extra={"image_token": QWEN_PADS[0], "video_token": QWEN_PADS[1]},
    )
    pictures = Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56})
    words.chat_template = QWEN_TEMPLATE
    ids = words.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(words),
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]},
            "pad_token_id": words.pad_token_id,
            "eos_token_id": words.eos_token_id,
            "bos_token_id": None,
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 48, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=ids(QWEN_PADS[0]),
        video_token_id=ids(QWEN_PADS[1]),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    torch.manual_seed(seed)
    _readable(Qwen2VLForConditionalGeneration(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    pictures.save_pretrained(folder)  # the hub's layout: no processor_config.json, the class is named here
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "processor_class": "Qwen2VLProcessor"}))
    return folder


def tokenizer(
    specials: list[str], *, pad: str, eos: str, bos: str | None, extra: dict[str, str]
) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=pad,
        eos_token=eos,
        bos_token=bos,
        extra_special_tokens=extra,
        padding_side="left",
        model_max_length=512,
    )


def _readable(model: Any) -> Any:
    """A head strong enough that LoRA below it can be sure of a token."""
    with torch.no_grad():
        model.lm_head.weight.mul_(10)
    return model
