"""The real image's whole way: signed, pushed, pulled by digest as another user, and a round inside it under Slurm."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from real_image import MAKER, NEEDED, ROOT, TAKER, built, images, is_built, outcome, run, submit, unity

from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.shelf import Shelf

pytestmark = NEEDED


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
    if not is_built():
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
    """`site(name, setting=…)`: a profile of the test cluster, which takes only what the makers signed."""
    text = yaml.safe_load((ROOT / "configs/sites/test_cluster.yaml").read_text())

    def write(name, **settings):
        file = shared / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**text, "trusted_keys": [lab_key[1]], **settings}))
        return file

    return write


@pytest.fixture(scope="module")
def releases(shared):
    run(sys.executable, "-m", "selu_hpc.envs.releases", str(shared / "releases"), PYTHONPATH=str(ROOT))
    return shared / "releases"


@pytest.mark.parametrize("backend", ["cloud_rendering", "xvfb"])
def test_a_round_in_the_pulled_image_under_slurm_equals_the_hosts_bytes(shared, pulled, site, releases, backend):
    """The host's round goes the same way: release folders, and the client's own launch of that back-end.

    Once the image is mounted for each task and once it is unpacked on the node.
    """
    settings = {"unpack_image": True, "scratch": str(shared / "scratch")} if backend == "xvfb" else {}
    run("mkdir", "-p", "-m", "1777", str(shared / "scratch"))
    wanted = unity(backend, "/opt/stand-in", f"image={pulled}")
    folder = shared / backend
    inside = submit(
        folder, "--engine", "slurm", "--wait", "--site", str(site(backend, **settings)), *wanted, user=TAKER
    )
    assert json.loads((folder / "image.json").read_text())["digest"] == pulled.rpartition("@")[2]
    on_host = submit(shared / f"{backend}-host", "--engine", "local", *unity(backend, releases), user=MAKER)
    assert len(on_host) > 6
    assert outcome.differences(inside, on_host) == []
    assert len(list(shared.glob("scratch/selu-unpacked-*/[!.]*"))) == len(settings) // 2


def test_the_image_says_what_it_holds_and_starts_every_stage():
    labels = json.loads(run("apptainer", "inspect", "--json", "--labels", str(built())))
    labels = labels["data"]["attributes"]["labels"]
    wanted = ["org.opencontainers.image.revision", "org.opencontainers.image.created", "selu_hpc.variant"]
    wanted += ["selu_hpc.base", "selu_hpc.definition", "selu_hpc.python"]
    wanted += [f"selu_hpc.version.{name}" for name in ("ai2thor", "deepspeed", "peft", "torch", "transformers", "zarr")]
    assert [name for name in wanted if labels.get(name, "unknown") == "unknown"] == []
    entry = Shelf(built().parent).find(str(built()))
    said = [labels["org.opencontainers.image.revision"], labels["selu_hpc.definition"]]
    assert said == [entry.commit, entry.definition], "also where it was built on an earlier image"
    assert "Bind the run folder" in run("apptainer", "run-help", str(built()))
    listed = run("apptainer", "inspect", "--list-apps", str(built())).split()
    assert sorted(listed) == ["evaluate", "finetune", "gate", "label", "rollout", "testset"]
    for app in listed:
        assert "--shard" in run("apptainer", "run", "--cleanenv", "--app", app, str(built()), "--help")
