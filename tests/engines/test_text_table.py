"""Tables at a terminal that is narrower than they are."""

import fcntl
import os
import pty
import struct
import termios

from selu_hpc.engines.table import Column, text_table
from selu_hpc.terminal import width_of

COLUMNS = [Column("stage"), Column("tasks", right=True), Column("after")]
ROWS = [["r01/rollout", "2", ""], ["r01/evaluate", "2", "afterok:r01/finetune_actor, afterok:r01/finetune_critic"]]


def test_a_last_cell_that_does_not_fit_goes_on_below_in_its_column():
    lines = text_table(COLUMNS, ROWS, title="plan", width=60).splitlines()
    assert lines[4:] == [
        "r01/evaluate      2  afterok:r01/finetune_actor,",
        "                     afterok:r01/finetune_critic",
    ]
    assert max(map(len, lines)) <= 60


def test_without_a_width_and_where_it_fits_a_row_is_a_line():
    wide = text_table(COLUMNS, ROWS, title="plan")
    assert wide == text_table(COLUMNS, ROWS, title="plan", width=200)
    assert len(wide.splitlines()) == 5
    assert len(text_table(COLUMNS, ROWS, title="plan", width=5).splitlines()) == 6


def test_only_a_terminal_has_a_width(tmp_path):
    mine, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, (tmp_path / "file").open("w") as file:
        assert width_of(file) is None
        assert width_of(terminal) is None, "one that says 0 columns"
        fcntl.ioctl(mine, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 77, 0, 0))
        assert width_of(terminal) == 77
    os.close(mine)
