"""Which GPU draws, by the job's, the client's and Vulkan's ways to count; `nvidia-smi` is a script here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from selu_hpc.config import Backend, EnvConfig
from selu_hpc.envs import gpu
from selu_hpc.envs.gpu import as_client_counts, visible_cuda_indices, why_vulkan_devices_are_idle
from selu_hpc.envs.launch import Launch
from selu_hpc.envs.make import _gpu
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.errors import ConfigError, SimulatorError
from selu_hpc.sim.thor_build import write_release

LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5a2e0b31-1111-2222-3333-444444444444)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-57c0ffee-1111-2222-3333-444444444444)
  MIG 1g.5gb      Device  0: (UUID: MIG-9d1c6f0a-aaaa-bbbb-cccc-dddddddddddd)
"""
CLOUD = EnvConfig(backend=Backend.CLOUD_RENDERING, unity_commit="c" * 40, width=64, height=64)


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    gpu._listed_gpus.cache_clear()
    yield
    gpu._listed_gpus.cache_clear()


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's command, which knows two GPUs and a part of the second."""
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("visible", "indices", "told_to_the_client"),
    [
        ("2,0", [2, 0], [0, 1]),
        ("", [], []),
        ("GPU-57c0ffee-1111-2222-3333-444444444444", [1], [1]),
        ("GPU-57c0,GPU-5a2e", [1, 0], [1, 0]),
        ("MIG-9d1c6f0a-aaaa-bbbb-cccc-dddddddddddd", [1], [1]),
        ("MIG-GPU-57c0ffee-1111-2222-3333-444444444444/7/0", [1], [1]),
    ],
)
@pytest.mark.usefixtures("nvidia_smi")
def test_the_jobs_gpus_are_found_by_number_and_by_name(
    monkeypatch: pytest.MonkeyPatch, visible: str, indices: list[int], told_to_the_client: list[int]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_cuda_indices() == indices
    assert [as_client_counts(index) for index in indices] == told_to_the_client
    assert [_gpu(CLOUD, slot) for slot in range(len(indices))] == indices
    assert _gpu(EnvConfig(), 0) is None


def test_a_gpu_that_nothing_tells_the_number_of_is_refused_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5a2e")
    with pytest.raises(ConfigError, match=r"names GPU-5a2e, .* set CUDA_VISIBLE_DEVICES=0"):
        visible_cuda_indices()
    assert _gpu(EnvConfig(), 0) is None


@pytest.mark.usefixtures("nvidia_smi")
def test_a_name_that_two_gpus_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5")
    with pytest.raises(ConfigError, match="does not tell which GPU"):
        visible_cuda_indices()


def test_the_client_reads_which_vulkan_device_a_cuda_device_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    write_release(tmp_path, platform="CloudRendering", commit="c" * 40, world="known")
    config = CLOUD.but(unity_releases=str(tmp_path), vulkan_devices=(0, 2, 1))
    launch = Launch(config, tmp_path / "home", cuda_index=2)
    launch.link_release()
    written = json.loads((tmp_path / "home" / ".ai2thor" / "cuda-vulkan-mapping.json").read_text())
    assert written == {"0": 0, "1": 2, "2": 1}
    assert launch.arguments()["gpu_device"] == 0


def test_too_few_vulkan_devices_are_told_before_a_build_is_started_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    write_release(tmp_path, platform="CloudRendering", commit="c" * 40, world="known")
    config = CLOUD.but(unity_releases=str(tmp_path), vulkan_devices=(0, 1))
    with (
        EnvironmentPool(config, 1) as pool,
        pytest.raises(SimulatorError, match=r"env.vulkan_devices is \[0, 1\] .* CUDA device 3"),
    ):
        pool.survey("goals", "FloorPlan1", "open")
    assert pool.num_restarts == 0


@pytest.mark.parametrize(
    ("config", "visible", "why"),
    [
        (CLOUD.but(vulkan_devices=(0,)), "0", ""),
        (CLOUD, "", ""),
        (CLOUD.but(vulkan_devices=(0,)), "", "CUDA_VISIBLE_DEVICES names no GPU"),
        (EnvConfig(vulkan_devices=(0,)), "0", "env.backend is stand_in"),
    ],
)
def test_vulkan_devices_that_nothing_reads_are_told(
    monkeypatch: pytest.MonkeyPatch, config: EnvConfig, visible: str, why: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    told = why_vulkan_devices_are_idle(config)
    assert why in told
    assert bool(told) == bool(why)


def test_a_pool_warns_of_vulkan_devices_that_nothing_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EnvironmentPool(EnvConfig(vulkan_devices=(0,)), 1):
        pass
    assert "env.vulkan_devices has no effect: env.backend is stand_in" in caplog.text
