"""The pool with a scripted environment: dealing, failing, replaying, clearing up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import late_clock
import numpy as np
import pytest

from selu_hpc.config import EnvConfig
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.worker import NOT_SURVIVED, Spec, Worker
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Goal, Task

HERE = Path(__file__).parent
TASK = Task(instruction="pick up the apple", scene="FloorPlan1", goals=(Goal(verb="pick up", target="Apple"),))


@pytest.fixture(autouse=True)
def _scripted_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EnvironmentPool]:
    hangs = tmp_path / "hangs"
    monkeypatch.setenv("SCRIPTED_HANGS", str(hangs))
    late_clock.put_forward_at(hangs, monkeypatch)
    config = EnvConfig(**late_clock.PATIENT, max_restarts=2)
    with EnvironmentPool(config, 2, num_slots=5, factory="scripted:make") as made:
        yield made


def test_slots_step_independently(pool: EnvironmentPool) -> None:
    pool.reset_many({slot: (TASK, slot) for slot in range(5)})
    results = pool.step({slot: f"go {slot}" for slot in (0, 2, 3)})
    assert {slot: result.parsed for slot, result in results.items()} == {0: "go 0", 2: "go 2", 3: "go 3"}
    assert pool.step({4: "x"})[4].observation.text == "3"
    assert pool.truth(2, "r01-s0000-e0000").episode_id == "r01-s0000-e0000"


@pytest.mark.parametrize("failure", ["kill", "abort", "hang", "raise", "notice"])
def test_an_episode_goes_on_after_a_failure_as_if_nothing_had_happened(
    pool: EnvironmentPool, tmp_path: Path, failure: str
) -> None:
    pool.reset_many(dict.fromkeys(range(5), (TASK, 7)))
    pool.step(dict.fromkeys(range(5), "move ahead"))
    mark = tmp_path / "mark"
    results = pool.step({0: "turn left", 2: f"{failure}:{mark}", 4: failure})
    assert pool.num_restarts == 1
    assert mark.exists()
    # Slots 2 and 4 said the same words; only one of them failed on the way.
    assert np.array_equal(results[2].observation.first_person, results[4].observation.first_person)
    assert pool.step({0: "move ahead"})[0].observation.text == "5"


def test_a_failure_between_two_steps_is_survived(pool: EnvironmentPool) -> None:
    pool.reset_many(dict.fromkeys(range(5), (TASK, 7)))
    pool.step({1: "a", 3: "a"})
    os.kill(pool.process_ids[1], signal.SIGKILL)
    time.sleep(0.1)
    results = pool.step({1: "b", 3: "b"})
    assert results[1].observation.text == results[3].observation.text == "4"


def test_a_reset_is_not_preceded_by_the_old_episode(pool: EnvironmentPool, tmp_path: Path) -> None:
    pool.reset(0, TASK, 1)
    pool.step({0: "a"})
    pool.reset(0, TASK, 1)
    assert pool.step({0: f"kill:{tmp_path / 'mark'}"})[0].observation.text == "3"


def test_a_step_that_no_try_survives_is_answered_as_failed_and_the_episode_goes_on(
    pool: EnvironmentPool, tmp_path: Path
) -> None:
    pool.reset_many(dict.fromkeys(range(5), (TASK, 7)))
    results = pool.step({0: "always raise", 2: "turn left"})
    lost = results[0]
    assert (lost.ok, lost.error, lost.said_done) == (False, NOT_SURVIVED, False)
    assert (results[2].ok, results[2].parsed) == (True, "turn left")
    assert pool.num_restarts == 3
    # What comes after replays without it.
    assert pool.step({0: f"kill:{tmp_path / 'mark'}"})[0].ok is False
    assert pool.step({0: "move ahead"})[0].observation.text == "5"
    assert pool.num_restarts == 4
    pool.reset(0, TASK, 7)
    assert pool.step({0: f"kill:{tmp_path / 'another'}"})[0].ok


def test_a_lost_step_says_what_its_words_were_read_as(tmp_path: Path) -> None:
    worker = Worker(Spec(EnvConfig(), tmp_path, "scripted:make"), print)
    worker.answer(0, "reset", (TASK, 1))
    for text, parsed in (("Pick the apple up!", "pick up the apple"), ("?", "")):
        lost = worker.answer(0, "lose", (text,))
        assert (lost.parsed, lost.ok, lost.error) == (parsed, False, NOT_SURVIVED)
    assert worker.answer(0, "truth", ("e",)).success_after == (False,) * 3


def test_one_step_is_lost_and_those_of_other_slots_are_not(pool: EnvironmentPool) -> None:
    pool.reset_many(dict.fromkeys(range(5), (TASK, 7)))
    results = pool.step({0: "turn left", 2: "always kill", 4: "turn left"})
    assert [results[slot].ok for slot in (0, 2, 4)] == [True, False, True]
    assert np.array_equal(results[0].observation.first_person, results[4].observation.first_person)


def test_a_step_that_is_slow_and_not_fatal_is_waited_for_in_the_last_try(pool: EnvironmentPool) -> None:
    pool.reset(0, TASK, 7)
    for said in ("3", "4"):
        result = pool.step({0: "take a while"})[0]
        assert (result.ok, result.error, result.observation.text) == (True, "", said)
    assert pool.num_restarts == 2  # the simulator that is given time keeps it
    assert pool.workers[0].allowed_s > late_clock.PATIENT["step_timeout_s"]


def test_a_step_that_only_the_last_try_waited_for_is_waited_for_again_when_another_slot_fails(
    pool: EnvironmentPool, tmp_path: Path
) -> None:
    pool.reset_many(dict.fromkeys(range(5), (TASK, 7)))
    assert pool.step({0: "take a while"})[0].ok
    assert pool.step({2: f"kill:{tmp_path / 'mark'}"})[2].ok
    assert pool.step({0: "move ahead"})[0].observation.text == "4"


def test_after_a_lost_step_a_slow_one_is_still_waited_for(pool: EnvironmentPool) -> None:
    pool.reset(0, TASK, 7)
    assert pool.step({0: "always raise"})[0].error == NOT_SURVIVED
    assert pool.step({0: "take a while"})[0].ok


def test_a_step_at_which_the_simulator_hangs_for_good_is_lost_like_one_at_which_it_dies(pool: EnvironmentPool) -> None:
    pool.reset(0, TASK, 7)
    assert pool.step({0: "always hang"})[0].error == NOT_SURVIVED
    assert pool.num_restarts == 3


def test_it_gives_up_a_simulator_that_never_starts_after_the_allowed_restarts_and_says_why(
    pool: EnvironmentPool,
) -> None:
    task = Task(instruction="fail to start", scene="FloorPlan1", goals=TASK.goals)
    with pytest.raises(
        SimulatorError, match=r"slots 0, 2, 4 failed 3 times in slot 0's .* at reset, more than .* no display"
    ):
        pool.reset(0, task, 1)
    with pytest.raises(SimulatorError, match="closed"):
        pool.step({1: "a"})


def test_a_simulator_that_starts_no_more_in_the_middle_of_an_episode_is_given_up(
    pool: EnvironmentPool, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    task = Task(instruction=f"fail to start:{mark}", scene="FloorPlan1", goals=TASK.goals)
    pool.reset(0, task, 1)
    with pytest.raises(SimulatorError, match=r"failed 3 times in slot 0's .* at reset, more than .* no display"):
        pool.step({0: f"kill:{mark}"})


def test_a_step_before_any_episode_is_told_as_an_error(pool: EnvironmentPool) -> None:
    with pytest.raises(SimulatorError, match="failed 3 times in slot 1's episode at step 'always raise', more"):
        pool.step({1: "always raise"})


def test_what_failed_in_one_episode_is_forgiven_in_the_next(pool: EnvironmentPool, tmp_path: Path) -> None:
    for number in range(4):
        for slot in (0, 2):
            pool.reset(slot, TASK, 1)
            assert pool.step({slot: f"kill:{tmp_path / f'mark-{number}-{slot}'}"})[slot].observation.text == "3"
    assert pool.num_restarts == 8


def test_what_failed_in_one_survey_is_forgiven_in_the_next(pool: EnvironmentPool, tmp_path: Path) -> None:
    for number in range(4):
        assert pool.survey("goals", f"kill:{tmp_path / f'mark-{number}'}", "open") == []
    assert pool.num_restarts == 4


def test_a_survey_that_fails_again_and_again_is_told_as_one_with_its_scene(pool: EnvironmentPool) -> None:
    with pytest.raises(
        SimulatorError, match=r"failed 3 times in slot 0's survey \(always raise\) at goals open, more than"
    ):
        pool.survey("goals", "always raise", "open")


def test_a_task_that_no_trial_survives_is_impossible_and_its_warning_names_it(
    pool: EnvironmentPool, caplog: pytest.LogCaptureFixture
) -> None:
    deadly = Task(instruction="fail to start", scene="FloorPlan1", goals=TASK.goals)
    assert pool.survey("possible", deadly) is False
    assert pool.num_restarts == 3
    assert "survey ('fail to start' in FloorPlan1) at possible is lost: RuntimeError: no display" in caplog.text
    assert pool.survey("possible", deadly) is False
    assert pool.num_restarts == 3


def test_a_trial_whose_scene_no_simulator_survives_either_is_an_error(pool: EnvironmentPool) -> None:
    deadly = Task(instruction="fail to start", scene="always raise", goals=TASK.goals)
    with pytest.raises(SimulatorError, match=r"failed 3 times in slot 0's survey .* at give_up, more than"):
        pool.survey("possible", deadly)


@pytest.mark.parametrize("log", ["virtualhome-3.out", ".config/unity3d/a/b/Player.log", ".ai2thor/log/unity.log"])
def test_the_words_of_whatever_simulator_died_are_told(pool: EnvironmentPool, log: str) -> None:
    pool.reset(0, TASK, 1)
    file = pool.workers[0].home / log
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("could not open display\n")
    assert "could not open display" in pool.workers[0].last_words()


def test_a_simulator_that_can_never_start_is_not_tried_again(pool: EnvironmentPool) -> None:
    hopeless = Task(instruction="hopeless", scene="FloorPlan1", goals=TASK.goals)
    with pytest.raises(SimulatorError, match="can't be started: FileNotFoundError: /no/such/build"):
        pool.reset(0, hopeless, 1)
    assert pool.num_restarts == 0


def test_a_slot_that_is_not_there_is_refused(pool: EnvironmentPool) -> None:
    with pytest.raises(IndexError, match="slots 0 to 4"):
        pool.step({5: "a"})


def test_closing_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    pool = EnvironmentPool(EnvConfig(), 2, factory="scripted:make")
    pool.reset_many({0: (TASK, 1), 1: (TASK, 2)})
    groups = pool.process_ids
    pool.close()
    pool.close()
    assert list(tmp_path.glob("selu-envs-*")) == []
    for group in groups:
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_pools_process_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    script = """
import sys, time
from selu_hpc.config import EnvConfig
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.records import Goal, Task
pool = EnvironmentPool(EnvConfig(), 2, factory="scripted:make")
task = Task(instruction="x", scene="FloorPlan1", goals=(Goal(verb="open", target="Fridge"),))
pool.reset_many({0: (task, 1), 1: (task, 2)})
print(*pool.process_ids, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 3
        process.send_signal(number)
        process.wait()
    _gone_within(60.0, pids, tmp_path)


def _gone_within(seconds: float, pids: list[int], folder: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [pid for pid in pids if _running(pid)]
        if not left and not list(folder.glob("selu-envs-*")):
            return
        time.sleep(0.05)
    raise AssertionError((left, list(folder.glob("selu-envs-*"))))


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends while we read
        return False
    return state not in "ZX"
