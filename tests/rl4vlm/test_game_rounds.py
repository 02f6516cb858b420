"""Rounds of games through the stages: a warm-up, then updates; killed and resumed, the same bytes."""

import json

import pytest

from selu_hpc.recipes import load_run
from selu_hpc.records import Role, Sample
from selu_hpc.report import write_report
from selu_hpc.rl4vlm.state import STATE
from selu_hpc.rl4vlm.summary import markdown, summarise
from selu_hpc.rl4vlm.turns import read_turns
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import entry
from selu_hpc.stages.games.finetune import drop_states
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter
from selu_hpc.train import checkpoint
from selu_hpc.viz.replay import make_replay

pytestmark = pytest.mark.deepspeed


class Killed(BaseException):
    """As a kill: nothing of ours may catch it."""


def contents(run, *stages):
    """Digest of every finished shard of the stages."""
    found = sorted(run.path.glob("rounds/*/*/shard-*/done.json"))
    return {
        str(file.parent.relative_to(run.path)): json.loads(file.read_bytes())["content"]
        for file in found
        if not stages or file.parts[-3] in stages
    }


def test_two_rounds_leave_an_actor_a_state_and_a_report(game_run, play_round, do):
    run = game_run()
    for round_id in (0, 1, 2):
        play_round(run, round_id)
        do(run, Stage.EVALUATE, round_id)
    warm = [Sample.from_json(json.loads(line)) for line in run.dataset(0, Role.ACTOR).read_text().splitlines()]
    assert {sample.source for sample in warm} == {"expert"}
    assert all('"action": ' in sample.answer for sample in warm)
    first = run.shard(1, Stage.FINETUNE_ACTOR).check()
    assert {name.partition("/")[0] for name in first.files} == {"adapter", "curve.json", "tensorboard"}
    assert first.summary["ratio_first"] == pytest.approx(1, abs=1e-4)
    assert first.summary["mismatch_p95"] < 0.05
    second = run.shard(2, Stage.FINETUNE_ACTOR)
    state = checkpoint.newest(second.path / STATE, f"rl4vlm {second.check().content}").state
    assert state.adam_steps == first.summary["steps"] + second.check().summary["steps"]
    page = write_report(run).read_text()
    assert "games won" in page
    assert "warm-up" in page
    shown = make_replay(run).read_text()
    assert "A game pays a reward" in shown
    assert '"rewards":[' in shown.replace(" ", "")
    table = markdown([summarise(run, load_run(run.path))])
    assert "| number_line | 1, 1 | rl4vlm | 1 | 2 |" in table


def test_a_turn_holds_the_sampled_tokens_and_what_the_game_paid(game_run, play_round, do):
    run = game_run()
    play_round(run, 0)
    do(run, Stage.ROLLOUT, 1, shards=(0, 1))
    do(run, Stage.GATE, 1)
    turns = read_turns(run.dataset(1, Role.ACTOR))
    card = json.loads((run.shard(1, Stage.GATE).path / "card.json").read_text())
    assert card["steps"] == len(turns)
    assert sum(turn.last for turn in turns) == card["episodes"] == 8
    assert all(0 < len(turn.answer_ids) <= 6 for turn in turns)
    store = EpisodeReader(run.shard(1, Stage.ROLLOUT, 0).episodes)
    frame = store.frame(turns[0].image.episode, turns[0].image.step, turns[0].image.view)
    assert frame.shape == (300, 300, 3)
    assert store.meta(0)["actions"][0]["parsed"] == turns[0].action


@pytest.mark.parametrize("kills", [[2], [3, 1]])
def test_games_killed_and_resumed_equal_those_that_were_not(game_run, play_round, do, monkeypatch, kills):
    calm, killed = game_run("calm"), game_run("killed")
    for run in (calm, killed):
        play_round(run, 0)
    do(calm, Stage.ROLLOUT, 1)
    append = EpisodeWriter.append
    for number in kills:
        taken = 0

        def dying(self, episode, number=number):
            nonlocal taken
            append(self, episode)
            self.flush()
            taken += 1
            if taken == number:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(EpisodeWriter, "append", dying)
            with pytest.raises(Killed):
                do(killed, Stage.ROLLOUT, 1)
    do(killed, Stage.ROLLOUT, 1)
    assert contents(killed, "rollout") == contents(calm, "rollout")


