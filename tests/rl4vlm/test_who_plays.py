"""An episode names who played it, and what became of a move that was not said."""

import pytest

from selu_hpc.rl4vlm.playing import Reply
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages.collect import EPISODES
from selu_hpc.stages.games import speaking
from selu_hpc.store.trajectories import EpisodeReader


class Mumbling:
    """Names no action, ever."""

    def answer(self, seats):
        return [Reply("?", (1,), 1, seat.names[0], said=False) for seat in seats]


@pytest.fixture
def asked(monkeypatch):
    """The rounds whose actors were loaded."""
    rounds = []
    monkeypatch.setattr(speaking, "speaker_after", lambda run, config, round_id: rounds.append(round_id) or Mumbling())
    return rounds


def told(run, stage, round_id):
    store = EpisodeReader(run.shard(round_id, stage).path / EPISODES)
    metas = [store.meta(index) for index in range(len(store))]
    return {meta["adapter"] for meta in metas}, {action["error"] for meta in metas for action in meta["actions"]}


@pytest.mark.parametrize("round_id", [0, 3])
def test_a_rounds_fresh_deals_are_played_by_the_actor_it_left(game_run, do, asked, round_id):
    run = game_run("run", "rounds=3")
    do(run, Stage.EVALUATE, round_id)
    assert asked == [round_id]
    assert told(run, Stage.EVALUATE, round_id) == ({f"r{round_id:02d}/actor"}, {"drawn"})


def test_a_rounds_own_games_are_played_by_the_actor_before_it_and_at_first_by_the_expert(game_run, do, asked):
    run = game_run("run", "rounds=3", "game.warmup_noise=1.0")
    for round_id in (0, 3):
        do(run, Stage.ROLLOUT, round_id)
    assert asked == [2]
    assert told(run, Stage.ROLLOUT, 3) == ({"r02/actor"}, {"drawn"})
    adapters, errors = told(run, Stage.ROLLOUT, 0)
    assert adapters == {"expert"}
    assert errors <= {"", "strayed"}
    assert "strayed" in errors
