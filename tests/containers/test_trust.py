"""A site that demands signatures gets them, at submission and again when each job starts; with real keys."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from selu_hpc.config import RunConfig
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.pinned import choose, keep, read_pinned
from selu_hpc.containers.trust import require_trusted, sign, signers
from selu_hpc.errors import ImageError
from selu_hpc.site import Site

pytestmark = [pytest.mark.apptainer, pytest.mark.usefixtures("lab_keyring")]
APPTAINER = Apptainer()


@pytest.fixture
def signed(shelf, entry):
    return shelf.sign(entry, lambda file: sign(file, apptainer=APPTAINER))


@pytest.fixture
def lab_key(shelf, signed):
    (fingerprint,) = signers(shelf.file(signed), apptainer=APPTAINER)
    return fingerprint


@pytest.fixture
def strange(shelf, entry, keys, monkeypatch):
    """An image signed by a stranger; the lab knows who that is."""
    with monkeypatch.context() as patch:
        patch.setenv("APPTAINER_KEYSDIR", str(keys["stranger"]))
        return shelf.sign(entry, lambda file: sign(file, apptainer=APPTAINER))


@pytest.fixture
def site(tmp_path, lab_key):
    """A site that trusts the lab's key. Its apptainer notes an exec instead of doing it; all else is the real one."""
    command = tmp_path / "apptainer"
    started = tmp_path / "started"
    command.write_text(
        f'#!/bin/sh\ncase $1 in exec) echo "$@" >"{started}" ;; *) exec {shutil.which("apptainer")} "$@" ;; esac\n'
    )
    command.chmod(0o755)
    return Site(name="here", partitions={}, trusted_keys=(lab_key.lower(),), apptainer=str(command), mounts=("/data",))


def named(shelf, entry):
    return f"{shelf.file(entry)}@{entry.digest}"


def submit(run, site, image):
    """As a person types it; returns what it said."""
    file = run.parent / "site.yaml"
    file.write_text(yaml.safe_dump(site.plain()))
    words = ["--engine=local", "--rounds=1", f"--run={run}", f"--site={file}", f"--set=image={image}"]
    return subprocess.run([sys.executable, "-m", "selu_hpc.submit", *words], capture_output=True, text=True)


def start_job(run):
    """What a node does first; returns (exit code, message, whether anything was started in the image)."""
    words = ["--run", str(run.path), "--stage", "rollout", "--round", "1"]
    line = [sys.executable, "-m", "selu_hpc.containers.launch", *words]
    done = subprocess.run(line, capture_output=True, text=True)
    apptainer = json.loads(run.image_file.read_text())["apptainer"]
    started = (Path(apptainer).parent / "started").exists()
    return done.returncode, done.stderr, started


def flip_a_byte(file):
    file.chmod(0o644)
    with file.open("r+b") as stream:
        middle = stream.read().find(b"hsqs") + 2_000_000
        stream.seek(middle)
        byte = stream.read(1)[0]
        stream.seek(middle)
        stream.write(bytes([byte ^ 1]))


def test_an_image_signed_by_a_trusted_key_is_taken_at_submission_and_at_a_jobs_start(small_run, shelf, signed, site):
    pinned = choose(small_run, RunConfig(image=named(shelf, signed)), site)
    keep(small_run, pinned)
    assert read_pinned(small_run) == pinned
    code, said, started = start_job(small_run)
    assert (code, started) == (0, True), said


def test_an_unsigned_image_is_refused_at_submission_before_anything_is_made(tmp_path, shelf, entry, site):
    done = submit(tmp_path / "run", site, named(shelf, entry))
    assert done.returncode == 1
    assert "this site demands a signature" in done.stderr
    assert "python -m selu_hpc.images sign" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_strangers_image_is_refused_at_submission_with_both_fingerprints(tmp_path, shelf, strange, site, lab_key):
    done = submit(tmp_path / "run", site, named(shelf, strange))
    assert done.returncode == 1
    assert f"this site trusts {lab_key} only" in done.stderr
    assert "python -m selu_hpc.images pull" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_signature_whose_key_nobody_gave_us_is_refused_and_says_how_to_get_the_key(
    tmp_path, shelf, signed, site, keys, monkeypatch
):
    (tmp_path / "empty").mkdir(mode=0o700)
    monkeypatch.setenv("APPTAINER_KEYSDIR", str(tmp_path / "empty"))
    with pytest.raises(ImageError, match="apptainer key import"):
        require_trusted(shelf.file(signed), site.trusted_keys, apptainer=APPTAINER)


