"""The figures: against numbers done by hand, and intervals that cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from selu_hpc.measures import _students_t, critic_numbers, gain, mean_number
from selu_hpc.records import UNREADABLE
from selu_hpc.selu.results import merge, numbers


def test_the_critics_figures_agree_with_a_hand_count():
    truth = [True, True, True, True, False, False, False, False, False, False]
    said = [True, True, True, False, True, False, False, False, False, False]
    found = critic_numbers(truth, said, samples=200, seed=0)
    assert {name: number.value for name, number in found.items()} == {
        "accuracy": 0.8,
        "f1": 0.75,
        "false_yes": pytest.approx(1 / 6, abs=1e-4),
        "false_no": 0.25,
    }
    assert found["accuracy"].count == 10
    assert found["accuracy"].low <= 0.8 <= found["accuracy"].high


def test_a_false_verdicts_share_rests_on_those_that_could_be_false_so():
    found = critic_numbers([True] * 4 + [False] * 6, [True] * 10, samples=20, seed=0)
    assert {name: number.count for name, number in found.items()} == {
        "accuracy": 10, "f1": 10, "false_yes": 6, "false_no": 4,
    }  # fmt: skip


def test_a_figure_that_is_not_defined_is_none_and_not_nan():
    found = critic_numbers([True, True], [False, False], samples=20, seed=0)
    assert found["false_yes"].value is None
    assert found["false_no"].value == 1.0


def test_no_outcomes_at_all_are_no_error():
    assert mean_number([], name="success", samples=20, seed=0)["success"].count == 0


def test_ninety_five_percent_intervals_cover_about_as_often_as_they_say():
    draw = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        found = mean_number(list(draw.random(100) < 0.3), name="p", samples=300, seed=trial)["p"]
        covered += found.low <= 0.3 <= found.high
    assert 0.88 < covered / 200 <= 1.0


def test_a_gain_is_measured_pair_by_pair():
    before = np.array([[0.0, 1.0] * 50])
    found = gain(before, np.ones((1, 100)))
    assert (found.base, found.last, found.gain) == (50, 100, 50)
    assert 39 < found.low < found.high < 61
    none = gain(before, before)
    assert none.gain == 0
    assert 2.9 < none.high == -none.low < 3, "a hundred episodes of which none changed: three in a hundred may"


def test_a_gains_interval_takes_the_episodes_of_a_scene_for_one_where_they_are_alike():
    """Ten scenes of ten episodes, five of which are learned: a hundred episodes tell as much as ten do."""
    scenes = [f"home {n // 10}" for n in range(100)]
    learned = np.array([[float(n // 10 < 5) for n in range(100)]])
    alone, alike = gain(np.zeros((1, 100)), learned), gain(np.zeros((1, 100)), learned, scenes)
    few = gain(np.zeros((1, 10)), learned[:, ::10])
    assert (alone.gain, alike.gain) == (50, 50)
    assert (alike.low, alike.high) == (few.low, few.high)
    assert alike.high - alike.low > 2.5 * (alone.high - alone.low)


@pytest.mark.parametrize("homes", [6, 14])
def test_a_gains_interval_covers_as_often_as_it_says_over_few_scenes(homes):
    """Plain percentiles cover 88 % of these over six scenes, 90 over fourteen."""
    draw = np.random.default_rng(2)
    scenes = [f"home {n % homes}" for n in range(240)]
    covered = 0
    for _ in range(400):
        chances = np.clip(0.5 + draw.normal(0, 0.15, size=homes), 0, 1)[np.arange(240) % homes]
        found = gain(np.zeros((1, 240)), draw.random((1, 240)) < chances, scenes)
        covered += found.low <= 50 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_scenes_count_by_their_episodes():
    found = gain(np.zeros((1, 4)), np.array([[1.0, 1, 1, 0]]), ["a", "a", "a", "b"])
    assert (found.low, found.gain, found.high) == (0, 75, 100)
    one_home = gain(np.zeros((1, 4)), np.array([[1.0, 1, 1, 0]]), ["a"] * 4)
    assert one_home.low < 75, "the only scene there is: over its episodes"


def test_a_gains_interval_knows_that_the_episodes_of_a_seed_hang_together():
    """Two seeds, one that learned everything and one nothing: over episodes alone 40 to 60."""
    found = gain(np.zeros((2, 100)), np.array([[1.0] * 100, [0.0] * 100]))
    assert (found.gain, found.high) == (50, 100)
    assert found.low < 0


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.11), (3, 0.16), (3, 0.02), (12, 0.1)])
def test_a_gains_interval_covers_as_often_as_it_says_however_much_seeds_differ(seeds, spread):
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        chances = np.clip(0.5 + draw.normal(0, spread, size=(seeds, 1)), 0, 1)
        found = gain(np.zeros((seeds, 160)), draw.random((seeds, 160)) < chances)
        covered += found.low <= 50 <= found.high
    assert covered / 200 >= 0.92


def test_the_quantiles_of_students_t_go_on_where_the_table_ends():
    """Against the printed tables' 2.262, 2.228, 2.042 and 1.984."""
    assert [_students_t(n) for n in (9, 10, 30, 100)] == pytest.approx([2.2622, 2.2281, 2.0423, 1.9840], abs=3e-3)


