"""A shelf that several people use, and names of places; no image here is a real one."""

import errno
import json
import os
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from selu_hpc import images as command
from selu_hpc.containers import shelf as shelving
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of, note, require_digest, short
from selu_hpc.containers.registry import Place, pull, push
from selu_hpc.containers.shelf import Made, Shelf
from selu_hpc.errors import ImageError
from selu_hpc.rounds.lock import hold_lock

MADE = Made(commit="c0ffee", definition="d" * 12, dependencies="e" * 12)
ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
NONE = Apptainer("no apptainer here")
pytestmark = pytest.mark.usefixtures("node")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")


@pytest.mark.parametrize("left", [b"", b"an image" * 999 + b"AN IMAGE"])
def test_a_file_that_lost_its_bytes_is_pulled_again_by_digest(lab, shelved, mine, left):
    place = Place(str(lab.file(shelved)), file_digest=shelved.digest)
    file = mine.file(pull(place, shelf=mine, apptainer=NONE))
    file.chmod(0o644)
    file.write_bytes(left)
    with pytest.raises(ImageError, match="pull it again by digest"):
        require_digest(file, shelved.digest)
    assert mine.file(pull(place, shelf=mine, apptainer=NONE)) == file
    require_digest(file, shelved.digest)


def test_a_manifest_that_is_known_does_not_stand_for_another_file_than_was_asked_for(lab, shelved):
    lab.note_place(shelved, f"oras://x/lab/selu@{ONE}#{shelved.digest}")
    assert pull(Place.parse(f"oras://x/lab/selu@{ONE}"), shelf=lab, apptainer=NONE).digest == shelved.digest
    with pytest.raises(ImageError, match="no 'no apptainer here'"):
        pull(Place.parse(f"oras://x/lab/selu@{ONE}#{TWO}"), shelf=lab, apptainer=NONE)
    with pytest.raises(ImageError, match="is no whole digest"):
        pull(Place.parse(f"oras://x/lab/selu@{ONE[:20]}"), shelf=lab, apptainer=NONE)


def test_what_an_image_was_made_of_and_where_it_lies_stays_with_it(lab, shelved, mine):
    lab.note_place(shelved, "oras://x/lab/selu")
    for shelf in (lab, mine):
        push(shelved, Place(str(shelf.path)), shelf=lab, apptainer=NONE)
        (there,) = shelf.entries()
        assert there.made == MADE
    assert "oras://x/lab/selu" in lab.entries()[0].places
    mine.file(shelved).unlink()
    assert pull(Place(str(lab.file(shelved)), file_digest=shelved.digest), shelf=mine, apptainer=NONE).made == MADE


LABELS = {
    "org.opencontainers.image.revision": "c0ffee",
    "selu_hpc.definition": "d" * 12,
    "selu_hpc.dependencies": "e" * 12,
    "selu_hpc.base": "docker debian:bookworm-slim",
}


@pytest.mark.parametrize(
    ("more", "made"),
    [({}, MADE), ({"selu_hpc.unity": "x"}, Made()), (dict.fromkeys(LABELS, "unknown"), Made())],
)
def test_a_pulled_image_says_by_its_labels_what_it_was_made_of(lab, shelved, mine, tmp_path, more, made):
    said = json.dumps({"data": {"attributes": {"labels": {**LABELS, **more}}}})
    (tmp_path / "apptainer").write_text(f"#!/bin/sh\necho '{said}'\n")
    (tmp_path / "apptainer").chmod(0o755)
    place = Place(str(lab.file(shelved)), file_digest=shelved.digest)
    pulled = pull(place, shelf=mine, apptainer=Apptainer(str(tmp_path / "apptainer")))
    assert pulled.made == made
    assert mine.entries() == [pulled]


@pytest.fixture
def added(lab, tmp_path):
    """`added(b"bytes", "name")` → an image on the lab's shelf."""

    def add(content, name="selu_hpc"):
        (tmp_path / "new.sif").write_bytes(content)
        return lab.copy_in(tmp_path / "new.sif", name=name)

    return add


