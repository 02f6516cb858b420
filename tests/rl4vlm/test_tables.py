"""Games at many tables at once."""

import numpy as np
import pytest

from selu_hpc.config import Game, GameConfig
from selu_hpc.rl4vlm.playing import Reply, play
from selu_hpc.rl4vlm.speaker import ExpertSpeaker


class Coin:
    """Answers by its seat's seed alone."""

    def __init__(self):
        self.batches = []

    def answer(self, seats):
        self.batches.append(len(seats))
        return [Reply("", (1, 2), 1, seat.names[seat.seed % len(seat.names)], said=True) for seat in seats]


def games_of(game, *, num_tables, speaker=None, seeds=range(20)):
    return list(play(GameConfig(name=game), list(seeds), speaker or Coin(), num_tables=num_tables))


def told(played):
    return played.seed, played.prompts, played.answers, played.rewards, played.truncated


@pytest.mark.parametrize("game", list(Game))
def test_games_are_the_same_whoever_shares_the_batch(game):
    alone, together = games_of(game, num_tables=1), games_of(game, num_tables=7)
    assert [told(one) for one in alone] == [told(one) for one in together]
    assert all(np.array_equal(a.pictures, b.pictures) for a, b in zip(alone, together, strict=True))


def test_games_come_in_the_order_of_their_seeds():
    assert [played.seed for played in games_of(Game.EZ_POINTS, num_tables=6, seeds=range(40, 60))] == list(
        range(40, 60)
    )


def test_tables_stay_full_until_the_games_run_out():
    coin = Coin()
    games_of(Game.NUMBER_LINE, num_tables=5, speaker=coin, seeds=range(30))
    assert coin.batches[:-12] == [5] * len(coin.batches[:-12])


@pytest.mark.parametrize("game", list(Game))
def test_a_game_has_a_prompt_an_answer_and_a_reward_a_step_and_one_picture_more(game):
    for played in games_of(game, num_tables=4):
        assert len(played.prompts) == len(played.answers) == len(played.rewards) == len(played.pictures) - 1


def test_a_teacher_who_never_strays_wins_every_number_line():
    found = games_of(Game.NUMBER_LINE, num_tables=4, speaker=ExpertSpeaker(GameConfig(warmup_noise=0.0)))
    assert all(played.total == 1 for played in found)
    assert all(answer.said for played in found for answer in played.answers)


def test_a_straying_teacher_still_says_what_is_best():
    teacher = ExpertSpeaker(GameConfig(warmup_noise=0.5))
    found = games_of(Game.NUMBER_LINE, num_tables=4, speaker=teacher, seeds=range(50))
    strayed = [answer for played in found for answer in played.answers if not answer.said]
    assert strayed
    assert all('"action": ' in answer.text for answer in strayed)
    assert any(f'"action": "{answer.action}"' not in answer.text for answer in strayed)


def test_a_formulas_prompt_tells_the_formula_so_far():
    played = games_of(Game.EZ_POINTS, num_tables=1, speaker=ExpertSpeaker(GameConfig(warmup_noise=0.0)), seeds=[3])[0]
    assert "The formula so far: nothing." in played.prompts[0]
    assert f"The formula so far: {played.answers[0].action}." in played.prompts[1]


class Listening(Coin):
    def answer(self, seats):
        self.seen = [*getattr(self, "seen", []), *seats]
        return super().answer(seats)


def test_each_step_is_answered_for_its_own_picture_with_a_seed_of_its_own():
    speaker = Listening()
    (played,) = games_of(Game.NUMBER_LINE, num_tables=1, speaker=speaker, seeds=[3])
    assert len(speaker.seen) > 1
    assert len({seat.seed for seat in speaker.seen}) == len(speaker.seen)
    assert all(np.array_equal(seat.picture, shown) for seat, shown in zip(speaker.seen, played.pictures, strict=False))
