"""Pre-training: killed and resumed it ends at the same weights, and what is frozen stays as it is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selu_hpc.models.pocket.build import pack
from selu_hpc.models.pocket.lessons.data import draw_perception
from selu_hpc.models.pocket.lessons.shards import open_all
from selu_hpc.models.pocket.model import LlavaForConditionalGeneration, build_tokenizer
from selu_hpc.models.pocket.teaching import train
from selu_hpc.models.pocket.teaching.align import visual_words
from selu_hpc.models.pocket.teaching.feeder import recolour
from selu_hpc.models.pocket.teaching.optim import Muon
from selu_hpc.models.pocket.teaching.train import Recipe, Teacher

RECIPE = Recipe(steps=6, tower_share=0.5, tower_batch=4, batch=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "held_out"):
        draw_perception(folder / split, split=split, number=0, pictures=24)
    return folder


@pytest.fixture(autouse=True)
def brief_alignment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "ALIGNING_STEPS", 4)


def taught(data: Path, out: Path, *, stops: tuple[int, ...] = ()) -> Teacher:
    """A run to its end, killed after each of some steps."""
    for stop in (*stops, RECIPE.steps):
        teacher = Teacher(RECIPE, data, out)
        teacher.resume()
        while teacher.step < stop:
            teacher._one_step()
            teacher.step += 1
        teacher.save()
    return teacher


def test_a_killed_run_ends_at_the_weights_of_an_undisturbed_one(data, tmp_path):
    whole = taught(data, tmp_path / "whole")
    pieces = taught(data, tmp_path / "pieces", stops=(2, 5))
    assert whole.mean.keys() == pieces.mean.keys()
    for name, value in whole.mean.items():
        torch.testing.assert_close(pieces.mean[name], value, rtol=0, atol=0, msg=name)


def test_the_tower_stands_still_while_the_language_model_learns(data, tmp_path):
    teacher = taught(data, tmp_path, stops=(4,))
    [now, later] = [
        torch.load(file, weights_only=False)["taught"] if file else teacher.taught.state_dict()
        for file in (None, tmp_path / "checkpoint.pt")
    ]
    fresh = Teacher(RECIPE, data, tmp_path)
    fresh.resume()
    before = {name: value.clone() for name, value in fresh.taught.state_dict().items()}
    fresh._one_step()
    after = fresh.taught.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved
    assert not [name for name in moved if "vision_tower" in name]
    assert all(torch.equal(now[name], later[name]) for name in now)


def test_the_average_follows_the_words_embeddings_under_both_their_names(data, tmp_path):
    teacher = taught(data, tmp_path)
    into, out_of = (teacher.mean[f"model.{name}.weight"] for name in ("model.language_model.embed_tokens", "lm_head"))
    torch.testing.assert_close(into, out_of, rtol=0, atol=0)


def test_a_packed_model_is_loaded_again_with_its_papers(data, tmp_path):
    teacher = taught(data, tmp_path / "run")
    papers = pack(teacher, tmp_path / "packed", pictures=8, notes=["a test"])
    from selu_hpc.models.backbone import load_processor

    model = LlavaForConditionalGeneration.from_pretrained(tmp_path / "packed", dtype=torch.float32)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(model.state_dict()[name], teacher.mean[f"model.{name}"], rtol=1e-3, atol=1e-3)
    assert load_processor(tmp_path / "packed").image_token == "<image>"
    assert papers["notes"] == ["a test"]
    assert {row[1] for row in papers["data"]["rows"]} == {"known"}


def test_muon_neither_moves_nor_decays_what_has_no_gradient():
    moved, still = (torch.nn.Parameter(torch.eye(4)) for _ in range(2))
    muon = Muon([moved, still])
    for parameter in (moved, still):
        parameter.grad = torch.ones(4, 4)
    muon.step(0.1, decay=0.1)
    held = still.detach().clone()
    moved.grad, still.grad = torch.ones(4, 4), None
    muon.step(0.1, decay=0.1)
    assert torch.equal(still, held)
    assert not torch.equal(moved, held)


def test_muons_update_has_nearly_equal_singular_values():
    parameter = torch.nn.Parameter(torch.zeros(16, 32))
    parameter.grad = torch.randn(16, 32, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 0, 32)
    Muon([parameter]).step(1.0, decay=0.0)
    singular = torch.linalg.svdvals(parameter.detach())
    assert singular.min() > 0.4
    assert singular.max() < 1.6


def test_a_patchs_words_are_its_class_and_its_states(data):
    shard = open_all(data / "train")[0]
    embedding = torch.eye(1024)
    classes, yes, no = visual_words(embedding, shard)
    tokenizer = build_tokenizer()
    fridge = classes[shard.classes.index("Fridge")]
    assert fridge.argmax() == tokenizer.convert_tokens_to_ids("fridge")
    place = shard.states.index("open")
    assert (yes[place].argmax(), no[place].argmax()) == tuple(tokenizer.convert_tokens_to_ids(["open", "closed"]))


def test_recolouring_keeps_pictures_pictures():
    import numpy as np

    pixels = torch.rand(3, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    changed = recolour(pixels, np.random.default_rng(0))
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - pixels).abs().mean() > 0.01


def test_a_packed_tower_stays_while_its_language_model_goes_on_learning(data, tmp_path):
    pack(taught(data, tmp_path / "run"), tmp_path / "packed", pictures=8)
    teacher = Teacher(replace(RECIPE, tower_share=0.0), data, tmp_path / "on")
    teacher.take_over(tmp_path / "packed")
    before = {name: value.clone() for name, value in teacher.taught.state_dict().items()}
    losses = teacher._one_step()
    assert losses["pointing"] > 0
    moved = {name for name, value in teacher.taught.state_dict().items() if not torch.equal(value, before[name])}
    assert any("language_model" in name for name in moved)
    assert not [name for name in moved if "vision_tower" in name]


def told(*words: str) -> tuple[int, str]:
    module = "" if words[0].startswith("--") else f".{words[0]}"
    line = [sys.executable, "-m", f"selu_hpc.models.pocket{module}", *(words[1:] if module else words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_lessons_that_are_not_there_are_told_with_what_draws_them(tmp_path):
    for words in (["--out", f"{tmp_path}/x", "--pack"], ["teaching.train", "--data", "nope", "--out", f"{tmp_path}/x"]):
        code, error = told(*words)
        assert code == 1
        assert "train: no lessons in it; `python -m selu_hpc.models.pocket --out FOLDER` without --pack draws" in error


def test_what_was_never_taught_is_not_packed(data, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data").symlink_to(data)
    code, error = told("--out", f"{tmp_path}/x", "--work", f"{tmp_path}/work", "--pack")
    assert (code, "checkpoints: no checkpoint to pack; leave out --pack to teach" in error) == (1, True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("lessons", ["data", "episodes", "homes"])
def test_no_lessons_at_all_are_refused(lessons, tmp_path):
    code, error = told(f"lessons.{lessons}", "--out", str(tmp_path), "--shards", "0")
    assert (code, "argument --shards: found 0; give a number from 1 on" in error) == (2, True)
