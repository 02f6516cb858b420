"""A real Slurm for the tests marked `slurm`, used when it is up, else brought up; a job for the Slurm in memory."""

import os
import shutil
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Lab, copy_with_payload, load_cluster

from selu_hpc.engines.base import Job
from selu_hpc.rounds.plan import make_plan


@pytest.fixture(scope="session")
def cluster():
    found = load_cluster()
    if os.geteuid() != 0:
        pytest.skip("needs root: tests/cluster starts Slurm's daemons and a user of its own")
    if not all(shutil.which(tool) for tool in found.TOOLS):
        pytest.skip("no Slurm on this machine; `python3 tests/cluster/cluster.py up` installs one on Debian or Ubuntu")
    mine = not found.is_up()
    found.up()
    yield found
    if mine:
        found.down()


@pytest.fixture(scope="session")
def lab(cluster) -> Lab:
    home = cluster.STATE / "shared"
    code = home / f"code-{uuid.uuid4().hex[:8]}"
    return Lab(cluster, home, copy_with_payload(code))


@pytest.fixture
def run(lab) -> Path:
    return lab.home / f"run-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def job(small_run, small_config):
    return Job(small_run, small_config, make_plan(small_config))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """A job whose sbatch gave no answer is looked for once."""
    monkeypatch.setattr("selu_hpc.engines.slurm.sending.LOOKS_S", (0.0,))
