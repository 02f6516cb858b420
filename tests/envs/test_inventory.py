"""Looking up what a scene of a Unity build makes feasible, in a pool that may fail."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from selu_hpc.config import Backend, EnvConfig
from selu_hpc.envs import inventory
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.errors import SimulatorError


def test_a_look_up_after_a_failed_one_has_a_pool_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(inventory, "EnvironmentPool", partial(EnvironmentPool, factory="scripted:make"))
    config = EnvConfig(backend=Backend.CLOUD_RENDERING, unity_releases=str(tmp_path), max_restarts=0)
    with pytest.raises(SimulatorError, match="failed 1 times"):
        inventory.look(config, "always raise").goals("open")
    assert inventory.look(config, "FloorPlan1").goals("open") == []
    assert len(list(tmp_path.glob("selu-envs-*"))) == 1
    source = inventory._source(inventory._what_matters(config))
    assert isinstance(source, inventory.PoolSurvey)
    source.close()
    assert list(tmp_path.glob("selu-envs-*")) == []
