"""An image is known by the SHA-256 of its file; this makes, remembers and checks that number.

Hashing a gigabyte for each of a thousand tasks would load the shared storage, so a node remembers what it found,
under the file's size, inode and modification time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selu_hpc.containers.node import node_folder
from selu_hpc.errors import ImageError

_WHOLE = re.compile("sha256:[0-9a-f]{64}")


class ReplacedError(ImageError):
    """The file is another one than when we began to look at it."""


def digest_of(image: Path, *, remember: bool = True) -> str:
    """`sha256:…` of an image file; hashed once per node and version of the file."""
    if remember and (known := noted(image, "digest")):
        return known
    try:
        with image.open("rb") as file, unchanged(image, os.fstat(file.fileno())) as looked_at:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise _missing(image, error) from error
    if remember:
        note(image, "digest", digest, looked_at)
    return digest


@contextmanager
def unchanged(image: Path, begun: os.stat_result | None = None) -> Iterator[os.stat_result]:
    """What is found out about a file inside is true of what lies there at the end; else a ReplacedError."""
    begun = begun or _stat(image)
    yield begun
    if _version(_stat(image)) != _version(begun):
        raise ReplacedError(f"{image}: it was replaced or written to while it was looked at; try again")


def noted(image: Path, what: str) -> str | None:
    """What this node found out about this version of the file."""
    with suppress(OSError, ValueError, KeyError):
        if file := _note(image, what, _stat(image)):
            return str(json.loads(file.read_text())[what])
    return None


def note(image: Path, what: str, value: str, found_of: os.stat_result) -> None:
    """Remember something that was found by reading the whole file, of the version that was read."""
    file = _note(image, what, found_of)
    if file is None:
        return
    with suppress(OSError):
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({what: value, "image": str(image)}))
        partial.rename(file)


def require_digest(image: Path, expected: str, *, remember: bool = True, or_else: str = "") -> None:
    """Refuse an image that is not the one expected. or_else: what may be done instead of bringing it back."""
    found = digest_of(image, remember=remember)
    if found != expected:
        raise ImageError(
            f"{image}: is {short(found)}, expected {short(expected)}: the image was altered or replaced; "
            f"pull it again by digest{or_else}"
        )


def require_whole(digest: str, *, named: str) -> None:
    """Refuse a digest that is cut short, as lists show it: no image would be found to have it."""
    if digest and not _WHOLE.fullmatch(digest):
        raise ImageError(
            f"{named}: {digest} is no whole digest, which has 64 digits; `python -m selu_hpc.images verify FILE` says "
            "an image's"
        )


def short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


def _note(image: Path, what: str, stat: os.stat_result) -> Path | None:
    """Where it is remembered; nowhere, if others could write there."""
    version = (what, image.resolve(), *_version(stat))
    key = hashlib.sha256("|".join(str(part) for part in version).encode()).hexdigest()[:32]
    folder = node_folder("selu-images")
    return folder / key if folder else None


def _version(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _stat(image: Path) -> os.stat_result:
    try:
        return image.stat()
    except OSError as error:
        raise _missing(image, error) from error


def _missing(image: Path, error: OSError) -> ImageError:
    return ImageError(f"{image}: {error.strerror}; build or pull it: `python -m selu_hpc.images --help`")
