"""VirtualHome: the real UnityCommunication and the stand-in's server behind one environment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from selu_hpc.config import Backend, EnvConfig, Simulator, World
from selu_hpc.envs.expert import Policy, play
from selu_hpc.envs.goals import VIRTUALHOME_VERBS, make_task
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.tasks import feasible_goals
from selu_hpc.envs.virtualhome.environment import VirtualHomeEnvironment
from selu_hpc.envs.virtualhome.process import HomeProcess, listens, virtualhome_environment
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Goal, Task

CONFIG = EnvConfig(simulator=Simulator.VIRTUALHOME, world=World.KNOWN, width=48, height=48)
FRIDGE = make_task("home0", (Goal(verb="open", target="fridge"),), simulator=CONFIG.simulator)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualHomeEnvironment]:
    deaths: list[str] = []
    environment = virtualhome_environment(CONFIG, tmp_path_factory.mktemp("home"), 0, (), deaths.append)
    yield environment
    environment.close()
    assert deaths == []


def _tasks(home: VirtualHomeEnvironment) -> list[Task]:
    goals = [home.feasible("home1").goals(verb)[1] for verb in VIRTUALHOME_VERBS]
    composed = home.feasible("home1").compositions()[0]
    return [make_task("home1", found, simulator=CONFIG.simulator) for found in [*((goal,) for goal in goals), composed]]


def test_the_expert_does_every_kind_of_task_and_the_hasty_one_does_none(home: VirtualHomeEnvironment) -> None:
    for seed, task in enumerate(_tasks(home)):
        played = play(home, task, seed=seed)
        truth = home.truth("e")
        assert truth.success, (task, played.texts, [result.error for result in played.results])
        assert not truth.success_after[0], task
        assert set(task.goals) <= set(truth.achieved)
        play(home, task, seed=seed, policy=Policy.EARLY_STOP)
        assert not home.truth("e").success, task


def test_who_takes_the_deed_back_had_done_it(home: VirtualHomeEnvironment) -> None:
    for seed, task in enumerate(_tasks(home)):
        played = play(home, task, seed=seed, policy=Policy.UNDONE, horizon=20)
        truth = home.truth("e")
        assert any(truth.success_after), (task, played.texts)
        assert not truth.success, (task, played.texts)


def test_who_says_the_words_from_afar_does_not_go_there(home: VirtualHomeEnvironment) -> None:
    failed = 0
    for seed, task in enumerate(_tasks(home) * 3):
        played = play(home, task, seed=seed, policy=Policy.OUT_OF_REACH)
        assert task.instruction.rpartition(" and ")[2] in played.texts
        assert f"walk to the {task.goals[-1].target}" not in played.texts
        failed += not home.truth("e").success
    assert failed >= 7  # of 21, of which half begin at the thing


def test_what_the_pictures_and_the_text_show_follows_the_state(home: VirtualHomeEnvironment) -> None:
    before = home.reset(FRIDGE, seed=3)
    assert before.text == "You hold nothing."
    assert before.first_person.shape == before.third_person.shape == (48, 48, 3)
    near = home.step("walk to the fridge").observation
    opened = home.step("open the fridge").observation
    assert not np.array_equal(near.first_person, opened.first_person)
    assert not np.array_equal(near.third_person, opened.third_person)
    again = home.reset(FRIDGE, seed=3)
    assert np.array_equal(before.first_person, again.first_person)
    assert np.array_equal(before.third_person, again.third_person)


def test_more_episodes_than_by_chance_start_at_the_thing(home: VirtualHomeEnvironment) -> None:
    begun = []
    for seed in range(40):
        home.reset(FRIDGE, seed=seed)
        begun.append(home.step("open the fridge").ok)
    assert 25 <= sum(begun) <= 35  # 21 by chance: half the episodes start in its room


@pytest.mark.parametrize("text", ["", "x" * 10**6, "\x00\x1b[2J", "grab the unobtainium", '{"a": [{"b": null}]}'])
def test_what_cannot_be_read_is_a_failed_step(home: VirtualHomeEnvironment, text: str) -> None:
    home.reset(FRIDGE, seed=1)
    result = home.step(text)
    assert (result.parsed, result.ok) == ("", False)
    assert result.error


def test_what_cannot_be_done_is_a_failed_step_that_says_why(home: VirtualHomeEnvironment) -> None:
    home.reset(FRIDGE, seed=1)
    for text, reason in [
        ("put it on the kitchen table", "you do not hold anything"),
        ("grab the fridge", "not grabbable"),
        ("stand up", "not sitting"),
    ]:
        result = home.step(text)
        assert not result.ok
        assert reason in result.error


def test_the_camera_films_what_was_touched_and_no_wall_after_the_character_has_left(
    home: VirtualHomeEnvironment,
) -> None:
    home.reset(FRIDGE, seed=3)
    home.step("walk to the fridge")
    seen = [home.step("open the fridge").observation.third_person]
    seen += [home.step(f"walk to the {thing}").observation.third_person for thing in ("bed", "toilet", "sofa", "bed")]
    assert min(picture.reshape(-1, 3).std(axis=0).max() for picture in seen) > 15
    assert home.step("close the fridge").ok is False


def test_who_walks_to_what_is_held_stays_where_the_pictures_show(home: VirtualHomeEnvironment) -> None:
    """The official executor would put the character where the thing was taken from, and its body stays."""
    home.reset(FRIDGE, seed=3)
    for text in ("walk to the mug", "grab the mug", "walk to the bed"):
        assert home.step(text).ok, text
    before = home.metadata
    again = home.step("walk to the mug")
    assert (again.ok, again.error) == (False, "you hold the mug")
    assert home.metadata == before
    assert home.step("put the mug on the bed").ok


def test_a_sites_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "site.example")
    with EnvironmentPool(CONFIG, 1) as pool:
        pool.reset(0, FRIDGE, 3)
        assert pool.step({0: "walk to the fridge"})[0].ok


def test_whose_port_it_is() -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert listens(other.pid, port)
        assert listens(os.getpid(), port), "it is our child's"
        with subprocess.Popen(["sleep", "60"]) as stranger:
            assert not listens(stranger.pid, port)
            stranger.kill()
        other.kill()


def test_a_server_that_finds_its_port_taken_and_lives_on_is_not_mistaken_for_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("selu_hpc.envs.virtualhome.process.free_port", lambda: port)
        lives_on = tmp_path / "player"
        lives_on.write_text("#!/bin/sh\nexec sleep 60\n")
        lives_on.chmod(0o755)
        process = HomeProcess(CONFIG, tmp_path, 0, (str(lives_on),))
        with pytest.raises(SimulatorError, match=f"another process listens on port {port}"):
            process.client()
        process.close()


def test_scripts_get_a_folder_that_may_be_written(
    home: VirtualHomeEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, said = home._process.client(), []
    answer = client.render_script
    monkeypatch.setattr(client, "render_script", lambda *a, **given: said.append(given) or answer(*a, **given))
    home.reset(FRIDGE, seed=3)
    home.step("walk to the fridge")
    folders = {Path(given["output_folder"]) for given in said}
    assert len(folders) == 1
    assert all(folder.is_absolute() and os.access(folder, os.W_OK) for folder in folders)


def test_an_episode_survives_the_death_of_its_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EnvironmentPool(CONFIG, 1) as pool:
        pool.reset(0, FRIDGE, 1)
        walked = pool.step({0: "walk to the fridge"})[0]
        servers = [
            child
            for child in psutil.Process().children(recursive=True)
            if "selu_hpc.sim.virtualhome_server" in child.cmdline()
        ]
        mine = [child for child in servers if str(tmp_path) in child.environ().get("HOME", "")]
        assert len(mine) == 1
        os.kill(mine[0].pid, signal.SIGKILL)
        stayed = pool.step({0: "nonsense"})[0]
        assert pool.step({0: "open the fridge"})[0].ok
        assert np.array_equal(walked.observation.first_person, stayed.observation.first_person)
        assert pool.truth(0, "e").success
        assert pool.num_restarts == 1
    assert list(tmp_path.glob("selu-envs-*")) == []


def test_objects_of_a_task_type_are_two_or_three_and_stay_the_same() -> None:
    class Everything:
        def goals(self, verb: str) -> list[Goal]:
            return [Goal(verb=verb, target=name) for name in ("fridge", "microwave", "closet", "door", "dishwasher")]

        def compositions(self) -> list[tuple[Goal, ...]]:
            return []

        def possible(self, task: Task) -> bool:
            return True

    unknown = CONFIG.but(world=World.UNKNOWN)
    first = feasible_goals(unknown, "home4", "open", look=lambda config, scene: Everything())
    assert 2 <= len({goal.target for goal in first}) <= 3
    assert first == feasible_goals(unknown, "home4", "open", look=lambda config, scene: Everything())


def test_a_unity_builds_tasks_are_the_same_whatever_world_is_said() -> None:
    class Everything:
        def goals(self, verb: str) -> list[Goal]:
            return [Goal(verb=verb, target=f"thing {number}") for number in range(40)]

    def drawn(world: World) -> list[list[Goal]]:
        config = CONFIG.but(world=world, backend=Backend.XVFB)
        return [feasible_goals(config, scene, "open", look=lambda *_: Everything()) for scene in map(str, range(9))]

    assert drawn(World.KNOWN) == drawn(World.UNKNOWN)
