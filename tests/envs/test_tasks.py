"""Every type of task is drawn as often as any other, however a round is cut into shards."""

from collections import Counter

import pytest

from selu_hpc.config import EnvConfig, RunConfig, World
from selu_hpc.envs.goals import verbs_of
from selu_hpc.envs.splits import train_scenes
from selu_hpc.envs.tasks import sample_tasks
from selu_hpc.records import Goal
from selu_hpc.stages.rollout import episodes_of


class AllIsPossible:
    """A scene where a fridge takes every verb."""

    def goals(self, verb):
        return [Goal(verb=verb, target="Fridge", place="CounterTop" if verb == "put" else "")]

    def compositions(self):
        return []

    def possible(self, task):
        return True


@pytest.mark.parametrize(("num_shards", "episodes_per_shard"), [(2, 96), (8, 1), (24, 4), (16, 12), (3, 7)])
def test_a_rounds_types_of_task_are_even_however_it_is_cut(num_shards, episodes_per_shard):
    config = RunConfig()
    config = config.but(rollout=config.rollout.but(num_shards=num_shards, episodes_per_shard=episodes_per_shard))
    works = [
        one for shard in range(num_shards) for one in episodes_of(config, 1, shard, look=lambda *_: AllIsPossible())
    ]
    counts = Counter(one.task.goals[0].verb for one in works)
    assert counts.keys() <= set(verbs_of(config.env))
    assert max(counts.values()) - min(counts.get(verb, 0) for verb in verbs_of(config.env)) <= 1


@pytest.mark.parametrize(("num_shards", "episodes_per_shard"), [(1, 1), (1, 4), (2, 3), (2, 6)])
def test_types_that_a_small_round_leaves_out_have_their_turn_in_the_next(num_shards, episodes_per_shard):
    config = RunConfig()
    config = config.but(rollout=config.rollout.but(num_shards=num_shards, episodes_per_shard=episodes_per_shard))
    works = [
        one
        for round_id in range(1, 9)
        for shard in range(num_shards)
        for one in episodes_of(config, round_id, shard, look=lambda *_: AllIsPossible())
    ]
    counts = Counter(one.task.goals[0].verb for one in works)
    assert set(counts) == set(verbs_of(config.env))
    assert len(set(counts.values())) == 1


def test_compositions_are_of_the_types_that_were_asked_for():
    config = EnvConfig(world=World.UNKNOWN, width=96, height=96, verbs=("open", "put"), composed_fraction=1.0)
    made = sample_tasks(config, scenes=train_scenes(config)[:4], count=12, seed=0)
    assert {goal.verb for task in made for goal in task.goals} <= {"open", "put"}
    assert any(len(task.goals) > 1 for task in made)
