"""The replay page: what it holds and what it leaves closed."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess

import numpy as np
import pytest
from pages import page_of
from PIL import Image
from played_runs import HOSTILE, OTHER, MadeRound, judged, make_episode, seal, write_episodes, write_labels

from selu_hpc.errors import MissingShardError, TruthLeakError
from selu_hpc.records import Exchange, Purpose, View
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.store.trajectories import EpisodeReader
from selu_hpc.store.truth import forbid_truth
from selu_hpc.viz.choice import Kind
from selu_hpc.viz.replay import HEADINGS, make_replay
from selu_hpc.viz.strips import strip


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


def test_a_round_that_is_played_in_part_says_so(small_run):
    MadeRound(small_run, num_shards=1, labelled=()).write()
    assert (page_of(small_run).data["num_missing"], page_of(small_run).data["num_shards"]) == (1, 2)


def test_a_round_that_is_labelled_in_part_has_both(small_run):
    MadeRound(small_run, labelled=[1]).write()
    page = page_of(small_run)
    assert [one["id"][:9] for one in page.data["episodes"] if one["label"] is not None] == ["r01-s0001"] * 6
    assert (len(page.ids), page.data["num_judged"]) == (12, 6)


def test_labels_whose_shard_is_not_finished_are_not_read(played):
    played.shard(1, Stage.LABEL, 0).marker_file.unlink()
    assert page_of(played).data["num_judged"] == 6


def test_nothing_is_said_to_be_left_out_before_the_rounds_gate_has_finished(played):
    seal(played, 0)
    assert [one["left_out"] for one in page_of(played).data["episodes"]] == [False] * 6 + [True] * 6
    played.shard(1, Stage.GATE).marker_file.unlink()
    assert page_of(played).data["num_left_out"] == 0


def test_the_truth_store_stays_closed_without_the_flag(played):
    forbid_truth(played.truth)
    page = page_of(played, out=played.path.parent / "page.html")
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


def test_every_purpose_of_a_question_has_a_heading():
    assert set(HEADINGS) == set(Purpose)


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
