"""Steps that no simulator survives: what scripted actors make of them, and who counts them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import toy_home

from selu_hpc.config import EnvConfig
from selu_hpc.envs.base import StepResult
from selu_hpc.envs.expert import Policy
from selu_hpc.envs.worker import NOT_SURVIVED, Spec, Worker
from selu_hpc.records import Goal, Role, Task
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import testset

TASK = Task(instruction="open the fridge", scene="home", goals=(Goal(verb="open", target="Fridge"),))


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is fatal from now on: a step whose words begin so is answered as the pool answers one that is lost."""
    verbs: list[str] = []
    step = toy_home.ToyHome.step

    def survived(home: toy_home.ToyHome, text: str) -> StepResult:
        if not text.startswith(tuple(verbs)):
            return step(home, text)
        return replace(step(home, ""), parsed=text, error=NOT_SURVIVED)

    monkeypatch.setattr(toy_home.ToyHome, "step", survived)
    return verbs


def test_a_scripted_actor_goes_on_after_a_step_that_is_lost(tmp_path: Path) -> None:
    worker = Worker(Spec(EnvConfig(), tmp_path, "toy_home:make_scripted"), print)
    worker.answer(0, "reset", (TASK, 1))
    for what, done in (("lose", ""), ("step", "go to the fridge"), ("lose", ""), ("step", "open the fridge")):
        result = worker.answer(0, what, ("expert",))
        assert (result.parsed, result.ok, result.error) == (done, what == "step", "" if done else NOT_SURVIVED)
    assert worker.answer(0, "truth", ("e",)).success


def test_a_test_set_takes_no_episode_with_a_lost_step_for_a_failure_of_its_way(toy_config, deadly) -> None:
    cell = testset.Cell(1, "c", False, (Policy.WRONG_OBJECT, Policy.EARLY_STOP), testset._failed)
    deadly.append("go to")
    (played,) = testset.play_cells([cell], 0, toy_config.env, toy_home.look, num_slots=1)
    assert played.episode.actions[0].text == "early_stop"


def test_lost_steps_are_told_by_markers_card_and_log_and_only_where_there_are_some(
    toy_run, toy_model, do, deadly, caplog
) -> None:
    def play(round_id: int) -> list[object]:
        """What marker, card and log tell of a round and an evaluation."""
        caplog.clear()
        for stage in (Stage.ROLLOUT, Stage.LABEL):
            for shard in range(2):
                do(stage, round_id, shard)
        do(Stage.GATE, round_id)
        do(Stage.EVALUATE, 0, round_id - 1)
        places = [toy_run.shard(round_id, Stage.ROLLOUT, shard) for shard in range(2)]
        places.append(toy_run.shard(0, Stage.EVALUATE, round_id - 1))
        card = json.loads((toy_run.shard(round_id, Stage.GATE).path / "card.json").read_bytes())
        told = [place.require_marker().summary.get("lost_steps") for place in places]
        warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        return [*told, card.get("lost_steps"), sum("steps are lost" in w or "are lost: the" in w for w in warnings)]

    for shard in range(2):
        do(Stage.TESTSET, 0, shard)
    assert play(1) == [None, None, None, None, 0]
    for role in Role:
        adapter = toy_run.shard(1, Stage(f"finetune_{role}"))
        adapter.write_marker(content="x", names=[], summary={})
    deadly.append("break")
    first, second, evaluated, card, warned = play(2)
    assert min(first, second, evaluated) > 0
    assert card == first + second
    assert warned == 4
