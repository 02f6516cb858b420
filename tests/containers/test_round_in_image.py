"""One whole round of the built-in default inside the image, under the real Slurm, as a user without rights.

Needs what CI prepares: tests/cluster/cluster.py up, tests/containers/install.sh and build.sh.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selu_hpc.containers.build import BuildOptions, hashes
from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.shelf import Shelf
from selu_hpc.selftest import TINY

ROOT = Path(__file__).parents[2]
SHELF = Path(os.environ.get("SELU_TEST_IMAGES", "/var/tmp/selu-images"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outcome = load(ROOT / "tests" / "faults" / "outcome.py")
cluster = load(ROOT / "tests" / "cluster" / "cluster.py")


def image():
    """The newest image of build.sh, or None."""
    entries = Shelf(SHELF).entries()
    return Shelf(SHELF).file(entries[-1]) if entries else None


pytestmark = [
    pytest.mark.apptainer,
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not cluster.is_up(), reason="no test cluster: tests/cluster/cluster.py up"),
    pytest.mark.skipif(image() is None, reason=f"no image in {SHELF}: tests/containers/build.sh PYTHON"),
]


@pytest.fixture(scope="module")
def shared():
    folder = cluster.STATE / "shared" / f"images-{os.getpid()}"
    as_user("mkdir", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def as_user(*words, **extra):
    line = cluster.as_user("selu", list(words), extra=extra)
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=cluster.STATE / "shared")
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done


def submit(run, *words):
    settings = [word for setting in TINY for word in ("--set", setting)]
    line = [sys.executable, "-m", "selu_hpc.submit", "--rounds", "1", "--run", str(run), *settings, *words]
    as_user(*line, PYTHONPATH=str(ROOT))
    return outcome.outcome(run)


def unity(backend, releases, *words):
    settings = [f"env.backend={backend}", "env.unity_commit=unknown", f"env.unity_releases={releases}", *words]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def host_run(shared):
    """The host's round by the same route: release folders and the client's own CloudRendering launch."""
    if Shelf(SHELF).entries()[-1].definition != hashes(BuildOptions(bootstrap="localimage"))[1]:
        pytest.fail(f"{image()} is of other code than this checkout: run tests/containers/build.sh PYTHON first")
    as_user(sys.executable, "-m", "selu_hpc.envs.releases", str(shared / "releases"), PYTHONPATH=str(ROOT))
    return submit(shared / "host", "--engine", "local", *unity("cloud_rendering", shared / "releases"))


@pytest.mark.parametrize("backend", ["cloud_rendering", "xvfb"])
def test_a_round_inside_the_image_under_slurm_equals_the_hosts_bytes(shared, host_run, backend):
    wanted = unity(backend, "/opt/stand-in", f"image={image()}@{digest_of(image())}")
    inside = submit(shared / backend, "--engine", "slurm", "--wait", "--site", "test_cluster", *wanted)
    assert len(host_run) > 6
    assert outcome.differences(inside, host_run) == []


def test_the_images_own_test_passes():
    line = [shutil.which("apptainer"), "test", "--cleanenv", "--no-mount", "home,cwd", str(image())]
    as_user(*line)