def test_an_adapter_with_a_flipped_byte_neither_plays_nor_is_gone_on_from(game_run, play_round, do):
    run = game_run("run", "rounds=1")
    play_round(run, 0)
    do(run, Stage.ROLLOUT, 1, shards=(0, 1))
    do(run, Stage.GATE, 1)
    flip_a_byte(run.shard(0, Stage.FINETUNE_ACTOR).path / "adapter" / "adapter_model.safetensors")
    for stage, round_id in ((Stage.EVALUATE, 0), (Stage.FINETUNE_ACTOR, 1)):
        assert entry.run_stage(stage, run=str(run.path), round_id=round_id) == entry.EXIT_FAILED
        said = run.shard(round_id, stage).log(0).read_text()
        assert run.command("explain", "r00/finetune_actor/0") in said


def flip_a_byte(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.slow
def test_a_state_that_no_round_goes_on_from_any_more_is_gone(game_run, play_round):
    run = game_run("run", "rounds=3")
    for round_id in (0, 1, 2, 3):
        play_round(run, round_id)
    places = [run.shard(round_id, Stage.FINETUNE_ACTOR) for round_id in (1, 2, 3)]
    assert [(place.path / STATE).is_dir() for place in places] == [False, True, True]
    for place in places:
        place.check()
        for meta in place.path.glob(f"{STATE}/*/meta.json"):
            assert json.loads(meta.read_text())["identity"] == f"rl4vlm {place.require_marker().content}"
    before = places[1].require_marker()
    places[1].marker_file.unlink()
    assert entry.run_stage(Stage.FINETUNE_ACTOR, run=str(run.path), round_id=2) == entry.EXIT_FAILED
    assert (
        "so r02/actor can't be made anew: bring its adapter back" in places[1].log(places[1].attempts[-1]).read_text()
    )
    places[1].write_marker(content="another's", names=list(before.files), summary={})
    places[2].marker_file.unlink()
    assert entry.run_stage(Stage.FINETUNE_ACTOR, run=str(run.path), round_id=3) == entry.EXIT_FAILED
    assert "no whole state to go on from" in places[2].log(places[2].attempts[-1]).read_text()


def test_a_state_that_an_older_marker_names_stays(game_run):
    run = game_run("run", "rounds=3")
    places = [run.shard(round_id, Stage.FINETUNE_ACTOR) for round_id in (1, 2, 3)]
    for place, names in zip(places, ([STATE], []), strict=False):
        (place.path / STATE).mkdir(parents=True)
        (place.path / STATE / "meta.json").write_text("{}")
        place.write_marker(content="", names=names, summary={})
    drop_states(run.shard(4, Stage.FINETUNE_ACTOR))
    assert [(place.path / STATE).is_dir() for place in places] == [True, False, False]
    places[0].check()


def test_the_same_run_again_has_the_same_bytes(game_run, play_round):
    runs = [game_run("one", "rounds=1"), game_run("two", "rounds=1")]
    for run in runs:
        play_round(run, 0)
        play_round(run, 1)
    assert contents(runs[0]) == contents(runs[1])


def test_the_papers_way_weighs_answers_under_a_prompt_they_were_not_given_to(game_run, play_round):
    ratios = {}
    for reread in ("own_prompt", "first_prompt"):
        run = game_run(
            reread, "rounds=1", "game.name=ez_points", f"game.reread={reread}", "rollout.episodes_per_shard=2"
        )
        play_round(run, 0)
        play_round(run, 1)
        ratios[reread] = run.shard(1, Stage.FINETUNE_ACTOR).check().summary["ratio_first"]
    off = {reread: abs(ratio - 1) for reread, ratio in ratios.items()}
    assert off["own_prompt"] < 1e-5
    assert off["first_prompt"] > 1e-4  # a random model hardly minds the formula; a trained one does
