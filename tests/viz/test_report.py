"""The report: figures with what they rest on, columns that are explained, and a page that fits a phone and the dark."""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluated_runs import KINDS, selu_rows, write_card, write_evaluation, write_job
from pages import PRINTED, in_a_browser, needs_browser
from played_runs import make_episode, write_episodes

from selu_hpc.errors import CorruptShardError
from selu_hpc.recipes import load_recipe, load_run
from selu_hpc.records import Action
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.selu.summary import summarise
from selu_hpc.viz.plain import plain
from selu_hpc.viz.report import GAMES, LABELS, LEARNING, gaps, make_report
from selu_hpc.viz.results import RoundNumbers
from selu_hpc.viz.times import SAVED

NUM_BROKEN = """[...page.querySelectorAll("td small")].filter((one) => {
  const words = page.createRange();
  words.selectNodeContents(one);
  return words.getClientRects().length > 1;
}).length"""


@pytest.fixture
def evaluated(small_run) -> RunDir:
    """Two rounds after the base; slicing is learned in the first."""
    for round_id in range(3):
        rows = selu_rows(sliced=round_id > 0)
        write_evaluation(small_run, round_id, rows if round_id else {**rows, "labels": []})
    sets = {"samples": 40, "kept": 12, "by_source": {"success": 30, "relabelled": 10}}
    write_card(small_run, 1, {"actor": sets, "critic": {**sets, "by_source": {"verdict": 39, "corrected": 1}}})
    return small_run


@pytest.fixture
def played_games(tmp_path) -> RunDir:
    small = ["rounds=1", "evaluate.num_shards=1", "evaluate.bootstrap_samples=20"]
    run, _ = open_run(tmp_path / "games", load_recipe("rl4vlm", small))
    games = [{"return": 1.0 - 2 * (n % 2), "success": n % 2 == 0, "steps": 4, "said": 4} for n in range(6)]
    for round_id in range(2):
        write_evaluation(run, round_id, {"games": games})
        write_card(run, round_id, {"episodes": 6, "steps": 24, "success": 0.1667, "return": -0.6667, "said": 1.0})
    return run


def text_of(run: RunDir) -> str:
    return make_report(run).read_text(encoding="utf-8")


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    table = page.partition(f"<h2>{heading}</h2>")[2].partition("</table>")[0]
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in table.split("<tr>")[2:]]


def test_a_type_that_always_came_out_alike_is_said_to_be_no_more_certain_than_it_is(evaluated):
    always, never = "100.0 %<small>75.7 to 100.0, n 12</small>", "0.0 %<small>0.0 to 24.3, n 12</small>"
    opened, sliced = rows_of(text_of(evaluated), "By task type")
    assert (opened[0], *opened[3:]) == ("open", always, always)
    assert (sliced[0], *sliced[3:]) == ("slice", never, always)


def test_failures_called_successes_stand_by_the_way_they_failed(evaluated):
    never = "0.0 %<small>0.0 to 24.3, n 12</small>"
    assert rows_of(text_of(evaluated), "Failures called successes") == [["wrong object", *[never] * 4]]


def test_a_false_verdicts_share_says_how_many_could_be_false(evaluated):
    base = rows_of(text_of(evaluated), "Learning")[0]
    assert base[0] == "base"
    assert base[3] == "0.0 %<small>0.0 to 24.3, n 12</small>"
    assert base[4].startswith("33.3 %<small>")
    assert base[4].endswith(", n 12</small>")


def test_every_column_over_rounds_is_explained(evaluated, played_games):
    page = text_of(evaluated)
    for column in (*LEARNING, *LABELS):
        assert f"<th scope=col>{column.name}</th>" in page
        assert f"<dt>{column.name}</dt><dd>{column.meaning}</dd>" in page
    assert "<dt>corrected</dt><dd>verdicts that were changed before the end</dd>" in page
    assert all(f"<dt>{one.name}</dt><dd>{one.meaning}</dd>" in text_of(played_games) for one in GAMES)


def test_the_newest_figures_stand_first_with_where_they_began(evaluated):
    tiles = text_of(evaluated).partition("<h2>")[0]
    assert "<dt>actor success</dt><dd>100.0 % <span>from 50.0 %</span><small>86.2 to 100.0, n 24</small></dd>" in tiles
    assert "<dt>newest evaluated round</dt><dd>2<small>of 2; base is round 0</small></dd>" in tiles


