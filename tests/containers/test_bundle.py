"""Bundles arrive whole or not at all."""

import errno
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from selu_hpc import images
from selu_hpc.containers import bundle as bundling
from selu_hpc.containers.bundle import bundle, unbundle
from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.origin import compare
from selu_hpc.containers.pinned import Pinned, keep
from selu_hpc.containers.shelf import Shelf
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.errors import ImageError, RunFolderError
from selu_hpc.recipes import load_run
from selu_hpc.rounds.copying import code_digest, copy_call
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.selftest import TINY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packed(small_run, tmp_path):
    adapter = small_run.shard(1, Stage.FINETUNE_ACTOR).path / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=True, accept_code=True)
    return tmp_path / "run.tar"


def test_a_bundle_becomes_a_run_folder_of_the_same_config(packed, small_run, tmp_path):
    done = unbundle(packed, tmp_path / "there")
    assert load_run(done.run.path) == load_run(small_run.path)
    assert (done.run.code / "selu_hpc" / "submit.py").is_file()
    results = done.run.path / "results/rounds/01/finetune_actor/shard-0000/adapter/adapter_model.safetensors"
    assert results.read_bytes() == b"weights"


def test_a_bundle_that_would_be_a_folder_is_told_which_file_to_give(small_run, tmp_path, capsys):
    assert images.main(["bundle", "--run", str(small_run.path), str(tmp_path), "--accept-code"]) == 1
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}: is a folder; give the file to write, such as {tmp_path}/run.tar\n"
    )


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
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False, image_place=place, accept_code=True)
    to_do = unbundle(tmp_path / "run.tar", tmp_path / "there").to_do[1]
    assert (f"images pull '{place}'" if place else "from its makers") in to_do
    assert "--set image=FILE@sha256:2" in to_do


def test_an_image_in_the_bundle_is_named_with_its_digest(small_run, tmp_path):
    (tmp_path / "x.sif").write_bytes(b"image")
    digest = digest_of(tmp_path / "x.sif")
    keep(small_run, Pinned(path=tmp_path / "x.sif", digest=digest))
    bundle(small_run, tmp_path / "run.tar", with_image=True, with_results=False, accept_code=True)
    done = unbundle(tmp_path / "run.tar", tmp_path / "there")
    assert done.to_do[1] == f"pass --set image={tmp_path / 'there/images/x.sif'}@{digest}"
    assert (tmp_path / "there/images/x.sif").read_bytes() == b"image"


def test_an_image_that_is_not_the_runs_any_more_is_not_bundled(small_run, tmp_path):
    (tmp_path / "x.sif").write_bytes(b"image")
    keep(small_run, Pinned(path=tmp_path / "x.sif", digest=digest_of(tmp_path / "x.sif")))
    (tmp_path / "x.sif").write_bytes(b"other")
    with pytest.raises(
        ImageError, match=r"(?s)x\.sif: is sha256:\w{12}, .* began with sha256:\w{12}: bring that image back"
    ):
        bundle(small_run, tmp_path / "run.tar", with_image=True, with_results=False, accept_code=True)
    assert not list(tmp_path.glob("*run.tar*"))


def test_a_bundle_knows_where_its_shelf_says_the_image_can_be_pulled_from(small_run, tmp_path):
    shelf, place = Shelf(tmp_path / "shelf"), "oras://r.example.org/lab/x@sha256:1#sha256:2"
    (tmp_path / "x.sif").write_bytes(b"image")
    entry = shelf.copy_in(tmp_path / "x.sif", name="lab")
    shelf.note_place(entry, place)
    keep(small_run, Pinned(path=shelf.file(entry), digest=entry.digest))
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False, accept_code=True)
    assert f"images pull '{place}'" in unbundle(tmp_path / "run.tar", tmp_path / "there").to_do[1]


def test_what_unbundling_says_can_be_typed_as_it_stands(small_run, unkind_path):
    (unkind_path / "x.sif").write_bytes(b"image")
    digest = digest_of(unkind_path / "x.sif")
    keep(small_run, Pinned(path=unkind_path / "x.sif", digest=digest))
    words = {"with_results": False, "accept_code": True, "image_place": "/the lab's/x.sif@sha256:2"}
    for with_image in (True, False):
        bundle(small_run, unkind_path / "run.tar", with_image=with_image, **words)
        to_do = unbundle(unkind_path / "run.tar", unkind_path / f"there {with_image}").to_do[1]
        typed = shlex.split(to_do) if with_image else shlex.split(to_do.split("`")[1])
        named = f"image={unkind_path / 'there True/images/x.sif'}@{digest}" if with_image else words["image_place"]
        assert typed[-1] == named


