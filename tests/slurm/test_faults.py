"""The fault table: after every fault the same final bytes, nothing lost, nothing doubled. CI runs the quick faults."""

import importlib.util
import sys

import pytest
from harness import REPO

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3600)]
NOT_QUICK = (
    "time limit, warned",
    "a rank dies alone",
    "sbatch accepted after the retry",
    "gates killed at every journal line",
)
ALSO_QUICK = ("slurmctld restarted", "slurmdbd down")


@pytest.fixture(scope="module")
def faults():
    spec = importlib.util.spec_from_file_location("slurm_faults", REPO / "tests" / "faults" / "slurm.py")
    module = sys.modules["slurm_faults"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quick(faults):
    left_out = {*NOT_QUICK, *faults.LONG}
    return [*(name for name in faults.FAULTS if name not in left_out), *ALSO_QUICK]


@pytest.mark.slurm_ci
def test_after_every_quick_fault_the_run_ends_with_the_same_bytes(faults, lab, capsys):
    assert len(quick(faults)) == 18
    check(faults, quick(faults), lab, capsys)


def test_after_every_other_fault_the_run_ends_with_the_same_bytes(faults, lab, capsys):
    every = (*faults.FAULTS, *faults.OF_THE_CLUSTER)
    others = [name for name in every if name not in quick(faults)]
    assert len(others) == 9
    check(faults, others, lab, capsys)


def check(faults, names, lab, capsys):
    outcomes = faults.run_all(names, lab=lab)
    with capsys.disabled():
        print("\n" + faults.table(outcomes))
    assert {one.fault: one.trouble or (one.injected, one.lost, one.doubled) for one in outcomes if not one.ok} == {}
    assert [one.fault for one in outcomes] == names
