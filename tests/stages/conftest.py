"""A run whose simulator is the toy home and whose model is the toy model; everything between them is real."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_home

from selu_hpc.config import RunConfig
from selu_hpc.envs import pool, tasks
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.stages import entry, evaluate, models, testset
from selu_hpc.store import truth

REAL_POOL = pool.EnvironmentPool
SMALL = [
    "rounds=2",
    "env.verbs=[open, break, pick up]",
    f"env.width={toy_home.SIZE}",
    f"env.height={toy_home.SIZE}",
    "env.horizon=4",
    "rollout.num_shards=2",
    "rollout.episodes_per_shard=14",
    "rollout.num_slots=5",
    "evaluate.num_shards=2",
    "evaluate.critic_episodes=12",
    "evaluate.actor_episodes=6",
    "evaluate.probe_questions=12",
    "evaluate.bootstrap_samples=50",
]


@pytest.fixture
def toy_model(monkeypatch: pytest.MonkeyPatch) -> toy_home.ToyModel:
    model = toy_home.ToyModel(misjudged=["open"], mistaken={"Mug": "Vase", "Fridge": "Cabinet"})
    monkeypatch.setattr(models, "load_generator", lambda config, *, adapters: model)
    return model


@pytest.fixture(autouse=True)
def _toy_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(testset, "FACTORY", "toy_home:make_scripted")
    monkeypatch.setattr(tasks, "look_by_simulator", toy_home.look)
    for module in (pool, testset, evaluate):
        monkeypatch.setattr(module, "EnvironmentPool", toy_home.ToyPool)


@pytest.fixture
def real_pool(_toy_simulator: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool with its processes after all."""
    monkeypatch.setenv("PYTHONPATH", str(Path(toy_home.__file__).parent), prepend=os.pathsep)
    monkeypatch.setitem(REAL_POOL.__init__.__kwdefaults__, "factory", "toy_home:make")
    for module in (pool, testset, evaluate):
        monkeypatch.setattr(module, "EnvironmentPool", REAL_POOL)


@pytest.fixture
def toy_config() -> RunConfig:
    return load_recipe("selu", SMALL)


@pytest.fixture
def toy_run(unkind_path: Path, toy_config: RunConfig) -> RunDir:
    run, _ = open_run(unkind_path / "run", toy_config)
    return run


@pytest.fixture
def do(toy_run: RunDir) -> Callable[..., None]:
    """`do(Stage.LABEL, 1, 0)`: a shard of a stage as in a process of its own, where nothing is forbidden at first."""

    def one(stage: Stage, round_id: int, shard: int = 0, *, attempt: int = 0, run: RunDir = toy_run) -> None:
        before = dict(truth._forbidden)
        try:
            module = importlib.import_module(entry.MODULES[stage])
            module.run(run=str(run.path), round_id=round_id, shard=shard, attempt=attempt)
        finally:
            truth._forbidden.clear()
            truth._forbidden.update(before)

    return one