def test_the_bundles_code_can_submit_to_slurm_and_build_the_image(packed, tmp_path):
    code = unbundle(packed, tmp_path / "there").run.code
    for name in ("slurm/stage.sh", "Apptainer.def", "containers/unity.def", "configs/selu.yaml", "constraints.txt"):
        assert (code / name).is_file(), name


def test_a_bundle_of_a_run_with_a_snapshot_of_its_code_can_be_installed_too(small_run, tmp_path):
    Calls().call(copy_call(str(ROOT)), timeout_s=60, told=os.fsencode(small_run.code))
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False, accept_code=True)
    code = unbundle(tmp_path / "run.tar", tmp_path / "there").run.code
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "Apptainer.def", "containers/unity.def"):
        assert (code / name).read_bytes() == (ROOT / name).read_bytes()


CLEAN = {"commit": "a" * 40, "dirty": False}


@pytest.fixture
def began(small_run, monkeypatch):
    """`began({...}, now={...})`: the code a run without a snapshot began with, and this checkout's."""

    def is_(code, *, now):
        kept = json.loads(small_run.provenance_file.read_text())
        small_run.provenance_file.write_text(json.dumps({**kept, "code": code}))
        monkeypatch.setattr(bundling, "code_state", lambda _: now)

    return is_


def test_a_checkout_that_is_the_clean_commit_a_run_began_with_is_its_code(small_run, tmp_path, began):
    began(CLEAN, now=CLEAN)
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False)
    origin = json.loads((unbundle(tmp_path / "run.tar", tmp_path / "there").run.path / "origin.json").read_text())
    assert origin["code"] == {**CLEAN, "digest": code_digest(str(ROOT))}


@pytest.mark.parametrize(
    ("code", "now", "told"),
    [
        (CLEAN, {"commit": "b" * 40, "dirty": False}, f"check out {'a' * 40}, or say --accept-code"),
        (CLEAN, {**CLEAN, "dirty": True}, f"is commit {'a' * 40} (changed); check out {'a' * 40}, or say"),
        ({**CLEAN, "dirty": True}, {**CLEAN, "dirty": True}, "(changed); say --accept-code"),
        ({"commit": None, "dirty": None}, {"commit": None, "dirty": None}, "an unknown commit; say --accept-code"),
    ],
)
def test_another_checkout_is_bundled_only_when_asked_for_and_named_in_the_bundle(
    small_run, tmp_path, began, capsys, code, now, told
):
    began(code, now=now)
    words = ["bundle", "--run", str(small_run.path), str(tmp_path / "run.tar")]
    assert images.main(words) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run.tar").exists()
    assert images.main([*words, "--accept-code"]) == 0
    there = unbundle(tmp_path / "run.tar", tmp_path / "there").run.path
    assert json.loads((there / "origin.json").read_text())["code"] == {**now, "digest": code_digest(str(ROOT))}
    assert json.loads((there / "origin-provenance.json").read_text())["code"] == code


def test_a_snapshot_is_packed_as_it_was_recorded_and_not_when_it_was_changed_since(small_run, tmp_path):
    Calls().call(copy_call(str(ROOT)), timeout_s=60, told=os.fsencode(small_run.code))
    digest = code_digest(str(small_run.code))
    Journal(small_run.journal_file).append("code", digest=digest, **CLEAN)
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False)
    there = unbundle(tmp_path / "run.tar", tmp_path / "there").run
    assert json.loads((there.path / "origin.json").read_text())["code"] == {**CLEAN, "digest": digest}
    (small_run.code / "configs/selu.yaml").write_text("rounds: 1")
    with pytest.raises(ImageError, match="is an unknown commit; say --accept-code"):
        bundle(small_run, tmp_path / "again.tar", with_image=False, with_results=False)


def test_a_run_from_a_bundle_has_its_own_provenance_once_it_begins_here(packed, small_run, tmp_path):
    run = unbundle(packed, tmp_path / "there").run
    assert not run.provenance_file.exists()
    theirs = (run.path / "origin-provenance.json").read_bytes()
    assert theirs == small_run.provenance_file.read_bytes()
    open_run(run.path, load_run(run.path))
    assert json.loads(run.provenance_file.read_text())["signature"] == load_run(run.path).signature
    assert (run.path / "origin-provenance.json").read_bytes() == theirs


@pytest.mark.parametrize("name", ["provenance.json", "config.yaml"])
def test_what_cannot_be_read_for_a_bundle_is_named(small_run, tmp_path, capsys, name):
    file = small_run.path / name
    words = ["bundle", "--accept-code", "--run", str(small_run.path), str(tmp_path / "run.tar")]
    if name == "provenance.json":
        file.unlink()
        file.mkdir()
    else:
        file.unlink()
        file.symlink_to("a" * 300)
    assert images.main(words) == 1
    told = capsys.readouterr().err
    assert f"{file}: cannot be read: " in told
    assert "another place" not in told
    assert [one.name for one in tmp_path.iterdir() if "run.tar" in one.name] == []


