"""A small run with its plan in the journal, and Slurms that scripts play."""

import pytest
from faked_slurm import ExplainedRollout, FakeSqueue
from shell_slurm import ANSWERS

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


@pytest.fixture
def slurm(job, squeue):
    return ExplainedRollout(job, squeue)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Slurm's commands as scripts; `tools(scontrol="exit 1")` lets one answer otherwise, `None` takes it away."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def says(**answers):
        for name, text in answers.items():
            (folder / name).unlink(missing_ok=True)
            if text is not None:
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)

    says(**ANSWERS)
    for name in ("sh", "sleep", "id"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return says
