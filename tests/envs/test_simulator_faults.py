"""Every way a THOR process fails under the real Controller, done for real."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import late_clock
import numpy as np
import psutil
import pytest
from faulty_build import hang_mark

from selu_hpc.config import Backend, EnvConfig, World
from selu_hpc.envs import launch, releases
from selu_hpc.envs.goals import make_task
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.thor.local import world_environment
from selu_hpc.envs.worker import NOT_SURVIVED
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Goal
from selu_hpc.sim.thor_build import write_release

CONFIG = EnvConfig(world=World.KNOWN, width=64, height=64, max_restarts=8)
PATIENT = CONFIG.but(**late_clock.PATIENT)
TASK = make_task("FloorPlan3", (Goal(verb="open", target="Fridge"),), simulator=CONFIG.simulator)
BUILD = (sys.executable, str(Path(__file__).with_name("faulty_build.py")))
FAULTS = ("before-pipe", "abort", "kill", "segv", "exit", "hang", "none")


@pytest.fixture(autouse=True)
def _folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_one_episode_survives_every_failure_and_is_the_same_as_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = tmp_path / "launches with spaces"
    launches.mkdir()
    late_clock.put_forward_at(hang_mark(launches), monkeypatch)
    texts = ["turn left", "go to the fridge", "open the fridge", "move back", "done"]
    local = world_environment(CONFIG)
    local.reset(TASK, seed=1)
    executable = (*BUILD, ",".join(FAULTS), str(launches), "--world", "known")
    with EnvironmentPool(PATIENT, 1, executable=executable) as pool:
        pool.reset(0, TASK, 1)
        for text in texts:
            mine, theirs = local.step(text), pool.step({0: text})[0]
            assert np.array_equal(mine.observation.third_person, theirs.observation.third_person)
            assert np.array_equal(mine.observation.first_person, theirs.observation.first_person)
        assert pool.truth(0, "e") == local.truth("e")
        assert local.truth("e").success
        assert pool.num_restarts == len(FAULTS) - 1
    assert sorted(path.name for path in launches.iterdir()) == [f"{n}-{fault}" for n, fault in enumerate(FAULTS)]
    assert _left_in(tmp_path) == []


def test_a_step_at_which_the_build_dies_every_time_is_lost_and_the_rest_of_the_episode_is_as_without_it(
    tmp_path: Path,
) -> None:
    launches = tmp_path / "launches"
    launches.mkdir()
    texts = ["turn left", "turn right", "go to the fridge", "open the fridge"]
    local = world_environment(CONFIG)
    local.reset(TASK, seed=1)
    lost = []
    with EnvironmentPool(
        PATIENT.but(max_restarts=1), 1, executable=(*BUILD, "abort,abort,none", str(launches), "--world", "known")
    ) as pool:
        pool.reset(0, TASK, 1)
        for text in texts:
            theirs = pool.step({0: text})[0]
            if theirs.error == NOT_SURVIVED:
                lost.append(theirs.parsed)
            mine = local.step("" if theirs.error == NOT_SURVIVED else text)
            assert np.array_equal(mine.observation.first_person, theirs.observation.first_person)
            assert np.array_equal(mine.observation.third_person, theirs.observation.third_person)
        assert len(lost) == 1
        assert lost[0] in texts
        assert pool.truth(0, "e") == local.truth("e")
        assert pool.num_restarts == 2


def test_a_crash_that_the_client_sees_first_starts_no_second_build_behind_the_pools_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    launches = tmp_path / "launches"
    launches.mkdir()
    with EnvironmentPool(
        PATIENT, 1, executable=(*BUILD, "abort,segv,none", str(launches)), factory="unwatched:make"
    ) as pool:
        pool.reset(0, TASK, 1)
        for text in ("turn left", "turn right", "turn left"):
            pool.step({0: text})
        assert pool.num_restarts == 2
    assert sorted(path.name for path in launches.iterdir()) == ["0-abort", "1-segv", "2-none"]


def test_a_build_that_never_starts_is_given_up_with_its_own_words(tmp_path: Path) -> None:
    launches = tmp_path / "launches"
    launches.mkdir()
    config = PATIENT.but(max_restarts=1)
    with (
        EnvironmentPool(config, 1, executable=(*BUILD, "refuse", str(launches))) as pool,
        pytest.raises(SimulatorError, match=r"(?s)failed 2 times.*status 3.*no vulkan device"),
    ):
        pool.reset(0, TASK, 1)
    assert _left_in(tmp_path) == []


def test_a_build_that_hangs_at_its_start_is_given_up_in_time(tmp_path: Path) -> None:
    launches = tmp_path / "launches"
    launches.mkdir()
    config = CONFIG.but(max_restarts=0, start_timeout_s=0.5, step_timeout_s=1.5)
    with (
        EnvironmentPool(config, 1, executable=(*BUILD, "hang-start", str(launches))) as pool,
        pytest.raises(SimulatorError, match="no answer within 2 s"),
    ):
        pool.reset(0, TASK, 1)
    assert _left_in(tmp_path) == []


def test_a_build_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with (
        EnvironmentPool(CONFIG, 1, executable=(str(tmp_path / "no such build"),)) as pool,
        pytest.raises(SimulatorError, match="can't be started: FileNotFoundError"),
    ):
        pool.reset(0, TASK, 1)


def test_unity_backends_say_what_they_miss(tmp_path: Path) -> None:
    config = CONFIG.but(backend=Backend.CLOUD_RENDERING)
    with EnvironmentPool(config, 1) as pool, pytest.raises(SimulatorError, match=r"env.unity_commit .* fetch a build"):
        pool.reset(0, TASK, 1)


def test_the_release_folder_route_runs_the_stand_in(tmp_path: Path) -> None:
    from ctypes.util import find_library

    if find_library("vulkan") is None:
        pytest.skip("the client's CloudRendering platform wants libvulkan1 installed")
    releases = tmp_path / "the releases"
    write_release(releases, platform="CloudRendering", commit="a" * 40, world="known")
    config = PATIENT.but(
        backend=Backend.CLOUD_RENDERING,
        unity_commit="a" * 40,
        unity_releases=str(releases),
    )
    local = world_environment(CONFIG)
    with EnvironmentPool(config, 1) as pool:
        assert np.array_equal(pool.reset(0, TASK, 1).third_person, local.reset(TASK, seed=1).third_person)


def test_a_folder_that_takes_no_releases_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for folder in (Path("/proc/nope"), tmp_path / "file"):
        assert releases.main([str(folder)]) == 1
        told = capsys.readouterr().err
        assert told.startswith(f"error: {folder}")
        assert told.endswith("; name a folder that you may write\n")
    assert releases.main([str(tmp_path)]) == 0
    assert (tmp_path / "thor-Linux64-unknown" / "metadata.json").exists()


def test_the_xvfb_route_runs_the_stand_in(tmp_path: Path) -> None:
    import shutil

    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb here")
    releases = tmp_path / "the releases"
    write_release(releases, platform="Linux64", commit="b" * 40, world="known")
    config = PATIENT.but(
        backend=Backend.XVFB,
        unity_commit="b" * 40,
        unity_releases=str(releases),
    )
    with EnvironmentPool(config, 1) as pool:
        assert pool.reset(0, TASK, 1).first_person.shape == (64, 64, 3)
    assert _left_in(tmp_path) == []


@pytest.mark.parametrize(("obeys", "left"), [("rm socket; exit", False), ("", True)])
def test_an_x_server_may_remove_its_socket_before_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obeys: str, left: bool
) -> None:
    (tmp_path / "Xvfb").write_text(
        f"#!/bin/sh\ncd {shlex.quote(str(tmp_path))}\ntrap '{obeys}' TERM\ntouch socket\n"
        'echo 7 >"/dev/fd/$2"\nwhile :; do sleep 0.02; done\n'
    )
    (tmp_path / "Xvfb").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(launch, "XVFB_END_S", 0.2 if left else 60.0)
    config = CONFIG.but(backend=Backend.XVFB, unity_commit="b" * 40, unity_releases=str(tmp_path))
    with launch.Launch(config, tmp_path).display() as display:
        assert display == ":7"
        assert (tmp_path / "socket").exists()
    assert (tmp_path / "socket").exists() == left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_pipe_or_folder_is_left_when_a_task_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    script = """