def test_rounds_that_were_not_evaluated_are_named_and_a_dashed_line_spans_them(evaluated):
    assert "dashed" not in text_of(evaluated)
    evaluated.shard(1, Stage.EVALUATE).marker_file.unlink()
    page = text_of(evaluated)
    assert "<dd>2<small>of 2; base is round 0; not evaluated: 1</small></dd>" in page
    assert "A dashed line spans rounds that were not evaluated.</figcaption>" in page
    assert page.partition("<svg")[2].partition("</svg>")[0].count("stroke-dasharray") == 2


def test_rounds_that_are_not_evaluated_are_told_by_spans():
    assert gaps([RoundNumbers(one, {}) for one in (0, 1, 4, 6)]) == "2 to 3, 5"
    assert gaps([RoundNumbers(one, {}) for one in (3, 4)]) == "0 to 2"


def test_round_1_is_not_told_for_the_base_while_the_base_is_not_evaluated(evaluated):
    evaluated.shard(0, Stage.EVALUATE).marker_file.unlink()
    tiles = text_of(evaluated).partition("<h2>")[0]
    assert "<dd>2<small>of 2; base is round 0; not evaluated: 0</small></dd>" in tiles
    assert "<span>from" not in tiles
    assert summarise(evaluated, load_run(evaluated.path)) is None


def test_verdicts_that_said_nothing_are_counted_where_an_evaluation_kept_the_words(evaluated):
    assert "said neither yes nor no" not in text_of(evaluated)
    rows = selu_rows(sliced=True)
    for taken, told in (
        ("no", "Every first verdict said yes or no."),
        ("unreadable", "count as a no: 2 of 24 (round 2)."),
    ):
        for row in rows["critic"]:
            row["taken"] = "yes"
        for row in rows["critic"][:2]:
            row["taken"] = taken
        write_evaluation(evaluated, 2, rows)
        assert told in text_of(evaluated)


def test_games_won_are_percent_wherever_they_stand(played_games):
    page = text_of(played_games)
    assert rows_of(page, "Learning")[1][1].startswith("50.0 %<small>")
    assert rows_of(page, "Games played to learn from") == [
        [name, "6", "24", "16.7 %<small>n 6</small>", "-0.67"] for name in ("warm-up", "round 1")
    ]


def test_time_on_slurm_is_told_and_what_cannot_be_known_is_said(evaluated):
    write_job(evaluated, 0, 0, seconds=90, code=SAVED)
    write_job(evaluated, 0, 1, seconds=60, code=0)
    write_job(evaluated, 1, 0, seconds=7, code=1)
    write_job(evaluated, 1, 1)
    page = text_of(evaluated)
    assert rows_of(page, "Time") == [["round 1", *["2.5 min<small>(7 s)</small>"] * 2]]
    assert "Not in here: attempts that are at work or were killed with whoever watched them (1)." in page


def test_figures_are_those_of_the_table(evaluated):
    rows = selu_rows(sliced=True)
    write_evaluation(evaluated, 2, {**rows, "critic": [*rows["critic"], {**rows["critic"][1], "verb": "open"}]})
    assert rows_of(text_of(evaluated), "Learning")[2][1].startswith("84.0 %<small>")
    write_evaluation(evaluated, 2, {**rows, "critic": rows["critic"][:-1]})
    assert rows_of(text_of(evaluated), "Learning")[2][1].startswith("82.6 %<small>")


def with_critic(tmp_path, *settings: str) -> RunDir:
    run, _ = open_run(tmp_path / "other", load_recipe("selu", ["rounds=1", "evaluate.num_shards=1", *settings]))
    write_evaluation(run, 0, {**selu_rows(sliced=False), "labels": []})
    write_evaluation(run, 1, selu_rows(sliced=True))
    sets = {"samples": 4, "kept": 0, "by_source": {"success": 4, "corrected": 1}}
    write_card(run, 1, {"actor": sets, "critic": sets})
    return run


LABELLED = "How far the labels were from the truth"


