"""Plans: what runs after what."""

import pytest

from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.rundir import Stage


def lines(*overrides):
    plan = make_plan(load_recipe("selu", ["rollout.num_shards=3", "evaluate.num_shards=2", *overrides]))
    return [f"{s.key} x{s.num_shards} {' '.join(str(n) for n in s.needs)}".rstrip() for s in plan]


def test_two_rounds_in_full():
    assert lines("rounds=2") == [
        "r00/testset x2",
        "r00/evaluate x2 aftercorr:r00/testset",
        "r01/rollout x3",
        "r01/label x3 aftercorr:r01/rollout",
        "r01/gate x1 afterany:r01/label",
        "r01/finetune_actor x1 afterok:r01/gate",
        "r01/finetune_critic x1 afterok:r01/gate",
        "r01/evaluate x2 afterok:r01/finetune_actor afterok:r01/finetune_critic afterok:r00/testset",
        "r02/rollout x3 afterok:r01/finetune_actor",
        "r02/label x3 aftercorr:r02/rollout afterok:r01/finetune_critic",
        "r02/gate x1 afterany:r02/label",
        "r02/finetune_actor x1 afterok:r02/gate",
        "r02/finetune_critic x1 afterok:r02/gate",
        "r02/evaluate x2 afterok:r02/finetune_actor afterok:r02/finetune_critic afterok:r00/testset",
    ]


def test_a_run_of_games_warms_up_in_round_zero_and_has_no_labels():
    plan = make_plan(load_recipe("rl4vlm", ["rounds=2", "evaluate.every=2", "evaluate.num_shards=1"]))
    assert [f"{s.key} x{s.num_shards} {' '.join(str(n) for n in s.needs)}".rstrip() for s in plan] == [
        "r00/rollout x2",
        "r00/gate x1 afterany:r00/rollout",
        "r00/finetune_actor x1 afterok:r00/gate",
        "r00/evaluate x1 afterok:r00/finetune_actor",
        "r01/rollout x2 afterok:r00/finetune_actor",
        "r01/gate x1 afterany:r01/rollout",
        "r01/finetune_actor x1 afterok:r01/gate",
        "r02/rollout x2 afterok:r01/finetune_actor",
        "r02/gate x1 afterany:r02/rollout",
        "r02/finetune_actor x1 afterok:r02/gate",
        "r02/evaluate x1 afterok:r02/finetune_actor",
    ]


def test_a_shared_adapter_is_trained_once_a_round():
    plan = lines("rounds=2", "model.shared_adapter=true")
    assert not [line for line in plan if "finetune_critic" in line]
    assert "r02/label x3 aftercorr:r02/rollout" in plan


def test_the_base_and_the_last_round_are_measured_however_seldom_the_rest_is():
    measured = {}
    for every in (1, 2, 5, 9):
        plan = make_plan(load_recipe("selu", ["rounds=5", f"evaluate.every={every}"]))
        measured[every] = [stage.key.round_id for stage in plan if stage.key.stage is Stage.EVALUATE]
    assert measured == {1: [0, 1, 2, 3, 4, 5], 2: [0, 2, 4, 5], 5: [0, 5], 9: [0, 5]}


def test_the_last_job_asks_for_what_a_gate_does_where_there_is_none():
    config = load_recipe("llava_7b", ["learning=zero_shot"])
    assert make_plan(config).asks_of_close == config.resources.gate


def test_zero_shot_only_measures_the_base():
    assert lines("learning=zero_shot") == ["r00/testset x2", "r00/evaluate x2 aftercorr:r00/testset"]


@pytest.mark.parametrize("rounds", [1, 3, 40])
def test_every_need_is_a_stage_that_comes_before(rounds):
    seen = set()
    for stage in make_plan(load_recipe("selu", [f"rounds={rounds}"])):
        assert {need.on for need in stage.needs} <= seen
        seen.add(stage.key)


def test_only_the_gate_runs_outside_the_image():
    plan = make_plan(load_recipe("selu"))
    assert {s.key.stage for s in plan if not s.in_image} == {Stage.GATE}


def test_the_worst_case_counts_every_attempt_rank_and_gpu():
    plan = make_plan(
        load_recipe(
            "selu",
            [
                "rounds=1",
                "retry.max_retries=1",
                "finetune.num_ranks=8",
                "resources.finetune={gpus: 8, timeout_min: 60}",
            ],
        )
    )
    assert plan.worst_gpu_hours == (1 + 2) * 2 * 8, "two adapters; the second attempt has twice the time"
    assert plan[Key(1, Stage.FINETUNE_ACTOR)].worst_core_hours == 8
