"""Tables over runs: what stands in a cell is what a hand would count, whoever measured it and when."""

from __future__ import annotations

from summaries import summary

from selu_hpc.selu.alike import notes
from selu_hpc.selu.rows import make_rows
from selu_hpc.selu.table import aligned, by_round_markdown, by_type_markdown, by_way_markdown, markdown


def test_base_last_and_gain_are_counted_over_seeds_and_episodes():
    better = {"round": 5, "first": "1010", "success": "1100"}
    worse = {"round": 5, "first": "1111", "success": "1000"}
    (row,) = make_rows([summary(last=better), summary(seed=1, last=worse)])
    assert row.seeds == (0, 1)
    assert (row.critic.base, row.critic.last, row.critic.gain) == (50.0, 75.0, 25.0)
    assert (row.actor.base, row.actor.last, row.actor.gain) == (25.0, 37.5, 12.5)
    assert row.critic.low <= row.critic.gain <= row.critic.high
    assert (row.false_yes, row.false_no) == ((0.0, 50.0), (100.0, 0.0))
    assert row.probe == (70.0, 70.0)
    assert row.by_verb["open"] == (50.0, 75.0, 50.0, 75.0)


def test_runs_that_went_less_far_have_a_row_of_their_own():
    short = summary(seed=1)
    short["rounds"] = short["rounds"][:1]
    rows = make_rows([summary(last={"round": 5}), short])
    assert [(row.seeds, row.rounds) for row in rows] == [((0,), 5), ((1,), 0)]
    assert "| selu | 1 | 5 |" in markdown(rows)


def test_of_a_run_that_was_measured_once_no_gain_is_told():
    once = summary(recipe="zero_shot")
    once["rounds"] = once["rounds"][:1]
    (row,) = make_rows([once])
    text = markdown([row])
    assert "| zero_shot | 1 | 0 | 50.0 → 50.0 | – |" in text
    assert "| 25.0 → 25.0 | – |" in text
    assert "+0.0" not in text


def test_empty_test_sets_are_dashes():
    empty = {"truth": "", "critic_verbs": [], "actor_verbs": []}
    bits = {"first": "", "verdict": "", "success": "", "probe": {}}
    (row,) = make_rows([{**summary(), **empty, "rounds": [{"round": n, **bits} for n in range(2)]}])
    assert "nan" not in markdown([row])


def test_headings_that_could_be_mistaken_name_the_world_and_the_round():
    rows = make_rows([summary(last={"round": 5}), summary(world="known", signature="b", last={"round": 3})])
    titles = [by_type_markdown(row).splitlines()[0] for row in rows]
    assert titles == [
        "#### selu, thor, known world, round 3: by task type",
        "#### selu, thor, unknown world, round 5: by task type",
    ]
    assert by_round_markdown(summary(world="known")).startswith("#### selu, thor, known world, seed 0: round by round")


def test_states_count_where_they_were_asked_about():
    """Summaries from before the question was there stay in their row and say nothing of it."""
    asked = summary(seed=1)
    for one in asked["rounds"]:
        one["states"] = "1011"
    (row,) = make_rows([summary(), asked])
    assert row.states == (75.0, 75.0)
    assert "| 75.0 → 75.0 |" in markdown([row])
    (before,) = make_rows([summary()])
    assert "| – → – |" in markdown([before])


def test_yeses_to_failures_are_counted_by_the_way_they_failed():
    ways = ["expert", "undone", "expert", "wrong_object"]
    (row,) = make_rows([summary(critic_ways=ways, last={"round": 5, "first": "1101", "verdict": "1011"})])
    assert row.by_way == {"undone": (0.0, 100.0, 0.0, 0.0), "wrong_object": (0.0, 100.0, 0.0, 100.0)}
    assert by_way_markdown(row).splitlines()[-1] == "| wrong object | 0.0 → 100.0 | 0.0 → 100.0 |"
    (before,) = make_rows([summary()])
    assert by_way_markdown(before) == ""


def test_runs_over_other_test_sets_bases_or_worlds_have_rows_of_their_own():
    another = summary(testset=["b"])
    another["rounds"] = [{**one, "first": "0001"} for one in another["rounds"]]
    rows = make_rows([summary(), another, summary(base="1b3d"), summary(world="known", recipe="zero_shot")])
    assert [row.world for row in rows] == ["known", "unknown", "unknown", "unknown"]


