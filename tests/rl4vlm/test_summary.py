"""The table over runs of games."""

from selu_hpc.rl4vlm.results import row_of
from selu_hpc.rl4vlm.summary import markdown


def summary(*, seed=0, last="1111", settings="a", rounds=12, **more):
    return {
        "recipe": "rl4vlm", "game": "blackjack", "rules": 1, "wording": 1, "seed": seed, "steps": 100, "episodes": 40,
        "signature": f"{settings}-{seed}", "settings": settings,
        "rounds": [{"round": 0, "success": "0" * len(last), "return": -1.0},
                   {"round": rounds, "success": last, "return": 0.5}],
        **more,
    }  # fmt: skip


def rows(*summaries):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown(summaries).splitlines()[4:]]


def test_a_gains_interval_knows_that_the_games_of_a_seed_hang_together():
    (row,) = rows(summary(last="1" * 100), summary(seed=1, last="0" * 100))
    assert row[:7] == ["blackjack", "1, 1", "rl4vlm", "2", "12", "0.0 → 50.0", "+50.0 [-100.0, +100.0]"]


def test_a_run_that_only_warmed_up_has_gained_nothing_yet():
    one = summary()
    (row,) = rows({**one, "rounds": one["rounds"][:1]})
    assert row[4:7] == ["0", "0.0 → 0.0", "–"]


def test_other_settings_are_no_further_seed():
    found = rows(summary(), summary(seed=1, settings="b"))
    assert [(row[2], row[3]) for row in found] == [("rl4vlm (a)", "1"), ("rl4vlm (b)", "1")]


def test_other_rules_and_other_prompts_are_other_rows():
    found = rows(summary(), summary(rules=2), summary(seed=2, wording=3))
    assert [(row[1], row[3]) for row in found] == [("1, 1", "1"), ("1, 3", "1"), ("2, 1", "1")]


def test_a_run_beside_its_own_summary_counts_once_and_seeds_that_went_less_far_stand_alone():
    found = rows(summary(), summary(), summary(seed=1, rounds=3))
    assert [(row[3], row[4]) for row in found] == [("1", "3"), ("1", "12")]


def test_a_summary_from_before_versions_were_kept_is_of_the_first():
    old = summary()
    del old["rules"], old["wording"], old["settings"]
    assert rows(old)[0][1] == "1, 1"


def test_a_draw_is_no_success():
    line = {"episode_id": "e", "rewards": [0.0], "answers": [{"said": True}]}
    assert row_of(line)["success"] is False
