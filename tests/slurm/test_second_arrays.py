"""A stage's later arrays count from 0 again: their elements are told by the shards they are."""

import pytest

from selu_hpc.engines.slurm.attempts import known_causes
from selu_hpc.engines.slurm.ledger import Entry, Ledger, completed, match
from selu_hpc.engines.slurm.state import Cause, read_sacct, read_squeue
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import Stage

KEY = Key(1, Stage.ROLLOUT)
ROWS = read_squeue(
    "9|0|9_0|COMPLETED|2026|late|None|c1|\n9|1|9_1|TIMEOUT|2026|late|None|c1|\n9|2|9_2|RUNNING|2026|late|None|c1|"
)


@pytest.fixture
def late() -> Entry:
    return Entry(
        name="late", label="r01-rollout", key=KEY, shards=(4, 5, 6), offset=4, generation=0, epoch=1, waits=(),
        job_id="9",
    )  # fmt: skip


@pytest.fixture
def ledger(late) -> Ledger:
    return Ledger(epoch=1, entries={"late": late})


def test_what_the_queue_and_accounting_say_of_them(ledger):
    told = read_sacct("9_1|late|TIMEOUT|0:0|2026|2026|2026|c1||1G")
    assert known_causes(ledger, ["late"], ROWS, []) == {"late": {5: Cause.TIMEOUT}}
    assert known_causes(ledger, ["late"], [], told) == {"late": {5: Cause.TIMEOUT}}


def test_which_are_at_work_and_which_have_ended_well(ledger):
    live = match(ledger, ROWS).live
    assert live["late"].running == {6}
    assert completed(ledger, live, ROWS, me="") == {(KEY, 4)}


def test_how_slurm_is_told_of_them(late):
    assert late.elements({5, 6}) == "9_[1-2]"