def test_a_copy_by_a_process_of_our_number_on_another_machine_takes_nothing_of_ours(lab, added, monkeypatch):
    def cut_short(source, target):
        target.write_bytes(source.read_bytes()[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def hashed(file, **words):
        digest = digest_of(file, **words)
        with monkeypatch.context() as there:
            there.setattr(shelving, "copy_shown", cut_short)
            with pytest.raises(ImageError, match="No space left"):
                added(b"our image")
        return digest

    monkeypatch.setattr(shelving, "digest_of", hashed)
    ours = added(b"our image")
    assert lab.file(ours).read_bytes() == b"our image"
    assert [file for file in lab.path.iterdir() if file.suffix == ".partial"] == []


def test_prune_knows_what_a_killed_copy_leaves(lab, added):
    added(b"1")
    with lab.partial("selu_hpc") as left:
        os.utime(left, (1, 1))
        assert lab.prune(keep=1) == [(left.name, 0)]
        assert not left.exists()


def test_prune_knows_the_lock_that_a_killed_pull_leaves(lab, added):
    added(b"1")
    left = lab.path / f".pull-{'1' * 12}.lock"
    left.touch()
    assert lab.prune(keep=1) == []
    os.utime(left, (1, 1))
    assert lab.prune(keep=1) == [(left.name, 0)]


def test_an_old_image_that_is_noted_something_of_does_not_become_the_newest(lab, added):
    first, second, third = (added(content) for content in (b"1", b"2", b"3"))
    lab.note_place(first, "oras://x/lab/selu")
    lab.describe(second, MADE)
    added(b"1")
    assert [one.digest for one in lab.entries()] == [first.digest, second.digest, third.digest]
    assert lab.find("selu_hpc").digest == third.digest
    assert [name for name, _ in lab.prune(keep=1)] == [lab.file(second).name, lab.file(first).name]


def test_the_same_bytes_under_two_names_are_two_images_and_both_can_be_pruned(lab, added):
    one, two = added(b"image", "one"), added(b"image", "two")
    assert [lab.find(name).name for name in ("one", "two")] == ["one", "two"]
    assert {name for name, _ in lab.prune(keep=0)} == {lab.file(one).name, lab.file(two).name}
    assert list(lab.path.glob("*.sif")) == []


@pytest.mark.parametrize("said", ['{"images": [', "[]", '{"images": null}', '{"images": [{"places": [], "new": 1}]}'])
def test_a_list_that_cannot_be_read_is_named_with_how_to_make_it_anew(lab, shelved, said):
    lab.lock_file.write_text(said)
    with pytest.raises(ImageError, match=r"lock\.json: no list of images .* move it away and list each image anew by"):
        lab.entries()
    lab.lock_file.rename(lab.path / "broken")
    assert (
        pull(Place(str(lab.file(shelved)), file_digest=shelved.digest), shelf=lab, apptainer=NONE).title
        == shelved.title
    )


def test_who_waits_for_somebody_else_at_a_shelf_is_told_for_whom(lab, shelved, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(shelving, "wait_for_lock", lambda *_, **__: nullcontext())
    with hold_lock(lab.path / ".lock", purpose="removing old images"):
        lab.note_place(shelved, "oras://x/lab/selu")
    assert f"waiting for process {os.getpid()} on " in caplog.text
    assert "which is removing old images" in caplog.text


def test_an_image_is_found_by_its_name_and_its_digest(lab, added):
    one, two = added(b"1", "one"), added(b"2", "two")
    again = added(b"3", "one")
    short = one.digest[: len("sha256:") + 12]
    for wanted in (
        f"one@{one.digest}",
        f"one@{short}",
        one.digest,
        short,
        lab.file(one),
        f"{lab.file(one)}@{one.digest}",
    ):
        assert lab.find(str(wanted)) == one
    assert lab.find("one") == again
    assert lab.find("two") == two
    for wanted in (
        f"one@{two.digest}",
        "one@sha256:",
        "sha256:",
        f"two@{one.digest[:10]}",
        f"{lab.file(two)}@{one.digest}",
    ):
        with pytest.raises(ImageError, match="no image "):
            lab.find(wanted)


def test_what_is_verified_or_already_there_is_read_and_not_remembered(lab, shelved, mine, said):
    place = Place(str(lab.file(shelved)), file_digest=shelved.digest)
    file = mine.file(pull(place, shelf=mine, apptainer=NONE))
    file.chmod(0o644)
    file.write_bytes(b"rotten")
    note(file, "digest", shelved.digest, file.stat())
    assert digest_of(file) == shelved.digest, "as this node remembers it"
    assert said("verify", f"{file}@{shelved.digest}")[0] == 1
    assert said("verify", str(file)) == (0, f"{file}: its digest is {digest_of(file, remember=False)}\n")
    pull(place, shelf=mine, apptainer=NONE)
    assert digest_of(file, remember=False) == shelved.digest


@pytest.mark.parametrize(
    ("text", "reference", "manifest", "file_digest", "name"),
    [
        (f"oras://x/lab/selu-cuda:v1@{ONE}#{TWO}", "oras://x/lab/selu-cuda:v1", ONE, TWO, "selu-cuda"),
        (f"oras://x/lab/selu-cpu@{ONE}", "oras://x/lab/selu-cpu", ONE, "", "selu-cpu"),
        (f"/home/me@x.org/i/selu_hpc-012345678901.sif@{ONE}", "", "", ONE, "selu_hpc"),
        (f"/home/me@x.org/i/selu-cuda-0123456789ab.sif@{ONE}", "", "", ONE, "selu-cuda"),
        ("/home/me@x.org/images, #2", "/home/me@x.org/images, #2", "", "", "images, #2"),
    ],
)
def test_a_place_is_read_from_its_end(text, reference, manifest, file_digest, name):
    place = Place.parse(text)
    assert place == Place(reference or text.rpartition("@")[0], manifest, file_digest)
    assert place.name == name


def images(*words, user, umask=0o022):
    """The images command as somebody; of root's rights only those to read the checkout's own folders are kept."""
    line = [sys.executable, "-m", "selu_hpc.images", *words]
    if user:
        keep = "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"
        line = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *keep, *line]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": "/nonexistent"}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, umask=umask, cwd="/")


def test_the_list_of_a_shelf_can_be_read_by_others_whatever_its_keepers_umask(tmp_path):
    (tmp_path / "one.sif").write_bytes(b"image")
    before = os.umask(0o077)
    try:
        shelf = Shelf(tmp_path / "lab")
        shelf.copy_in(tmp_path / "one.sif", name="one")
    finally:
        os.umask(before)
    assert shelf.lock_file.stat().st_mode & 0o777 == 0o644


@needs_root
def test_another_user_finds_a_shared_image_there_without_writing_and_is_told_what_he_may_not(lab, shelved, tmp_path):
    other = tmp_path / "other.sif"
    other.write_bytes(b"another image")
    for words in (["pull", f"{lab.file(shelved)}@{shelved.digest}"], ["list"]):
        done = images("--images", str(lab.path), *words, user="nobody")
        assert done.returncode == 0, done.stderr
    for words in (["pull", f"{other}@{digest_of(other)}"], ["prune"]):
        done = images("--images", str(lab.path), *words, user="nobody")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert str(lab.path) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["list"], ["prune"], ["prune", "--dry-run"]])
