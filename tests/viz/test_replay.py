"""The replay page: what it holds, what it leaves closed, and what it says when it cannot be made."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pages import PRINTED, Page, in_a_browser, needs_browser
from PIL import Image
from played_runs import JUDGED, OTHER, MadeRound, judged, make_episode, write_episodes, write_labels

from selu_hpc.errors import CorruptShardError, MissingShardError, RunFolderError, TruthLeakError
from selu_hpc.recipes import load_recipe
from selu_hpc.records import Exchange, Label, View
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.store.lines import LineWriter
from selu_hpc.store.trajectories import EpisodeReader
from selu_hpc.store.truth import forbid_truth
from selu_hpc.viz.choice import Kind
from selu_hpc.viz.replay import make_replay
from selu_hpc.viz.strips import strip

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&amp;\u202e\u2028\x00 ${x} $data '\"`"


@pytest.fixture
def played(small_run) -> RunDir:
    MadeRound(small_run).write()
    return small_run


def page_of(run: RunDir, **options) -> Page:
    return Page(make_replay(run, **options))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_page_holds_the_actors_words_and_the_critics(played):
    page = page_of(played, ids=["r01-s0000-e0002"])
    (one,) = page.data["episodes"]
    assert one["task"] == {"instruction": "open the fridge", "goals": ["open Fridge"]}
    assert one["actor"] == {"model": "pocket", "adapter": "none"}
    assert one["actions"] == [
        {"text": "Step 0: open the fridge.", "parsed": "", "ok": True, "error": ""},
        {"text": "Step 1: open the fridge.", "parsed": "open the fridge", "ok": False, "error": "too far"},
    ]
    said = [(e["heading"], e["asked"], e["taken"], e["pictures"]) for e in one["label"]["exchanges"]]
    assert said == [
        ("First verdict", "Is the task done?", "no", [2]),
        ("Self-asking", "Is the fridge open?", "yes", [2]),
        ("Second verdict", "Fridge open. Is it done?", "yes", [2]),
    ]
    assert one["label"]["corrected"]
    assert page.title == "Replay: run, round 1"


def test_every_frame_of_both_views_is_on_the_page_pixel_by_pixel(played):
    (one,) = page_of(played, ids=["r01-s0001-e0003"]).data["episodes"]
    frames = EpisodeReader(played.shard(1, Stage.ROLLOUT, 1).episodes).frames(3)
    for view in View:
        stored = one["strips"][view]
        kind, data = stored["src"].split(",")
        assert kind == "data:image/webp;base64"
        sheet = np.array(Image.open(io.BytesIO(base64.b64decode(data))))
        assert np.array_equal(sheet, np.concatenate(frames[:, view.axis], axis=1))


def test_a_long_episode_of_wide_pictures_is_laid_out_in_lines():
    frames = np.random.default_rng(0).integers(0, 256, (5, 2, 4, 7000, 3), dtype=np.uint8)
    stored = strip(frames, View.THIRD_PERSON)
    sheet = np.array(Image.open(io.BytesIO(base64.b64decode(stored["src"].split(",")[1]))))
    assert (stored["columns"], sheet.shape) == (2, (12, 14000, 3))
    for step in range(5):
        row, column = divmod(step, 2)
        assert np.array_equal(sheet[4 * row : 4 * row + 4, 7000 * column : 7000 * (column + 1)], frames[step, 1])


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        (Kind.ALL, [0, 1, 2, 3, 4, 5]),
        (Kind.YES, [0, 2, 5]),
        (Kind.NO, [1, 3, 4]),
        (Kind.CORRECTED, [2]),
        (Kind.RELABELLED, [3]),
        (Kind.WRONG, [5]),
    ],
)
def test_one_kind_of_episodes_can_be_asked_for(played, show, expected):
    page = page_of(played, show=show, with_truth=True)
    assert page.ids == [f"r01-s{shard:04d}-e{number:04d}" for shard in range(2) for number in expected]
    assert page.data["totals"] == {"all": 12, "yes": 6, "no": 6, "corrected": 2, "relabelled": 2, "wrong": 2}


def test_a_limit_leaves_one_of_every_kind_and_the_page_knows_of_the_rest(played):
    page = page_of(played, limit=4)
    assert {kind for one in page.data["episodes"] for kind in one["kinds"]} == set(Kind) - {Kind.WRONG}
    assert (len(page.ids), page.data["totals"]["all"]) == (4, 12)


def test_a_yes_that_the_words_took_back_is_no_correction(played):
    (one,) = page_of(played, ids=["r01-s0000-e0004"]).data["episodes"]
    assert (one["label"]["first"], one["label"]["verdict"], one["label"]["corrected"]) == (True, False, False)


def test_the_newest_labelled_round_is_shown_unless_another_is_asked_for(played):
    MadeRound(played, 2, num_shards=1).write()
    MadeRound(played, 3, num_shards=1, labelled=()).write()
    assert page_of(played).data["round"] == 2
    assert page_of(played, round_id=3).data["round"] == 3


def test_a_round_that_is_not_labelled_is_played_back_without_a_critic(small_run):
    MadeRound(small_run, labelled=()).write()
    page = page_of(small_run)
    assert len(page.ids) == 12
    assert all(one["label"] is None and one["kinds"] == ["all"] for one in page.data["episodes"])
    assert page.data["num_judged"] == 0


def test_a_round_that_is_labelled_in_part_has_both(small_run):
    MadeRound(small_run, labelled=[1]).write()
    page = page_of(small_run)
    assert [one["id"][:9] for one in page.data["episodes"] if one["label"] is not None] == ["r01-s0001"] * 6
    assert (len(page.ids), page.data["num_judged"]) == (12, 6)


def test_labels_whose_shard_is_not_finished_are_not_read(played):
    played.shard(1, Stage.LABEL, 0).marker_file.unlink()
    assert page_of(played).data["num_judged"] == 6


def seal(run: RunDir, *shards: int, round_id: int = 1) -> None:
    Seal(round_id, {shard: {} for shard in shards}).write(run)
    run.shard(round_id, Stage.GATE).write_marker(content="", names=["seal.json"], summary={})


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


def test_nothing_is_said_to_be_left_out_before_the_rounds_gate_has_finished(played):
    seal(played, 0)
    assert [one["left_out"] for one in page_of(played).data["episodes"]] == [False] * 6 + [True] * 6
    played.shard(1, Stage.GATE).marker_file.unlink()
    assert page_of(played).data["num_left_out"] == 0


def test_the_truth_store_stays_closed_without_the_flag(played):
    forbid_truth(played.truth)
    page = page_of(played)
    assert all(one["truth"] is None for one in page.data["episodes"])
    assert not page.data["with_truth"]
    with pytest.raises(TruthLeakError):
        page_of(played, with_truth=True)


def test_a_run_without_its_truth_can_be_played_back_and_says_so_when_asked_for_it(played):
    shutil.rmtree(played.truth)
    assert len(page_of(played).ids) == 12
    with pytest.raises(MissingShardError, match="leave --truth out"):
        page_of(played, with_truth=True)


def test_with_truth_a_verdict_and_a_relabelling_are_held_against_it(played):
    episodes = page_of(played, with_truth=True).data["episodes"]
    assert [one["truth"]["relabelling_was_right"] for one in episodes[:6]] == [None, None, None, True, None, None]
    assert episodes[5]["truth"]["success_after"] == [False, False, False]
    assert [Kind.WRONG in one["kinds"] for one in episodes[:6]] == [False] * 5 + [True]


def test_pictures_a_question_was_asked_of_are_known(small_run):
    name = "r01-s0000-e0000"
    purposes = ("verdict", "own words", "which", "consistency", "before", "something new")
    exchanges = tuple(Exchange(purpose=one, question="?", answer="no", taken="no") for one in purposes)
    write_episodes(small_run, 1, 0, [make_episode(name)])
    write_labels(small_run, 1, 0, [judged(name, False, False, exchanges=exchanges, relabelled=OTHER)])
    (one,) = page_of(small_run).data["episodes"]
    assert [e["pictures"] for e in one["label"]["exchanges"]] == [[2], [], [2], [2], [0], [2]]
    assert one["label"]["exchanges"][-1]["heading"] == "something new"
    assert one["label"]["relabelled"] == {"instruction": "open the safe", "goals": ["open Safe"]}


def test_hostile_words_are_shown_and_nothing_else(small_run):
    name = "r01-s0000-e0000"
    exchange = Exchange(purpose=HOSTILE, question=HOSTILE, answer=HOSTILE, taken=HOSTILE)
    write_episodes(small_run, 1, 0, [make_episode(name, words=HOSTILE)])
    write_labels(small_run, 1, 0, [judged(name, False, False, exchanges=(exchange,))])
    harmless = page_of(small_run, ids=[name])
    assert len(harmless.scripts) == 2
    assert harmless.open == []
    assert "img" not in harmless.tags
    assert not set("\u202e\u2028\x00") & set(harmless.text)
    (one,) = harmless.data["episodes"]
    shown = HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u2028", "⟨U+2028⟩").replace("\x00", "⟨U+0000⟩")
    assert one["task"]["instruction"] == shown
    told = one["label"]["exchanges"][0]
    assert [told[part] for part in ("heading", "asked", "said", "taken")] == [shown] * 4


def test_a_hostile_folder_name_is_shown_and_nothing_else(played):
    named = played.path.with_name("<script>alert(1)<script>&lt;")
    shutil.move(played.path, named)
    page = page_of(RunDir(named))
    assert page.title == "Replay: <script>alert(1)<script>&lt;, round 1"
    assert page.tags.count("script") == 2


def test_the_page_loads_nothing_and_runs_its_own_script_only(played):
    page = page_of(played)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (page.styles[0], page.scripts[1])
    ]
    assert page.policy() == (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {hashes[1]}; base-uri 'none'; "
        "form-action 'none'"
    )
    assert [value for _, name, value in page.attributes if name in ("src", "href", "style") or name[:2] == "on"] == [
        "data:,"
    ]
    assert "http" not in page.text.replace("http-equiv", "")


def test_every_button_and_field_has_a_name(played):
    page = page_of(played)
    assert page.tags.count("button") == 3
    named = {(tag, value) for tag, name, value in page.attributes if name == "aria-label"}
    assert named >= {("button", "One step back"), ("button", "One step on"), ("input", "Step"), ("nav", "Episodes")}
    assert ("html", "lang", "en") in page.attributes


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_is_valid(played, tmp_path):
    (tmp_path / "page.js").write_text(page_of(played).scripts[1], encoding="utf-8")
    subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True)


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


def test_the_same_run_makes_the_same_page_wherever_it_lies(played, tmp_path):
    first = make_replay(played, with_truth=True).read_bytes()
    shutil.copytree(played.path, tmp_path / "elsewhere" / played.path.name)
    second = make_replay(RunDir(tmp_path / "elsewhere" / played.path.name), with_truth=True).read_bytes()
    assert first == second
    assert str(played.path).encode() not in first


def test_the_page_is_written_where_it_is_asked_for_and_nothing_into_the_run(played, tmp_path):
    before = sorted(played.path.rglob("*"))
    made = make_replay(played, out=tmp_path / "new folder" / "page.html")
    assert made == tmp_path / "new folder" / "page.html"
    assert made.stat().st_size > 1000
    assert sorted(played.path.rglob("*")) == before


def test_a_folder_in_the_pages_place_is_named(played, tmp_path):
    with pytest.raises(RunFolderError, match=r"cannot write: is a folder; name another file with --out"):
        make_replay(played, out=tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        make_replay(RunDir(tmp_path))


def test_a_run_that_has_played_nothing_says_how_to_see_how_far_it_is(small_run):
    with pytest.raises(MissingShardError, match=r"no rollout shard is finished yet; `python -m selu_hpc\.status"):
        make_replay(small_run)


def test_an_unknown_round_is_told_the_known_ones(played):
    MadeRound(played, 2).write()
    with pytest.raises(MissingShardError, match="round 7 has no finished rollout shard; these rounds have: 1, 2"):
        make_replay(played, round_id=7)


def test_an_unknown_episode_is_told_the_known_ones(played):
    with pytest.raises(RunFolderError) as error:
        make_replay(played, ids=["r01-s0000-e0000", "r01-s0009-e0000"])
    assert str(error.value) == (
        "there is no episode 'r01-s0009-e0000'; there are r01-s0000-e0000 to r01-s0000-e0005, "
        "r01-s0001-e0000 to r01-s0001-e0005"
    )


def test_a_kind_that_no_episode_is_of_is_told_the_others(small_run):
    MadeRound(small_run, num_shards=1, labelled=()).write()
    with pytest.raises(RunFolderError, match=r"for --show yes: it is not labelled yet.* it has 6 all, 0 yes"):
        make_replay(small_run, show=Kind.YES)
    write_labels(small_run, 1, 0, [judged(f"r01-s0000-e{n:04d}", True, True) for n in range(len(JUDGED))])
    with pytest.raises(RunFolderError, match=r"--show no; it has 6 all, 6 yes, 0 no, 0 corrected, 0 relabelled$"):
        make_replay(small_run, show=Kind.NO)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (Stage.ROLLOUT, "episodes.zarr/frames/c.0.0.0.0.0.0"),
        (Stage.ROLLOUT, "episodes.zarr/episodes"),
        (Stage.LABEL, "labels.zarr/records/c.0.0"),
    ],
)
def test_a_damaged_shard_is_named(played, stage, name):
    file = played.shard(1, stage, 1).path / name
    flip(file / "c.0.0" if file.is_dir() else file)
    with pytest.raises(CorruptShardError) as error:
        make_replay(played)
    assert f"01/{stage}/shard-0001/{name}" in str(error.value)


def test_frames_of_shards_that_are_not_shown_are_not_read(played):
    flip(played.shard(1, Stage.ROLLOUT, 1).path / "episodes.zarr/frames/c.0.0.0.0.0.0")
    page = page_of(played, ids=["r01-s0000-e0002"])
    assert (page.ids, page.data["totals"]["all"]) == (["r01-s0000-e0002"], 12)
    with pytest.raises(CorruptShardError, match=r"shard-0001/episodes\.zarr/frames"):
        page_of(played, ids=["r01-s0001-e0002"])


def test_a_shard_whose_labels_are_of_other_episodes_is_named(played):
    shutil.rmtree(played.shard(1, Stage.LABEL, 1).path)
    write_labels(played, 1, 1, [judged("r01-s0001-e0000", True, True)])
    with pytest.raises(CorruptShardError, match=r"label.shard-0001: nothing is said of episode r01-s0001-e0001"):
        make_replay(played)


def test_records_of_another_version_are_named(played):
    shutil.rmtree(played.shard(1, Stage.LABEL, 0).path)
    place = played.shard(1, Stage.LABEL, 0)
    with LineWriter(place.labels) as writer:
        writer.append({"episode": "r01-s0000-e0000"})
        place.write_marker(content=writer.finish(), names=["labels.zarr"], summary={})
    with pytest.raises(CorruptShardError, match=r"round 1 label: shard 0 (?s:.*) cannot be read \(KeyError"):
        make_replay(played)
