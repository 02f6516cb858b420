"""NumberLine's rules, rule by rule."""

from itertools import permutations

import pytest

from selu_hpc.envs.cards.number_line import NumberLine, NumberLineState

STARTS = list(permutations(range(6), 2))


@pytest.fixture
def game():
    return NumberLine()


def at(game, current, target):
    """A game that begins there."""
    game.reset(options={"state": NumberLineState(current=current, target=target)})
    return game


def test_every_start_but_the_target_is_dealt(game):
    dealt = {(s.current, s.target) for s in (game.reset(seed=seed)[1]["state"] for seed in range(600))}
    assert dealt == set(STARTS)


def test_the_target_is_worth_one_and_ends_the_game(game):
    _, reward, terminated, truncated, info = at(game, 2, 3).step(1)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["state"] == NumberLineState(current=3, target=3)


def test_a_step_closer_is_worth_nothing(game):
    assert at(game, 0, 3).step(1)[1:4] == (0.0, False, False)


def test_a_step_away_costs_one(game):
    assert at(game, 2, 4).step(0)[1:4] == (-1.0, False, False)


@pytest.mark.parametrize(("current", "target", "action"), [(0, 4, 0), (5, 1, 1)])
def test_a_step_off_the_line_stays_and_costs_one(game, current, target, action):
    _, reward, terminated, truncated, info = at(game, current, target).step(action)
    assert (reward, terminated, truncated) == (-1.0, False, False)
    assert info["state"] == NumberLineState(current=current, target=target)


def test_the_tenth_step_is_the_last(game):
    at(game, 0, 5)
    ends = [game.step(0)[2:4] for _ in range(10)]
    assert ends == [(False, False)] * 9 + [(False, True)]


def test_the_target_at_the_tenth_step_still_counts(game):
    at(game, 0, 2)
    for _ in range(8):
        game.step(0)
    game.step(1)
    assert game.step(1)[1:4] == (1.0, True, False)


@pytest.mark.parametrize(("current", "target"), STARTS)
def test_the_expert_needs_as_many_steps_as_the_distance(game, current, target):
    _, info = game.reset(options={"state": NumberLineState(current=current, target=target)})
    state, rewards = info["state"], []
    while state.distance:
        _, reward, _, _, info = game.step(game.action_names.index(game.expert(state)))
        state = info["state"]
        rewards.append(reward)
    assert rewards == [0.0] * (abs(target - current) - 1) + [1.0]


def test_the_thoughts_name_both_numbers_and_the_way():
    assert NumberLine.thoughts(NumberLineState(current=4, target=1)) == {
        "current number": "4",
        "target number": "1",
        "thoughts": "The current number 4 is larger than the target 1, so it has to go down.",
    }
