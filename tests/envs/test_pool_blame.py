"""Whose try it is when a simulator dies while another slot of the same worker has its turn."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from selu_hpc.config import EnvConfig
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.worker import NOT_SURVIVED
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Goal, Task

TASK = Task(instruction="open the fridge", scene="FloorPlan1", goals=(Goal(verb="open", target="Fridge"),))
BOTH = {0: (TASK, 7), 1: (TASK, 7)}


@pytest.fixture
def pool_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[int], EnvironmentPool]]:
    """A pool of one worker with two slots, by how often it is started again."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[EnvironmentPool] = []

    def make(max_restarts: int) -> EnvironmentPool:
        config = EnvConfig(max_restarts=max_restarts, step_timeout_s=600.0, start_timeout_s=600.0)
        made.append(EnvironmentPool(config, 1, num_slots=2, factory="falling:make"))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def test_a_death_in_anothers_turn_costs_the_other_neither_its_step_nor_a_try(
    pool_with: Callable[[int], EnvironmentPool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pool = pool_with(1)
    pool.reset_many(BOTH)
    assert pool.step({1: "always notice"})[1].error == NOT_SURVIVED  # whatever slot 1 fails at from here on is lost
    with caplog.at_level(logging.WARNING):
        results = pool.step({0: f"fall later:{tmp_path / 'mark'}", 1: "wait"})
    assert [results[slot].ok for slot in (0, 1)] == [True, True]
    assert "slots 0, 1, by slot 0: the worker process ended" in caplog.text
    assert pool.num_restarts == 3


def test_both_episodes_go_on_as_if_nothing_had_died(
    pool_with: Callable[[int], EnvironmentPool], tmp_path: Path
) -> None:
    pool = pool_with(1)
    pool.reset_many(BOTH)
    for n in range(2):
        pool.step({0: f"fall later:{tmp_path / str(n)}", 1: "wait"})
        pool.reset(0, TASK, 7)  # with an episode's end its tries are full again
    undisturbed = pool_with(1)
    undisturbed.reset_many(BOTH)
    for _ in range(2):
        undisturbed.step({1: "wait"})
    mine, theirs = pool.step({1: "x"})[1], undisturbed.step({1: "x"})[1]
    assert np.array_equal(mine.observation.first_person, theirs.observation.first_person)
    assert pool.num_restarts == 2


def test_who_dies_of_the_same_step_again_and_again_loses_that_step_though_it_was_answered(
    pool_with: Callable[[int], EnvironmentPool],
) -> None:
    pool = pool_with(1)
    pool.reset_many(BOTH)
    results = pool.step({0: "always fall later", 1: "wait"})
    assert (results[0].ok, results[0].error) == (False, NOT_SURVIVED)
    assert (results[1].ok, results[1].parsed) == (True, "wait")
    assert pool.num_restarts == 2
    assert pool.step({0: "x", 1: "wait"})[0].ok
    assert pool.truth(0, "e").success_after == (False,) * 3


def test_a_death_of_what_was_answered_before_is_retried_and_then_ends_with_the_name_of_the_slot(
    pool_with: Callable[[int], EnvironmentPool],
) -> None:
    pool = pool_with(1)
    pool.reset_many(BOTH)
    pool.step({0: "always fall later"})
    with pytest.raises(SimulatorError, match=r"failed 2 times in slot 0's episode .* at step 'always fall later'"):
        pool.step({1: "wait"})
    assert pool.num_restarts == 2


def test_what_is_about_to_begin_anew_is_charged_with_nothing(pool_with: Callable[[int], EnvironmentPool]) -> None:
    pool = pool_with(0)
    pool.reset_many(BOTH)
    pool.step({0: "always fall later"})
    seen = pool.reset_many({1: (TASK, 3), 0: (TASK, 4)})
    assert sorted(seen) == [0, 1]
    assert pool.num_restarts == 1
