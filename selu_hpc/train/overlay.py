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


DECIDED = frozenset(["lr", "weight_decay", "torch_adam"])
"""Of AdamW's settings, what the recipe says whatever stands here."""


def overlay_mistakes(settings: Mapping[str, Any]) -> Iterator[str]:
    """What in a user's DeepSpeed file fine-tuning would refuse, or break at."""
    for key in sorted(OURS.keys() & settings):
        yield f"says {key}, which {OURS[key]} decides; remove it there"
    objects = {key: settings.get(key, {}) for key in ("optimizer", "zero_optimization")}
    for key in [key for key, value in objects.items() if not isinstance(value, Mapping)]:
        yield f"says {key} is {objects.pop(key)!r}; it is an object in DeepSpeed's settings"
    optimizer, stage = objects.get("optimizer", {}), objects.get("zero_optimization", {}).get("stage", 0)
    kind, given = optimizer.get("type", "AdamW"), optimizer.get("params", {})
    if str(kind).lower() != "adamw":
        yield f"says optimizer.type is {kind!r}; checkpoints hold AdamW's state, so it is AdamW: remove it there"
    if not isinstance(given, Mapping):
        yield f"says optimizer.params is {given!r}; it is an object in DeepSpeed's settings"
    for name in sorted(given.keys() - DECIDED) if isinstance(given, Mapping) else ():
        if given[name] == "auto":
            yield f"says optimizer.params.{name} is 'auto', which only transformers' Trainer fills in; remove it there"
    if type(stage) is not int or not 0 <= stage <= 3:
        yield f"says zero_optimization.stage is {stage!r}; it is a number from 0 to 3"