import time
from selu_hpc.config import EnvConfig
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.goals import make_task
from selu_hpc.records import Goal
task = make_task("FloorPlan3", (Goal(verb="open", target="Fridge"),), simulator="thor")
pool = EnvironmentPool(EnvConfig(width=32, height=32), 2)
pool.reset_many({0: (task, 1), 1: (task, 2)})
print("ready", flush=True)
time.sleep(600)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        descendants = psutil.Process(process.pid).children(recursive=True)
        commands = [shlex.join(child.cmdline()) for child in descendants]
        assert sum("thor_build" in command for command in commands) == 2, commands
        assert list(tmp_path.glob("selu-envs-*/worker-*/tmp/*/server.pipe"))
        process.send_signal(number)
        process.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (_left_in(tmp_path) or any(map(_runs, descendants))):
        time.sleep(0.05)
    assert _left_in(tmp_path) == []
    assert [child for child in descendants if _runs(child)] == []


def _left_in(folder: Path) -> list[str]:
    return [str(path) for path in folder.glob("selu-envs-*")]


def _runs(child: psutil.Process) -> bool:
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_writing_the_stand_ins_releases_leaves_what_else_lies_there(tmp_path):
    real = tmp_path / "thor-CloudRendering-f0825767" / "build"
    real.parent.mkdir()
    real.write_text("a Unity build")
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "selu_hpc.envs.releases", str(tmp_path)], check=True)
    assert real.read_text() == "a Unity build"
    assert len(list(tmp_path.iterdir())) == 5