def test_a_shelf_that_was_mistyped_is_refused_and_not_made(tmp_path, words):
    done = images("--images", str(tmp_path / "typo"), *words, user="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}/typo: no such shelf; name one by --images or SELU_IMAGES, or")
    assert not (tmp_path / "typo").exists()


def test_a_list_that_can_not_be_printed_is_no_fault_of_the_shelf(lab, shelved):
    line = [sys.executable, "-m", "selu_hpc.images", "--images", str(lab.path), "list"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output: No space left on device; ")


@pytest.fixture
def said(lab, tmp_path, capsys):
    """`said("verify", FILE)` → exit code and what the images command said, with an apptainer that finds all well."""
    (tmp_path / "apptainer").write_text("""#!/bin/sh\necho '{"SignerKeys": []}'\n""")
    (tmp_path / "apptainer").chmod(0o755)

    def say(*words):
        code = command.main(["--images", str(lab.path), "--apptainer", str(tmp_path / "apptainer"), *words])
        told = capsys.readouterr()
        return code, told.out or told.err

    return say


def test_a_file_that_is_on_no_shelf_can_be_verified_and_tested(shelved, tmp_path, said):
    file = tmp_path / "other.sif"
    file.write_bytes(b"another image")
    digest = digest_of(file)
    assert said("verify", str(file)) == (0, f"{file}: its digest is {digest}\n")
    assert said("verify", f"{file}@{digest}") == (0, f"{file}: digest holds\n")
    assert said("test", str(file)) == (0, f"{file}: its test passed\n")
    code, told = said("verify", f"{file}@{shelved.digest}")
    assert code == 1, "the shelf's image of that digest is not what was asked about"
    assert "altered or replaced" in told


@pytest.mark.parametrize("how", ["{name}", "{name}@{digest}", "{file}"])
def test_an_image_on_the_shelf_is_verified_against_its_list(lab, shelved, said, how):
    wanted = how.format(name=shelved.name, digest=shelved.digest, file=lab.file(shelved))
    assert said("verify", wanted) == (0, f"{shelved.title}: digest holds\n")
    lab.file(shelved).chmod(0o644)
    lab.file(shelved).write_bytes(b"other")
    assert said("verify", wanted)[0] == 1


def test_a_file_is_pulled_by_its_digest(tmp_path, said):
    code, told = said("pull", str(tmp_path / "x.sif"))
    assert code == 1
    assert "pull FILE@sha256:…" in told
    assert "tag" not in told


def test_what_push_and_pull_say_can_be_typed_as_it_stands(lab, shelved, unkind_path, said):
    code, told = said("push", shelved.name, str(unkind_path))
    assert code == 0
    place = shlex.split(told)[-1]
    assert place.startswith(f"{unkind_path}/")
    copied = shelving.Shelf(unkind_path / "mine")
    code, told = said("--images", str(copied.path), "pull", place)
    assert code == 0
    assert shlex.split(told.partition("run with it: ")[2]) == [
        "--set",
        f"image={copied.file(shelved)}@{shelved.digest}",
    ]


def test_the_same_bytes_brought_again_are_not_replaced_under_who_looks_at_them(lab, shelved, added):
    before = lab.file(shelved).stat()
    again = added(lab.file(shelved).read_bytes())
    assert (again.digest, lab.file(again).stat().st_ino) == (shelved.digest, before.st_ino)
    lab.file(shelved).chmod(0o644)
    lab.file(shelved).write_bytes(b"damaged")
    added(b"an image" * 1000)
    assert digest_of(lab.file(shelved), remember=False) == shelved.digest
    assert [file.suffix for file in lab.path.iterdir() if file.name.endswith(".partial")] == []


@pytest.mark.parametrize("words", [("pull", "{file}@{short}"), ("verify", "{other}@{short}")])
def test_a_digest_that_is_cut_short_is_called_so(lab, shelved, tmp_path, said, words):
    other = tmp_path / "other.sif"
    other.write_bytes(b"another image")
    named = {"file": lab.file(shelved), "other": other, "short": short(digest_of(other))}
    code, told = said(*(word.format(**named) for word in words))
    assert (code, "is no whole digest, which has 64 digits" in told) == (1, True), told


def test_a_waiting_pulls_lock_that_goes_meanwhile_does_not_stop_prune(lab, added, monkeypatch):
    added(b"1")
    (lab.path / ".pull-1.lock").symlink_to("nowhere")
    listed = list(lab.path.glob(".*"))
    (lab.path / ".pull-1.lock").unlink()
    monkeypatch.setattr(type(lab.path), "glob", lambda *_: iter(listed))
    assert lab.prune(keep=1) == []


def test_a_file_of_other_bytes_than_were_asked_for_is_not_pulled(lab, shelved, mine):
    with pytest.raises(ImageError, match="expected sha256:111111111111; nothing was kept"):
        pull(Place(str(lab.file(shelved)), file_digest=ONE), shelf=mine, apptainer=NONE)
    assert mine.entries() == []
