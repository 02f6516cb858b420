"""Tiny random checkpoints of the Qwen families in the hub's layout, and of LlavaNext with Mistral's words; the plain
LlavaNext is made by tests/tiny_models.py.

Head sizes are multiples of 16, as real models' are: rows of other sizes lie at different alignments in memory, and MKL
gives equal bits for equal alignment only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

sys.path.append(str(Path(__file__).parents[1]))
from tiny_models import CORPUS, QWEN_PADS, QWEN_SPECIALS, QWEN_TEMPLATE, SPECIALS, llava_next, tokenizer

MISTRAL_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %} [/INST]"
    "{% else %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}{% endfor %}"
)

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
}


def llava_mistral(folder: Path) -> Path:
    """LlavaNext with words as LLaVA-v1.6-Mistral's are: SentencePiece's, which puts a space before every text."""
    llava_next(folder)
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    known = [*SPECIALS, "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=200, special_tokens=known, initial_alphabet=list("▁abcdefghijklmnopqrstuvwxyz[]/INST\n?."),
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(CORPUS, trainer)
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, **names, extra_special_tokens={"image_token": "<image>"}, padding_side="left"
    )
    processor.chat_template = processor.tokenizer.chat_template = MISTRAL_TEMPLATE
    processor.save_pretrained(folder)
    return folder


def qwen2_vl(folder: Path) -> Path:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2}
    return _save(folder, Qwen2VLConfig, Qwen2VLForConditionalGeneration, vision, TEXT, "Qwen2VLProcessor", 14)


def qwen2_5_vl(folder: Path) -> Path:
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    return _save(folder, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, vision, TEXT, "Qwen2_5_VLProcessor", 14)


def qwen3_vl(folder: Path) -> Path:
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "deepstack_visual_indexes": [0], "num_position_embeddings": 16,
    }  # fmt: skip
    text = {**TEXT, "head_dim": 16, "rope_parameters": {**TEXT["rope_parameters"], "mrope_interleaved": True}}  # type: ignore[dict-item]
    return _save(folder, Qwen3VLConfig, Qwen3VLForConditionalGeneration, vision, text, "Qwen3VLProcessor", 16)


def _save(
    folder: Path,
    config_class: Any,
    model_class: Any,
    vision: dict[str, Any],
    text: dict[str, Any],
    name: str,
    patch: int,
) -> Path:
    extra = {"image_token": QWEN_PADS[0], "video_token": QWEN_PADS[1]}
    words = tokenizer([*QWEN_SPECIALS, *QWEN_PADS], pad="<|endoftext|>", eos="<|im_end|>", bos=None, extra=extra)
    words.chat_template = QWEN_TEMPLATE
    ids = words.convert_tokens_to_ids
    special = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id}
    config = config_class(
        text_config={**text, **special, "vocab_size": len(words)},
        vision_config=vision,
        image_token_id=ids(QWEN_PADS[0]),
        video_token_id=ids(QWEN_PADS[1]),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    torch.manual_seed(0)
    model = model_class(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(10)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    least = (2 * patch) ** 2
    Qwen2VLImageProcessorPil(
        size={"shortest_edge": least, "longest_edge": 4 * least}, patch_size=patch
    ).save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "processor_class": name}))
    return folder


FAMILIES = {
    "llava_next": llava_next,
    "llava_mistral": llava_mistral,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
}