def test_test_sets_that_differ_in_bytes_only_are_one_where_the_base_was_measured():
    (row,) = make_rows([summary(), summary(seed=1, testset=["drawn on another CPU"])])
    assert row.seeds == (0, 1)
    unmeasured = [summary(), summary(seed=1, testset=["b"])]
    for one in unmeasured:
        one["rounds"] = [{**one["rounds"][1], "round": 5}]
    assert len(make_rows(unmeasured)) == 2


def test_a_base_that_always_says_the_same_tells_no_test_sets_apart():
    runs = [summary(), summary(seed=1, testset=["b"])]
    assert len(make_rows(runs)) == 1
    for one in runs:
        one["rounds"][0] = {**one["rounds"][0], "success": "0000"}
    assert len(make_rows(runs)) == 2


def test_test_sets_in_other_scenes_are_others_though_the_base_did_alike():
    runs = [summary(critic_scenes=["a"] * 4), summary(seed=1, testset=["b"], critic_scenes=["a", "a", "b", "b"])]
    assert len(make_rows(runs)) == 2


def test_the_same_test_sets_are_one_whatever_a_base_says_of_them_on_another_machine():
    once_otherwise = summary(seed=1)
    once_otherwise["rounds"][0] = {**once_otherwise["rounds"][0], "first": "0001"}
    joined_by_the_base = summary(seed=2, testset=["drawn on another CPU"])
    joined_by_the_base["rounds"][0] = {**once_otherwise["rounds"][0]}
    runs = [summary(), once_otherwise, joined_by_the_base]
    (row,) = make_rows(runs)
    assert row.seeds == (0, 1, 2)
    assert list(notes(runs)) == []


def test_runs_that_the_bases_answers_alone_set_apart_are_told_of():
    apart = summary(seed=1, testset=["b"])
    apart["rounds"][0] = {**apart["rounds"][0], "first": "0001"}
    assert [row.seeds for row in make_rows([summary(), apart])] == [(0,), (1,)]
    (note,) = notes([summary(), apart])
    assert note.startswith("thor, unknown world: selu's seeds 0 and 1 are not of one row: ")
    assert "otherwise on 1 of 8 episodes" in note
    (note,) = notes([summary(recipe="lmsi"), apart])
    assert note.startswith("thor, unknown world: lmsi and selu are not compared: ")
    assert list(notes([summary(), {**apart, "world": "known"}, {**apart, "truth": "1100"}])) == []


def test_rows_over_other_test_sets_say_so():
    other = summary(testset=["0123456789"], settings="other-0", signature="other-0")
    other["rounds"] = [{**one, "first": "0001"} for one in other["rounds"]]
    assert [row.settings for row in make_rows([summary(), other])] == ["other-0", "selu-0"]
    other["settings"] = "selu-0"
    assert [row.settings for row in make_rows([summary(), other])] == ["test set 01234567", "test set a"]


def test_rows_over_other_bases_say_so_also_where_the_test_sets_are_not_known():
    runs = [summary(base="0123456789"), summary(base="9876543210")]
    assert [row.settings for row in make_rows(runs)] == ["base 01234567", "base 98765432"]
    unknown = [summary(), summary(seed=1, truth="1100")]
    for one in unknown:
        del one["testset"]
    assert [row.settings for row in make_rows(unknown)] == ["test set unknown"] * 2


def test_rows_whose_settings_differ_are_not_laid_to_the_base():
    other = summary(testset=["b"], settings="other-0", signature="other-0")
    other["rounds"][0] = {**other["rounds"][0], "success": "0000"}
    assert list(notes([summary(), other])) == []


def test_a_run_measured_twice_on_sets_that_differ_in_bytes_only_is_one_seed():
    (row,) = make_rows([summary(), summary(testset=["drawn on another CPU"]), summary(seed=1)])
    assert row.seeds == (0, 1)


def test_a_run_found_twice_is_one_seed_and_as_far_as_it_came():
    further = summary(seed=1, last={"round": 5, "first": "1010"})
    first = summary(last={"round": 5})
    (row,) = make_rows([first, summary(seed=1), {**further, "rounds": [*further["rounds"], further["rounds"][1]]}])
    assert (row.seeds, row.critic.last) == ((0, 1), 75.0)
    assert markdown([row]) == markdown(make_rows([first, further]))


