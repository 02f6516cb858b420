"""Bundles arrive whole or not at all."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from selu_hpc.containers.bundle import bundle, unbundle
from selu_hpc.containers.origin import compare
from selu_hpc.containers.pinned import Pinned, keep
from selu_hpc.engines.calls import Calls
from selu_hpc.errors import ImageError, RunFolderError
from selu_hpc.recipes import load_run
from selu_hpc.rounds.copying import copy_call
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.selftest import TINY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packed(small_run, tmp_path):
    adapter = small_run.shard(1, Stage.FINETUNE_ACTOR).path / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=True)
    return tmp_path / "run.tar"


def test_a_bundle_becomes_a_run_folder_of_the_same_config(packed, small_run, tmp_path):
    done = unbundle(packed, tmp_path / "there")
    assert load_run(done.run.path) == load_run(small_run.path)
    assert (done.run.code / "selu_hpc" / "submit.py").is_file()
    results = done.run.path / "results/rounds/01/finetune_actor/shard-0000/adapter/adapter_model.safetensors"
    assert results.read_bytes() == b"weights"


def test_unbundling_says_what_the_new_site_must_fill_in(packed, tmp_path):
    to_do = unbundle(packed, tmp_path / "there").to_do
    assert "name, account, partitions" in to_do[0] or "name, partitions" in to_do[0]
    assert "used no image" in to_do[1]
    code = f"PYTHONPATH={tmp_path / 'there' / 'code'} python -m"
    assert f"{code} selu_hpc.submit --run {tmp_path / 'there'}" in to_do[2]
    assert f"{code} selu_hpc.images compare --run {tmp_path / 'there'}" in to_do[3]


@pytest.mark.parametrize("place", ["oras://r.example.org/lab/x@sha256:1#sha256:2", ""])
def test_unbundling_says_how_to_bring_the_image_that_is_not_inside(small_run, tmp_path, place):
    keep(small_run, Pinned(path=tmp_path / "x.sif", digest="sha256:2"))
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False, image_place=place)
    to_do = unbundle(tmp_path / "run.tar", tmp_path / "there").to_do[1]
    assert (f"images pull '{place}'" if place else "from its makers") in to_do
    assert "--set image=FILE@sha256:2" in to_do


def test_an_image_in_the_bundle_is_named_with_its_digest(small_run, tmp_path):
    (tmp_path / "x.sif").write_bytes(b"image")
    keep(small_run, Pinned(path=tmp_path / "x.sif", digest="sha256:2"))
    bundle(small_run, tmp_path / "run.tar", with_image=True, with_results=False)
    done = unbundle(tmp_path / "run.tar", tmp_path / "there")
    assert done.to_do[1] == f"pass --set image={tmp_path / 'there/images/x.sif'}@sha256:2"
    assert (tmp_path / "there/images/x.sif").read_bytes() == b"image"


def test_the_bundles_code_can_submit_to_slurm_and_build_the_image(packed, tmp_path):
    code = unbundle(packed, tmp_path / "there").run.code
    for name in ("slurm/stage.sh", "Apptainer.def", "containers/unity.def", "configs/selu.yaml", "constraints.txt"):
        assert (code / name).is_file(), name


def test_a_bundle_of_a_run_with_a_snapshot_of_its_code_can_be_installed_too(small_run, tmp_path):
    Calls().call(copy_call(str(ROOT)), timeout_s=60, told=os.fsencode(small_run.code))
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False)
    code = unbundle(tmp_path / "run.tar", tmp_path / "there").run.code
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "Apptainer.def", "containers/unity.def"):
        assert (code / name).read_bytes() == (ROOT / name).read_bytes()


def finish_shard(run, stage, content):
    shard = run.shard(1, stage)
    shard.path.mkdir(parents=True, exist_ok=True)
    (shard.path / "work").write_text(content)
    shard.write_marker(content=content, names=["work"], summary={})


def test_a_run_from_a_bundle_is_compared_with_where_it_came_from_shard_by_shard(small_run, tmp_path):
    for stage in (Stage.ROLLOUT, Stage.LABEL, Stage.GATE):
        finish_shard(small_run, stage, "theirs")
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False)
    here = unbundle(tmp_path / "run.tar", tmp_path / "there").run
    finish_shard(here, Stage.ROLLOUT, "theirs")
    finish_shard(here, Stage.LABEL, "other")
    (found,) = compare(here)
    assert found.same == ("01/rollout/shard-0000",)
    assert found.differ == ("01/label/shard-0000",)
    assert found.missing == ("01/gate/shard-0000",)
    assert str(found) == ("round 1: 1 of 3 shards have the same bytes; 1 not made yet; DIFFERENT: 01/label/shard-0000")


def test_only_what_came_from_a_bundle_can_be_compared(small_run):
    with pytest.raises(ImageError, match="does not come from a bundle"):
        compare(small_run)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_from_a_bundle_repeats_the_first_rounds_bytes_at_another_site(tmp_path):
    """The other site has the bundle and a python with the dependencies, and no checkout."""
    settings = [f"--set={setting}" for setting in TINY]
    run(["submit", "--engine=local", "--rounds=1", f"--run={tmp_path / 'here'}", *settings])
    bundle(RunDir(tmp_path / "here"), tmp_path / "run.tar", with_image=False, with_results=False)
    there = tmp_path / "other lab"
    code = unbundle(tmp_path / "run.tar", there).run.code
    run(["submit", "--engine=local", f"--run={there}"], code=code)
    said = run(["images", "compare", f"--run={there}"], code=code)
    assert "round 0: 2 of 2 shards have the same bytes" in said
    assert "round 1: 6 of 6 shards have the same bytes" in said


def run(line, *, code=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(code)}
    line = [sys.executable, "-m", f"selu_hpc.{line[0]}", *line[1:]]
    done = subprocess.run(line, env=environment, cwd=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_one_flipped_bit_is_named_and_nothing_is_written(packed, tmp_path, where):
    data = bytearray(packed.read_bytes())
    with tarfile.open(packed) as tar:
        members = [m for m in tar if m.size]
    member = members[int(where * len(members))]
    data[member.offset_data + member.size // 2] ^= 1
    packed.write_bytes(data)
    with pytest.raises(ImageError, match=f"(?s){member.name}|not a whole bundle"):
        unbundle(packed, tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_bundle_cut_short_is_refused(packed, tmp_path, keep):
    data = packed.read_bytes()
    packed.write_bytes(data[: int(len(data.rstrip(b"\0")) * keep)])
    with pytest.raises(ImageError):
        unbundle(packed, tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "code/../../evil"])
def test_a_bundle_that_would_write_outside_its_folder_is_refused(packed, tmp_path, name):
    with tarfile.open(packed, "a") as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(ImageError, match="nothing was written"):
        unbundle(packed, tmp_path / "there")


def test_a_folder_in_use_is_not_written_over(packed, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        unbundle(packed, tmp_path / "there")


def test_only_a_run_can_be_bundled(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        bundle(RunDir(tmp_path), tmp_path / "x.tar", with_image=False, with_results=False)