def test_an_image_the_lab_and_a_stranger_signed_is_refused_unless_both_are_trusted(shelf, signed, strange, site, keys):
    both = shelf.sign(strange, lambda file: sign(file, apptainer=APPTAINER))
    file = shelf.file(both)
    found = signers(file, apptainer=APPTAINER)
    assert len(found) == 2
    with pytest.raises(ImageError, match="signed by"):
        require_trusted(file, site.trusted_keys, apptainer=APPTAINER)
    require_trusted(file, found, apptainer=APPTAINER)


def test_a_short_key_id_is_no_trusted_key(shelf, signed, lab_key):
    with pytest.raises(ImageError, match="whole fingerprints"):
        require_trusted(shelf.file(signed), [lab_key[-16:]], apptainer=APPTAINER)


@pytest.mark.parametrize("which", ["unsigned", "strange", "altered", "gone"])
def test_a_job_does_not_start_with_what_a_submission_would_have_refused(
    small_run, shelf, entry, signed, strange, site, which
):
    keep(small_run, choose(small_run, RunConfig(image=named(shelf, signed)), site))
    file = shelf.file(signed)
    if which in ("unsigned", "strange"):  # whoever may write the run folder points it at another image
        other = entry if which == "unsigned" else strange
        text = json.loads(small_run.image_file.read_text())
        text |= {"path": str(shelf.file(other)), "digest": other.digest}
        small_run.image_file.write_text(json.dumps(text))
    elif which == "altered":
        flip_a_byte(file)
    else:
        file.unlink()
    code, said, started = start_job(small_run)
    assert code == 1
    assert not started
    expected = {
        "unsigned": "python -m selu_hpc.images sign",
        "strange": "this site trusts",
        "altered": "was altered or replaced; pull it again by digest",
        "gone": "build or pull it",
    }
    assert expected[which] in said


def test_a_flipped_byte_is_refused_even_where_the_digest_is_taken_as_it_is(small_run, shelf, signed, site):
    flip_a_byte(shelf.file(signed))
    with pytest.raises(ImageError, match=r"was altered after it was signed.*images pull"):
        choose(small_run, RunConfig(image=str(shelf.file(signed))), site)


def test_a_run_goes_on_with_its_sites_demands_when_the_site_is_not_named_again(small_run, shelf, entry, signed, site):
    keep(small_run, choose(small_run, RunConfig(image=named(shelf, signed)), site))
    again = choose(small_run, RunConfig(image=named(shelf, signed)), None)
    assert again == read_pinned(small_run)
    assert again.mounts == ("/data",)
    with pytest.raises(ImageError, match="demands a signature"):
        choose(small_run, RunConfig(image=named(shelf, entry)), None, accept=True)


def test_a_run_goes_on_with_the_image_it_began_with_or_the_user_says_so(small_run, shelf, entry, signed):
    first, other = (RunConfig(image=named(shelf, image)) for image in (entry, signed))
    keep(small_run, choose(small_run, first, None))
    for wanted in (other, RunConfig(image="none")):
        with pytest.raises(ImageError, match=r"began with image .*--accept-image"):
            choose(small_run, wanted, None)
    assert choose(small_run, other, None, accept=True).digest == signed.digest
    keep(small_run, choose(small_run, RunConfig(image="none"), None, accept=True))
    assert read_pinned(small_run) is None


def test_a_run_that_began_on_the_host_does_not_slip_into_an_image(small_run, shelf, entry):
    config = RunConfig(image=named(shelf, entry))
    assert choose(small_run, config, None).digest == entry.digest  # nothing has run yet
    (small_run.path / "rounds/01/rollout/shard-0000").mkdir(parents=True)
    with pytest.raises(ImageError, match="began with no image"):
        choose(small_run, config, None)


def test_another_digest_than_the_config_asks_for_is_refused(small_run, shelf, entry):
    with pytest.raises(ImageError, match="the config asks for sha256:000000000000; pull that one by digest"):
        choose(small_run, RunConfig(image=f"{shelf.file(entry)}@sha256:{'0' * 64}"), None)


def test_a_working_copy_marks_the_run_as_dirty_for_good(small_run, shelf, entry, tmp_path):
    config = RunConfig(image=named(shelf, entry))
    keep(small_run, choose(small_run, config, None, working_copy=tmp_path))
    assert read_pinned(small_run).working_copy == tmp_path
    keep(small_run, choose(small_run, config, None))
    assert read_pinned(small_run).working_copy is None
    code = json.loads(small_run.provenance_file.read_text())["code"]
    assert (code["dirty"], code["working_copy"]) == (True, str(tmp_path))


def test_a_working_copy_without_an_image_is_refused(small_run, tmp_path):
    with pytest.raises(ImageError, match="this run has none"):
        choose(small_run, RunConfig(), None, working_copy=tmp_path)
