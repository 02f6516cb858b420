"""A run whose first round is played and labelled."""

import pytest
from played_runs import MadeRound

from selu_hpc.rounds.rundir import RunDir


@pytest.fixture
def played(small_run) -> RunDir:
    MadeRound(small_run).write()
    return small_run
