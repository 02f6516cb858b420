"""The real image's whole way: signed, pushed, pulled by digest as another user, and a round inside it under Slurm.

Needs what CI prepares: tests/cluster/cluster.py up, tests/containers/install.sh and build.sh.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from selu_hpc.containers.build import BuildOptions, hashes
from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.shelf import Shelf
from selu_hpc.selftest import TINY

ROOT = Path(__file__).parents[2]
SHELF = Path(os.environ.get("SELU_TEST_IMAGES", "/var/tmp/selu-images"))
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
    return hashes(BuildOptions(bootstrap="localimage"))[1]


pytestmark = [
    pytest.mark.apptainer,
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not cluster.is_up(), reason="no test cluster: tests/cluster/cluster.py up"),
    pytest.mark.skipif(built() is None, reason=f"no image in {SHELF}: tests/containers/build.sh PYTHON"),
]


@pytest.fixture(scope="module")
def shared():
    folder = cluster.STATE / "shared" / f"images-{os.getpid()}"
    run("mkdir", "-m", "2775", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(*words, user=MAKER, answer="", **extra):
    line = cluster.as_user(user, list(words), extra=extra)
    where = cluster.STATE / "shared"
    done = subprocess.run(line, input=answer, capture_output=True, text=True, check=False, cwd=where)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def images(shelf, *words, user, **extra):
    line = [sys.executable, "-m", "selu_hpc.images", "--images", str(shelf), *words]
    return run(*line, user=user, PYTHONPATH=str(ROOT), **extra)


@pytest.fixture(scope="module")
def lab_key(shared):
    """(the makers' keyring, its fingerprint), and their public key in the taker's own keyring for as long."""
    keys = shared / "keys"
    run("mkdir", "-m", "700", str(keys))
    new = ["key", "newpair", "-N", "lab", "-E", "lab@x.org", "-P", "", "-C", "", "--push=false"]
    run("apptainer", *new, APPTAINER_KEYSDIR=str(keys))
    (fingerprint,) = re.findall(r"\b[0-9A-F]{40}\b", run("apptainer", "key", "list", APPTAINER_KEYSDIR=str(keys)))
    public = shared / "lab.asc"
    run("apptainer", "key", "export", str(public), answer="0\n", APPTAINER_KEYSDIR=str(keys))  # it asks which one
    run("apptainer", "key", "import", str(public), user=TAKER)
    yield keys, fingerprint
    run("apptainer", "key", "remove", fingerprint, user=TAKER)


@pytest.fixture(scope="module")
def pulled(shared, lab_key, lasting_registry):
    """PATH@DIGEST of the image that went from its makers through a registry to another user, with its signature."""
    if definition() not in {entry.definition for entry in Shelf(SHELF).entries()}:
        pytest.fail(f"{built()} is of other code than this checkout: run tests/containers/build.sh PYTHON first")
    keys, fingerprint = lab_key
    made, taken = shared / "makers", shared / "takers"
    images(made, "pull", f"{built()}@{digest_of(built())}", user=MAKER)
    images(made, "sign", "selu_hpc", user=MAKER, APPTAINER_KEYSDIR=str(keys))
    said = images(made, "verify", "selu_hpc", user=MAKER, APPTAINER_KEYSDIR=str(keys))
    assert "digest holds" in said
    assert f"signed by {fingerprint}" in said
    said = images(made, "push", "selu_hpc", f"{lasting_registry.address}/lab/selu_hpc:v1", "--plain-http", user=MAKER)
    (place,) = re.findall(r"'(oras://.*@sha256:.*#sha256:.*)'", said)
    file = Path(images(taken, "pull", place, "--plain-http", user=TAKER).splitlines()[0])
    assert (file.parent, file.owner()) == (taken, TAKER)
    assert file.stat().st_mode & 0o222 == 0
    signed = Shelf(made).entries()[-1].digest
    assert (digest_of(file), place.rpartition("#")[2]) == (signed, signed)
    assert digest_of(built()) != signed
    shutil.rmtree(made)
    return f"{file}@{signed}"


@pytest.fixture(scope="module")
def site(shared, lab_key):
    """The test cluster, which takes only what the makers signed."""
    text = yaml.safe_load((ROOT / "configs/sites/test_cluster.yaml").read_text())
    (shared / "site.yaml").write_text(yaml.safe_dump({**text, "trusted_keys": [lab_key[1]]}))
    return shared / "site.yaml"


def submit(folder, *words, user):
    settings = [word for setting in TINY for word in ("--set", setting)]
    line = [sys.executable, "-m", "selu_hpc.submit", "--rounds", "1", "--run", str(folder), *settings, *words]
    run(*line, user=user, PYTHONPATH=str(ROOT))
    return outcome.outcome(folder)


def unity(backend, releases, *words):
    settings = [f"env.backend={backend}", "env.unity_commit=unknown", f"env.unity_releases={releases}", *words]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def host_run(shared):
    """The host's round by the same route: release folders and the client's own CloudRendering launch."""
    run(sys.executable, "-m", "selu_hpc.envs.releases", str(shared / "releases"), PYTHONPATH=str(ROOT))
    releases = unity("cloud_rendering", shared / "releases")
    return submit(shared / "host", "--engine", "local", *releases, user=MAKER)


@pytest.mark.parametrize("backend", ["cloud_rendering", "xvfb"])
def test_a_round_in_the_pulled_image_under_slurm_equals_the_hosts_bytes(shared, pulled, site, host_run, backend):
    wanted = unity(backend, "/opt/stand-in", f"image={pulled}")
    folder = shared / backend
    inside = submit(folder, "--engine", "slurm", "--wait", "--site", str(site), *wanted, user=TAKER)
    assert json.loads((folder / "image.json").read_text())["digest"] == pulled.rpartition("@")[2]
    assert len(host_run) > 6
    assert outcome.differences(inside, host_run) == []


def test_the_images_own_test_passes():
    run("apptainer", "test", "--cleanenv", "--no-mount", "home,cwd", str(built()))


def test_the_image_says_what_it_holds_and_starts_every_stage():
    labels = json.loads(run("apptainer", "inspect", "--json", "--labels", str(built())))
    labels = labels["data"]["attributes"]["labels"]
    wanted = ["org.opencontainers.image.revision", "org.opencontainers.image.created", "selu_hpc.variant"]
    wanted += ["selu_hpc.definition", "selu_hpc.python"]
    wanted += [f"selu_hpc.version.{name}" for name in ("ai2thor", "deepspeed", "peft", "torch", "transformers", "zarr")]
    assert [name for name in wanted if labels.get(name, "unknown") == "unknown"] == []
    assert "Bind the run folder" in run("apptainer", "run-help", str(built()))
    listed = run("apptainer", "inspect", "--list-apps", str(built())).split()
    assert sorted(listed) == ["evaluate", "finetune", "gate", "label", "rollout", "testset"]
    for app in listed:
        assert "--shard" in run("apptainer", "run", "--cleanenv", "--app", app, str(built()), "--help")
