"""What a benchmark does beside measuring: the pages it writes, and what it says of words it can't take."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


def said(*words):
    line = [sys.executable, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.fixture
def selu(monkeypatch, tmp_path):
    """benchmarks/selu.py whose published summaries are two, and whose page is a line."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("selu")
    published = tmp_path / "docs" / "results"
    published.mkdir(parents=True)
    for name in ("thor-selu-s0.json", "thor-random-s0.json"):
        (published / name).write_bytes((RESULTS / name).read_bytes())
    (tmp_path / "docs" / "results.md").write_text("# Results\n")
    monkeypatch.setattr(module, "RESULTS", published)
    yield module
    for name in ("selu", "_report"):
        sys.modules.pop(name, None)


def test_the_published_table_is_rewritten_from_the_published_summaries_only(selu, tmp_path, capsys):
    page = tmp_path / "docs" / "results.md"
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.json").write_bytes((RESULTS / "thor-selu-s1.json").read_bytes())
    selu.main(["--table-only", "--results", str(other)])
    selu.main(["--table-only", "--results", str(tmp_path / "none")])
    assert page.read_text() == "# Results\n"
    assert "| selu |" in capsys.readouterr().out
    selu.main(["--table-only"])
    assert "| selu |" in page.read_text()


def test_an_earlier_round_is_compared_with_the_published_runs_that_were_measured_then(selu, tmp_path, capsys):
    early = ROOT / "docs" / "results-early" / "thor-no_hindsight-s0.json"
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / early.name).write_bytes(early.read_bytes())
    selu.main(["--round", "2", "--results", str(tmp_path / "early")])
    assert "| no_hindsight | 2 | 1 |" in capsys.readouterr().out
    assert (tmp_path / "docs" / "results.md").read_text() == "# Results\n"


def test_published_summaries_that_are_gone_take_no_table_with_them(selu, tmp_path):
    for file in selu.RESULTS.iterdir():
        file.unlink()
    selu.main(["--table-only"])
    assert (tmp_path / "docs" / "results.md").read_text() == "# Results\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", "x"], "argument --seeds: found 'x'; give numbers with commas between them"),
        (["--quick", "--rounds", "2"], "--quick is one round in THOR with seed 0: leave out --rounds, or --quick"),
        (["--quick", "--seeds", "1"], "leave out --seeds, or --quick"),
    ],
)
def test_what_the_table_can_not_be_made_of_is_told_in_a_line(words, told):
    code, error = said("benchmarks/selu.py", *words)
    assert (code, told in error) == (2, True), error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["benchmarks/store.py", "--folder", "/missing"],
            "--folder /missing: no such folder; make it, or name another",
        ),
        (["benchmarks/image.py", "--image", "nope"], "--image nope: no such file; give one that `python -m"),
    ],
)
def test_what_a_benchmark_is_to_measure_and_is_not_there_is_told_in_a_line(words, told):
    code, error = said(*words)
    assert (code, told in error) == (2, True), error
