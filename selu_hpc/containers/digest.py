"""An image is known by the SHA-256 of its file; this makes, remembers and checks that number.

Hashing a gigabyte for each of a thousand tasks would load the shared storage, so a node remembers what it found,
under the file's size, inode and modification time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

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
    file = _note(image, what)
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads(file.read_text())[what])
    return None


def note(image: Path, what: str, value: str) -> None:
    """Remember something that was found by reading the whole file."""
    file = _note(image, what)
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


def _note(image: Path, what: str) -> Path:
    try:
        stat = image.stat()
    except OSError as error:
        raise _missing(image, error) from error
    version = (what, image.resolve(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    key = hashlib.sha256("|".join(str(part) for part in version).encode()).hexdigest()[:32]
    return node_folder("selu-images") / key


def _missing(image: Path, error: OSError) -> ImageError:
    return ImageError(f"{image}: {error.strerror}; build or pull it: `python -m selu_hpc.images --help`")


def node_folder(name: str) -> Path:
    """A private folder of this user on this node, which its tasks share and nobody else can write.

    On the site's scratch, else in /tmp; never below TMPDIR, which each task has of its own and loses at its end.
    """
    places = (os.environ.get("SELU_SCRATCH", ""), "/tmp", tempfile.gettempdir())
    base = next(place for place in places if place and os.access(place, os.W_OK | os.X_OK))
    folder = Path(base) / f"{name}-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    stat = folder.lstat()
    if not S_ISDIR(stat.st_mode) or stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
    return folder
