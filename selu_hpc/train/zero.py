"""DeepSpeed around the model: its JSON, its start without compiling anything, and its state independent of ranks.

Owns what differs between ZeRO stages; the training loop sees one `Engine`. Weights and moments go in and out as whole
fp32 tensors by name, so a checkpoint made with one stage and number of ranks continues with any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selu_hpc.config import FinetuneConfig
from selu_hpc.errors import ConfigError, TrainingError
from selu_hpc.train.adapter import trainable
from selu_hpc.train.overlay import overlay_mistakes

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "deepspeed"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class TrainState:
    """All that training changes: LoRA matrices and Adam's moments in fp32, whole, by name; steps done."""

    weights: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    adam_steps: int


def deepspeed_config(
    settings: FinetuneConfig, *, dtype: str, world: int, micro_batch: int, learning_rate: float
) -> dict[str, Any]:
    """What `deepspeed.initialize` is given: the stage's JSON, the user's over it, and what the recipe decides."""
    user = _read(Path(settings.deepspeed)) if settings.deepspeed else {}
    for what in overlay_mistakes(user):
        raise ConfigError(f"finetune.deepspeed {settings.deepspeed!r} {what}")
    # in bf16 stage 0 keeps no fp32 masters, so that weights drift, and 1 adds micro-batches up in bf16
    least = 2 if dtype == "bfloat16" else 0
    config = _lay(_read(FOLDER / f"zero{max(least, settings.zero_stage)}.json"), user)
    config["zero_optimization"]["stage"] = max(least, config["zero_optimization"]["stage"])
    if dtype == "bfloat16":  # the sum of micro-batches, which would lose the small ones
        config = _lay({"data_types": {"grad_accum_dtype": "fp32"}}, config)
    params = config.setdefault("optimizer", {"type": "AdamW", "params": {}}).setdefault("params", {})
    params.update(lr=learning_rate, weight_decay=settings.weight_decay, torch_adam=True)
    return {
        **config,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": settings.global_batch // micro_batch // world,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": dtype == "bfloat16"},
        "steps_per_print": 1 << 60,
        "zero_force_ds_cpu_optimizer": False,
    }


def check_dtype(dtype: str, device: torch.device) -> None:
    if dtype == "float16":
        raise TrainingError(
            "model.dtype float16: fine-tuning is done in bfloat16 or float32 only (float16 needs loss scaling, whose "
            "state would make a resumed run differ); set model.dtype to one of them"
        )
    if dtype == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise TrainingError(
            f"model.dtype bfloat16: {torch.cuda.get_device_name(device)} has no bfloat16; set model.dtype: float32, "
            "or use a site partition with newer GPUs"
        )


class Engine:
    """A DeepSpeed engine, the same to the loop in every stage."""

    def __init__(self, model: Any, config: Mapping[str, Any]) -> None:
        import deepspeed
        from deepspeed.utils import logger as deepspeed_logger

        deepspeed_logger.setLevel("WARNING")
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it compiles for 40 s, even for gloo
        self.model = model
        self._params = trainable(model)
        if config["zero_optimization"]["stage"] == 3:
            share_out(model, config)
        self.engine, *_ = deepspeed.initialize(
            model=model, model_parameters=list(self._params.values()), config=dict(config), dist_init_required=False
        )
        self.stage: int = self.engine.zero_optimization_stage()

    def set_learning_rate(self, rate: float) -> None:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate

    def step(self) -> float:
        """Update the weights; returns the gradient's norm before clipping."""
        if self.stage:
            self.engine.step()
            return float(self.engine.get_global_grad_norm())
        grads = [param.grad for param in self._params.values() if param.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(grads))  # stage 0 clips, but does not tell
        self.engine.step()
        return norm

    def state(self) -> TrainState:
        """Gather on every rank; collective."""
        weights: dict[str, Tensor] = {}
        moments: dict[str, dict[str, Tensor]] = {name: {} for name in MOMENTS}
        for name, param in self._params.items():
            weights[name] = self._get(param, None)
            for moment in MOMENTS:
                moments[moment][name] = self._get(param, moment)
        return TrainState(weights, moments, self._adam_steps())

    def weights(self) -> dict[str, Tensor]:
        """The LoRA matrices in fp32, whole; collective."""
        return {name: self._get(param, None) for name, param in self._params.items()}

    def set_state(self, state: TrainState) -> None:
        """Put masters and moments in place; the model itself must hold the same weights already."""
        self.set_weights(state.weights)
        if not state.adam_steps:
            return
        inner = self._inner
        for flat in self._flat_masters():
            inner.state[flat] = {
                "step": torch.tensor(float(state.adam_steps)),
                **{moment: torch.zeros_like(flat) for moment in MOMENTS},
            }
        if self.stage in (1, 2):
            self.engine.optimizer._lazy_init_hp_params_optimizer_state()
        for moment, values in state.moments.items():
            for name, param in self._params.items():
                self._set(param, values[name], moment)

    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Give the masters their fp32 values, which the model's own dtype may not hold."""
        for name, param in self._params.items():
            self._set(param, weights[name], None)

    def close(self) -> None:
        self.engine.destroy()

    @property
    def _inner(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = self.engine.optimizer if not self.stage else self.engine.optimizer.optimizer
        return found

    def _flat_masters(self) -> list[Tensor]:
        """What Adam's state is kept for on this rank; stage 3 shows its optimiser these only during a step."""
        if self.stage == 3:
            return list(self.engine.optimizer.fp32_partitioned_groups_flat)
        return [flat for group in self._inner.param_groups for flat in group["params"]]

    def _adam_steps(self) -> int:
        steps = [int(state["step"]) for state in self._inner.state.values() if "step" in state]
        return max(steps, default=0)

    def _get(self, param: torch.nn.Parameter, moment: str | None) -> Tensor:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if not self.stage:
            value = param if moment is None else self._inner.state[param][moment]
        elif moment is None:
            value = safe_get_full_fp32_param(param)
        else:
            value = safe_get_full_optimizer_state(param, moment)
        return value.detach().float().cpu().clone()

    def _set(self, param: torch.nn.Parameter, value: Tensor, moment: str | None) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        value = value.to(self.engine.device)
        if not self.stage:
            target = param if moment is None else self._inner.state[param][moment]
            target.data.copy_(value)
        elif moment is None:
            safe_set_full_fp32_param(param, value)
        else:
            safe_set_full_optimizer_state(param, value, moment)


def share_out(model: Any, config: Mapping[str, Any]) -> None:
    """Leave each rank its share of every parameter, one after the other: `deepspeed.initialize` moves a whole model to
    the device before it does so, where a base that needs ZeRO 3 has no room."""
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    accelerator = get_accelerator()
    deepspeed.init_distributed(accelerator.communication_backend_name(), dist_init_required=False)
    if config["bf16"]["enabled"]:  # what `initialize` does too, but not to shares
        for param in model.parameters():
            param.data = param.data.to(torch.bfloat16)
    deepspeed.zero.Init(module=model, config_dict_or_path=dict(config))
    for buffer in model.buffers():
        buffer.data = buffer.data.to(accelerator.current_device_name())


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: cannot read the DeepSpeed settings ({error}); set finetune.deepspeed to a JSON file, or restore "
            "configs/deepspeed/ beside the package"
        ) from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: found a {type(loaded).__name__} at the top; DeepSpeed's settings are an object")
    return loaded


def _lay(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(under)
    for key, value in over.items():
        below = laid.get(key)
        laid[key] = _lay(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return laid
