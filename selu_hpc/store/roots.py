"""The `zarr.json` at a store's root: written last, it says the store is finished and what its files are.

Does not own what the records mean.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c

from selu_hpc.errors import CorruptShardError, RunFolderError, UnreadableShardError
from selu_hpc.store import arrays
from selu_hpc.store.arrays import damaged, unread

ROOT = "zarr.json"
VERSION = 1
NFS_KEEPS = ".nfs"
"""How the names begin under which NFS keeps what was removed or replaced while somebody reads it."""


def is_finished(folder: Path) -> bool:
    try:
        return stat.S_ISREG((folder / ROOT).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unread(folder / ROOT, error) from error


def is_whole(folder: Path) -> bool:
    """Whether a store is finished and every file of it is what was written; reads all of it."""
    try:
        kind = json.loads((folder / ROOT).read_bytes())["attributes"]["kind"]
        read_root(folder, kind, verify=True)
    except UnreadableShardError:
        raise
    except (FileNotFoundError, ValueError, KeyError, TypeError, CorruptShardError):
        return False
    except OSError as error:
        raise unread(folder / ROOT, error) from error
    return True


def content_digest(records: Sequence[dict[str, Any]]) -> str:
    """What the records say, whichever version of a compressor wrote them."""
    text = json.dumps(records, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def write_root(folder: Path, kind: str, *, checked: Sequence[str], num_records: int, content: str) -> None:
    """Finish a store: `checked` arrays' files are listed with their sizes and checksums."""
    there = sorted(file for name in checked for file in (folder / name).iterdir())
    files = [file for file in there if not file.name.startswith(NFS_KEEPS)]
    attributes: dict[str, Any] = {
        "kind": kind,
        "version": VERSION,
        "num_records": num_records,
        "content": content,
        "files": {file.relative_to(folder).as_posix(): _checksum(file) for file in files},
    }
    attributes["checksum"] = _checksum_of(attributes)
    arrays.write_metadata(folder, {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def read_root(folder: Path, kind: str, *, verify: bool = False) -> dict[str, Any]:
    """A finished store's attributes; with `verify` every file is compared with its checksum."""
    try:
        root: dict[str, Any] = json.loads((folder / ROOT).read_bytes())
        attributes: dict[str, Any] = root["attributes"]
        checksum = attributes.pop("checksum")
        whole = checksum == _checksum_of(attributes) and (root["zarr_format"], root["node_type"]) == (3, "group")
    except OSError as error:
        raise unread(folder / ROOT, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / ROOT, f"is not a store's metadata ({error})") from error
    if not whole:
        raise damaged(folder / ROOT, "does not match its checksum")
    if (attributes["kind"], attributes["version"]) != (kind, VERSION):
        raise RunFolderError(
            f"{folder}: holds {attributes['kind']} in version {attributes['version']}, not {kind} {VERSION}; "
            "it is left as it is. Read it with the code that wrote it (RUN/code), or name another folder"
        )
    if verify:
        _verify(folder, attributes["files"])
    return attributes


def _verify(folder: Path, files: dict[str, list[int]]) -> None:
    for name, expected in files.items():
        file = folder / name
        try:
            found = _checksum(file)
        except FileNotFoundError as error:
            raise damaged(file, "is missing") from error
        except OSError as error:
            raise unread(file, error) from error
        if found != expected:
            what = f"{found[0]} bytes, crc32c {found[1]:08x}"
            raise damaged(file, f"has {what}; it was written with {expected[0]} bytes, crc32c {expected[1]:08x}")


def _checksum(file: Path) -> list[int]:
    """Size and crc32c."""
    size = crc = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            crc = google_crc32c.extend(crc, block)
            size += len(block)
    return [size, crc]


def _checksum_of(attributes: dict[str, Any]) -> int:
    value: int = google_crc32c.value(json.dumps(attributes, sort_keys=True).encode())
    return value
