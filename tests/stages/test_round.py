"""A whole round through the real stages, from test sets to results, on the toy home."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import toy_home

from selu_hpc.config import Learning, Simulator
from selu_hpc.envs.expert import Policy, can_be_undone
from selu_hpc.envs.goals import VERBS
from selu_hpc.errors import CorruptShardError
from selu_hpc.recipes import load_recipe
from selu_hpc.records import Label, Role, Sample, View
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage
from selu_hpc.selu.results import merge
from selu_hpc.stages import evaluate, models, testset
from selu_hpc.store.frames import FrameSource
from selu_hpc.store.lines import LineReader
from selu_hpc.store.trajectories import EpisodeReader


@pytest.fixture
def collected(toy_run, toy_model, do) -> RunDir:
    """A run with round 1's rollouts, labels and sets."""
    for stage in (Stage.ROLLOUT, Stage.LABEL):
        for shard in range(2):
            do(stage, 1, shard)
    do(Stage.GATE, 1)
    return toy_run


def labels_of(run: RunDir, shard: int) -> list[Label]:
    store = run.shard(1, Stage.LABEL, shard).labels
    return [Label.from_json(record) for record in LineReader(store).records]


def samples_of(run: RunDir, role: str) -> list[Sample]:
    return [Sample.from_json(json.loads(line)) for line in run.dataset(1, role).read_text().splitlines()]


def test_a_round_teaches_the_actor_what_it_did_under_the_right_names(collected):
    samples = samples_of(collected, "actor")
    assert {s.source for s in samples} == {"success", "relabelled"}
    frames = FrameSource(collected.path)
    for sample in samples:
        (ref,) = sample.images
        assert ref.view is View.FIRST_PERSON
        assert frames.read(ref).shape == (32, 32, 3)
    # The actor breaks the vase where the mug was meant, and is taught that this is how one breaks the vase.
    taught = {(s.prompt.partition(".")[0], s.answer) for s in samples if s.source == "relabelled"}
    assert taught == {
        (f"Task: {verb} the {thing}", answer)
        for verb, thing in (("break", "vase"), ("open", "cabinet"))
        for answer in (f"go to the {thing}", f"{verb} the {thing}", "done")
    }


def test_the_critics_set_is_balanced_and_names_its_sources(collected):
    samples = samples_of(collected, "critic")
    answers = [sample.answer for sample in samples]
    assert answers.count("yes") == answers.count("no") > 0
    assert {s.source for s in samples} >= {"corrected", "verdict", "relabelled"}
    card = json.loads((collected.seal(1).parent / "card.json").read_bytes())
    assert card["critic"]["by_answer"] == {"no": answers.count("no"), "yes": answers.count("yes")}
    assert card["episodes"]["total"]["episodes"] == 28


def test_self_asking_corrects_what_the_first_verdict_missed(collected):
    found = labels_of(collected, 0) + labels_of(collected, 1)
    corrected = [one for one in found if one.verdict and not one.first]
    assert corrected
    assert [e.purpose for e in corrected[0].exchanges] == ["verdict", "state", "second verdict"]
    assert [e.taken for e in corrected[0].exchanges] == ["no", "yes", "yes"]


