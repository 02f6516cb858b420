"""Blackjack's rules, and odds that a simulation agrees with."""

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.envs.cards.blackjack import Blackjack, BlackjackState
from selu_hpc.envs.cards.deck import Card, Suit
from selu_hpc.envs.cards.odds import CHANCE, Hand, best, dealer_totals, hand, hitting, standing, whole_game

NUM_HANDS = 20_000
SIGMAS = 4
"""A right simulation is further off once in 16,000 seeds; this one's seed is fixed."""


def table(player, dealer):
    return BlackjackState(player=tuple(Card(rank, Suit.SPADES) for rank in player), dealer=Card(dealer, Suit.HEARTS))


def dealt(player, dealer, *, seed=0):
    game = Blackjack()
    game.reset(seed=seed, options={"state": table(player, dealer)})
    return game


@pytest.mark.parametrize(
    ("numbers", "total", "soft"),
    [
        ((1, 10), 21, True),
        ((1, 1), 12, True),
        ((1, 6, 10), 17, False),
        ((1, 5, 5), 21, True),
        ((1, 1, 10), 12, False),
        ((10, 9), 19, False),
        ((10, 9, 3), 22, False),
    ],
)
def test_an_ace_counts_eleven_as_long_as_that_does_not_bust(numbers, total, soft):
    assert hand(numbers) == Hand(total, soft)


@given(st.lists(st.integers(1, 10), min_size=1, max_size=12))
def test_a_hand_counts_the_same_in_any_order_and_as_if_counted_at_once(numbers):
    hard = sum(numbers)
    soft = 1 in numbers and hard + 10 <= 21
    assert hand(numbers) == hand(sorted(numbers)) == Hand(hard + 10 * soft, soft)


def test_going_over_21_loses_at_once():
    outcomes = {dealt((10, 10), 6, seed=seed).step(1)[1:4] for seed in range(50)}
    assert outcomes == {(-1.0, True, False), (0.0, False, False)}  # only an ace keeps twenty alive


def test_a_hit_that_does_not_bust_goes_on_for_nothing():
    _, reward, terminated, truncated, info = dealt((2, 3), 6).step(1)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert len(info["state"].player) == 3


def test_standing_ends_the_game_whatever_comes():
    outcomes = [dealt((10, 9), 10, seed=seed).step(0)[1:4] for seed in range(200)]
    assert {reward for reward, _, _ in outcomes} == {-1.0, 0.0, 1.0}
    assert {(terminated, truncated) for _, terminated, truncated in outcomes} == {(True, False)}


def test_a_natural_wins_one_as_any_win_and_draws_with_any_21():
    outcomes = {dealt((1, 13), 5, seed=seed).step(0)[1] for seed in range(300)}
    assert outcomes == {0.0, 1.0}


def test_the_state_holds_what_lies_face_up_and_nothing_of_the_dealer_s_other_cards():
    game = Blackjack()
    _, info = game.reset(seed=3)
    shown = info["state"].dealer
    *_, info = game.step(0)
    assert info["state"].dealer == shown
    assert set(BlackjackState.__dataclass_fields__) == {"player", "dealer"}


def test_the_dealer_stands_on_17_soft_or_hard():
    for shown in CHANCE:
        ends = dealer_totals(hand([shown]))
        assert sum(ends.values()) == 1
        assert set(ends) <= {0, 17, 18, 19, 20, 21}
    assert dealer_totals(Hand(17, True)) == {17: 1}


def test_the_best_play_is_no_worse_than_either_action():
    for total, shown in product(range(4, 22), CHANCE):
        held = Hand(total, False)
        assert best(held, shown).mean == max(hitting(held, shown).mean, standing(held, shown).mean)


@pytest.mark.parametrize(
    ("player", "dealer", "action"),
    [
        ((10, 2), 3, "hit"),
        ((10, 2), 4, "stand"),
        ((10, 2), 6, "stand"),
        ((10, 3), 2, "stand"),
        ((10, 6), 6, "stand"),
        ((10, 6), 7, "hit"),
        ((10, 6), 10, "hit"),
        ((10, 7), 1, "stand"),
        ((1, 6), 6, "hit"),
        ((1, 7), 8, "stand"),
        ((1, 7), 9, "hit"),
        ((1, 8), 10, "stand"),
        ((5, 6), 6, "hit"),
        ((1, 13), 10, "stand"),
    ],
)
def test_the_expert_plays_what_is_known_as_basic_strategy(player, dealer, action):
    assert Blackjack.expert(table(player, dealer)) == action


def test_the_odds_of_a_whole_game_are_the_known_ones():
    odds = whole_game()
    assert isinstance(odds.win, Fraction)
    assert round(float(odds.win), 3) == 0.429
    assert round(float(odds.mean), 4) == -0.0466


def test_twenty_thousand_hands_of_the_expert_come_out_as_the_odds_say():
    # pictures are most of a game's time, and the rules need none
    game, odds = Blackjack(), whole_game()
    game._seen = lambda state: (None, {"state": state})
    _, info = game.reset(seed=11)
    wins = losses = 0
    for _ in range(NUM_HANDS):
        over = False
        while not over:
            _, reward, over, _, info = game.step(game.action_names.index(game.expert(info["state"])))
        wins, losses = wins + (reward > 0), losses + (reward < 0)
        _, info = game.reset()
    assert abs(wins / NUM_HANDS - odds.win) < SIGMAS * math.sqrt(odds.win * (1 - odds.win) / NUM_HANDS)
    spread = math.sqrt((odds.win + odds.loss - odds.mean**2) / NUM_HANDS)
    assert abs((wins - losses) / NUM_HANDS - odds.mean) < SIGMAS * spread


def test_the_thoughts_lead_to_the_action():
    assert Blackjack.thoughts(table((10, 6), 13)) == {
        "thoughts": "I have 16 and the dealer shows K, so one more card is better."
    }
    assert (
        "a soft 18 and the dealer shows 7, so it is better to stop" in Blackjack.thoughts(table((1, 7), 7))["thoughts"]
    )
