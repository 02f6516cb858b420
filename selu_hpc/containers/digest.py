"""An image is known by the SHA-256 of its file; this makes, remembers and checks that number.

Hashing a gigabyte for each of a thousand tasks would load the shared storage, so a node remembers what it found,
under the file's size, inode and modification time.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from selu_hpc.containers.node import node_folder
from selu_hpc.errors import ImageError


def digest_of(image: Path, *, remember: bool = True) -> str:
    """`sha256:…` of an image file; hashed once per node and version of the file."""
    if remember and (known := noted(image, "digest")):
        return known
    try:
        with image.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise _missing(image, error) from error
    if remember:
        note(image, "digest", digest)
    return digest


def noted(image: Path, what: str) -> str | None:
    """What this node found out about this version of the file."""
    with suppress(OSError, ValueError, KeyError):
        if file := _note(image, what):
            return str(json.loads(file.read_text())[what])
    return None


def note(image: Path, what: str, value: str) -> None:
    """Remember something that was found by reading the whole file."""
    file = _note(image, what)
    if file is None:
        return
    with suppress(OSError):
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({what: value, "image": str(image)}))
        partial.rename(file)


def require_digest(image: Path, expected: str) -> None:
    """Refuse an image that is not the one expected."""
    found = digest_of(image)
    if found != expected:
        raise ImageError(
            f"{image}: is {short(found)}, expected {short(expected)}: the image was altered or replaced; "
            "pull it again by digest, or say `--accept-image` to go on with this one"
        )


def short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


def _note(image: Path, what: str) -> Path | None:
    """Where it is remembered; nowhere, if others could write there."""
    try:
        stat = image.stat()
    except OSError as error:
        raise _missing(image, error) from error
    version = (what, image.resolve(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    key = hashlib.sha256("|".join(str(part) for part in version).encode()).hexdigest()[:32]
    folder = node_folder("selu-images")
    return folder / key if folder else None


def _missing(image: Path, error: OSError) -> ImageError:
    return ImageError(f"{image}: {error.strerror}; build or pull it: `python -m selu_hpc.images --help`")
