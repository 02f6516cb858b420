"""Where a base is looked for, and what is said of one that is nowhere."""

import pytest

from selu_hpc.errors import ModelError
from selu_hpc.models.backbone import find


def test_a_folder_that_is_not_there_may_be_one_the_image_does_not_show(tmp_path):
    with pytest.raises(ModelError, match=r"no such folder; .*in an image: one that the site's `mounts:` show"):
        find(str(tmp_path / "models"))


def test_a_hub_id_that_is_not_in_the_cache_is_refused_with_the_cache_that_was_looked_in(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=f"in the hub cache {tmp_path} .*where jobs get their environment too"):
        find("lab/no-such-model")


def test_a_hub_id_that_came_half_is_fetched_by_its_id_and_a_folder_into_itself(tmp_path, monkeypatch):
    half = tmp_path / "models--lab--half" / "snapshots" / "abc"
    half.mkdir(parents=True)
    (half / "config.json").write_text("{}")
    (half.parents[1] / "refs").mkdir()
    (half.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"lacks .*model\.safetensors; on a login node run `hf download lab/half`, which"
    ):
        find("lab/half")
    with pytest.raises(ModelError, match=f"`hf download HUB_ID --local-dir {half}`"):
        find(str(half))