def finish_shard(run, stage, content):
    shard = run.shard(1, stage)
    shard.path.mkdir(parents=True, exist_ok=True)
    (shard.path / "work").write_text(content)
    shard.write_marker(content=content, names=["work"], summary={})


def test_a_run_from_a_bundle_is_compared_with_where_it_came_from_shard_by_shard(small_run, tmp_path):
    for stage in (Stage.ROLLOUT, Stage.LABEL, Stage.GATE):
        finish_shard(small_run, stage, "theirs")
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False, accept_code=True)
    here = unbundle(tmp_path / "run.tar", tmp_path / "there").run
    finish_shard(here, Stage.ROLLOUT, "theirs")
    finish_shard(here, Stage.LABEL, "other")
    (found,) = compare(here)
    assert found.same == ("01/rollout/shard-0000",)
    assert found.differ == ("01/label/shard-0000",)
    assert found.missing == ("01/gate/shard-0000",)
    assert str(found) == ("round 1: 1 of 3 shards have the same bytes; 1 not made yet; DIFFERENT: 01/label/shard-0000")


def test_a_comparison_succeeds_only_when_all_of_it_was_made_and_something_was(small_run, tmp_path, capsys):
    bundle(small_run, tmp_path / "empty.tar", with_image=False, with_results=False, accept_code=True)
    finish_shard(small_run, Stage.ROLLOUT, "theirs")
    bundle(small_run, tmp_path / "run.tar", with_image=False, with_results=False, accept_code=True)
    nothing = unbundle(tmp_path / "empty.tar", tmp_path / "nothing").run
    assert images.main(["compare", "--run", str(nothing.path)]) == 1
    assert "nothing to compare: where it came from, no shard was finished" in capsys.readouterr().err
    here = unbundle(tmp_path / "run.tar", tmp_path / "there").run
    assert images.main(["compare", "--run", str(here.path)]) == 1
    assert "0 of 1 shards have the same bytes; 1 not made yet" in capsys.readouterr().err
    finish_shard(here, Stage.ROLLOUT, "theirs")
    assert images.main(["compare", "--run", str(here.path)]) == 0
    assert capsys.readouterr().out == "round 1: 1 of 1 shards have the same bytes\n"


def test_only_what_came_from_a_bundle_can_be_compared(small_run):
    with pytest.raises(ImageError, match="does not come from a bundle"):
        compare(small_run)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_from_a_bundle_repeats_the_first_rounds_bytes_at_another_site(tmp_path):
    """The other site has the bundle and a python with the dependencies, and no checkout."""
    settings = [f"--set={setting}" for setting in TINY]
    run(["submit", "--engine=local", "--rounds=1", f"--run={tmp_path / 'here'}", *settings])
    bundle(RunDir(tmp_path / "here"), tmp_path / "run.tar", with_image=False, with_results=False, accept_code=True)
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


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "/etc/evil",
        "code/../../evil",
        "image.json",
        "journal.jsonl",
        "jobs/site.yaml",
        "rounds/01/x",
        "code",
    ],
)
def test_a_bundle_with_what_none_has_is_refused(packed, tmp_path, name):
    with tarfile.open(packed, "a") as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(ImageError, match="nothing was written"):
        unbundle(packed, tmp_path / "there")


@pytest.mark.parametrize("why", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("is_there", [True, False])
def test_unbundling_that_ends_half_way_leaves_no_run(packed, tmp_path, monkeypatch, why, is_there):
    left = 5
    real = bundling.shutil.copyfileobj

    def copy(source, out):
        nonlocal left
        left -= 1
        if left < 0:
            raise why
        real(source, out)

    target = tmp_path / "labs" / "there"
    target.parent.mkdir()
    if is_there:
        target.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(bundling.shutil, "copyfileobj", copy)
        with pytest.raises(ImageError if isinstance(why, OSError) else KeyboardInterrupt) as told:
            unbundle(packed, target)
    if isinstance(why, OSError):
        assert f"{target}: {packed} could not be laid out there: No space left on device" in str(told.value)
    assert list(target.parent.rglob("*")) == ([target] if is_there else [])
    assert unbundle(packed, target).run.config_file.is_file()


def test_a_folder_in_use_is_not_written_over(packed, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        unbundle(packed, tmp_path / "there")


def test_only_a_run_can_be_bundled(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        bundle(RunDir(tmp_path), tmp_path / "x.tar", with_image=False, with_results=False, accept_code=True)
