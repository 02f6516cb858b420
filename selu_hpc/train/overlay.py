"""What a user's own DeepSpeed file may say over ours. Standard library only: submit refuses a wrong one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OURS = {
    "train_batch_size": "finetune.global_batch",
    "train_micro_batch_size_per_gpu": "finetune.micro_batch",
    "gradient_accumulation_steps": "finetune.global_batch and micro_batch",
    "gradient_clipping": "finetune.max_grad_norm",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "torch_autocast": "model.dtype",
    "amp": "model.dtype",
    "scheduler": "finetune.warmup_fraction",
}
"""What a user's DeepSpeed file may not say, and the setting that does."""


def overlay_mistakes(settings: Mapping[str, Any]) -> Iterator[str]:
    """What in a user's DeepSpeed file fine-tuning would refuse, or break at."""
    for key in sorted(OURS.keys() & settings):
        yield f"says {key}, which {OURS[key]} decides; remove it there"
    objects = {key: settings.get(key, {}) for key in ("optimizer", "zero_optimization")}
    for key in [key for key, value in objects.items() if not isinstance(value, Mapping)]:
        yield f"says {key} is {objects.pop(key)!r}; it is an object in DeepSpeed's settings"
    kind = objects.get("optimizer", {}).get("type", "AdamW")
    if str(kind).lower() != "adamw":
        yield f"says optimizer.type is {kind!r}; checkpoints hold AdamW's state, so it is AdamW: remove it there"
