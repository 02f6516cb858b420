"""Random-weight checkpoints for the GPU benchmarks: LLaVA-v1.6-Mistral-7B's real shape, and a tiny one for CPUs.

Speed and memory do not depend on the weights' values; nothing is downloaded. Owns the shapes and the FLOP count.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests"), str(ROOT / "tests" / "train")]

PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "A40": 150.0, "A10": 125.0}
"""Dense bf16 on tensor cores, from the makers' data sheets."""
GRID = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def llava_7b(folder: Path) -> Path:
    """llava-hf/llava-v1.6-mistral-7b-hf: CLIP-L/14 at 336, Mistral-7B-v0.2, bf16; 15 GB on disk."""
    from tiny_models import LLAVA_TEMPLATE, SPECIALS, tokenizer
    from transformers import (
        CLIPVisionConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessorPil,
        LlavaNextProcessor,
        MistralConfig,
    )

    words = tokenizer(SPECIALS, pad="<pad>", eos="</s>", bos="<s>", extra={"image_token": "<image>"})
    words.model_max_length = 32768
    pictures = LlavaNextImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, image_grid_pinpoints=GRID
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
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = MistralConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        rope_theta=1e6,
        sliding_window=None,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=GRID,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlavaNextForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    del model
    if device == "cuda":
        torch.cuda.empty_cache()
    return folder


def tiny(folder: Path) -> Path:
    from tiny_models import llava_next

    return llava_next(folder)


SHAPES = {"llava-7b": llava_7b, "tiny": tiny}


@dataclass(frozen=True)
class Flops:
    """Model FLOPs of one fine-tuning step, counted honestly: 4 per frozen parameter and token, 6 per trained one.

    Embeddings count nothing. The head, and the last layer's queries, output and MLP, are computed for the answers'
    tokens only, so they count for those only. Attention's own products and the tower (cached) are left out.
    """

    frozen: int
    trained: int
    answers_only: int

    @classmethod
    def of(cls, model: Any) -> Flops:
        """From a peft model whose tower was taken out."""
        base = model.get_base_model()
        last = base.model.language_model.layers[-1]
        skipped = [last.mlp, last.self_attn.q_proj, last.self_attn.o_proj, base.lm_head]
        answers_only = {id(p): p.numel() for part in skipped for p in part.parameters() if not p.requires_grad}
        embedding = base.get_input_embeddings().weight
        frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad and p is not embedding)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return cls(frozen - sum(answers_only.values()), trained, sum(answers_only.values()))

    def step(self, *, tokens: int, answer_tokens: int) -> float:
        return 4.0 * self.frozen * tokens + 6.0 * self.trained * tokens + 4.0 * self.answers_only * answer_tokens


def peak_tflops(given: float) -> float:
    """The device's peak: as given, by its name, or for a CPU as a large product measures it."""
    if given:
        return given
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        found = next((peak for key, peak in PEAK_TFLOPS.items() if key in name), 0.0)
        if not found:
            raise SystemExit(f"{name}: peak unknown, give --peak-tflops; known: {', '.join(PEAK_TFLOPS)}")
        return found
    from time import perf_counter

    one = torch.randn(1024, 1024)
    times = []
    for _ in range(5):
        begin = perf_counter()
        one @ one
        times.append(perf_counter() - begin)
    return 2 * 1024**3 / min(times) / 1e12


def versions() -> dict[str, str]:
    import deepspeed
    import peft
    import transformers

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "device": device,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "deepspeed": deepspeed.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }
