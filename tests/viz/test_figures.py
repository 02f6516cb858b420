"""A figure on a page: how sure it is, of how many, and in which unit."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.measures import mean_number
from selu_hpc.viz.curves import GAME_LINES, MOST_TICKS, learning_curve
from selu_hpc.viz.figures import duration, mean_cell, score_cell, share_cell, share_of
from selu_hpc.viz.results import RoundNumbers


def measured(outcomes):
    return mean_number(outcomes, name="x", samples=200, seed=0)["x"].to_json()


def test_twelve_of_twelve_are_not_said_to_be_certain():
    assert share_cell(measured([1] * 12)) == "100.0 %<small>75.7 to 100.0, n 12</small>"
    assert share_cell(measured([0] * 12)) == "0.0 %<small>0.0 to 24.3, n 12</small>"


def test_any_other_share_keeps_the_interval_it_was_measured_with():
    found = measured([0, 1, 1, 1])
    assert share_of(found) == found
    assert share_cell(found) == "75.0 %<small>25.0 to 100.0, n 4</small>"


@given(st.integers(1, 10_000), st.sampled_from([0.0, 1.0]))
def test_equal_outcomes_leave_the_less_doubt_the_more_they_are(count, value):
    few, many = (share_of({"value": value, "low": value, "high": value, "count": n}) for n in (count, count + 1))
    assert 0 <= few["low"] <= value <= few["high"] <= 1
    assert 0 < many["high"] - many["low"] < few["high"] - few["low"]


def test_what_is_not_defined_is_a_dash_and_says_of_how_many():
    assert share_cell(measured([])) == "–<small>n 0</small>"


def test_a_figure_without_spread_that_is_no_share_has_no_interval():
    assert score_cell({"value": 1.0, "low": 1.0, "high": 1.0, "count": 8}) == "100.0 %<small>n 8</small>"
    assert mean_cell(measured([-2.0] * 3)) == "-2.00<small>n 3</small>"
    assert mean_cell(measured([-2.0, 1.0])) == "-0.50<small>-2.00 to 1.00, n 2</small>"


def test_a_half_is_not_rounded_away_and_the_table_says_the_same():
    found = {"value": 0.8125, "low": 0.745, "high": 0.8688, "count": 160}
    assert share_cell(found) == "81.2 %<small>74.5 to 86.9, n 160</small>"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (99.7, "1.7 min"), (112, "1.9 min"), (5999, "1.7 h"), (12_240, "3.4 h")],
)
def test_a_time_has_the_unit_that_fits_it(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("numbers", "num_gaps"), [((0, 1, 2), 0), ((0, 1, 4, 5), 1), ((0, 3, 6), 2)])
def test_a_curve_and_its_band_break_where_no_round_was_measured(numbers, num_gaps):
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    text = learning_curve([RoundNumbers(number, {"success": share}) for number in numbers], GAME_LINES)
    band, _, line = text.partition('<g id="FillBetweenPolyCollection_1">')[2].partition("</g>")
    assert band.count("<path ") == num_gaps + 1
    assert line.partition('<path d="')[2].partition('"')[0].count("M ") == num_gaps + 1
    assert text.count("stroke-dasharray") == num_gaps
    assert line.partition("</defs>")[2].partition("</g>")[0].count("<use ") == len(numbers)


@pytest.mark.parametrize("last", [1, 5, 30, 300])
def test_a_curves_rounds_are_whole_numbers_and_few_enough_to_be_read(last):
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    rounds = [RoundNumbers(number, {"success": share, "said": share}) for number in range(last + 1)]
    text = learning_curve(rounds, GAME_LINES)
    below = text[text.index('id="matplotlib.axis_1"') : text.index('id="matplotlib.axis_2"')]
    ticks = re.findall(r">([^<>]+)</text>", below)[:-1]
    assert ticks == sorted({str(int(tick)) for tick in ticks}, key=int)
    assert 2 <= len(ticks) <= MOST_TICKS + 1
