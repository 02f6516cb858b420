"""EZPoints and Points24, rule by rule."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations_with_replacement, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selu_hpc.envs.cards.deck import Card, Suit
from selu_hpc.envs.cards.ez_points import EZPoints
from selu_hpc.envs.cards.formula import after, read, value, value_of
from selu_hpc.envs.cards.points import PointsState
from selu_hpc.envs.cards.points24 import Points24
from selu_hpc.envs.cards.search import can_make, completion, formulas

OPERATORS = ("+", "-", "*", "/")
SOLVABLE = 566
"""Of the 715 hands of four numbers from 1 to 10, so many make 24: a number known from the 24 game."""


def table(*ranks, formula=""):
    return PointsState(cards=tuple(Card(rank, Suit.CLUBS) for rank in ranks), formula=tuple(formula.split()))


def dealt(game, *ranks):
    """A game with these cards on the table."""
    game.reset(seed=0, options={"state": table(*ranks)})
    return game


def does(game, words):
    """(reward, terminated, truncated) of each word, and the formula at the end."""
    outcomes = []
    for word in words.split():
        _, *outcome, info = game.step(game.action_names.index(word))
        outcomes.append(tuple(outcome[:3]))
    return outcomes, info["state"].written


GOES_ON, COSTS_ONE = (0.0, False, False), (-1.0, False, False)
RIGHT, WRONG, TOO_LONG = (10.0, True, False), (-1.0, True, False), (-1.0, False, True)


@pytest.mark.parametrize(
    ("game", "ranks", "words"),
    [
        (EZPoints, (5, 7), "7 + 5 ="),
        (EZPoints, (12, 2), "10 + 2 ="),
        (EZPoints, (3, 4), "3 * 4 ="),
        (Points24, (3, 3, 8, 8), "8 / ( 3 - 8 / 3 ) ="),
        (Points24, (13, 12, 4, 4), "( 10 * 10 - 4 ) / 4 ="),
    ],
)
def test_a_right_formula_is_worth_ten_at_its_end_and_nothing_before(game, ranks, words):
    outcomes, _ = does(dealt(game(checks_syntax=True), *ranks), words)
    assert outcomes == [GOES_ON] * (len(outcomes) - 1) + [RIGHT]


@pytest.mark.parametrize(
    ("game", "ranks", "words"),
    [
        (EZPoints, (3, 9), "="),
        (EZPoints, (3, 9), "3 * 9 ="),
        (EZPoints, (3, 9), "3 + ="),
        (EZPoints, (6, 6), "6 ="),
        (Points24, (8, 3, 10, 1), "8 * 3 ="),
        (Points24, (8, 3, 10, 10), "8 * 3 / ( 10 - 10 ) ="),
        (Points24, (4, 6, 1, 1), "( 4 * 6 * 1 * 1 ="),
    ],
)
def test_a_wrong_or_unfinished_formula_or_one_that_leaves_a_card_costs_one_and_ends(game, ranks, words):
    outcomes, _ = does(dealt(game(checks_syntax=True), *ranks), words)
    assert outcomes == [GOES_ON] * (len(outcomes) - 1) + [WRONG]


@pytest.mark.parametrize(
    ("game", "ranks", "begun", "illegal"),
    [
        (EZPoints, (3, 9), "3 +", "4"),
        (EZPoints, (3, 9), "3 +", "3"),
        (EZPoints, (3, 9), "3", "9"),
        (EZPoints, (3, 9), "", "+"),
        (EZPoints, (3, 9), "3 *", "+"),
        (Points24, (5, 5, 2, 1), "5 + 5 -", "5"),
        (Points24, (5, 5, 2, 1), "5", "("),
        (Points24, (5, 5, 2, 1), "5", ")"),
        (Points24, (5, 5, 2, 1), "(", ")"),
        (Points24, (5, 5, 2, 1), "", "-"),
    ],
)
def test_what_cannot_be_written_costs_one_and_leaves_the_formula(game, ranks, begun, illegal):
    outcomes, written = does(dealt(game(checks_syntax=True), *ranks), f"{begun} {illegal}")
    assert outcomes == [GOES_ON] * (len(outcomes) - 1) + [COSTS_ONE]
    assert written == begun


def test_an_equal_pair_of_cards_can_be_used_twice():
    assert does(dealt(EZPoints(checks_syntax=True), 6, 6), "6 + 6 =")[0][-1] == RIGHT


def test_a_face_card_is_a_ten():
    assert table(11, 12, 13, 1).numbers == (10, 10, 10, 1)


@pytest.mark.parametrize(("game", "last"), [(EZPoints, 7), (Points24, 22)])
def test_the_action_after_a_formula_that_is_too_long_costs_one_and_truncates(game, last):
    """An illegal symbol takes a place as a written one does; nobody can stay for ever."""
    outcomes, _ = does(dealt(game(checks_syntax=True), *(3,) * (2 if game is EZPoints else 4)), " ".join(["7"] * last))
    assert outcomes == [COSTS_ONE] * (last - 1) + [TOO_LONG]


def test_not_even_an_end_is_heard_after_a_formula_that_is_too_long():
    assert does(dealt(EZPoints(checks_syntax=True), 3, 9), "3 + 9 7 7 7 =")[0][-1] == TOO_LONG
    assert does(dealt(EZPoints(checks_syntax=True), 3, 9), "3 + 9 7 7 =")[0][-1] == RIGHT


def test_unchecked_syntax_writes_whatever_the_cards_have_as_the_original_does():
    outcomes, written = does(dealt(EZPoints(checks_syntax=False), 3, 9), "+ 3 9 4 =")
    assert outcomes == [GOES_ON, GOES_ON, GOES_ON, COSTS_ONE, WRONG]
    assert written == "+ 3 9"


def test_every_ez_points_hand_that_is_dealt_makes_12_of_numbers_that_exist():
    game = EZPoints(checks_syntax=True)
    hands = {tuple(sorted(game.reset(seed=seed)[1]["state"].numbers)) for seed in range(400)}
    assert hands == {(2, 10), (3, 9), (4, 8), (5, 7), (6, 6), (2, 6), (3, 4)}


def test_the_expert_solves_every_ez_points_hand():
    game = EZPoints(checks_syntax=True)
    for ranks in product(range(1, 14), repeat=2):
        first, second = (min(rank, 10) for rank in ranks)
        if 12 in (first + second, first * second):
            assert follow(game, table(*ranks)) == (10.0, 4)


def test_as_many_hands_of_24_can_be_solved_as_is_known():
    hands = combinations_with_replacement(range(1, 11), 4)
    assert sum(can_make(hand, Fraction(24), OPERATORS) for hand in hands) == SOLVABLE


def test_the_expert_solves_each_of_a_hundred_hands_of_24_that_can_be_solved():
    game, solved = Points24(checks_syntax=True), 0
    for seed in range(200):
        _, info = game.reset(seed=seed)
        if not can_make(tuple(sorted(info["state"].numbers)), Fraction(24), OPERATORS):
            continue
        reward, num_steps = follow(game, info["state"])
        assert reward == 10.0
        assert num_steps <= 14
        solved += 1
        if solved == 100:
            return
    raise AssertionError(f"only {solved} hands could be solved")


def follow(game, state):
    """The sum of rewards and the number of steps when the expert plays from there."""
    game.reset(seed=0, options={"state": state})
    total, num_steps, over = 0.0, 0, False
    while not over:
        _, reward, terminated, truncated, info = game.step(game.action_names.index(game.expert(state)))
        state, total, num_steps, over = info["state"], total + reward, num_steps + 1, terminated or truncated
    return total, num_steps


@pytest.mark.parametrize("ranks", [(1, 1, 1, 1), (10, 11, 12, 13), (7, 9, 9, 9)])
def test_the_expert_plays_a_hand_that_cannot_be_solved_legally_to_its_end(ranks):
    assert follow(Points24(checks_syntax=True), table(*ranks)) == (-1.0, 8)


@given(st.lists(st.integers(1, 13), min_size=4, max_size=4), st.lists(st.integers(0, 99), max_size=9))
def test_from_wherever_legal_moves_led_the_expert_goes_on_legally_and_keeps_its_word(ranks, choices):
    state = table(*ranks)
    for choice in choices:
        legal = [symbol for symbol in Points24.legal(state) if symbol != "="]
        if legal:
            state = replace(state, formula=(*state.formula, legal[choice % len(legal)]))
    rest = Points24.rest(state)
    assert Points24.expert(state) in Points24.legal(state)
    if rest is not None:
        assert Points24.is_right(replace(state, formula=(*state.formula, *rest)))
        assert Points24.expert(state) == (*rest, "=")[0]


def can_meet(levels, unused, num_pairs, target):
    """Whether any way of writing on meets the target, tried one by one."""
    if not unused and value_of(levels) == target:
        return True
    pairs = ["("] if num_pairs and len(unused) > 1 else []
    for symbol in dict.fromkeys([*map(str, unused), "+", "-", "*", "/", ")", *pairs]):
        deeper = after(levels, symbol)
        if deeper is None or (symbol in "+-*/" and not unused):
            continue
        left = list(unused)
        if symbol.isdecimal():
            left.remove(int(symbol))
        if can_meet(deeper, left, num_pairs - (symbol == "("), target):
            return True
    return False


def test_a_value_can_be_made_exactly_where_there_is_a_formula_of_it():
    for numbers in combinations_with_replacement(range(1, 7), 3):
        made = formulas(numbers, OPERATORS)
        assert all(value(formula.symbols) == worth for worth, formula in made.items())
        for worth in {Fraction(n, d) for n in range(-9, 10) for d in (1, 2, 3)}:
            assert can_make(numbers, worth, OPERATORS) == (worth in made)


@settings(max_examples=60)
@given(
    st.sampled_from([(), ("(",), ("7", "-"), ("(", "7", "/"), ("(", "2", "-", "("), ("9",)]),
    st.lists(st.integers(1, 10), min_size=1, max_size=3),
    st.integers(1, 24),
)
def test_the_search_finds_a_way_exactly_where_there_is_one(begun, unused, target):
    found = completion(begun, unused, target, Points24.action_names)
    assert (found is not None) == can_meet(read(begun), unused, 2, target)
    if found is not None:
        assert value((*begun, *found)) == target


def test_the_thoughts_name_the_cards_the_formula_and_where_it_leads():
    assert EZPoints.thoughts(table(3, 4, formula="3 *")) == {
        "cards": "[3, 4]",
        "formula": "3 *",
        "thoughts": "3 * 4 is 12, so the next symbol is 4.",
    }
    assert EZPoints.thoughts(table(12, 2, formula="2 + 10"))["cards"] == "[Q, 2]"
    assert EZPoints.thoughts(table(12, 2, formula="2 + 10"))["thoughts"].endswith("so the formula ends with =.")
    assert "cannot make 24" in Points24.thoughts(table(1, 1, 1, 1))["thoughts"]


def test_hands_of_24_come_with_every_rank_and_with_equal_cards():
    hands = [Points24(checks_syntax=True).reset(seed=seed)[1]["state"].cards for seed in range(300)]
    assert {card.rank for hand in hands for card in hand} == set(range(1, 14))
    assert any(len(set(hand)) < 4 for hand in hands)
