"""Forks of a warm process stand for launched ones: same answers, same end, and nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from life import gone

from selu_hpc.sim.nursery import Nursery

MODULE = """
import os, sys, time

def warm():
    global loaded
    loaded = os.getpid()

def main(arguments):
    if arguments[0] == "tell":
        print(os.environ["TOLD"], os.getcwd(), "loaded" in globals() and loaded == os.getppid(), *arguments, flush=True)
    elif arguments[0] == "code":
        raise SystemExit(7)
    elif arguments[0] == "abort":
        os.abort()
    else:
        print(os.getpid(), flush=True)
        time.sleep(600)
"""


@pytest.fixture
def nursery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    (tmp_path / "looked_after.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    one = Nursery("looked_after", folder=tmp_path / ("a long name " * 8) / "and a\nquote '")
    yield one
    one.close()


def told(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "TOLD": "word"}
    return subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_a_fork_has_the_launched_processs_streams_environment_folder_and_arguments(
    nursery: Nursery, tmp_path: Path
) -> None:
    assert told(nursery.command("tell", "more words"), tmp_path) == f"word {tmp_path} True tell more words\n"


def test_without_a_nursery_the_launched_process_does_the_work_itself(nursery: Nursery, tmp_path: Path) -> None:
    nursery.close()
    assert told(nursery.command("tell"), tmp_path) == f"word {tmp_path} False tell\n"


@pytest.mark.parametrize(("what", "status"), [("code", 7), ("abort", -signal.SIGABRT)])
def test_the_launched_process_ends_as_its_fork_ends(nursery: Nursery, what: str, status: int) -> None:
    assert subprocess.run(nursery.command(what), check=False).returncode == status


@pytest.mark.parametrize("killed", ["launched", "nursery"])
def test_a_fork_ends_with_the_launched_process_and_with_the_nursery(nursery: Nursery, killed: str) -> None:
    with subprocess.Popen(nursery.command("stay"), stdout=subprocess.PIPE) as launched:
        assert launched.stdout is not None
        fork = int(launched.stdout.readline())
        psutil.Process(launched.pid if killed == "launched" else nursery._process.pid).kill()
        assert gone(fork)
        launched.wait()


def test_a_nursery_ends_with_the_process_that_made_it(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from selu_hpc.sim.nursery import Nursery
one = Nursery("selu_hpc.sim.thor_build", folder=Path(sys.argv[1]))
print(one._process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        pid = int(maker.stdout.readline())
        maker.kill()
        maker.wait()
        assert gone(pid)
