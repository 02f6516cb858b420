"""What holds for each of the four: gymnasium's contract, the same bytes for the same seed, no way to break it."""

import dataclasses
import hashlib

import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env

from selu_hpc.envs.cards.make import GAMES, make_cards
from selu_hpc.errors import ConfigError

REWARDS = {
    "number_line": {-1.0, 0.0, 1.0},
    "ez_points": {-1.0, 0.0, 10.0},
    "points24": {-1.0, 0.0, 10.0},
    "blackjack": {-1.0, 0.0, 1.0},
}
# One action is left when a points formula is longer than its limit. 21 aces are the longest hand that is not bust.
MOST_STEPS = {"number_line": 10, "ez_points": 7, "points24": 22, "blackjack": 20}
HOSTILE_EPISODES = 250
PLAYED = {
    ("number_line", 1): "c4dc96e0e30c9f80",
    ("ez_points", 1): "0cbb201bdad8b992",
    ("points24", 1): "5546ba349b750920",
    ("blackjack", 1): "1bc8108c1ac4184b",
}


@pytest.fixture(params=GAMES)
def name(request):
    return request.param


@pytest.fixture
def game(name):
    return make_cards(name)


def played(game, seed):
    """The bytes and rewards of three games in a row whose actions come from the seed."""
    actions = np.random.default_rng(seed)
    frames, rewards = [game.reset(seed=seed)[0].tobytes()], []
    for _ in range(3):
        over = False
        while not over:
            frame, reward, terminated, truncated, _ = game.step(int(actions.integers(len(game.action_names))))
            frames.append(frame.tobytes())
            rewards.append(reward)
            over = terminated or truncated
        frames.append(game.reset()[0].tobytes())
    return frames, rewards


def test_the_fields_of_an_answer_are_known_without_thinking(game):
    for seed in range(3):
        state = game.reset(seed=seed)[1]["state"]
        assert tuple(game.thoughts(state)) == game.fields


def test_gymnasium_finds_nothing_wrong(game):
    check_env(game, skip_render_check=True)  # nothing to render: the observation is the picture


def test_the_same_seed_and_actions_give_the_same_bytes(name):
    assert played(make_cards(name), 5) == played(make_cards(name), 5)


def test_a_used_game_gives_the_same_bytes_as_a_new_one(name):
    used = make_cards(name)
    played(used, 4)
    assert played(used, 5) == played(make_cards(name), 5)


def test_other_seeds_give_other_games(game):
    assert len({game.reset(seed=seed)[0].tobytes() for seed in range(20)}) > 5


def test_numpy_s_global_generator_is_not_touched(game):
    before = np.random.get_state()[1].copy()
    played(game, 1)
    assert np.array_equal(before, np.random.get_state()[1])


def test_a_picture_belongs_to_whoever_got_it(game):
    first, _ = game.reset(seed=1)
    first[:] = 0
    assert game.reset(seed=1)[0].any()


def test_hostile_episodes_keep_every_promise(name, game):
    actions = np.random.default_rng(7)
    for seed in range(HOSTILE_EPISODES):
        _, info = game.reset(seed=seed)
        num_steps, over = 0, False
        while not over:
            frame, reward, terminated, truncated, info = game.step(actions.integers(len(game.action_names)))
            num_steps += 1
            assert frame.shape == (300, 300, 3)
            assert frame.dtype == np.uint8
            assert type(reward) is float
            assert reward in REWARDS[name]
            assert not (terminated and truncated)
            assert dataclasses.is_dataclass(info["state"])
            over = terminated or truncated
        assert num_steps <= MOST_STEPS[name]


def test_the_state_tells_the_picture(game):
    seen = {}
    actions = np.random.default_rng(3)
    for seed in range(30):
        frame, info = game.reset(seed=seed)
        assert seen.setdefault(info["state"], frame.tobytes()) == frame.tobytes()
        frame, *_, info = game.step(int(actions.integers(len(game.action_names))))
        assert seen.setdefault(info["state"], frame.tobytes()) == frame.tobytes()


def test_the_expert_s_word_is_an_action_and_the_thoughts_come_last(game):
    for seed in range(30):
        _, info = game.reset(seed=seed)
        assert game.expert(info["state"]) in game.action_names
        assert list(game.thoughts(info["state"]))[-1] == "thoughts"
        assert "action" not in game.thoughts(info["state"])


def test_no_step_before_the_first_reset_or_after_the_end(game):
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        game.step(0)
    game.reset(seed=0)
    over = False
    while not over:
        _, _, terminated, truncated, _ = game.step(0)
        over = terminated or truncated
    with pytest.raises(ResetNeeded):
        game.step(0)


@pytest.mark.parametrize("action", [-1, 99])
def test_an_action_out_of_range_is_refused_by_name_and_number(game, action):
    game.reset(seed=0)
    with pytest.raises(InvalidAction, match=f"action {action} is not in 0"):
        game.step(action)


def test_a_game_can_begin_at_a_given_state(name, game):
    frame, info = make_cards(name).reset(seed=3)
    again, same = game.reset(seed=4, options={"state": info["state"]})
    assert same == info
    assert np.array_equal(again, frame)


def test_an_unknown_game_s_error_lists_the_known():
    with pytest.raises(ConfigError, match="'poker'; it is one of number_line, ez_points, points24, blackjack"):
        make_cards("poker")


def test_whoever_changes_a_rule_raises_the_version(name, game):
    """What hundred games of random actions deal, pay and end with; after a change: raise RULES, and write it here."""
    told = hashlib.sha256()
    actions = np.random.default_rng(11)
    for seed in range(100):
        _, info = game.reset(seed=seed)
        over = False
        while not over:
            told.update(repr(info["state"]).encode())
            _, reward, terminated, truncated, info = game.step(int(actions.integers(len(game.action_names))))
            told.update(f"{reward}/{terminated}/{truncated}".encode())
            over = terminated or truncated
    assert told.hexdigest()[:16] == PLAYED[name, game.RULES]
