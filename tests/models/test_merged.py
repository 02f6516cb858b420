"""What a merged adapter's weights are, in float32 and below."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from selu_hpc.models.merged import MergedModel


def load(folder: Path, adapters: dict[str, Path], dtype: torch.dtype, *, scale: float) -> MergedModel:
    """The base with these adapters, what they change times `scale`; their matrices stay in float32."""
    base = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
    (first, *others) = adapters
    model = PeftModel.from_pretrained(base, adapters[first], adapter_name=first)
    for name in others:
        model.load_adapter(adapters[name], adapter_name=name)
    for name, param in model.named_parameters():
        if "lora_B" in name:
            param.data *= scale
    return MergedModel(model)


def weights(merged: MergedModel, name: str | None) -> list[torch.Tensor]:
    merged.speak_as(name)
    return [layer.base_layer.weight.clone() for _, _, layer in merged._layers]


def exact(merged: MergedModel, name: str) -> list[torch.Tensor]:
    merged.speak_as(None)
    layers = [layer for _, _, layer in merged._layers]
    return [
        one.base_layer.weight.float().addmm(
            one.lora_B[name].weight.float(), one.lora_A[name].weight.float(), alpha=one.scaling[name]
        )
        for one in layers
    ]


def lengthwise(changes: list[torch.Tensor], along: list[torch.Tensor]) -> float:
    """How much of the one lies along the other, as a share of the other."""
    both = zip(changes, along, strict=True)
    return float(sum((one * two).sum() for one, two in both) / sum((two * two).sum() for two in along))


@pytest.mark.parametrize(("dtype", "scale"), [(torch.bfloat16, 1e-4), (torch.float16, 1e-5)])
def test_a_change_far_below_half_a_step_of_the_grid_is_there_in_the_mean(pocket_folder, adapters, dtype, scale):
    merged = load(pocket_folder, adapters, dtype, scale=scale)
    base = [weight.float() for weight in weights(merged, None)]
    wanted = [total - weight for total, weight in zip(exact(merged, "actor"), base, strict=True)]
    made = [weight.float() - before for weight, before in zip(weights(merged, "actor"), base, strict=True)]
    nearest = [(before + by).to(dtype).float() - before for before, by in zip(base, wanted, strict=True)]
    assert lengthwise(made, wanted) == pytest.approx(1, abs=0.1)
    assert lengthwise(nearest, wanted) < 0.5, "the change is too large to show anything"
    assert max(float((one - two).abs().max()) for one, two in zip(made, wanted, strict=True)) < 0.01


def test_an_adapter_makes_the_same_bytes_whoever_spoke_before_and_whatever_it_is_called(pocket_folder, adapters):
    merged = load(pocket_folder, adapters, torch.bfloat16, scale=1e-3)
    first = weights(merged, "actor")
    weights(merged, "critic")
    merged.as_peft()
    renamed = load(pocket_folder, {"other": adapters["actor"]}, torch.bfloat16, scale=1e-3)
    for again in (weights(merged, "actor"), weights(renamed, "other")):
        assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))


def test_an_adapter_that_changes_nothing_leaves_the_base(pocket_folder, adapters):
    merged = load(pocket_folder, adapters, torch.bfloat16, scale=0.0)
    pairs = zip(weights(merged, None), weights(merged, "actor"), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_in_float32_the_sum_is_the_sum_to_the_last_bit(pocket_folder, adapters):
    merged = load(pocket_folder, adapters, torch.float32, scale=1e-3)
    pairs = zip(exact(merged, "critic"), weights(merged, "critic"), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
