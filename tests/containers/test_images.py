"""Images through the real apptainer, oras and a real OCI registry on this machine; the image itself is tiny."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from selu_hpc import images
from selu_hpc.containers import apptainer as calls
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of, require_digest
from selu_hpc.containers.registry import Place, pull, push, resolve
from selu_hpc.containers.shelf import Shelf
from selu_hpc.containers.trust import sign, signers
from selu_hpc.errors import ImageError

pytestmark = [pytest.mark.apptainer, pytest.mark.usefixtures("lab_keyring")]
APPTAINER = Apptainer()


def other_shelf(tmp_path):
    return Shelf(tmp_path / "other site's shelf")


def test_an_image_goes_through_a_registry_and_comes_back_by_digest(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    other = other_shelf(tmp_path)
    back = pull(Place.parse(str(made)), shelf=other, apptainer=APPTAINER, plain_http=True)
    assert back.digest == entry.digest == digest_of(other.file(back))
    assert other.file(back).stat().st_mode & 0o222 == 0


def test_a_pull_by_tag_is_refused(shelf, registry):
    with pytest.raises(ImageError, match="tags move"):
        pull(registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)


def test_a_tag_that_moved_does_not_change_what_a_digest_brings(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    altered = shelf.sign(entry, lambda file: sign(file, apptainer=APPTAINER))
    push(altered, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    assert resolve(registry.place().reference, plain_http=True) != made.manifest
    back = pull(made, shelf=other_shelf(tmp_path), apptainer=APPTAINER, plain_http=True)
    assert back.digest == entry.digest


def test_a_second_pull_finds_the_image_without_the_registry(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    other = other_shelf(tmp_path)
    first = pull(made, shelf=other, apptainer=APPTAINER, plain_http=True)
    registry.stop()
    assert pull(made, shelf=other, apptainer=APPTAINER, plain_http=True) == first


def test_two_pulls_at_once_pull_once(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    folder = tmp_path / "other"
    line = [sys.executable, "-m", "selu_hpc.images", "--images", str(folder), "pull", str(made), "--plain-http"]
    pulls = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate() for one in pulls]
    assert [one.returncode for one in pulls] == [0, 0], said
    assert sum("Downloading" in err for _, err in said) == 1
    assert len(Shelf(folder).entries()) == 1


def test_a_dead_registry_is_named_and_leaves_nothing(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    registry.stop()
    other = other_shelf(tmp_path)
    with pytest.raises(ImageError):
        pull(made, shelf=other, apptainer=APPTAINER, plain_http=True)
    assert [p.name for p in other.path.iterdir() if p.suffix in (".sif", ".partial")] == []
    registry.start()
    assert pull(made, shelf=other, apptainer=APPTAINER, plain_http=True).digest == entry.digest


def test_a_registry_that_dies_in_the_middle_of_a_pull_leaves_nothing(shelf, entry, registry, cutting_proxy, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    proxy = cutting_proxy(registry, limit=1_000_000)  # of three
    through = Place.parse(str(made).replace(str(registry.port), str(proxy.port)))
    other = other_shelf(tmp_path)
    with pytest.raises(ImageError, match="apptainer pull"):
        pull(through, shelf=other, apptainer=APPTAINER, plain_http=True)
    assert proxy.left < 0
    assert other.entries() == []
    assert [p.name for p in other.path.iterdir() if "lock" not in p.name] == []
    assert pull(made, shelf=other, apptainer=APPTAINER, plain_http=True).digest == entry.digest


PATIENT_S = 60.0


def _impatient_after(folder, size):
    """Of what comes, so much is there before anybody counts how long no more does."""
    while calls.STALLED_S == PATIENT_S:  # until then, or until the test is over
        if _bytes_below(folder) >= size:
            calls.STALLED_S = 3.0
        time.sleep(0.1)


def _bytes_below(folder):
    with suppress(OSError):  # something of it was just renamed
        return sum(file.lstat().st_size for file in folder.rglob("*"))
    return 0


def test_a_pull_that_gets_nothing_more_is_ended_and_leaves_nothing(
    shelf, entry, registry, cutting_proxy, tmp_path, monkeypatch
):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    proxy = cutting_proxy(registry, limit=1_300_000, stalls=True)  # of three; a last piece makes it no 2 MB
    through = Place.parse(str(made).replace(str(registry.port), str(proxy.port)))
    monkeypatch.setattr(calls, "STALLED_S", PATIENT_S)  # a busy machine takes its time to start apptainer
    other = other_shelf(tmp_path)
    threading.Thread(target=_impatient_after, args=(other.path, 1_000_000), daemon=True).start()
    with pytest.raises(ImageError, match="apptainer pull got nothing more for 3 s, after 1 MB, and was ended"):
        pull(through, shelf=other, apptainer=APPTAINER, plain_http=True)
    assert list(other.path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_another_user_pulls_by_digest_what_we_pushed(shelf, entry, registry, as_other_user):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    home = as_other_user.home
    words = ["--images", str(home / "images"), "pull", str(made), "--plain-http"]
    said = as_other_user(sys.executable, "-m", "selu_hpc.images", *words)
    file = Path(said.splitlines()[0])
    assert file.is_relative_to(home / "images")
    assert file.owner() == as_other_user.name
    assert digest_of(file) == entry.digest
    assert f"--set image={file}@{entry.digest}" in said


def test_a_registry_that_serves_other_bytes_is_refused(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    wrong = Place(made.reference, made.manifest, "sha256:" + "0" * 64)
    other = other_shelf(tmp_path)
    with pytest.raises(ImageError, match="expected sha256:000000000000; nothing was kept"):
        pull(wrong, shelf=other, apptainer=APPTAINER, plain_http=True)
    assert other.entries() == []


def test_a_shared_folder_works_like_a_registry(shelf, entry, tmp_path):
    made = push(entry, Place.parse(str(tmp_path / "shared, with comma")), shelf=shelf, apptainer=APPTAINER)
    assert pull(made, shelf=other_shelf(tmp_path), apptainer=APPTAINER).digest == entry.digest


def test_one_flipped_byte_is_refused_by_digest_and_by_signature(shelf, entry):
    signed = shelf.sign(entry, lambda file: sign(file, apptainer=APPTAINER))
    file = shelf.file(signed)
    assert len(signers(file, apptainer=APPTAINER)) == 1
    with file.open("rb") as stream:
        middle = stream.read().find(b"hsqs") + 2_000_000
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(middle)
        stream.write(bytes([stream.read(1)[0] ^ 1]))
    with pytest.raises(ImageError, match="altered or replaced"):
        require_digest(file, signed.digest)
    with pytest.raises(ImageError):
        signers(file, apptainer=APPTAINER)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which needs root")
def test_a_full_disk_during_a_pull_is_named_and_leaves_nothing(shelf, entry, registry, tmp_path):
    made = push(entry, registry.place(), shelf=shelf, apptainer=APPTAINER, plain_http=True)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(ImageError, match=r"no space left|disk is full"):
            pull(made, shelf=Shelf(small / "shelf"), apptainer=APPTAINER, plain_http=True)
        assert list((small / "shelf").glob("*.sif")) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def build_of(shelf, tmp_path, number):
    file = tmp_path / f"made-{number}.sif"
    file.write_bytes(b"image %d" % number)
    return shelf.add(file, name="selu_hpc", place=f"oras://x/selu_hpc@sha256:{number}")


def test_old_images_go_and_those_in_use_stay(shelf, tmp_path):
    made = [build_of(shelf, tmp_path, number) for number in range(5)]
    expected = [(shelf.file(made[number]).name, 7) for number in (2, 0)]
    assert shelf.prune(keep=2, used=[made[1].digest], dry_run=True) == expected
    assert len(shelf.entries()) == 5
    assert shelf.prune(keep=2, used=[made[1].digest]) == expected
    assert [entry.digest for entry in shelf.entries()] == [made[number].digest for number in (1, 3, 4)]
    listed = json.loads(shelf.lock_file.read_text())["images"]
    assert [one["digest"] for one in listed] == [one.digest for one in made], "the list says where to pull it from"


def test_what_a_killed_pull_left_goes_after_a_day_and_not_before(shelf, tmp_path):
    build_of(shelf, tmp_path, 1)
    old, young = shelf.path / ".old.7.partial", shelf.path / ".young.8.partial"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert shelf.prune(keep=1) == [(".old.7.partial", 4)]
    assert young.exists()


def test_an_image_does_not_go_because_the_run_that_uses_it_was_mistyped(tmp_path, capsys):
    assert images.main(["--images", str(tmp_path), "prune", "--used-by", str(tmp_path / "mistyped")]) == 1
    assert "mistyped: not a run folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        images.main(["--images", str(tmp_path), "prune", "--keep", "-1"])