def test_an_evaluation_traces_every_number_to_its_episode(real_pool, collected, do):
    for shard in range(2):
        do(Stage.TESTSET, 0, shard)
        do(Stage.EVALUATE, 0, shard)
    results = [
        json.loads((collected.shard(0, Stage.EVALUATE, shard).path / "results.json").read_bytes()) for shard in range(2)
    ]
    critic = [row for one in results for row in one["rows"]["critic"]]
    assert [row["episode"] for row in critic] == [f"test-c{number:04d}" for number in range(12)]
    assert sum(row["truth"] for row in critic) == 6
    assert {row["way"] for row in critic if row["truth"]} == {"expert"}
    assert {row["way"] for row in critic if not row["truth"]} > {"wrong_object", "out_of_reach"}
    # The toy critic says no to every opening, and right to all else.
    assert all(row["first"] == (row["truth"] and row["verb"] != "open") for row in critic)
    assert all(row["verdict"] == row["truth"] for row in critic)
    assert all(row["states"] == row["truth"] for row in critic)
    assert [one["numbers"]["critic_states"]["accuracy"]["value"] for one in results] == [1.0, 1.0]
    # What was asked and said stands beside what came of it.
    opened = next(row for row in critic if row["verb"] == "open" and row["truth"])
    assert opened["question"].endswith("Is the task done? yes or no?")
    assert (opened["answer"], opened["taken"]) == ("no", "no")
    assert [e["purpose"] for e in opened["own"]] == ["verdict", "state", "second verdict"]
    assert [(e["purpose"], e["taken"]) for e in opened["seen"]] == [("state", "yes")]
    assert [one["numbers"]["critic_unreadable"]["share"]["value"] for one in results] == [0.0, 0.0]
    actor = [row for one in results for row in one["rows"]["actor"]]
    assert len(actor) == 6
    assert 0 < sum(row["success"] for row in actor) < 6
    assert all(row["right"] for one in results for row in one["rows"]["probe"])
    for shard, one in enumerate(results):
        stored = EpisodeReader(collected.shard(0, Stage.EVALUATE, shard).episodes)
        names = [stored.meta(index)["episode_id"] for index in range(len(stored))]
        assert names == [row["episode"] for row in one["rows"]["actor"]]


def test_the_test_sets_are_the_same_for_every_method_seed_and_cut(toy_run, toy_config, toy_model, unkind_path, do):
    one_shard = toy_config.evaluate.but(num_shards=1)
    changes = {"seed": 5, "learning": Learning.LMSI, "evaluate": one_shard}
    other, _ = open_run(unkind_path / "other", toy_config.but(**changes))
    do(Stage.TESTSET, 0, 0)
    do(Stage.TESTSET, 0, 1)
    do(Stage.TESTSET, 0, 0, run=other)

    def metas(run: RunDir, num_shards: int) -> list[dict[str, object]]:
        stores = [EpisodeReader(run.shard(0, Stage.TESTSET, shard).episodes) for shard in range(num_shards)]
        return [store.meta(index) for store in stores for index in range(len(store))]

    assert metas(toy_run, 2) == metas(other, 1)


