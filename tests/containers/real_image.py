"""The image that build.sh made, and commands as the test cluster's users, who have no rights.

Needs what CI prepares: tests/cluster/cluster.py up, tests/containers/install.sh and build.sh.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selu_hpc.containers.build import BuildOptions, hashes
from selu_hpc.containers.shelf import Shelf
from selu_hpc.selftest import TINY

ROOT = Path(__file__).parents[2]
SHELF = Path(os.environ.get("SELU_TEST_IMAGES", "/var/tmp/selu-images"))
BASE = Path("/var/tmp/selu-image-base")
MAKER, TAKER = "selu", "selu2"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outcome = load(ROOT / "tests" / "faults" / "outcome.py")
cluster = load(ROOT / "tests" / "cluster" / "cluster.py")


def built():
    """build.sh's image of this checkout (or the newest, if there is none), or None."""
    shelf = Shelf(SHELF)
    entries = shelf.entries()
    ours = [entry for entry in entries if entry.definition == definition()]
    return shelf.file((ours or entries)[-1]) if entries else None


def definition():
    return hashes(BuildOptions(bootstrap="localimage", base=str(BASE)))[1]


def is_built():
    return definition() in {entry.definition for entry in Shelf(SHELF).entries()}


def run(*words, user=MAKER, answer="", where=None, **extra):
    line = cluster.as_user(user, list(words), extra=extra)
    where = where or cluster.STATE / "shared"
    done = subprocess.run(line, input=answer, capture_output=True, text=True, check=False, cwd=where)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def images(shelf, *words, user, **extra):
    line = [sys.executable, "-m", "selu_hpc.images", "--images", str(shelf), *words]
    return run(*line, user=user, PYTHONPATH=str(ROOT), **extra)


def submit(folder, *words, user):
    """Submit one tiny round and wait for it; returns what it came to."""
    settings = [word for setting in TINY for word in ("--set", setting)]
    line = [sys.executable, "-m", "selu_hpc.submit", "--rounds", "1", "--run", str(folder), *settings, *words]
    run(*line, user=user, PYTHONPATH=str(ROOT))
    return outcome.outcome(folder)


def unity(backend, releases, *words):
    settings = [f"env.backend={backend}", "env.unity_commit=unknown", f"env.unity_releases={releases}", *words]
    return [word for setting in settings for word in ("--set", setting)]


NEEDED = [
    pytest.mark.apptainer,
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not cluster.is_up(), reason="no test cluster: tests/cluster/cluster.py up"),
    pytest.mark.skipif(built() is None, reason=f"no image in {SHELF}: tests/containers/build.sh PYTHON"),
]
