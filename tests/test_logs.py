"""What a process says of itself: on stderr, in an attempt's log, and in the form that `explain` reads back."""

import logging

import pytest

from selu_hpc.engines.why.logs import RECORD
from selu_hpc.logs import OURS, logged_to, set_up_logging


@pytest.fixture(autouse=True)
def as_before():
    before = {name: logging.getLogger(name).handlers[:] for name in OURS}
    yield
    for name, handlers in before.items():
        logging.getLogger(name).handlers[:] = handlers


def test_a_line_tells_when_how_grave_where_and_which_module_and_is_read_back(tmp_path):
    with logged_to(tmp_path / "log", "r01/rollout/3"):
        logging.getLogger("selu_hpc.envs.pool").warning("slot %s is gone: 100 %%", 2)
    found = RECORD.match((tmp_path / "log").read_text().rstrip("\n"))
    assert found
    assert (found["level"], found["place"], found["words"]) == ("WARNING", "r01/rollout/3", "slot 2 is gone: 100 %")


def test_an_attempts_log_holds_everything_and_the_terminal_what_matters(tmp_path, capsys):
    set_up_logging()
    with logged_to(tmp_path / "log", "r01/label/0"):
        for level in (logging.DEBUG, logging.INFO):
            logging.getLogger("__main__").log(level, "level %s", level)
    logging.getLogger("__main__").info("afterwards")
    told = capsys.readouterr().err
    assert ["level 10" in told, "level 20" in told, "afterwards" in told] == [False, True, True]
    assert "r01/label/0" not in told.splitlines()[-1]
    kept = (tmp_path / "log").read_text()
    assert ["level 10" in kept, "level 20" in kept, "afterwards" in kept] == [True, True, False]


def test_setting_up_twice_says_a_thing_once_and_libraries_keep_their_own_way(capsys):
    set_up_logging()
    set_up_logging("WARNING")
    logging.getLogger("selu_hpc.submit").warning("once")
    logging.getLogger("selu_hpc.submit").info("not at this level")
    logging.getLogger("some.library").info("not ours")
    assert not logging.getLogger("selu_hpc").propagate, "a library's basicConfig would say ours again"
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == ["once"]


def test_letters_that_no_file_can_hold_are_written_as_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger("selu_hpc"), "propagate", False)  # pytest's workers can't hand them on
    with logged_to(tmp_path / "log", "-"):
        logging.getLogger("selu_hpc").error("a name of the file system: %s", "\udce9")
    assert "\\udce9" in (tmp_path / "log").read_text()


def test_who_has_its_stderr_in_the_log_itself_writes_each_line_once(tmp_path, monkeypatch):
    with (tmp_path / "log").open("a") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        set_up_logging()
        with logged_to(tmp_path / "log", "r01/rollout/3"):
            logging.getLogger("selu_hpc").info("inside")
        logging.getLogger("selu_hpc").info("outside")
    said = (tmp_path / "log").read_text().splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["inside", "outside"]