@pytest.mark.parametrize("simulator", Simulator)
def test_every_type_of_task_fails_in_every_way_equally_often(simulator):
    config = load_recipe("selu", [f"env.simulator={simulator}"])
    cells = [cell for shard in range(2) for cell in testset.critic_cells(config, shard)]
    types = VERBS[simulator]
    failed = Counter((types[cell.number // 2 % len(types)], cell.policies[0]) for cell in cells if not cell.wanted)
    each = len(cells) // 2 // (6 * len(types))
    for verb in types:
        ways = {way: failed[verb, way] for way in testset.FAILING}
        if can_be_undone(verb):
            assert set(ways.values()) == {each}
        else:
            assert ways.pop(Policy.UNDONE) == 0
            assert max(ways.values()) - min(ways.values()) <= 1


def test_a_failure_is_tried_for_a_few_times_and_then_another_way(toy_config):
    cell = testset.Cell(3, "c", False, (Policy.UNDONE, Policy.RANDOM), lambda played: False)
    voice = testset._Voice()
    work = [testset._work(cell, trial, toy_config.env, toy_home.look, voice) for trial in range(9)]
    assert [voice.policies[one.seed] for one in work] == [Policy.UNDONE] * 4 + [Policy.RANDOM] * 4 + [Policy.UNDONE]
    assert {one.task.verb for one in work} == {"break"}


def test_a_scene_is_looked_at_once_a_run(toy_run, toy_config, toy_model, do, monkeypatch):
    from selu_hpc.envs import tasks

    do(Stage.ROLLOUT, 1, 0)
    first = toy_run.shard(1, Stage.ROLLOUT, 0).require_marker().content
    monkeypatch.setattr(tasks, "look_by_simulator", None)  # whoever looks again fails
    toy_run.shard(1, Stage.ROLLOUT, 0).marker_file.unlink()
    shutil.rmtree(toy_run.shard(1, Stage.ROLLOUT, 0).path)
    shutil.rmtree(toy_run.truth)
    do(Stage.ROLLOUT, 1, 0)
    assert toy_run.shard(1, Stage.ROLLOUT, 0).require_marker().content == first


def test_a_torn_memory_of_scenes_costs_time_only(toy_run, toy_model, do):
    do(Stage.ROLLOUT, 1, 0)
    for number, file in enumerate(sorted(toy_run.scenes.iterdir())):
        file.write_bytes([b"", b'{"goals": {"open"', b"[]", b'{"goals": 7}'][number % 4])
    do(Stage.ROLLOUT, 1, 1)
    assert toy_run.shard(1, Stage.ROLLOUT, 1).check()


def test_more_shards_than_test_episodes_are_no_trouble(toy_config, toy_model, unkind_path, do):
    few = toy_config.evaluate.but(num_shards=3, critic_episodes=2, actor_episodes=1, probe_questions=3)
    run, _ = open_run(unkind_path / "few", toy_config.but(evaluate=few))
    for stage in (Stage.TESTSET, Stage.EVALUATE):
        for shard in range(3):
            do(stage, 0, shard, run=run)
    rows = [
        json.loads((run.shard(0, Stage.EVALUATE, shard).path / "results.json").read_bytes())["rows"]
        for shard in range(3)
    ]
    assert [len(merge(rows)[table]) for table in ("critic", "actor", "probe")] == [2, 1, 6]


def test_the_plain_verdict_is_the_same_question_for_a_method_whose_own_first_one_is_a_vote(
    toy_run, toy_config, toy_model, do, monkeypatch
):
    """Its samples say the opposite of what it says greedily."""
    greedy = toy_model.generate
    opposite = {"yes": "no", "no": "yes"}

    def generate(requests, *, temperature=0.0, **settings):
        answers = greedy(requests, temperature=temperature, **settings)
        return [replace(a, text=opposite[a.text]) for a in answers] if temperature else answers

    monkeypatch.setattr(toy_model, "generate", generate)
    do(Stage.TESTSET, 0)
    speaking = models.Speaking(toy_model, {Role.CRITIC: None}, {})
    selu, votes = (
        evaluate.critic_rows(toy_run.shard(0, Stage.TESTSET, 0), toy_config.but(learning=method), speaking)
        for method in (Learning.SELU, Learning.SELF_CONSISTENCY)
    )
    assert [row["first"] for row in votes] == [row["first"] for row in selu]
    assert [row["verdict"] for row in votes] == [not row["first"] for row in selu]


@pytest.mark.parametrize(("num_slots", "warns"), [(2, True), (5, False)])
def test_fewer_environments_than_rows_of_a_forward_pass_are_told_of(
    toy_config, toy_model, unkind_path, do, caplog, num_slots, warns
):
    few = toy_config.rollout.but(num_slots=num_slots, episodes_per_shard=2)
    run, _ = open_run(unkind_path / "few", toy_config.but(rollout=few))
    do(Stage.ROLLOUT, 1, run=run)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["rollout.num_slots" in one for one in warned] == ([True] if warns else [])


def test_of_a_servers_base_the_name_is_known_so_that_two_are_told_apart(toy_config):
    served = toy_config.model.but(base="Qwen/Qwen2-VL-7B-Instruct", server_url="http://node:8000")
    assert models.base_of(toy_config.but(model=served)) == "Qwen/Qwen2-VL-7B-Instruct"


def adapter_after(run: RunDir, role: Role) -> ShardDir:
    """As round 2's fine-tuning leaves it."""
    place = run.shard(2, Stage(f"finetune_{role}"))
    (place.path / "adapter").mkdir(parents=True)
    (place.path / "adapter" / "adapter_model.safetensors").write_bytes(bytes(100))
    place.write_marker(content="x", names=["adapter"], summary={})
    return place


@pytest.mark.parametrize("role", Role)
def test_an_adapter_with_a_flipped_byte_does_not_speak(toy_run, toy_config, toy_model, role):
    places = {one: adapter_after(toy_run, one) for one in Role}
    (places[role].path / "adapter" / "adapter_model.safetensors").write_bytes(bytes(99) + b"x")
    with pytest.raises(CorruptShardError, match=rf"r02/finetune_{role}/0` says what to type"):
        models.speak(toy_run, toy_config, after_round=2, roles=tuple(Role))


def test_a_set_that_lost_lines_is_not_kept_from(collected, do):
    for stage in (Stage.ROLLOUT, Stage.LABEL):
        shutil.copytree(collected.stage(1, stage), collected.stage(2, stage))
    critics = collected.dataset(1, Role.CRITIC)
    critics.write_bytes(critics.read_bytes().replace(b'"answer":"no"', b'"answer":"yes"'))
    with pytest.raises(CorruptShardError, match=r"(?s)critic\.jsonl has .* r01/gate/0"):
        do(Stage.GATE, 2)
    assert collected.shard(2, Stage.GATE).read_marker() is None


@pytest.mark.parametrize("shared", [False, True])
def test_a_round_speaks_with_the_adapters_of_the_round_before(toy_run, toy_config, monkeypatch, shared):
    loaded = {}

    def load(config, *, adapters):
        loaded.update(adapters)
        return object()

    monkeypatch.setattr(models, "load_generator", load)
    config = toy_config.but(model=toy_config.model.but(shared_adapter=shared))
    speaking = models.speak(toy_run, config, after_round=0, roles=(Role.ACTOR, Role.CRITIC))
    assert loaded == {}
    assert speaking.adapters == {Role.ACTOR: None, Role.CRITIC: None}
    folder = {role: adapter_after(toy_run, role).path / "adapter" for role in Role}
    speaking = models.speak(toy_run, config, after_round=2, roles=(Role.ACTOR, Role.CRITIC))
    if shared:
        assert loaded == {"actor": folder[Role.ACTOR]}
        assert speaking.adapters == {Role.ACTOR: "actor", Role.CRITIC: "actor"}
    else:
        assert loaded == {"actor": folder[Role.ACTOR], "critic": folder[Role.CRITIC]}
        assert speaking.names == {Role.ACTOR: "r02/actor", Role.CRITIC: "r02/critic"}


@pytest.fixture
def spoken(toy_model, monkeypatch):
    """The adapters of each load, and under which names actions, verdicts and states were asked for."""
    loads, asked = [], defaultdict(set)
    generate = toy_model.generate

    def heard(requests, *, adapter, **settings):
        for one in requests:
            asked["act" if "Next action?" in one.prompt else "judge" if "done?" in one.prompt else "see"].add(adapter)
        return generate(requests, adapter=adapter, **settings)

    monkeypatch.setattr(toy_model, "generate", heard)
    monkeypatch.setattr(models, "load_generator", lambda _, *, adapters: loads.append(adapters) or toy_model)
    return loads, asked


def test_a_rounds_stages_are_spoken_by_the_adapters_of_the_round_before(toy_run, do, spoken):
    loads, asked = spoken
    folder = {str(role): adapter_after(toy_run, role).path / "adapter" for role in Role}
    do(Stage.ROLLOUT, 3)
    do(Stage.LABEL, 3)
    assert loads == [{"actor": folder["actor"]}, {"critic": folder["critic"]}]
    assert (asked["act"], asked["judge"], asked["see"]) == ({"actor"}, {"critic"}, {"critic"})


def test_an_evaluation_is_of_the_adapters_its_round_left(toy_run, do, spoken, monkeypatch):
    loads, asked = spoken
    monkeypatch.setattr(evaluate, "label_rows", lambda *_: [])
    folder = {str(role): adapter_after(toy_run, role).path / "adapter" for role in Role}
    do(Stage.TESTSET, 0)
    do(Stage.EVALUATE, 2)
    assert loads == [folder]
    assert (asked["act"], asked["judge"], asked["see"]) == ({"actor"}, {"critic"}, {"actor", "critic"})


def test_the_actor_is_shown_what_its_own_camera_sees_now(toy_run, toy_model, do, monkeypatch):
    look, shown = toy_home.ToyHome.look, []

    def two_cameras(home):
        seen = look(home)
        return replace(seen, third_person=np.full_like(seen.third_person, 255))

    def answer(one):
        shown.append(toy_home.state_in(one.images[0])["near"])
        return toy_model.act(one.prompt)

    monkeypatch.setattr(toy_home.ToyHome, "look", two_cameras)
    monkeypatch.setattr(toy_model, "answer", answer)
    do(Stage.ROLLOUT, 1)
    assert set(shown) > {""}, "where it came to as well as where it began"
