"""The command that plays a run back: its options, its answers, and how little it needs to say what they are."""

import subprocess
import sys

import pytest

from selu_hpc import replay
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.viz.choice import Kind


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the page was asked for, by a stand-in for its making."""
    from selu_hpc.viz import replay as page

    found = {}

    def make(run, **options):
        found.update(options, run=run)
        return tmp_path / "replay.html"

    monkeypatch.setattr(page, "make_replay", make)
    return found


def test_help_needs_neither_numpy_nor_pictures():
    line = [sys.executable, "-X", "importtime", "-m", "selu_hpc.replay", "--help"]
    trace = subprocess.run(line, capture_output=True, text=True, check=True)
    imported = {one.rpartition("|")[2].strip().split(".")[0] for one in trace.stderr.splitlines()}
    assert not imported & {"numpy", "PIL", "zarr", "torch", "msgspec", "matplotlib"}
    assert "--truth" in trace.stdout


def test_the_command_prints_where_the_page_is(asked, tmp_path, capsys):
    assert replay.main(["--run", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'replay.html'}\n"
    assert asked == {
        "run": RunDir(tmp_path), "round_id": None, "ids": [], "show": Kind.ALL, "limit": 24, "with_truth": False,
        "out": None,
    }  # fmt: skip


def test_an_episodes_name_says_its_round(asked, tmp_path):
    replay.main(["--run", str(tmp_path), "--episode", "r03-s0000-e0007", "--episode", "r03-s0001-e0000"])
    assert (asked["round_id"], asked["ids"]) == (3, ["r03-s0000-e0007", "r03-s0001-e0000"])


def test_episodes_of_two_rounds_are_refused(tmp_path, capsys):
    assert replay.main(["--run", str(tmp_path), "--episode", "r03-s0000-e0007", "--episode", "r01-s0000-e0000"]) == 1
    assert "a page shows one round, the episodes are of 1, 3" in capsys.readouterr().err


def test_wrong_verdicts_are_known_with_truth_only(asked, tmp_path, capsys):
    with pytest.raises(SystemExit):
        replay.main(["--run", str(tmp_path), "--show", "wrong"])
    assert "--show wrong needs --truth" in capsys.readouterr().err
    assert replay.main(["--run", str(tmp_path), "--show", "wrong", "--truth"]) == 0
    assert asked["with_truth"]


@pytest.mark.parametrize("wrong", [["--show", "best"], ["--limit", "0"], ["--episode", "x", "--show", "yes"]])
def test_an_option_that_makes_no_sense_is_refused(asked, tmp_path, wrong):
    with pytest.raises(SystemExit):
        replay.main(["--run", str(tmp_path), *wrong])
    assert asked == {}


def test_a_folder_that_is_no_run_ends_with_an_error_and_no_traceback(tmp_path, capsys):
    assert replay.main(["--run", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: not a run folder")
