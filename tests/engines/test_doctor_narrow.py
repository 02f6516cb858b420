"""What doctor says on a terminal too narrow for a table."""

import pytest
from rich.console import Console

from selu_hpc import doctor
from selu_hpc.engines.checks.finding import bad, ok

FOLDER = "/a/folder/that/is/longer/than/the/terminal/is/wide/and/has/no/space/in/it"
FINDINGS = [ok("slurm", "25.05"), bad("run folder", f"{FOLDER}: \x1b[2J no such folder", f"mkdir {FOLDER}")]


def shown(monkeypatch, capsys, columns):
    monkeypatch.setattr(doctor, "Console", lambda **_: Console(width=columns))
    doctor.show(FINDINGS)
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [30, 50, 69])
def test_a_narrow_terminal_is_given_lines_that_can_be_copied_whole(monkeypatch, capsys, columns):
    lines = shown(monkeypatch, capsys, columns).splitlines()
    assert lines[0] == "slurm: ok: 25.05"
    assert lines[1].startswith(f"run folder: problem: {FOLDER}: ")
    assert "\x1b" not in lines[1]
    assert lines[2:] == [f"  do: mkdir {FOLDER}", "1 problem: a submission would fail"]


def test_a_wide_terminal_is_given_a_table(monkeypatch, capsys):
    assert "what to do" in shown(monkeypatch, capsys, 70).splitlines()[0]


def test_brackets_in_an_answer_stay_as_they_are(monkeypatch, capsys):
    found = [bad("folder [/x]", "/data/[lab]/x: bad option [/y]", "chmod o-w /data/[lab]/x")]
    monkeypatch.setattr(doctor, "Console", lambda **_: Console(width=160))
    doctor.show(found)
    shown = capsys.readouterr().out
    for text in ("folder [/x]", "/data/[lab]/x: bad option [/y]", "chmod o-w /data/[lab]/x", "problem"):
        assert text in shown
