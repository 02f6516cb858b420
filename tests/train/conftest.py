"""Fixtures of the training tests: tiny bases made once, a feature cache of their own, and one call that trains."""

import sys
from pathlib import Path

import pytest
import tiny_models
from make_run import Trainer, make_run, tiny_config

sys.path.append(str(Path(__file__).parents[1] / "models"))
import families


@pytest.fixture(scope="session")
def llava_next(tmp_path_factory):
    return tiny_models.llava_next(tmp_path_factory.mktemp("llava_next"))


@pytest.fixture(scope="session")
def qwen2_vl(tmp_path_factory):
    return tiny_models.qwen2_vl(tmp_path_factory.mktemp("qwen2_vl"))


@pytest.fixture(scope="session")
def qwen2_5_vl(tmp_path_factory):
    return families.qwen2_5_vl(tmp_path_factory.mktemp("qwen2_5_vl"))


@pytest.fixture(scope="session")
def qwen3_vl(tmp_path_factory):
    return families.qwen3_vl(tmp_path_factory.mktemp("qwen3_vl"))


@pytest.fixture(autouse=True)
def feature_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("features")
    monkeypatch.setenv("SELU_FEATURE_CACHE", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.fixture
def trainer(tmp_path, llava_next):
    def make(base=llava_next, num_samples=24, folder="run", **changes):
        config = tiny_config(base, **changes)
        return Trainer(make_run(tmp_path / folder, config=config, num_samples=num_samples), config)

    return make
