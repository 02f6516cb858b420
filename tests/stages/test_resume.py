"""Killed, resumed and renamed: a shard means the same however it came about, and learning never sees the truth."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import pytest
from toy_home import ToyModel

from selu_hpc.config import CriticMode, Learning
from selu_hpc.envs.goals import verbs_of
from selu_hpc.errors import CorruptShardError, MissingShardError, TruthLeakError
from selu_hpc.records import Role
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter
from selu_hpc.store.truth import TruthReader


class Killed(BaseException):
    """As a kill: nothing of ours may catch it."""


@pytest.fixture
def undisturbed(toy_config, unkind_path, toy_model, do):
    run, _ = open_run(unkind_path / "undisturbed", toy_config)
    do(Stage.ROLLOUT, 1, 0, run=run)
    do(Stage.LABEL, 1, 0, run=run)
    return run


def kill_after(monkeypatch, number: int) -> None:
    """The process dies when the store has taken so many episodes."""
    taken = 0
    append = EpisodeWriter.append

    def one_more(self, episode):
        nonlocal taken
        append(self, episode)
        taken += 1
        if taken == number:
            raise Killed

    monkeypatch.setattr(EpisodeWriter, "append", one_more)


@pytest.mark.parametrize("kills", [[11], [13, 2], [4, 12]])
def test_a_rollout_killed_and_resumed_equals_one_that_was_not(undisturbed, toy_run, do, monkeypatch, kills):
    for attempt, number in enumerate(kills):
        with monkeypatch.context() as patch:
            kill_after(patch, number)
            with pytest.raises(Killed):
                do(Stage.ROLLOUT, 1, 0, attempt=attempt)
    do(Stage.ROLLOUT, 1, 0, attempt=len(kills))
    ours, theirs = (run.shard(1, Stage.ROLLOUT, 0) for run in (toy_run, undisturbed))
    assert ours.check().content == theirs.check().content
    names = [EpisodeReader(ours.episodes).meta(index)["episode_id"] for index in range(14)]
    assert names == [f"r01-s0000-e{index:04d}" for index in range(14)]
    truths = TruthReader(ours.truth / "truth.zarr", purpose="evaluation").truths
    assert [truth.episode_id for truth in truths] == names


def test_a_rollout_goes_on_from_its_last_acknowledged_episode(toy_run, toy_model, do, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, 12)
        with pytest.raises(Killed):
            do(Stage.ROLLOUT, 1, 0)
    toy_model.asked.clear()
    do(Stage.ROLLOUT, 1, 0, attempt=1)
    assert 0 < len(toy_model.asked) <= 6 * 4  # six episodes of at most four steps, not fourteen


def test_a_kill_between_rename_and_marker_costs_nothing(undisturbed, toy_run, toy_model, do, monkeypatch):
    from selu_hpc.rounds.rundir import ShardDir

    with monkeypatch.context() as patch:
        patch.setattr(ShardDir, "write_marker", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            do(Stage.ROLLOUT, 1, 0)
    toy_model.asked.clear()
    do(Stage.ROLLOUT, 1, 0, attempt=1)
    assert toy_model.asked == []
    ours, theirs = (run.shard(1, Stage.ROLLOUT, 0) for run in (toy_run, undisturbed))
    assert ours.check().content == theirs.check().content


@pytest.mark.parametrize("store", ["episodes.zarr", "truth.zarr"])
def test_a_damaged_store_without_a_marker_is_made_anew_and_out_of_the_way(undisturbed, toy_run, do, store):
    """As where putting a broken shard aside was cut short by hand, or the damage came before the marker."""
    do(Stage.ROLLOUT, 1, 0)
    place = toy_run.shard(1, Stage.ROLLOUT, 0)
    place.marker_file.unlink()
    folder = place.path if store == "episodes.zarr" else place.truth
    file = max((folder / store).rglob("c.*"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    do(Stage.ROLLOUT, 1, 0, attempt=1)
    assert place.check().content == undisturbed.shard(1, Stage.ROLLOUT, 0).check().content
    assert len(EpisodeReader(place.episodes, verify=True)) == 14
    assert len(TruthReader(place.truth / "truth.zarr", purpose="evaluation").truths) == 14


def test_labels_killed_and_resumed_equal_those_that_were_not(undisturbed, toy_run, toy_model, do, monkeypatch):
    from selu_hpc.stages import label
    from selu_hpc.store.lines import LineWriter

    do(Stage.ROLLOUT, 1, 0)
    monkeypatch.setattr(label, "EPISODES_AT_ONCE", 5)
    flush = LineWriter.flush
    flushed = []

    def die_at_the_second(self):
        flush(self)
        flushed.append(self.num_committed)
        if len(flushed) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LineWriter, "flush", die_at_the_second)
        with pytest.raises(Killed):
            do(Stage.LABEL, 1, 0)
    do(Stage.LABEL, 1, 0, attempt=1)
    assert flushed == [5, 10]
    ours, theirs = (run.shard(1, Stage.LABEL, 0) for run in (toy_run, undisturbed))
    assert ours.check().content == theirs.check().content


def test_a_ranking_whose_one_flush_was_torn_is_made_anew(toy_config, unkind_path, toy_model, do, monkeypatch):
    from selu_hpc.store.lines import LineWriter

    def the_later_the_likelier(requests, answers, *, adapter):
        return [at / 8 if answer == "yes" else 0.0 for at, answer in enumerate(answers)]

    monkeypatch.setattr(toy_model, "logprobs", the_later_the_likelier)
    scoring = toy_config.but(learning=Learning.SCORING)
    calm, torn = (open_run(unkind_path / name, scoring)[0] for name in ("calm", "torn"))
    for run in (calm, torn):
        do(Stage.ROLLOUT, 1, 0, run=run)
    do(Stage.LABEL, 1, 0, run=calm)
    with monkeypatch.context() as patch:
        patch.setattr(LineWriter, "finish", lambda _: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            do(Stage.LABEL, 1, 0, run=torn)
    log = torn.shard(1, Stage.LABEL, 0).attempt(0) / "labels.zarr" / "commits.log"
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    do(Stage.LABEL, 1, 0, attempt=1, run=torn)
    ours, theirs = (run.shard(1, Stage.LABEL, 0) for run in (torn, calm))
    assert ours.check().content == theirs.check().content


def test_a_finished_shard_is_left_alone(undisturbed, toy_model, do):
    toy_model.asked.clear()
    before = undisturbed.shard(1, Stage.ROLLOUT, 0).marker_file.read_bytes()
    do(Stage.ROLLOUT, 1, 0, attempt=7, run=undisturbed)
    assert toy_model.asked == []
    assert undisturbed.shard(1, Stage.ROLLOUT, 0).marker_file.read_bytes() == before


def test_labels_need_a_whole_rollout(toy_run, toy_model, do):
    with pytest.raises(MissingShardError, match="shard 0 has no marker"):
        do(Stage.LABEL, 1, 0)
    do(Stage.ROLLOUT, 1, 0)
    damaged = next((toy_run.shard(1, Stage.ROLLOUT, 0).episodes / "frames").glob("c.*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(CorruptShardError, match="to have it made anew"):
        do(Stage.LABEL, 1, 0)


def test_a_label_stage_that_reaches_for_the_truth_is_stopped(toy_run, toy_model, do, monkeypatch):
    do(Stage.ROLLOUT, 1, 0)
    truth = toy_run.shard(1, Stage.ROLLOUT, 0).truth / "truth.zarr"

    class Cheats(ToyModel):
        def answer(self, request):
            return (truth / "records" / "c.0.0").read_bytes().decode(errors="replace")

    monkeypatch.setattr("selu_hpc.stages.models.load_generator", lambda config, *, adapters: Cheats())
    with pytest.raises(TruthLeakError, match="may not open"):
        do(Stage.LABEL, 1, 0)


def test_the_gate_cannot_open_the_truth(undisturbed, toy_model, do, monkeypatch):
    do(Stage.ROLLOUT, 1, 1, run=undisturbed)
    do(Stage.LABEL, 1, 1, run=undisturbed)
    truth = undisturbed.shard(1, Stage.ROLLOUT, 0).truth / "truth.zarr"
    monkeypatch.setattr("selu_hpc.stages.assemble.build", lambda *_, **__: TruthReader(truth, purpose="evaluation"))
    with pytest.raises(TruthLeakError):
        do(Stage.GATE, 1, run=undisturbed)


def test_the_oracle_alone_may_open_it_and_is_right_about_everything(toy_config, unkind_path, toy_model, do):
    critic = toy_config.critic.but(mode=CriticMode.ORACLE)
    run, _ = open_run(unkind_path / "oracle", toy_config.but(critic=critic))
    do(Stage.ROLLOUT, 1, 0, run=run)
    toy_model.asked.clear()
    do(Stage.LABEL, 1, 0, run=run)
    assert toy_model.asked == []
    from selu_hpc.stages.label import read_labels

    labels = read_labels(run.shard(1, Stage.LABEL, 0).labels)
    truths = TruthReader(run.shard(1, Stage.ROLLOUT, 0).truth / "truth.zarr", purpose="report").truths
    assert [label.verdict for label in labels] == [truth.success for truth in truths]
    assert any(label.relabelled for label in labels)


def test_a_run_moved_elsewhere_goes_on(undisturbed, toy_model, do, unkind_path):
    from selu_hpc.rounds.rundir import RunDir

    moved = unkind_path / "moved"
    shutil.move(undisturbed.path, moved)
    for stage, shard in ((Stage.ROLLOUT, 1), (Stage.LABEL, 1), (Stage.GATE, 0)):
        do(stage, 1, shard, run=RunDir(moved))
    assert RunDir(moved).dataset(1, "actor").read_text()


def test_a_round_that_is_trained_on_the_last_ones_set_again_says_so(undisturbed, toy_model, do, monkeypatch, caplog):
    from selu_hpc.stages import assemble

    def all_kept(*arguments, **settings):
        made = build(*arguments, **settings)
        return replace(made, samples={role: [replace(s, kept=True) for s in made.samples[role]] for role in Role})

    do(Stage.ROLLOUT, 1, 1, run=undisturbed)
    do(Stage.LABEL, 1, 1, run=undisturbed)
    build = assemble.build
    monkeypatch.setattr(assemble, "build", all_kept)
    do(Stage.GATE, 1, run=undisturbed)
    assert "actor: this round taught nothing new, so it is trained on the last round's set again" in caplog.text


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_over_many_short_shards_each_task_type_is_as_frequent_as_any_other(toy_config, count):
    from selu_hpc.stages.rollout import episodes_of

    short = toy_config.but(rollout=toy_config.rollout.but(episodes_per_shard=count, num_shards=400))
    verbs = Counter(work.task.verb for shard in range(400) for work in episodes_of(short, 1, shard))
    assert set(verbs) == set(verbs_of(short.env))
    assert min(verbs.values()) > 0.6 * 400 * count / len(verbs)


def test_a_share_of_the_first_rounds_episodes_explores_and_none_of_the_laters(toy_config):
    from selu_hpc.stages.rollout import episodes_of, explores

    assert sum(explores(seed, 0.5) for seed in range(1000)) == pytest.approx(500, abs=50)
    everyone = toy_config.but(rollout=toy_config.rollout.but(explore_share=1.0))
    assert all(work.explore for work in episodes_of(everyone, 1, 0))
    assert not any(work.explore for work in episodes_of(everyone, 2, 0))


def test_training_and_test_episodes_never_share_a_scene_or_a_seed(toy_config):
    from selu_hpc.envs.splits import test_scenes, train_scenes
    from selu_hpc.stages.rollout import episodes_of
    from selu_hpc.stages.testset import actor_work

    train = [work for round_id in (1, 2) for shard in (0, 1) for work in episodes_of(toy_config, round_id, shard)]
    held_out = [work for shard in (0, 1) for work in actor_work(toy_config, shard)]
    assert not {work.seed for work in train} & {work.seed for work in held_out}
    assert {work.task.scene for work in train} <= set(train_scenes(toy_config.env))
    assert {work.task.scene for work in held_out} <= set(test_scenes(toy_config.env))
    assert not set(train_scenes(toy_config.env)) & set(test_scenes(toy_config.env))
