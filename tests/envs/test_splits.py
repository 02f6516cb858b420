"""Training and held-out scenes, seeds and pairs don't meet."""

from __future__ import annotations

import itertools

import pytest

from selu_hpc.config import Backend, EnvConfig, Simulator, World
from selu_hpc.envs.splits import pair_is_held_out, test_scenes, test_seed, train_scenes, train_seed, unknown_skin
from selu_hpc.sim.thor.world import World as ThorWorld
from selu_hpc.sim.virtualhome.homes import make_home

CONFIGS = [
    EnvConfig(simulator=simulator, world=world, backend=backend)
    for simulator, world, backend in itertools.product(Simulator, World, (Backend.STAND_IN, Backend.CLOUD_RENDERING))
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.simulator}-{c.world}-{c.backend}")
def test_training_and_held_out_scenes_are_disjoint(config: EnvConfig) -> None:
    train, test = train_scenes(config), test_scenes(config)
    assert train
    assert test
    assert not set(train) & set(test)
    assert len(set(train)) == len(train)


@pytest.mark.parametrize("simulator", list(Simulator))
def test_the_unknown_world_has_no_scene_of_the_known_one(simulator: Simulator) -> None:
    known = EnvConfig(simulator=simulator, world=World.KNOWN)
    unknown = EnvConfig(simulator=simulator, world=World.UNKNOWN)
    assert not {*train_scenes(known), *test_scenes(known)} & {*train_scenes(unknown), *test_scenes(unknown)}


@pytest.mark.parametrize("simulator", list(Simulator))
def test_what_is_held_out_of_the_unknown_world_looks_like_nothing_that_is_trained_in(simulator: Simulator) -> None:
    config = EnvConfig(simulator=simulator, world=World.UNKNOWN)
    train, test = ({unknown_skin(scene) for scene in scenes(config)} for scenes in (train_scenes, test_scenes))
    assert len(train) == 7
    assert len(test) == 3
    assert not train & test


def test_a_scene_has_the_skin_that_the_splits_go_by() -> None:
    homes = EnvConfig(simulator=Simulator.VIRTUALHOME, world=World.UNKNOWN)
    for scene in (*train_scenes(homes)[:6], *test_scenes(homes)[:6]):
        assert make_home(int(scene.removeprefix("home")), known=False).skin == unknown_skin(scene)
    rooms = EnvConfig(world=World.UNKNOWN)
    for scene in (*train_scenes(rooms)[::10], *test_scenes(rooms)[::6]):
        assert ThorWorld(scene, known=False).skin == unknown_skin(scene)


def test_every_room_type_has_training_and_held_out_scenes() -> None:
    config = EnvConfig(world=World.UNKNOWN)
    for scenes in (train_scenes(config), test_scenes(config)):
        assert {int(scene.removeprefix("FloorPlan")) // 100 for scene in scenes} == {0, 2, 3, 4}


def test_training_and_held_out_seeds_are_disjoint() -> None:
    train = {train_seed("run", 0, shard, index) for shard in range(20) for index in range(50)}
    test = {test_seed("run", 0, shard, index) for shard in range(20) for index in range(50)}
    assert len(train) == len(test) == 1000
    assert {seed % 2 for seed in train} == {0}
    assert {seed % 2 for seed in test} == {1}


def test_a_fair_share_of_object_verb_pairs_is_held_out_of_the_known_world() -> None:
    pairs = [pair_is_held_out(verb, kind) for verb in ("open", "close", "break") for kind in map(str, range(400))]
    assert 0.35 < sum(pairs) / len(pairs) < 0.45
