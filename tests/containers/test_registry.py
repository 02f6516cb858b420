"""Pushing and pulling where the tools that do it fail, lie, stall or are slow; no registry here is real."""

import json
import os

import pytest

from selu_hpc.containers import apptainer as calls
from selu_hpc.containers import registry
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.registry import Place, pull, push, resolve
from selu_hpc.errors import ImageError

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
NONE = Apptainer("no apptainer here")
pytestmark = pytest.mark.usefixtures("node")


def test_nothing_is_pushed_to_a_registry_where_no_oras_could_say_its_digest(lab, shelved, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageError, match="no `oras` on this machine"):
        push(shelved, Place.parse("oras://x/lab/selu:v1"), shelf=lab, apptainer=NONE)


def test_a_registry_that_is_silent_is_named_with_the_command_to_try(tmp_path, monkeypatch):
    (tmp_path / "oras").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "oras").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(registry, "ANSWER_S", 0.2)
    with pytest.raises(ImageError, match=r"selu:v1: .* not answer within 0\.2 s; try `.*/oras resolve x/lab/selu:v1`"):
        resolve("oras://x/lab/selu:v1", plain_http=False)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """`tool("oras", "exit 1")` puts a command into the path."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def make(name, does):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)

    return make


def test_a_reference_without_a_tag_is_refused_before_anything_is_uploaded(lab, shelved):
    for place in ("oras://x:5000/lab/selu", f"oras://x/lab/selu@{ONE}"):
        with pytest.raises(ImageError, match=r"lab/selu: has no tag to push to; name one: oras://.*/lab/selu:v1"):
            push(shelved, Place.parse(place), shelf=lab, apptainer=NONE)


@pytest.mark.parametrize(("holds", "is_ours"), [("{ours}", True), (TWO, False)])
def test_a_manifest_is_named_only_if_it_is_of_the_file_that_was_pushed(lab, shelved, tool, holds, is_ours):
    tool("apptainer", "exit 0")
    manifest = json.dumps({"layers": [{"digest": holds.format(ours=shelved.digest)}]})
    tool("oras", f"case $1 in resolve) echo {ONE} ;; *) [ $3 = x/lab/selu@{ONE} ] && echo '{manifest}' ;; esac")
    place = Place.parse("oras://x/lab/selu:v1")
    if is_ours:
        assert push(shelved, place, shelf=lab, apptainer=Apptainer()) == Place(place.reference, ONE, shelved.digest)
        return
    with pytest.raises(ImageError, match="selu:v1: names another image than the one just pushed"):
        push(shelved, place, shelf=lab, apptainer=Apptainer())
    assert lab.entries()[0].places == (), "and nobody is told to pull it from there"


def test_what_a_registry_refuses_comes_with_what_to_do(tool):
    tool("oras", "echo 'Error: 401 Unauthorized' >&2; exit 1")
    with pytest.raises(ImageError, match=r"`oras resolve` failed: .* Unauthorized; the registry wants a login"):
        resolve("oras://x/lab/selu:v1", plain_http=False)


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(calls, "STALLED_S", 1.0)
    monkeypatch.setattr(calls, "LOOK_S", 0.05)


WANTED = Place.parse(f"oras://x/lab/selu@{ONE}#{TWO}")


def test_a_pull_that_stalls_is_ended_and_leaves_nothing(mine, tool, quickly):
    tool("apptainer", 'echo half > "$TMPDIR/blob"; exec sleep 60')
    with pytest.raises(ImageError, match=r"got nothing more for 1 s, after 0 MB, and was ended; .* same command again"):
        pull(WANTED, shelf=mine, apptainer=Apptainer())
    assert list(mine.path.iterdir()) == []


def test_a_pull_that_is_slow_goes_on(mine, tool, quickly):
    tool("apptainer", 'for n in 1 2 3 4 5 6; do echo more >> "$TMPDIR/blob"; sleep 0.3; done; echo gone >&2; exit 1')
    with pytest.raises(ImageError, match="failed: gone"):
        pull(WANTED, shelf=mine, apptainer=Apptainer())


def test_a_pull_waits_for_one_of_the_same_image_only(mine):
    held = []

    class Fails(Apptainer):
        def run(self, *_, **__):
            held.append({file.name for file in mine.path.glob(".*.lock")})
            raise ImageError("gone")

    for wanted in (WANTED, Place.parse(f"oras://x/lab/selu@{TWO}#{ONE}"), WANTED):
        with pytest.raises(ImageError, match="gone"):
            pull(wanted, shelf=mine, apptainer=Fails())
    first, another, again = held
    assert first == again
    assert not first & another


def test_an_image_damaged_on_the_shelf_is_not_pushed(lab, shelved, tool, tmp_path):
    tool("oras", "exit 1")
    tool("apptainer", f"touch {tmp_path}/uploaded")
    lab.file(shelved).chmod(0o644)
    lab.file(shelved).write_bytes(b"other")
    with pytest.raises(ImageError, match=r"altered or replaced; pull it again by digest$"):
        push(shelved, Place.parse("oras://x/lab/selu:v1"), shelf=lab, apptainer=Apptainer())
    assert not (tmp_path / "uploaded").exists()


def test_oras_is_lent_the_login_that_apptainer_has(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("APPTAINER_CONFIGDIR", str(tmp_path))
    tool("oras", 'echo "$*"')
    assert resolve("oras://x/lab/selu:v1", plain_http=False) == "resolve x/lab/selu:v1"
    (tmp_path / "docker-config.json").write_text("{}")
    login = f"--registry-config {tmp_path}/docker-config.json"
    assert resolve("oras://x/lab/selu:v1", plain_http=False) == f"resolve {login} x/lab/selu:v1"
