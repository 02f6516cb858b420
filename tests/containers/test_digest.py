"""What is found out about an image is remembered of the bytes that were looked at, and of no others."""

import hashlib
import json
import os

import pytest

from selu_hpc.containers import digest
from selu_hpc.containers.digest import ReplacedError, digest_of, require_digest
from selu_hpc.containers.trust import require_trusted
from selu_hpc.containers.unpacked import unpacked
from selu_hpc.errors import ImageError

GOOD, EVIL = b"good" * 1000, b"evil"
KEY = "A" * 40


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    file = tmp_path / "x.sif"
    file.write_bytes(GOOD)
    return file


def replace(image):
    other = image.with_suffix(".new")
    other.write_bytes(EVIL)
    other.rename(image)


@pytest.fixture
def replaced(image, monkeypatch):
    """The file is replaced while it is hashed."""
    really = hashlib.file_digest

    def hashing(file, name):
        found = really(file, name)
        replace(image)
        return found

    monkeypatch.setattr(digest.hashlib, "file_digest", hashing)
    yield
    monkeypatch.undo()


def sha(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_file_that_is_replaced_while_it_is_hashed_passes_neither_then_nor_later(
    image, replaced, monkeypatch, tmp_path
):
    with pytest.raises(ReplacedError, match="replaced or written to while it was looked at; try again"):
        require_digest(image, sha(GOOD))
    monkeypatch.undo()
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    with pytest.raises(ImageError, match="the image was altered or replaced"):
        require_digest(image, sha(GOOD))
    assert digest_of(image) == sha(EVIL)


def test_a_file_that_is_still_being_copied_is_not_remembered_as_altered(image, monkeypatch):
    image.write_bytes(GOOD[:100])
    really = hashlib.file_digest

    def hashing(file, name):
        found = really(file, name)
        image.write_bytes(GOOD)
        os.utime(image, ns=(1, 1))
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(digest.hashlib, "file_digest", hashing)
        with pytest.raises(ReplacedError):
            digest_of(image)
    assert digest_of(image) == sha(GOOD)


class Replacing:
    """An apptainer during whose work the file is replaced."""

    def __init__(self, image):
        self.image = image
        self.calls = 0

    def run(self, line, **_):
        self.calls += 1
        if self.calls == 1:
            replace(self.image)
        return json.dumps({"SignerKeys": [{"Signer": {"KeyCheck": True, "DataCheck": True, "Fingerprint": KEY}}]})


def test_a_signature_is_not_remembered_of_a_file_that_was_replaced_meanwhile(image):
    apptainer = Replacing(image)
    with pytest.raises(ReplacedError):
        require_trusted(image, [KEY], apptainer=apptainer)
    require_trusted(image, [KEY], apptainer=apptainer)
    require_trusted(image, [KEY], apptainer=apptainer)
    assert apptainer.calls == 2  # the first was not remembered, the second was


def test_what_was_replaced_while_it_was_unpacked_gets_no_name(image, tmp_path):
    with pytest.raises(ReplacedError):
        unpacked(image, sha(GOOD), apptainer=Replacing(image))
    assert not [one for one in (tmp_path / f"selu-unpacked-{os.getuid()}").iterdir() if not one.name.startswith(".")]