def test_where_nobody_judged_no_verdict_is_spoken_of(tmp_path):
    page = text_of(with_critic(tmp_path, "critic.mode=none"))
    assert [len(row) for row in rows_of(page, LABELLED)] == [2]
    assert "Nobody judged: every episode was learned from as a success." in page
    assert "<dd>steps of episodes that all count as done, for nobody judged them</dd>" in page
    assert "judged done" not in page


def test_the_oracles_labels_are_not_said_to_be_of_somebody_who_cannot_read_the_truth(tmp_path):
    page = text_of(with_critic(tmp_path, "critic.mode=oracle"))
    assert "no learning stage can read this" not in page
    assert "This run’s labels are the oracle’s" in page


def test_self_asking_is_not_spoken_of_where_there_is_none(tmp_path):
    page = text_of(with_critic(tmp_path, "learning=self_refine"))
    assert "self-asking" not in page.partition("<h2>Settings</h2>")[0]
    assert len(rows_of(page, LABELLED)[0]) == 1 + len(LABELS)


@pytest.mark.parametrize("provenance", [None, "{}", "[]", '{"code": {}}', "{"])
def test_a_run_of_an_unknown_commit_has_a_report_that_says_so(evaluated, provenance):
    evaluated.provenance_file.unlink()
    if provenance is not None:
        evaluated.provenance_file.write_text(provenance)
    page = text_of(evaluated)
    assert "commit not known (provenance.json: " in page
    assert rows_of(page, "Learning")


def test_the_signature_is_the_one_the_run_began_with(evaluated):
    began = json.loads(evaluated.provenance_file.read_bytes())
    signature = began["signature"]
    assert f"<p class=quiet>signature {signature} · " in text_of(evaluated)
    evaluated.provenance_file.write_text(json.dumps({**began, "signature": "0123456789ab"}))
    assert f"<p class=quiet>signature 0123456789ab, read today as {signature} · " in text_of(evaluated)
    evaluated.provenance_file.unlink()
    assert f"<p class=quiet>signature not known, read today as {signature} · " in text_of(evaluated)


def test_a_card_that_does_not_say_what_was_kept_is_shown_and_one_of_another_make_is_named(evaluated):
    sets = {"samples": 40, "by_source": {"success": 30}}
    write_card(evaluated, 1, {"actor": sets, "critic": sets})
    assert rows_of(text_of(evaluated), "Fine-tuning sets")[0][1:3] == ["not known", "40<small>kept: not known</small>"]
    write_card(evaluated, 1, {"actor": sets})
    page = text_of(evaluated)
    assert "<h2>Fine-tuning sets</h2><p class=quiet>Cannot be shown: KeyError: &#x27;critic&#x27;</p>" in page
    assert rows_of(page, "Learning")


def test_what_happened_in_a_round_is_told_of_episodes_and_of_samples_that_some_count_twice(evaluated):
    """One corrected verdict is in the set three times, and relabelled samples are kept of a round before."""
    total = {"episodes": 8, "corrected": 1, "relabelled": 0}
    card = {"samples": 40, "kept": 12, "by_source": {"relabelled": 10, "success": 30}}
    sets = {"actor": card, "critic": {**card, "by_source": {"corrected": 3, "verdict": 37}}}
    write_card(evaluated, 1, {**sets, "episodes": {"total": total}})
    page = text_of(evaluated)
    assert rows_of(page, "Fine-tuning sets")[0][1:] == [
        "8<small>1 corrected</small><small>0 relabelled</small>",
        *["40<small>12 kept</small>"] * 2,
        "10 relabelled, 30 success",
        "3 corrected, 37 verdict",
    ]
    assert "sources count samples, with those kept from sets of earlier rounds." in page
    assert "is shown to the critic, and counted, up to 3 times." in page


def test_nothing_is_said_of_samples_shown_again_where_answers_are_not_balanced(tmp_path):
    assert "up to 3 times" not in text_of(with_critic(tmp_path, "mix.balance=false"))


def test_a_round_that_was_sealed_without_a_shard_says_so(evaluated, played_games):
    for run, round_id, name in ((evaluated, 1, "Round 1"), (played_games, 0, "Warm-up")):
        assert "was sealed without" not in text_of(run)
        Seal(round_id, {0: {}, **{shard: {} for shard in range(2, 12)}}).write(run)
        num_shards = load_run(run.path).rollout.num_shards
        assert f"<p>{name} was sealed without shard 1 of {num_shards}, so nothing was learned " in text_of(run)


