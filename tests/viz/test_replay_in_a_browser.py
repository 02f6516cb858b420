"""The replay page as Chromium shows it: hostile words, narrow windows, paper, keyboard, and how it names things."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from pages import PRINTED, in_a_browser, needs_browser
from played_runs import HOSTILE, JUDGED, MadeRound, judged, make_episode, seal, write_episodes, write_labels

from selu_hpc.errors import RunFolderError
from selu_hpc.recipes import load_recipe
from selu_hpc.records import Exchange, Label
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage
from selu_hpc.viz.choice import Kind
from selu_hpc.viz.replay import make_replay


@needs_browser
@pytest.mark.parametrize("labelled", [(0,), (0, 1)])
def test_what_a_round_was_sealed_without_is_said_to_be_left_out_also_if_it_was_labelled_late(
    small_run, tmp_path, labelled
):
    MadeRound(small_run, labelled=labelled).write()
    seal(small_run, 0)
    asked = "['#count', '#list li:last-child .chips'].map((one) => page.querySelector(one).textContent)"
    count, chips = in_a_browser(make_replay(small_run), asked, tmp_path)
    assert count == (
        "all 12 episodes of the round. 6 of the round were left out of learning: it was sealed without their shard."
    )
    assert chips == "r01-s0001-e0005" + ("yes" if 1 in labelled else "not judged") + "left out"


COUNTS = "[...page.querySelectorAll('#filters button')].map((one) => one.textContent)"


@needs_browser
def test_a_part_of_a_round_is_not_taken_for_the_round(small_run, tmp_path):
    MadeRound(small_run).write()
    assert in_a_browser(make_replay(small_run), COUNTS, tmp_path)[:3] == ["all 12", "judged yes 6", "judged no 6"]
    shown = in_a_browser(make_replay(small_run, limit=4), COUNTS, tmp_path)
    assert shown[0] == "all 4 of 12"
    assert all(" of " in one for one in shown)
    MadeRound(small_run, 2, num_shards=1).write()
    asked = "page.querySelector('#count').textContent"
    assert in_a_browser(make_replay(small_run), asked, tmp_path) == (
        "all 6 finished episodes of the round. 1 of the round’s 2 shards is not finished."
    )


@needs_browser
def test_an_address_of_an_episode_that_is_not_there_is_told_of(small_run, tmp_path):
    MadeRound(small_run).write()
    page = make_replay(small_run)
    window, told = "page.defaultView", "page.querySelector('#astray').textContent"
    asked = f"({window}.location.hash = '#nosuch/4', {window}.visit(), {told})"
    assert "the episode nosuch, which is not on this page" in in_a_browser(page, asked, tmp_path)
    asked = "page.querySelector('#astray').hidden"
    assert in_a_browser(page, asked, tmp_path) is True


@needs_browser
def test_a_browser_shows_hostile_words_as_words(small_run, tmp_path):
    name = "r01-s0000-e0000"
    exchange = Exchange(purpose="verdict", question=HOSTILE, answer=HOSTILE, taken="no")
    write_episodes(small_run, 1, 0, [make_episode(name, words=HOSTILE)])
    write_labels(small_run, 1, 0, [judged(name, False, False, exchanges=(exchange,))])
    made = make_replay(small_run, out=tmp_path / "page.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = subprocess.run(["chromium", *options, made.as_uri()], capture_output=True, text=True, check=True).stdout
    assert "alert(1)" in shown.partition("<h2")[2].partition("</h2>")[0]
    assert shown.count("<script") == 2
    assert "<img" not in shown
    assert '<dd><span><b class="no">no</b></span></dd>' in shown
    assert 'aria-valuetext="step 1 of 2"' in shown


NUM_BROKEN = r"""[...page.querySelectorAll("td bdi")].flatMap((one) => {
  const words = one.firstChild;
  return [...words.data.matchAll(/\S+/g)].filter((word) => {
    const range = page.createRange();
    range.setStart(words, word.index);
    range.setEnd(words, word.index + word[0].length);
    return range.getClientRects().length > 1;
  });
}).length"""
WITHIN = """Math.max(...[...page.querySelectorAll("#controls *")].map((one) => one.getBoundingClientRect().right))
  <= page.querySelector("#controls").getBoundingClientRect().right + 0.5"""


@needs_browser
def test_on_a_phone_no_word_of_a_table_is_broken_and_nothing_runs_past_the_edge(played, tmp_path):
    made = make_replay(played, with_truth=True)
    assert in_a_browser(made, NUM_BROKEN, tmp_path) == 0
    assert in_a_browser(made, WITHIN, tmp_path)
    assert in_a_browser(
        made, "page.querySelector('.wide').scrollWidth <= page.querySelector('.wide').clientWidth", tmp_path
    )


@needs_browser
def test_on_paper_an_episode_is_whole_and_without_what_only_a_screen_can_use(small_run, tmp_path):
    write_episodes(
        small_run, 1, 0, [replace(make_episode("r01-s0000-e0000"), seen=("the rules of the game " * 80,) * 3)]
    )
    asked = f"""(() => {{
      {PRINTED}
      const seen = (one) => page.querySelector(one).offsetHeight > 0, told = page.querySelector("#told");
      return [seen("nav"), seen("#controls"), seen(".keys"), seen("#steps"), told.scrollHeight <= told.clientHeight];
    }})()"""
    assert in_a_browser(make_replay(small_run), asked, tmp_path) == [False, False, False, True, True]


@needs_browser
def test_what_the_actor_says_is_seen_however_much_it_was_told(small_run, tmp_path):
    episode = make_episode("r01-s0000-e0000")
    write_episodes(small_run, 1, 0, [replace(episode, seen=("the rules of the game " * 80,) * 3)])
    asked = "[page.querySelector('#now').textContent, page.querySelector('#now').scrollHeight <= 30]"
    assert in_a_browser(make_replay(small_run), asked, tmp_path) == ["The actor says “Step 0: open the fridge.”", True]


@needs_browser
def test_words_without_a_space_widen_no_table(small_run, tmp_path):
    write_episodes(small_run, 1, 0, [make_episode("r01-s0000-e0000", words="x" * 300)])
    asked = """[page.documentElement.scrollWidth, page.querySelector('.wide').scrollWidth <=
      page.querySelector('.wide').clientWidth, Math.min(...[...page.querySelectorAll('td .bounded:has(.long)')]
      .map((one) => one.clientWidth)) >= 75]"""
    assert in_a_browser(make_replay(small_run), asked, tmp_path, width=390) == [390, True, True]


@needs_browser
def test_the_address_may_name_half_a_step_and_may_change(played, tmp_path):
    asked = """(() => {
      const window = page.defaultView;
      const at = (hash) => {
        window.location.hash = hash;
        window.dispatchEvent(new window.Event("hashchange"));
        const [facts, where] = ["#facts", "#where"].map((one) => page.querySelector(one).textContent);
        return facts.match(/r01-s[0-9]+-e[0-9]+/)[0] + ", " + where;
      };
      return [at("r01-s0000-e0002/1.5"), at("r01-s0001-e0003/1e99"), at("r01-s0000-e0001/x"), at("nothing/1")];
    })()"""
    assert in_a_browser(make_replay(played), asked, tmp_path) == [
        "r01-s0000-e0002, step 2 of 2",
        "r01-s0001-e0003, the end",
        "r01-s0000-e0001, step 1 of 2",
        "r01-s0000-e0001, step 1 of 2",
    ]


@needs_browser
def test_a_box_with_more_words_than_it_shows_is_scrolled_by_keyboard(small_run, tmp_path):
    episode = make_episode("r01-s0000-e0000")
    write_episodes(small_run, 1, 0, [replace(episode, seen=("the rules of the game " * 80,) * 3)])
    asked = """(() => {
      const [told, now] = ["#told", "#now"].map((one) => page.querySelector(one));
      const press = (box) => !box.dispatchEvent(
        new page.defaultView.KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true, cancelable: true }));
      return [told.tabIndex, press(told), now.tabIndex, press(page.body)];
    })()"""
    assert in_a_browser(make_replay(small_run), asked, tmp_path) == [0, False, -1, True]


@needs_browser
@pytest.mark.parametrize(
    ("settings", "number", "there", "not_there"),
    [
        (["learning=self_refine"], 2, ["no, in the end yes"], ["after self-asking", "corrected by self-asking"]),
        (
            ["critic.mode=none"],
            0,
            ["Nobody judged it", "counted as done 1"],
            ["first verdict", "judged yes", "Is it done?"],
        ),
    ],
)
def test_the_critic_is_spoken_of_as_it_is(tmp_path, settings, number, there, not_there):
    run, _ = open_run(tmp_path / "run", load_recipe("selu", settings))
    MadeRound(run, num_shards=1).write()
    if "critic.mode=none" in settings:
        shutil.rmtree(run.shard(1, Stage.LABEL, 0).path)
        names = [f"r01-s0000-e{n:04d}" for n in range(len(JUDGED))]
        write_labels(run, 1, 0, [Label(episode_id=name, first=True, verdict=True) for name in names])
    asked = "[page.body.innerText, ...[...page.querySelectorAll('[title]')].map((one) => one.title)].join(' ')"
    made = make_replay(run, ids=[f"r01-s0000-e{number:04d}"])
    shown = in_a_browser(made, asked, tmp_path, width=1200)
    assert [words for words in there if words not in shown] == []
    assert [words for words in not_there if words in shown] == []


@needs_browser
def test_the_warm_ups_games_are_said_to_be_the_experts(tmp_path):
    run, _ = open_run(tmp_path / "games", load_recipe("rl4vlm"))
    write_episodes(run, 0, 0, [replace(make_episode("r00-s0000-e0000"), adapter="expert")])
    shown = in_a_browser(make_replay(run), "page.querySelector('#facts').textContent", tmp_path)
    assert "acted: the expert, which is a script" in shown
    assert "pocket" not in shown
    with pytest.raises(RunFolderError, match="a game is paid and judged by nobody, so leave --show out"):
        make_replay(run, show=Kind.YES)


@needs_browser
@pytest.mark.parametrize(
    ("labelled", "words"),
    [
        ((0, 1), "chosen from every kind, the rare ones first"),
        ((), "spread over the round. The round is not labelled yet."),
    ],
)
def test_kinds_are_spoken_of_where_there_are_any(small_run, tmp_path, labelled, words):
    MadeRound(small_run, labelled=labelled).write()
    made = make_replay(small_run, limit=4)
    assert in_a_browser(made, "page.querySelector('#count').textContent", tmp_path) == (
        f"4 of the round’s 12 episodes, {words}"
    )
