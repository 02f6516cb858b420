"""Playing many episodes at once: in order, full slots, and nothing depends on who plays beside whom."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from toy_home import ToyModel, ToyPool

from selu_hpc.config import EnvConfig, Simulator, StopMode
from selu_hpc.envs.goals import make_task
from selu_hpc.records import Ended, Goal
from selu_hpc.selu.actor import Actor
from selu_hpc.stages.playing import Played, Players, Work

TARGETS = [("open", "Fridge"), ("break", "Mug"), ("pick up", "Apple"), ("open", "Cabinet")]


class LocalPool(ToyPool):
    """Each call as slow as chance wants."""

    def __init__(self, num_slots: int, *, chance: random.Random | None = None) -> None:
        super().__init__(EnvConfig(), num_slots=num_slots)
        self.chance = chance

    def dawdle(self) -> None:
        if self.chance:
            time.sleep(self.chance.uniform(0, 0.003))


def work(count: int) -> list[Work]:
    found = []
    for number in range(count):
        goal = Goal(verb=TARGETS[number % 4][0], target=TARGETS[number % 4][1])
        task = make_task("FloorPlan16", (goal,), simulator=Simulator.THOR)
        found.append(Work(episode_id=f"e{number}", task=task, seed=number))
    return found


def play(
    pool: LocalPool, count: int, model: ToyModel | None = None, *, batch_size: int = 2, **settings: object
) -> list[Played]:
    actor = Actor(generator=model or ToyModel(), adapter=None, simulator=Simulator.THOR, batch_size=batch_size)
    config = EnvConfig.of({"horizon": 6, **settings})
    return list(Players(pool, actor, config, model="toy", adapter="none").play(work(count)))


def plain(played: list[Played]) -> list[object]:
    return [(one.episode.meta_json(), one.episode.frames_tvhwc.tobytes(), one.truth) for one in played]


def test_episodes_come_in_the_order_of_the_work_whatever_ends_first():
    model = ToyModel(mistaken={"Fridge": "Apple"})
    assert [one.episode.episode_id for one in play(LocalPool(3), 11, model)] == [f"e{n}" for n in range(11)]


@pytest.mark.parametrize("num_slots", [1, 2, 5, 16])
def test_an_episode_does_not_depend_on_slots_batches_or_timing(num_slots):
    alone = plain(play(LocalPool(1), 9))
    assert plain(play(LocalPool(num_slots, chance=random.Random(num_slots)), 9)) == alone


def test_a_slot_takes_the_next_episode_at_once():
    pool = LocalPool(8)
    play(pool, 60, batch_size=4)
    assert len([full for full in pool.filled if full < 4]) <= 6  # thin at the very end only


def test_a_not_in_one_line_denies_nothing_in_the_next_and_the_record_is_one_line():
    class Tells(ToyModel):
        def act(self, prompt):
            return "The apple is not here.\r\n\n \n I can not see it\nTurn left\n"

    (played,) = play(LocalPool(1), 1, Tells(), horizon=1)
    (action,) = played.episode.actions
    assert (action.parsed, action.text) == ("turn left", "The apple is not here. I can not see it Turn left")


def test_an_episode_keeps_what_was_seen_said_and_told():
    (played,) = play(LocalPool(2), 1)
    episode = played.episode
    assert [action.parsed for action in episode.actions] == ["go to the fridge", "open the fridge", "done"]
    assert episode.frames_tvhwc.shape == (4, 2, 32, 32, 3)
    assert episode.seen == ("You hold nothing.",) * 4
    assert len(episode.timestamps_s) == 4
    assert episode.ended is Ended.DONE
    assert played.truth.success_after == (False, False, True, True)


def test_an_episode_never_ends_because_the_task_is_done():
    class Restless(ToyModel):
        def act(self, prompt):
            said = super().act(prompt)
            return "turn left" if said == "done" else said

    (played,) = play(LocalPool(1), 1, Restless())
    assert played.episode.num_steps == 6
    assert played.episode.ended is Ended.LIMIT
    assert played.truth.success


def test_with_a_fixed_length_saying_done_ends_nothing():
    (played,) = play(LocalPool(1), 1, stop=StopMode.FIXED)
    assert played.episode.num_steps == 6
    assert played.episode.ended is Ended.LIMIT


def test_hostile_words_are_failed_steps_and_the_record_says_what_was_taken():
    class Hostile(ToyModel):
        def act(self, prompt):
            return "\x00\ud800 {'action': 🍎}\n" + "x" * 9_000

    (played,) = play(LocalPool(1), 1, Hostile())
    assert {action.parsed for action in played.episode.actions} == {""}
    assert not any(action.ok for action in played.episode.actions)
    assert all(len(action.text) <= 400 for action in played.episode.actions)
    assert np.array_equal(played.episode.frames_tvhwc[0], played.episode.frames_tvhwc[-1])


def test_a_failing_simulator_ends_the_play_and_leaves_no_thread():
    import threading

    class Broken(LocalPool):
        def step(self, texts):
            raise RuntimeError("the simulator is gone")

    with pytest.raises(RuntimeError, match="gone"):
        play(Broken(4), 8)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("environments")]


def test_an_actor_is_told_what_it_holds_only_where_the_setting_says_so():
    """The third of the tasks picks up the apple."""
    told, untold = (play(LocalPool(2), 3, tells_hand=tells)[2].episode.seen for tells in (True, False))
    assert told[-1] == "You hold the apple."
    assert set(untold) == {""}
