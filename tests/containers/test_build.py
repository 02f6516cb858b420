"""What a build is asked for, and when one is the same as another; nothing is built here."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from selu_hpc.containers import build
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.build import BuildOptions, build_line, hashes
from selu_hpc.containers.shelf import Made, Shelf
from selu_hpc.errors import ImageError


@pytest.fixture
def fixed(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setattr(build, "code_state", lambda: {"commit": "c0ffee", "dirty": True})
    monkeypatch.setattr(build.os, "getuid", lambda: 1000)


def test_the_whole_line_of_a_build_for_gpus_from_a_local_base(fixed):
    options = BuildOptions(
        bootstrap="localimage", base="/b", variant="cuda", wheels=Path("/a, b/wheels"), ca_file=Path("/ca.crt")
    )
    line = build_line(options, Path("/i/x.sif"), dependencies="d", definition="e", on=None)
    assert line == [
        *("build", "--force", "--mksquashfs-args", "-comp zstd -Xcompression-level 6", "--fakeroot"),
        *("--build-arg", "BOOTSTRAP=localimage", "--build-arg", "BASE=/b"),
        *("--build-arg", "TORCH=torch===2.13.0", "--build-arg", "VARIANT=cuda"),
        *("--build-arg", "COMMIT=c0ffee+", "--build-arg", "DATE=1970-01-01T00:00:00Z"),
        *("--build-arg", "DEPENDENCIES=d", "--build-arg", "DEFINITION=e"),
        *("--build-arg", "ORIGIN=localimage /b"),
        *("--mount", 'type=bind,"source=/a, b/wheels",destination=/build/wheels'),
        *("--mount", "type=bind,source=/ca.crt,destination=/build/ca.crt"),
        *("/i/x.sif", "Apptainer.def"),
    ]


def test_an_image_of_the_same_dependencies_is_the_base_of_the_next(fixed):
    line = build_line(BuildOptions(), Path("/x.sif"), dependencies="d", definition="e", on=Path("/i/old.sif"))
    assert line[line.index("BOOTSTRAP=localimage") + 2] == "BASE=/i/old.sif"


def test_a_local_base_is_found_from_the_folder_a_build_runs_in(tmp_path, fixed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = BuildOptions(bootstrap="localimage", base="base.sif")
    assert f"BASE={tmp_path}/base.sif" in build_line(options, Path("/x"), dependencies="d", definition="e", on=None)


def test_a_value_with_a_comma_stays_one(fixed):
    options = BuildOptions(bootstrap="localimage", base='/the lab, "ours"')
    line = build_line(options, Path("/x.sif"), dependencies="d", definition="e", on=None)
    given = [line[at + 1] for at, word in enumerate(line) if word == "--build-arg"]
    assert '"BASE=/the lab, ""ours"""' in given
    (read,) = (row for row in csv.reader(given) if row[0].startswith("BASE="))
    assert read == ['BASE=/the lab, "ours"']


def test_root_builds_without_fakeroot_and_an_old_apptainer_without_its_new_option(fixed, monkeypatch):
    monkeypatch.setattr(build.os, "getuid", lambda: 0)
    line = build_line(BuildOptions(), Path("/x.sif"), dependencies="d", definition="e", on=None, compress=False)
    assert line[:3] == ["build", "--force", "--build-arg"]