def test_a_damaged_episode_store_costs_the_film_alone(evaluated):
    write_episodes(evaluated, 1, 0, [make_episode("r01-s0000-e0000")])
    (evaluated.shard(1, Stage.ROLLOUT).episodes / "zarr.json").write_text("{")
    page = text_of(evaluated)
    assert "<h2>An episode</h2><p class=quiet>Cannot be shown: " in page
    assert rows_of(page, "Learning")


def test_results_of_another_make_are_named_and_no_traceback(evaluated):
    write_evaluation(evaluated, 2, {"critic": []})
    with pytest.raises(CorruptShardError, match=r"02/evaluate: results.json of a shard is not .*KeyError"):
        make_report(evaluated)


def test_the_film_is_of_a_finished_shard_and_its_episode_is_named(small_run):
    for shard in (0, 1):
        write_episodes(small_run, 1, shard, [make_episode(f"r01-s000{shard}-e0000")])
    small_run.shard(1, Stage.ROLLOUT, 0).marker_file.unlink()
    page = text_of(small_run)
    assert "<h2>An episode of round 1</h2>" in page
    assert "<figcaption>r01-s0001-e0000: “open the fridge”" in page
    assert 'alt="3 pictures of episode r01-s0001-e0000, from left to right.' in page


def test_the_film_tells_what_was_refused_and_what_chance_did(small_run, played_games):
    write_episodes(small_run, 1, 0, [make_episode("r01-s0000-e0000", num_steps=3)])
    assert "in FloorPlan1: (unreadable) → open the fridge (refused) → open the fridge (refused)." in text_of(small_run)
    moves = (("drawn", "-", True), ("strayed", "*", True), ("", "=", False))
    actions = tuple(Action(text="", parsed=parsed, ok=ok, error=error) for error, parsed, ok in moves)
    episode = replace(make_episode("r01-s0000-e0000"), actions=actions)
    write_episodes(played_games, 1, 0, [replace(episode, frames_tvhwc=np.zeros((4, 2, 16, 16, 3), np.uint8))])
    assert ": (unreadable; - drawn) → * (drawn at random) → =." in text_of(played_games)


def test_the_films_command_can_be_typed_as_it_stands(tmp_path):
    run, _ = open_run(tmp_path / "my run", load_recipe("selu"))
    write_episodes(run, 1, 0, [make_episode("r01-s0000-e0000")])
    assert f"<code>{html.escape(run.command('replay'))}</code> plays others back." in text_of(run)


@pytest.mark.parametrize("name", ["\x1b[31m\u202erun", os.fsdecode(b"r\xfcn")])
def test_a_hostile_folder_name_is_shown_and_written(evaluated, name):
    page = text_of(RunDir(evaluated.path.rename(evaluated.path.with_name(name))))
    assert f"<h1>{html.escape(plain(name))}</h1>" in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_tables_can_be_read_by_row_and_scrolled_by_keyboard(evaluated):
    page = text_of(evaluated)
    assert "<th scope=row>round 1</th>" in page
    assert page.count("<div class=wide tabindex=0 role=region aria-label=") == page.count("<div class=wide") > 3
    assert page.count("<main>") == page.count("</main>") == 1


def test_the_film_is_of_the_newest_round_by_number_when_a_run_has_more_than_a_hundred(small_run):
    for round_id in (99, 100):
        write_episodes(small_run, round_id, 0, [make_episode("r-s-e", words=f"of round {round_id}")])
    page = text_of(small_run)
    assert ("of round 100" in page, "of round 99" in page) == (True, False)


def test_a_run_that_was_not_evaluated_yet_says_so(small_run):
    assert "No round has been evaluated yet." in text_of(small_run)


