"""Games at many tables at once."""

import numpy as np
import pytest

from selu_hpc.config import Game, GameConfig
from selu_hpc.rl4vlm.playing import Said, play
from selu_hpc.rl4vlm.speaker import Teacher


class Coin:
    """Answers by its seat's seed alone."""

    def __init__(self):
        self.batches = []

    def answer(self, seats):
        self.batches.append(len(seats))
        return [Said("", (1, 2), 1, seat.names[seat.seed % len(seat.names)], said=True) for seat in seats]


def hands(game, *, num_tables, speaker=None, seeds=range(20)):
    return list(play(GameConfig(name=game), list(seeds), speaker or Coin(), num_tables=num_tables))


def told(hand):
    return hand.seed, hand.prompts, hand.answers, hand.rewards, hand.truncated


@pytest.mark.parametrize("game", list(Game))
def test_games_are_the_same_whoever_shares_the_batch(game):
    alone, together = hands(game, num_tables=1), hands(game, num_tables=7)
    assert [told(one) for one in alone] == [told(one) for one in together]
    assert all(np.array_equal(a.pictures, b.pictures) for a, b in zip(alone, together, strict=True))


def test_games_come_in_the_order_of_their_seeds():
    assert [hand.seed for hand in hands(Game.EZ_POINTS, num_tables=6, seeds=range(40, 60))] == list(range(40, 60))


def test_tables_stay_full_until_the_games_run_out():
    coin = Coin()
    hands(Game.NUMBER_LINE, num_tables=5, speaker=coin, seeds=range(30))
    assert coin.batches[:-12] == [5] * len(coin.batches[:-12])


@pytest.mark.parametrize("game", list(Game))
def test_a_game_has_a_prompt_an_answer_and_a_reward_a_step_and_one_picture_more(game):
    for hand in hands(game, num_tables=4):
        assert len(hand.prompts) == len(hand.answers) == len(hand.rewards) == len(hand.pictures) - 1


def test_a_teacher_who_never_strays_wins_every_number_line():
    found = hands(Game.NUMBER_LINE, num_tables=4, speaker=Teacher(GameConfig(warmup_noise=0.0)))
    assert all(hand.total == 1 for hand in found)
    assert all(answer.said for hand in found for answer in hand.answers)


def test_a_straying_teacher_still_says_what_is_best():
    teacher = Teacher(GameConfig(warmup_noise=0.5))
    found = hands(Game.NUMBER_LINE, num_tables=4, speaker=teacher, seeds=range(50))
    strayed = [answer for hand in found for answer in hand.answers if not answer.said]
    assert strayed
    assert all('"action": ' in answer.text for answer in strayed)
    assert any(f'"action": "{answer.action}"' not in answer.text for answer in strayed)


def test_a_formulas_prompt_tells_the_formula_so_far():
    hand = hands(Game.EZ_POINTS, num_tables=1, speaker=Teacher(GameConfig(warmup_noise=0.0)), seeds=[3])[0]
    assert "The formula so far: nothing." in hand.prompts[0]
    assert f"The formula so far: {hand.answers[0].action}." in hand.prompts[1]