def test_a_definition_that_is_not_there_is_named_before_anything_is_read(tmp_path):
    options = BuildOptions(definition=tmp_path / "nope.def")
    with pytest.raises(ImageError, match=r"no definition file .*nope\.def; the package's own is .*Apptainer\.def"):
        build.build(options, shelf=Shelf(tmp_path / "shelf"), apptainer=Apptainer("apptainer"))


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A checkout of its own, small."""
    for name in (*build.DEPENDENCY_FILES, "README.md", build.DEFINITION):
        (tmp_path / name).write_bytes((build.SOURCE / name).read_bytes())
    for name in build.SOURCE_FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.py").write_text("1")
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    return tmp_path


def with_a_line(file):
    file.write_text(file.read_text() + "\nnumpy-financial==1.0.0\n")


def test_what_is_installed_makes_new_dependencies_and_code_only_a_new_definition(source):
    options = BuildOptions(definition=source / build.DEFINITION)
    before = hashes(options)
    assert hashes(options) == before
    with_a_line(source / "README.md")
    assert hashes(options) == before
    with_a_line(source / "selu_hpc" / "one.py")
    dependencies, definition = hashes(options)
    assert (dependencies == before[0], definition == before[1]) == (True, False)
    with_a_line(source / "constraints.txt")
    assert hashes(options)[0] != dependencies


@pytest.mark.parametrize("other", [{"variant": "cuda"}, {"torch": "torch==2.12.0"}, {"base": "debian:trixie-slim"}])
def test_another_variant_torch_or_base_is_another_image(source, other):
    options = BuildOptions(definition=source / build.DEFINITION)
    assert not set(hashes(options)) & set(hashes(replace(options, **other)))


def test_another_local_base_is_another_image(source, tmp_path):
    base, options = tmp_path / "base.sif", BuildOptions(definition=source / build.DEFINITION, bootstrap="localimage")
    found = set()
    for content in (b"one", b"two"):
        base.write_bytes(content)
        found |= set(hashes(replace(options, base=str(base))))
    found |= set(hashes(replace(options, base=str(tmp_path))))
    assert len(found) == 6


def test_an_image_of_the_same_definition_stands_for_another_only_under_its_name(source, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(source))
    one, shelf = BuildOptions(name="one", definition=source / build.DEFINITION), Shelf(source / "shelf")
    shelf.path.mkdir()
    (source / "made.sif").write_bytes(b"made")
    made = shelf.add(source / "made.sif", name="one", made=Made(definition=hashes(one)[1]), is_built_here=True)
    assert build.build(one, shelf=shelf, apptainer=Apptainer("no apptainer here")) == made
    assert bases(replace(one, name="two"), shelf, monkeypatch) == ["BASE=debian:bookworm-slim"]


def bases(options, shelf, monkeypatch):
    """What apptainer is told to build on."""
    told = []

    def run(_self, arguments, **_words):
        told.extend(arguments)
        if "--help" not in arguments:
            Path(arguments[-2]).write_bytes(b"a new image")
        return ""

    monkeypatch.setattr(Apptainer, "run", run)
    shelf.file(build.build(options, shelf=shelf, apptainer=Apptainer())).unlink()
    return [word for word in told if word.startswith("BASE=")]


def test_an_image_that_lost_its_bytes_is_no_base(source, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(source))
    options, shelf = BuildOptions(definition=source / build.DEFINITION), Shelf(source / "shelf")
    shelf.path.mkdir()
    (source / "made.sif").write_bytes(b"made")
    made = Made(definition="old", dependencies=hashes(options)[0])
    file = shelf.file(shelf.add(source / "made.sif", name="selu_hpc", made=made, is_built_here=True))
    assert bases(options, shelf, monkeypatch) == [f"BASE={file}"]
    file.chmod(0o644)
    file.write_bytes(b"MADE")
    assert bases(options, shelf, monkeypatch) == ["BASE=debian:bookworm-slim"]


@pytest.fixture
def strangers(source, monkeypatch):
    """(options, shelf, file) of an image whose labels say that it is what would be built."""
    monkeypatch.setenv("SELU_SCRATCH", str(source))
    options, shelf = BuildOptions(definition=source / build.DEFINITION), Shelf(source / "shelf")
    shelf.path.mkdir()
    (source / "theirs.sif").write_bytes(b"theirs")
    dependencies, definition = hashes(options)
    made = Made(definition=definition, dependencies=dependencies)
    return options, shelf, shelf.file(shelf.copy_in(source / "theirs.sif", name="selu_hpc", made=made))


def test_an_image_from_elsewhere_neither_stands_for_a_build_nor_is_built_on_by_its_own_word(strangers, monkeypatch):
    options, shelf, _ = strangers
    assert bases(options, shelf, monkeypatch) == ["BASE=debian:bookworm-slim"]
    assert len(shelf.built_here()) == 1, "and what came of it is ours"


def test_an_image_from_elsewhere_is_as_ours_where_a_trusted_key_signed_it(strangers, monkeypatch):
    options, shelf, file = strangers
    options = replace(options, trusted_keys=("A" * 40,))
    monkeypatch.setattr(build, "require_trusted", lambda *_, **__: None)
    assert shelf.file(build.build(options, shelf=shelf, apptainer=Apptainer("no apptainer here"))) == file

    def refuse(*_, **__):
        raise ImageError("signed by nobody")

    monkeypatch.setattr(build, "require_trusted", refuse)
    assert bases(options, shelf, monkeypatch) == ["BASE=debian:bookworm-slim"]


def test_a_signed_copy_of_what_was_built_here_was_built_here_too(strangers, tmp_path):
    _, shelf, _ = strangers
    (tmp_path / "ours.sif").write_bytes(b"ours")
    ours = shelf.add(tmp_path / "ours.sif", name="ours", is_built_here=True)
    theirs = shelf.find("selu_hpc")
    signed = [shelf.sign(one, lambda file: file.write_bytes(file.read_bytes() + b"!")).digest for one in (ours, theirs)]
    assert shelf.built_here() == {ours.digest, signed[0]}


def test_what_the_definition_installs_by_name_has_a_version():
    pinned = {line.partition("==")[0] for line in (build.SOURCE / "constraints.txt").read_text().splitlines()}
    assert {"numpy", "setuptools"} <= pinned


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "a/b"}, "--name 'a/b': give a name"),
        ({"name": ""}, "--name '': give a name"),
        ({"wheels": Path("/nonexist")}, "--wheels /nonexist: no such folder"),
        ({"ca_file": Path("/nonexist")}, "--ca-file /nonexist: no such file"),
        ({"bootstrap": "localimage", "base": "/nonexist"}, "--base /nonexist: no such image"),
    ],
)
def test_what_a_build_would_find_out_late_is_refused_at_once(tmp_path, wrong, said):
    with pytest.raises(ImageError, match=said):
        build.build(BuildOptions(**wrong), shelf=Shelf(tmp_path), apptainer=None)
