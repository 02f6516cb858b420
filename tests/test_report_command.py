"""The commands that write down what a run has measured, where its files or its folder are in the way."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from selu_hpc import evaluate, report
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import RunDir, Stage, write_json
from selu_hpc.summaries import commit_of
from selu_hpc.terminal import REFUSED


@pytest.fixture
def finished(small_run, small_config):
    """A run whose every shard has a marker, and no room for its report: a file lies in its place."""
    for stage in make_plan(small_config):
        for shard in range(stage.num_shards):
            place = small_run.shard(stage.key.round_id, stage.key.stage, shard)
            place.write_marker(content="x", names=[], summary={})
    small_run.report.touch()
    return small_run


@pytest.fixture
def without_results(small_run):
    """A run whose base was evaluated, with a file that holds half of it."""
    place = small_run.shard(0, Stage.EVALUATE)
    place.path.mkdir(parents=True)
    (place.path / "results.json").write_text('{"rows": {')
    place.write_marker(content="x", names=["results.json"], summary={})
    return small_run


def test_results_that_cannot_be_read_are_named_by_the_report_and_the_table(without_results, capsys):
    place = without_results.shard(0, Stage.EVALUATE)
    for main, words in ((report.main, ["--run"]), (evaluate.main, ["--table"])):
        assert main([*words, str(without_results.path)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {place.path / 'results.json'}: cannot be read: ")
        assert without_results.command("explain", "r00/evaluate/0") in said


def test_a_report_may_be_written_elsewhere_where_the_run_has_no_room_for_it(small_run, tmp_path, capsys):
    small_run.report.touch()
    assert report.main(["--run", str(small_run.path)]) == 1
    assert "say --out FILE" in capsys.readouterr().err
    assert report.main(["--run", str(small_run.path), "--out", str(tmp_path)]) == 1
    assert "is a folder; name a file with --out" in capsys.readouterr().err
    assert report.main(["--run", str(small_run.path), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"
    assert small_run.config_file.parent.name in (tmp_path / "page.html").read_text()


SUMMARY = next((Path(__file__).parents[1] / "docs" / "results").glob("thor-selu-s0.json"))
JUDGED = len(json.loads(SUMMARY.read_bytes())["critic_verbs"])


def broken(name, tmp_path, **changes):
    """A summary beside a good one, with something in it changed."""
    summary = json.loads(SUMMARY.read_bytes())
    summary["rounds"][-1] |= changes.pop("last", {})
    file = tmp_path / name
    file.write_text(json.dumps({key: value for key, value in {**summary, **changes}.items() if value != "gone"}))
    return file


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"signature": "gone"}, "it says no 'signature'"),
        ({"base": ["a list"]}, "base is ['a list'], not a name"),
        ({"seed": "0"}, "seed is '0', not a whole number"),
        ({"minutes": "11"}, "minutes is '11', not a number"),
        ({"minutes": float("nan")}, "minutes is nan, which nothing can be"),
        ({"minutes": -3}, "minutes is -3, which nothing can be"),
        ({"steps": -1}, "steps is -1, which nothing can be"),
        ({"rounds": []}, "it has no rounds"),
        ({"truth": "01"}, f"truth has 2 outcomes of {JUDGED}"),
        ({"last": {"first": "01"}}, f"round 5: first has 2 outcomes of {JUDGED}"),
        ({"critic_ways": ["expert"] * 3}, f"critic_ways is no list of {JUDGED} names"),
        ({"critic_ways": "x" * JUDGED}, f"critic_ways is no list of {JUDGED} names"),
        ({"recipe": "selu\x1b[2J"}, r"recipe is 'selu\x1b[2J', not a name"),
        ({"recipe": "selu | 3 |\n| oracle"}, r"recipe is 'selu | 3 |\n| oracle', not a name"),
        ({"world": "un\u202eknown"}, r"world is 'un\u202eknown', not a name"),
        ({"settings": "x" * 999}, f"settings is '{'x' * 199}, not a name"),
        ({"critic_verbs": ["open", *["a|b"] * (JUDGED - 1)]}, "one of critic_verbs is 'a|b', not a name"),
        ({"testset": ["\x1b[2J"]}, r"one of testset is '\x1b[2J', not a name"),
        ({"last": {"success": "x"}}, "round 5: success is not a string of 0 and 1"),
        ({"last": {"probe": {"actor": "high"}}}, "round 5: probe, actor is 'high', not a share"),
    ],
)
def test_a_summary_that_no_table_can_use_is_named_and_the_others_are_shown(tmp_path, capsys, changes, why):
    file = broken("0.json", tmp_path, **changes)
    (tmp_path / "1.json").write_bytes(SUMMARY.read_bytes())
    assert evaluate.main(["--table", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err == f"error: {file}: not a run's summary ({said.err.rpartition('summary (')[2]}"
    assert why in said.err
    assert "| selu | 1 | 5 |" in said.out


def test_a_file_that_cannot_be_read_gives_the_terminal_no_orders(tmp_path, capsys):
    (tmp_path / "a\x1b[2Jb.json").write_text(json.dumps({"\x1b]0;x\x07": 1}))
    file = broken("c.json", tmp_path, last={"probe": {"\x1b[2J": "high"}})
    assert evaluate.main(["--table", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "a⟨U+001B⟩[2Jb.json: not a run's summary" in said
    assert f"{file}: not a run's summary (ValueError: round 5: probe, ⟨U+001B⟩[2J is 'high', not a share)" in said
    assert "\x1b" not in said


def test_a_run_whose_base_is_not_evaluated_is_named_also_beside_another(small_run, capsys):
    place = small_run.shard(1, Stage.EVALUATE)
    write_json(place.path / "results.json", {"rows": {name: [] for name in ("critic", "actor", "probe", "labels")}})
    assert evaluate.main(["--table", str(small_run.path), str(SUMMARY)]) == 0, "a run that was just begun"
    place.write_marker(content="", names=["results.json"], summary={})
    capsys.readouterr()
    for others in ([], [str(SUMMARY)]):
        assert evaluate.main(["--table", str(small_run.path), *others]) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"error: {small_run.path}: its base is not evaluated yet (r00/evaluate), so ")
        assert ("| selu | 1 | 5 |" in said.out) == bool(others)


def test_a_summary_of_games_is_looked_at_by_its_own_rule(tmp_path, capsys):
    rounds = [{"round": n, "success": "01", "return": 0.5} for n in range(2)]
    games = {"recipe": "rl4vlm", "game": "number_line", "seed": 0, "signature": "a", "episodes": 2, "steps": 4}
    (tmp_path / "0.json").write_text(json.dumps({**games, "rounds": [*rounds, {**rounds[1], "return": "much"}]}))
    (tmp_path / "1.json").write_text(json.dumps({**games, "rounds": rounds}))
    assert evaluate.main(["--table", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "round 1: return is 'much', not a number" in said.err
    assert "| number_line | 1, 1 | rl4vlm | 1 |" in said.out


def test_games_alone_are_said_to_have_no_types(tmp_path, capsys):
    rounds = [{"round": n, "success": "01", "return": 0.5} for n in range(2)]
    games = {"recipe": "rl4vlm", "game": "number_line", "seed": 0, "signature": "a", "episodes": 2, "steps": 4}
    (tmp_path / "0.json").write_text(json.dumps({**games, "rounds": rounds}))
    for paths, told in (
        ([tmp_path], "--by-type adds nothing here: card games have no task types\n"),
        ([tmp_path, SUMMARY], ""),
    ):
        assert evaluate.main(["--table", "--by-type", *map(str, paths)]) == 0
        assert capsys.readouterr().err == told


def test_a_run_or_path_that_cannot_be_read_does_not_keep_the_others_from_the_table(without_results, tmp_path, capsys):
    place = without_results.shard(0, Stage.EVALUATE)
    (place.path / "results.json").write_text('{"rows": {"critic": []}}')
    assert evaluate.main(["--table", str(without_results.path), str(tmp_path / "nowhere"), str(SUMMARY)]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines(keepends=True)[-1] == f"error: {tmp_path / 'nowhere'}: no such run or summary\n"
    assert f"{without_results.path}: its results are not what a run writes (KeyError: 'actor')" in said.err
    assert "| selu | 1 | 5 |" in said.out


def test_a_run_of_odd_provenance_has_a_summary(small_run):
    for text in ("{}", "[]", '{"code": {"commit": 3}}'):
        small_run.provenance_file.write_text(text)
        assert commit_of(small_run) == ""


def test_another_place_is_named_where_writing_failed_and_nowhere_else(small_run, capsys):
    small_run.journal_file.unlink(missing_ok=True)
    small_run.journal_file.mkdir()
    assert report.main(["--run", str(small_run.path)]) == 0
    page = Path(capsys.readouterr().out.removesuffix("\n")).read_text()
    assert "<h2>Time</h2><p class=quiet>Cannot be shown: IsADirectoryError: " in page
    assert "--out" not in page


def test_a_folder_that_may_not_be_read_is_named_with_what_to_do(small_run, monkeypatch, capsys):
    def refuse(run):
        raise PermissionError(errno.EACCES, "Permission denied", str(run.config_file))

    monkeypatch.setattr(RunDir, "require", refuse)  # root may read everything
    assert report.main(["--run", str(small_run.path)]) == 1
    assert capsys.readouterr().err == (
        f"error: {small_run.config_file}: no report: Permission denied; {REFUSED[errno.EACCES]}\n"
    )


def test_submit_says_of_a_finished_run_that_only_its_report_is_missing(finished):
    line = [sys.executable, "-m", "selu_hpc.submit", "--engine=local", f"--run={finished.path}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: all work is done; the report could not be written: " in done.stderr
    assert done.stderr.endswith(f"to write it again: {finished.command('report')}\n")
    assert "Traceback" not in done.stderr


def test_runs_that_the_bases_answers_alone_set_apart_are_told(tmp_path, capsys):
    """A base that does not answer to the last bit alike everywhere would else have two rows of one name in silence."""
    summary = json.loads(SUMMARY.read_bytes())
    (tmp_path / "0.json").write_bytes(SUMMARY.read_bytes())
    first = summary["rounds"][0]["first"]
    summary["rounds"][0]["first"] = ("1" if first[0] == "0" else "0") + first[1:]
    other = {**summary, "seed": 1, "signature": "other", "testset": ["other bytes"] * len(summary["testset"])}
    (tmp_path / "1.json").write_text(json.dumps(other))
    assert evaluate.main(["--table", str(tmp_path)]) == 0
    assert "note: thor, unknown world: selu's seeds 0 and 1 are not of one row" in capsys.readouterr().err
