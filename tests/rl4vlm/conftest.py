"""A run of games whose model is a tiny random one; everything else is the real package."""

import pytest
import tiny_models

from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import entry
from selu_hpc.store import truth


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    return tiny_models.llava_next(tmp_path_factory.mktemp("llava_next"))


@pytest.fixture(autouse=True)
def _quiet(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SELU_FEATURE_CACHE", str(tmp_path_factory.mktemp("features")))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def game_run(tmp_path, tiny_base):
    """`game_run("run", "game.name=ez_points")`: an empty run folder of two rounds of few games."""

    def make(name="run", *changes):
        small = [
            f"model.base={tiny_base}",
            "model.lora_rank=4",
            "model.max_new_tokens=6",
            "model.batch_size=4",
            "rounds=2",
            "rollout.num_shards=2",
            "rollout.episodes_per_shard=4",
            "game.warmup_episodes=3",
            "rollout.num_slots=3",
            "evaluate.num_shards=1",
            "evaluate.actor_episodes=4",
            "evaluate.bootstrap_samples=20",
            "finetune.actor.epochs=1",
            "finetune.global_batch=8",
            "finetune.micro_batch=4",
            "game.epochs=1",
            "game.batch=8",
            "game.temperature=1.0",
        ]
        run, _ = open_run(tmp_path / name, load_recipe("rl4vlm", [*small, *changes]))
        return run

    return make


@pytest.fixture
def do():
    """`do(run, Stage.GATE, 0)`: all shards of a stage, or one; raises where the stage says it failed."""

    def one(run, stage, round_id, shards=(0,)):
        before = dict(truth._forbidden)
        try:
            for shard in shards:
                assert entry.run_stage(stage, run=str(run.path), round_id=round_id, shard=shard) == 0, log(
                    run, stage, round_id, shard
                )
        finally:
            truth._forbidden.clear()
            truth._forbidden.update(before)

    return one


def log(run, stage, round_id, shard):
    place = run.shard(round_id, stage, shard)
    return "\n".join(file.read_text() for file in sorted(place.path.glob("attempt-*/log.txt")))


@pytest.fixture
def play_round(do):
    """A whole round, up to its learning."""

    def one(run, round_id):
        do(run, Stage.ROLLOUT, round_id, shards=(0, 1))
        do(run, Stage.GATE, round_id)
        do(run, Stage.FINETUNE_ACTOR, round_id)

    return one
