"""An adapter's folder is put on its own base, whole, and read in main memory; else it is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models.adapters import note_base, other_base
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.pocket.model import build_model, save

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def actor(adapters: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(adapters["actor"], tmp_path / "actor")


@pytest.fixture
def other_pocket(tmp_path: Path) -> Path:
    folder = tmp_path / "other pocket"
    save(build_model(seed=8), folder)
    return folder


@pytest.mark.parametrize("first", [True, False])
def test_an_adapter_of_another_base_is_refused_though_its_shapes_fit(
    pocket_config, adapters, actor, other_pocket, first
):
    note_base(actor, base="other", base_folder=other_pocket)
    more = {} if first else {"critic": adapters["critic"]}
    with pytest.raises(ModelError, match=r"'actor': .* was trained on base 'other', not on .*; set model\.base to it"):
        LocalGenerator.load(pocket_config, adapters={**more, "actor": actor})
    LocalGenerator.load(pocket_config.but(base=str(other_pocket)), adapters={"actor": actor})


def test_an_adapter_made_elsewhere_has_no_note_and_one_of_this_base_agrees_with_it(actor, pocket_folder, other_pocket):
    assert other_base(actor, pocket_folder) is None
    note_base(actor, base="pocket", base_folder=pocket_folder)
    assert other_base(actor, pocket_folder) is None
    assert other_base(actor, other_pocket) == "'pocket'"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("damage", ["half of it", "other names"])
def test_an_adapter_that_lacks_matrices_is_refused_as_they_would_be_fresh_ones(
    pocket_config, adapters, actor, first, damage
):
    found = load_file(actor / WEIGHTS)
    if damage == "half of it":
        left = {name: tensor for name, tensor in found.items() if ".layers.1." not in name}
    else:
        left = {name.replace("language_model", "text_model"): tensor for name, tensor in found.items()}
    assert left.keys() != found.keys()
    save_file(left, actor / WEIGHTS, metadata={"format": "pt"})
    more = {} if first else {"critic": adapters["critic"]}
    with pytest.raises(ModelError, match=r"'actor': .* does not hold all of this model's matrices.*lora_"):
        LocalGenerator.load(pocket_config, adapters={**more, "actor": actor})


def test_an_adapter_cut_short_is_named(pocket_config, actor):
    (actor / WEIGHTS).write_bytes((actor / WEIGHTS).read_bytes()[:100])
    with pytest.raises(ModelError, match=r"'actor': .* does not fit this base"):
        LocalGenerator.load(pocket_config, adapters={"actor": actor})


def test_layers_for_lora_that_the_base_has_not_are_told_before_anything_is_generated(pocket_config):
    with pytest.raises(ModelError, match=r"'nothing' matches no layer of .*; its linear layers end in .*q_proj"):
        LocalGenerator.load(pocket_config.but(lora_targets="nothing"), adapters={})
    assert LocalGenerator.load(pocket_config.but(lora_targets=".*q_proj"), adapters={}).adapters == ()


def test_an_adapter_is_not_read_by_way_of_a_gpu_that_others_use(
    pocket_config: ModelConfig, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert LocalGenerator.load(pocket_config, adapters=adapters).adapters == ("actor", "critic")