def row(number: int, **values: object) -> dict[str, object]:
    return {"episode": f"test-c{number:04d}", "verb": "open", **values}


def test_shards_come_to_the_same_numbers_as_one_piece():
    critic = [row(n, truth=n % 2 == 0, first=n % 3 == 0, verdict=n % 2 == 0) for n in range(30)]
    actor = [row(n, success=n % 5 == 0) for n in range(20)]
    whole = {"critic": critic, "actor": actor, "probe": [], "labels": []}
    parts = [
        {name: rows[: len(rows) // 2] for name, rows in whole.items()},
        {n: r[len(r) // 2 :] for n, r in whole.items()},
    ]
    assert numbers(merge(parts), samples=50) == numbers(whole, samples=50)
    assert numbers(whole, samples=50)["critic_own_procedure"]["accuracy"]["value"] == 1.0
    assert numbers(whole, samples=50)["actor_by_type"]["open"]["success"]["value"] == 0.2


def test_failures_are_counted_by_the_way_they_failed_where_it_is_told():
    ways = ["undone", "random"] * 4 + ["expert"]
    critic = [
        row(n, truth=way == "expert", way=way, first=n == 2, verdict=n in (1, 2, 3, 8)) for n, way in enumerate(ways)
    ]
    rows = {"critic": critic, "actor": [], "probe": [], "labels": []}
    found = numbers(rows, samples=10)["critic_by_way"]
    assert set(found) == {"undone", "random"}
    shares = [(found[way]["first"]["value"], found[way]["verdict"]["value"]) for way in ("undone", "random")]
    assert shares == [(0.25, 0.25), (0.0, 0.5)]
    assert found["undone"]["first"]["count"] == 4
    for one in critic:
        del one["way"]
    assert numbers(rows, samples=10)["critic_by_way"] == {}


def test_verdicts_that_said_nothing_are_counted_where_the_words_were_kept():
    critic = [row(n, truth=True, first=n == 0, verdict=True, taken=t) for n, t in enumerate(["yes", "no", UNREADABLE])]
    rows = {"critic": critic, "actor": [], "probe": [], "labels": []}
    found = numbers(rows, samples=10)["critic_unreadable"]["share"]
    assert (found["value"], found["count"]) == (pytest.approx(1 / 3, abs=1e-4), 3)
    del critic[0]["taken"]
    assert numbers(rows, samples=10)["critic_unreadable"] == {}


def test_an_evaluation_that_did_not_ask_about_states_is_read_as_before():
    rows = {"critic": [row(0, truth=True, first=True, verdict=True)], "actor": [], "probe": [], "labels": []}
    assert numbers(rows, samples=10)["critic_states"] == {}
    asked = {**rows, "critic": [{**rows["critic"][0], "states": False}]}
    assert numbers(asked, samples=10)["critic_states"]["accuracy"]["value"] == 0.0


def test_f1_where_nothing_is_or_was_said_yes_is_not_defined():
    assert critic_numbers([False] * 3, [False] * 3, samples=20, seed=0)["f1"].value is None
