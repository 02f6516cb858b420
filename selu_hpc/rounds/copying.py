"""Copies a checkout's code, by a process of its own that can be begun before there is a place for the copy.

It reads every file at once, waits for a folder's name on its standard input, writes the files there and says their
digest; told nothing it writes nothing. Standard library only: it is started by its path, before anything is imported.
Does not own when a run may have the copy (snapshot.py).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence

PARTS = ("selu_hpc", "configs", "slurm")
"""What jobs run, and what the digest is over."""
FOLDERS_BESIDE = ("containers",)
FILES_BESIDE = (
    "pyproject.toml", "constraints.txt", "requirements-no-deps.txt", "Apptainer.def", "README.md", "Makefile",
)  # fmt: skip
"""What it takes to install the code elsewhere; copied where it is there."""
LEFT_OUT = ("__pycache__", ".pyc", ".pyo", "~", ".swp", ".partial")


def copy_call(source: str) -> tuple[str, ...]:
    """The command that copies a checkout; isolated, so that neither the user's site nor a PYTHONPATH is in its way."""
    return (sys.executable, "-I", "-S", __file__, source)


def main() -> int:
    source = sys.argv[1]
    files = [(name, _read(f"{source}/{name}")) for name in _names(source)]
    beside = [name for name in FILES_BESIDE if os.path.isfile(f"{source}/{name}")]  # noqa: PTH113 - as in _read
    more = [(name, _read(f"{source}/{name}")) for name in (*beside, *_names(source, FOLDERS_BESIDE))]
    target = os.fsdecode(sys.stdin.buffer.read())
    if target:
        _write(files + more, target)
        sys.stdout.write(f"{_digest(files)}\n")
    return 0


def code_digest(source: str) -> str:
    """Sixteen hex digits over every file's path and bytes."""
    return _digest((name, _read(f"{source}/{name}")) for name in _names(source))


def _names(source: str, parts: Sequence[str] = PARTS) -> Iterator[str]:
    """Paths below the source, in an order that depends on names only."""
    for part in parts:
        for folder, folders, names in os.walk(f"{source}/{part}"):
            folders[:] = sorted(name for name in folders if not name.endswith(LEFT_OUT))
            yield from (f"{folder}/{name}"[len(source) + 1 :] for name in sorted(names) if not name.endswith(LEFT_OUT))


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hundreds of them, on every submit
        return file.readall()


def _write(files: list[tuple[str, bytes]], target: str) -> None:
    for folder in dict.fromkeys(f"{target}/{name}".rpartition("/")[0] for name, _ in files):
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
    for name, data in files:
        with open(f"{target}/{name}", "wb", buffering=0) as file:  # noqa: PTH123 - as above
            left = memoryview(data)
            while left:  # a disk that fills up takes a part first and refuses the rest
                left = left[file.write(left) :]


def _digest(files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, data in files:
        digest.update(f"{name}\0{len(data)}\0".encode(errors="surrogateescape"))
        digest.update(data)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
