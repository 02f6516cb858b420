"""The real stages on the real Slurm: three rounds of the built-in default, small, equal the local engine's bytes."""

import pytest
from harness import REPO, Lab, contents, journal, patience, started

from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.selftest import TINY

LONGER = ("finetune.actor.epochs=40", "finetune.actor.learning_rate=0.001")
GAMES = (
    "learning=rl4vlm", "game.name=blackjack", "game.chain_of_thought=false", "game.warmup_episodes=4", "game.epochs=1",
    "model.max_new_tokens=12", "rollout.num_shards=2", "rollout.episodes_per_shard=4", "rollout.num_slots=4",
    "evaluate.actor_episodes=4", "evaluate.num_shards=1", "finetune.actor.epochs=1", "finetune.global_batch=8",
    "finetune.micro_batch=4", "game.batch=8", "retry.max_retries=0",
)  # fmt: skip
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def desk(cluster) -> Lab:
    """The test user's desk with the repository as it is."""
    return Lab(cluster, cluster.STATE / "shared", REPO)


def test_three_rounds_of_the_built_in_default_equal_the_local_engines_bytes(desk, run):
    settings = (*TINY, "retry.max_retries=0")
    desk.submit(run, rounds=3, settings=settings)
    found = desk.wait_done(run, limit_s=900)
    assert [event["why"] for event in journal(run) if event["event"] == "gave_up"] == []
    assert found == by_the_local_engine(desk, run, settings, rounds=3)
    assert "03/finetune_critic/shard-0000" in found


def test_two_updates_of_rl4vlm_equal_the_local_engines_bytes(desk, run):
    desk.submit(run, rounds=2, settings=GAMES)
    found = desk.wait_done(run, limit_s=900)
    assert [event["why"] for event in journal(run) if event["event"] == "gave_up"] == []
    assert found == by_the_local_engine(desk, run, GAMES, rounds=2)
    assert {"00/finetune_actor/shard-0000", "02/evaluate/shard-0000"} <= set(found)


def test_real_stages_that_are_warned_before_their_limit_are_started_again_and_make_the_same_bytes(desk, run):
    """As Slurm warns them: SIGUSR2 to the batch script. No retry is left, so a warning must not count as a failure."""
    settings = (*TINY, "retry.max_retries=0", "rollout.episodes_per_shard=3", *LONGER)
    desk.submit(run, settings=settings)
    stages = (Key(0, Stage.TESTSET), Key(1, Stage.ROLLOUT), Key(1, Stage.FINETUNE_ACTOR), Key(1, Stage.EVALUATE))
    for key in stages:
        place = RunDir(run).shard(key.round_id, key.stage, 0)
        at_work = place.log(0) if key.stage is Stage.EVALUATE else place.progress(0)
        element = desk.element(run, f"r{key.round_id:02d}-{key.stage}")
        for _ in patience(300, f"{key} at work", context=lambda: desk.describe(run)):
            if at_work.exists():
                break
        desk.call("scancel", "--signal=USR2", "--batch", element)
    found = desk.wait_done(run, limit_s=900)
    assert [event["why"] for event in journal(run) if event["event"] == "gave_up"] == []
    attempts = {place: [one["code"] for one in records] for place, records in started(run).items()}
    assert [attempts[f"{key.round_id:02d}/{key.stage}/shard-0000"] for key in stages] == [[75, 0]] * len(stages)
    assert "resumed after step" in (run / "rounds/01/finetune_actor/shard-0000/attempt-1/log.txt").read_text()
    assert found == by_the_local_engine(desk, run, settings, rounds=1)


def by_the_local_engine(desk, run, settings, *, rounds):
    """What the same code and config make on this machine's cores."""
    local = run.with_name(f"{run.name}-local")
    overrides = [word for setting in settings for word in ("--set", setting)]
    same_code = Lab(desk.cluster, desk.home, run / "code")
    words = ["--run", str(local), "--rounds", str(rounds), "--engine", "local"]
    same_code.python("-m", "selu_hpc.submit", *words, *overrides)
    return contents(local)
