"""The commands that write down what a run has measured, where its files or its folder are in the way."""

import subprocess
import sys

import pytest

from selu_hpc import evaluate, report
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import Stage


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


def test_submit_says_of_a_finished_run_that_only_its_report_is_missing(finished):
    line = [sys.executable, "-m", "selu_hpc.submit", "--engine=local", f"--run={finished.path}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: all work is done; the report could not be written: " in done.stderr
    assert done.stderr.endswith(f"to write it again: {finished.command('report')}\n")
    assert "Traceback" not in done.stderr
