"""A small run with its plan in the journal, and a Slurm that a script plays."""

import pytest
from faked_slurm import FakeSqueue

from selu_hpc.engines.base import Job
from selu_hpc.rounds.plan import make_plan


@pytest.fixture
def job(small_run, small_config):
    made = Job(small_run, small_config, make_plan(small_config))
    made.note_plan()
    return made


@pytest.fixture
def squeue(tmp_path):
    return FakeSqueue(tmp_path / "tools")