def test_of_a_run_found_twice_the_one_that_went_further_counts_not_the_one_measured_more_often():
    often = summary()
    often["rounds"] = [{**often["rounds"][1], "round": number} for number in range(4)]
    far = summary(last={"round": 10})
    assert [row.rounds for row in make_rows([often, far])] == [10]
    assert [row.rounds for row in make_rows([far, often])] == [10]


def test_runs_of_other_settings_are_no_further_seeds_and_the_rows_say_which():
    other = {"signature": "other-0", "settings": "other-0"}
    rows = make_rows([summary(), summary(seed=1), summary(**other), summary(seed=1, **{**other, "signature": "o-1"})])
    assert [(row.settings, row.seeds) for row in rows] == [("other-0", (0, 1)), ("selu-0", (0, 1))]
    assert "| selu (other-0) | 2 |" in markdown(rows)


def test_summaries_from_before_settings_were_written_down_are_seeds_of_the_only_ones_there_are():
    """Seed 0's signature is its settings; a later seed's says nothing of them."""
    before = [summary(seed=seed) for seed in (0, 1, 2)]
    for one in before:
        del one["settings"]
    (row,) = make_rows([*before, summary(seed=3), summary(seed=0)])
    assert (row.seeds, row.settings) == ((0, 1, 2, 3), "")
    rows = make_rows([*before, summary(seed=3, settings="other-0")])
    assert [(row.settings, row.seeds) for row in rows] == [
        ("other-0", (3,)), ("selu-0", (0,)), ("selu-1", (1,)), ("selu-2", (2,)),
    ]  # fmt: skip


def test_rows_stand_in_the_papers_order_and_every_line_has_the_heads_columns():
    rows = make_rows([summary(recipe=name) for name in ("mine", "oracle", "no_hindsight", "selu")])
    assert [row.recipe for row in rows] == ["selu", "no_hindsight", "oracle", "mine"]
    lines = [line for line in markdown(rows).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert by_type_markdown(rows[0]).count("| open |") == 1


def test_a_runs_curve_has_a_line_for_each_round_and_no_number_that_was_not_measured():
    labels = {"accuracy": 0.9, "false_yes": 0.05, "success": 0.4, "relabelled": 3, "relabelled_right": None}
    text = by_round_markdown(summary(last={"round": 1, "first": "1110", "states": "1011", "labels": labels}))
    assert text.splitlines()[4:] == [
        "| 0 | 50.0 | 75.0 | – | 0.0 | – | – | – | – | – | 25.0 |",
        "| 1 | 75.0 | 75.0 | 75.0 | 75.0 | 90.0 | 5.0 | 40.0 | 3 | – | 25.0 |",
    ]


def test_an_interval_is_one_over_scenes_where_the_summaries_say_which():
    last = {"round": 5, "first": "1111", "success": "1110"}
    scenes = {"critic_scenes": ["a", "a", "b", "b"], "actor_scenes": ["a", "b", "c", "d"]}
    (alone,), (told,) = make_rows([summary(last=last)]), make_rows([summary(last=last, **scenes)])
    assert told.critic.gain == alone.critic.gain
    assert (told.critic.low, told.critic.high) == (0, 0), "in each scene one more is right and one less"
    assert alone.critic.low < 0 < alone.critic.high
    assert (told.actor.low, told.actor.high) == (alone.actor.low, alone.actor.high)


def test_a_critic_that_was_taught_nothing_gained_nothing_for_certain_and_no_other_did():
    last = {"round": 5, "success": "1110"}
    (row,) = make_rows([summary(last=last, untaught=["critic"])])
    assert (row.critic.low, row.critic.gain, row.critic.high) == (0, 0, 0)
    assert row.actor.low < row.actor.gain < row.actor.high
    (row,) = make_rows([summary(last=last)])
    assert row.critic.low < row.critic.gain == 0 < row.critic.high, "four answers that are the same tell little"


def test_a_table_for_a_terminal_has_its_cells_in_columns():
    text = markdown(make_rows([summary(), summary(recipe="no_hindsight")]))
    table = [line for line in aligned(text).splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert [line.index("|", 1) for line in table] == [len("| no_hindsight ")] * 4
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    again = [[cell.strip() for cell in line.split("|")] for line in table]
    assert [again[0], *again[2:]] == [cells[0], *cells[2:]]
    assert aligned("no table\n\nhere") == "no table\n\nhere"


def test_minutes_stand_where_somebody_measured_them():
    assert "min/run" not in markdown(make_rows([summary()]))
    assert "min/run" in markdown(make_rows([summary(minutes=3.5)]))