def test_what_was_learned_from_is_shown_before_the_first_evaluation(evaluated, played_games):
    for run, heading, num_rows in ((evaluated, "Fine-tuning sets", 1), (played_games, "Games played to learn from", 2)):
        for marker in run.path.glob("rounds/*/evaluate/shard-*/done.json"):
            marker.unlink()
        page = text_of(run)
        assert "No round has been evaluated yet." in page
        assert len(rows_of(page, heading)) == num_rows
        for marker in run.path.glob("rounds/*/gate/shard-*/done.json"):
            marker.unlink()
        assert heading not in text_of(run)


def test_the_drawing_has_the_pages_colours_only(evaluated):
    drawing = text_of(evaluated).partition("<svg")[2].partition("</svg>")[0]
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", drawing))
    assert colours - {"none"} == {"var(--ink)", "var(--line)", "var(--actor)", "var(--critic)"}


def test_a_hostile_kind_of_task_is_shown_and_nothing_else(evaluated):
    rows = selu_rows(sliced=True)
    rows["critic"][0]["verb"] = "<script>alert(1)</script>"
    write_evaluation(evaluated, 2, rows)
    page = text_of(evaluated)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert KINDS[0] in page


def test_the_same_run_makes_the_same_report(evaluated):
    assert make_report(evaluated).read_bytes() == make_report(evaluated).read_bytes()


@needs_browser
@pytest.mark.parametrize("width", [360, 500])
def test_on_a_phone_the_report_is_as_wide_as_the_window_and_no_interval_is_broken(evaluated, tmp_path, width):
    page = make_report(evaluated)
    assert in_a_browser(page, "page.documentElement.scrollWidth", tmp_path, width=width) == width
    assert in_a_browser(page, NUM_BROKEN, tmp_path, width=width) == 0
    assert "<meta name=viewport" in page.read_text(encoding="utf-8")


@needs_browser
def test_the_learning_table_is_seen_whole_where_the_window_has_room_and_else_shows_that_it_scrolls(evaluated, tmp_path):
    for round_id in range(3):
        rows = selu_rows(sliced=round_id > 0)
        write_evaluation(evaluated, round_id, {name: 20 * found for name, found in rows.items()})
    page, table = make_report(evaluated), "page.querySelector('[aria-label=Learning]')"
    hidden = f"{table}.scrollWidth - {table}.clientWidth"
    assert in_a_browser(page, hidden, tmp_path, width=1280) == 0
    assert in_a_browser(page, "page.documentElement.scrollWidth", tmp_path, width=1280) == 1280
    assert in_a_browser(page, hidden, tmp_path, width=400) > 0
    shade = f"getComputedStyle({table}).backgroundAttachment"
    assert in_a_browser(page, shade, tmp_path, width=400) == "local, scroll"


@needs_browser
def test_on_paper_a_table_is_as_wide_as_the_sheet_and_nothing_is_cut(evaluated, tmp_path):
    for round_id in range(3):
        rows = selu_rows(sliced=round_id > 0)
        write_evaluation(evaluated, round_id, {name: 80 * found for name, found in rows.items()})
    asked = f"""(() => {{
      {PRINTED}
      const tables = [...page.querySelectorAll(".wide table")].map((one) => one.getBoundingClientRect().right);
      return [tables.length > 3, Math.max(...tables) <= 700, getComputedStyle(page.querySelector(".wide")).overflowX];
    }})()"""
    assert in_a_browser(make_report(evaluated), asked, tmp_path, width=700) == [True, True, "visible"]


@needs_browser
def test_words_without_a_space_widen_no_report(evaluated, tmp_path):
    write_episodes(evaluated, 1, 0, [make_episode("r01-s0000-e0000", words="x" * 600)])
    rows = selu_rows(sliced=True)
    rows["critic"][0]["verb"] = "y" * 200
    write_evaluation(evaluated, 2, rows)
    assert in_a_browser(make_report(evaluated), "page.documentElement.scrollWidth", tmp_path, width=390) == 390


@needs_browser
def test_in_the_dark_the_report_is_dark(evaluated, tmp_path):
    page = make_report(evaluated)
    asked = "getComputedStyle(page.body).backgroundColor + getComputedStyle(page.querySelector('svg text')).fill"
    light, dark = (in_a_browser(page, asked, tmp_path, dark=dark) for dark in (False, True))
    assert light == "rgb(255, 255, 255)rgb(34, 34, 34)"
    assert dark == "rgb(24, 25, 27)rgb(226, 226, 223)"
