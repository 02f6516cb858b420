"""The one line of a log that says why."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.engines.why.logs import LONGEST, TAIL_BYTES, last_error, read_said
from selu_hpc.viz.plain import plain

HEAD = "2026-01-01 00:00:09.000 {} r01/rollout/1 selu_hpc.stages.entry: {}\n"


def test_a_selu_errors_sentence_is_the_last_error_whatever_came_after_it():
    log = HEAD.format("ERROR  ", "ModelError: first") + HEAD.format("ERROR  ", "ModelError: last")
    assert last_error(log + HEAD.format("INFO   ", "closing")) == "ModelError: last"


def test_only_the_first_line_of_a_long_error_is_taken():
    assert last_error(HEAD.format("ERROR  ", "MissingShardError: 1 of 2 are whole:\nshard 1 …")) == (
        "MissingShardError: 1 of 2 are whole"
    )


def test_of_chained_exceptions_the_last_counts_and_its_message_may_have_lines():
    log = HEAD.format("ERROR  ", "unexpected failure") + (
        "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nKeyError: 'x'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        'Traceback (most recent call last):\n> File "a.py", line 3, in f\n    raise\n'
        "zarr.errors.ArrayNotFoundError: none here\nand nowhere else\n"
    )
    assert last_error(log) == "zarr.errors.ArrayNotFoundError: none here"


def test_a_traceback_that_nobody_logged_counts():
    assert last_error('Traceback (most recent call last):\n  File "x"\nImportError: no module\n') == (
        "ImportError: no module"
    )


def test_without_either_slurms_words_count():
    assert last_error("fine\nslurmstepd: error: Detected 1 oom_kill event\nfine\n") == (
        "slurmstepd: error: Detected 1 oom_kill event"
    )


def test_a_log_without_an_error_says_nothing():
    assert last_error(HEAD.format("INFO   ", "finished in 2 s")) == ""


def test_slurms_log_is_read_where_the_stages_own_has_no_error(tmp_path):
    own, slurms = tmp_path / "log.txt", tmp_path / "slurm.log"
    own.write_text(HEAD.format("INFO   ", "begun"))
    slurms.write_text("srun: error: c1: task 0: Killed\n")
    said = read_said(own, slurms)
    assert (said.error, said.file) == ("srun: error: c1: task 0: Killed", str(slurms))
    assert read_said(tmp_path / "none").file == ""


def test_only_the_end_of_a_huge_log_is_read(tmp_path):
    file = tmp_path / "log.txt"
    file.write_bytes(b"\xff" * (2 * TAIL_BYTES) + b"\n" + HEAD.format("ERROR  ", "EngineError: here").encode())
    assert read_said(file).error == "EngineError: here"


@pytest.mark.parametrize("more", ["", "x" * 2 * TAIL_BYTES])
def test_a_log_was_begun_at_its_first_stamp_whatever_a_library_said_before(tmp_path, more):
    file = tmp_path / "log.txt"
    first = "/a/modeling.py:9: FutureWarning: since 2020-01-01 00:00:00.000 deprecated\n  warnings.warn(\n"
    later = HEAD.format("INFO   ", "later").replace("00:00:09", "05:00:00")
    file.write_text(first + HEAD.format("INFO   ", "begun") + more + "\n" + later)
    assert read_said(file).begun == time.mktime((2026, 1, 1, 0, 0, 9, 0, 0, -1))


def test_what_a_server_answered_cannot_give_orders_to_the_terminal():
    said = "ModelError: http://host answered \x1b]0;pwned\x07\x1b[2J\u202egnp.exe"
    assert last_error(HEAD.format("ERROR  ", said)) == (
        "ModelError: http://host answered ⟨U+001B⟩]0;pwned⟨U+0007⟩⟨U+001B⟩[2J⟨U+202E⟩gnp.exe"
    )


@given(st.text())
def test_any_text_gives_one_line_that_is_not_too_long(text):
    found = last_error(text)
    assert len(found) <= LONGEST
    assert len(found.splitlines()) <= 1
    assert plain(found) == found
