"""Folders on a node's scratch that one user's tasks share, and making room in them.

Owns where they lie, whether they can be believed, and when something in them is old. Not what is written there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

UNUSED_S = 14 * 24 * 3600.0
"""After this long without a task, what was kept for an image makes room for another's."""


def node_folder(name: str) -> Path | None:
    """A private folder of this user on this node; None where others made it or can write it.

    On the site's scratch, else in /tmp; never below TMPDIR, which each task has of its own and loses at its end.
    """
    places = (os.environ.get("SELU_SCRATCH", ""), "/tmp", tempfile.gettempdir())
    base = next(place for place in places if place and os.access(place, os.W_OK | os.X_OK))
    folder = Path(base) / f"{name}-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    stat = folder.lstat()
    if not S_ISDIR(stat.st_mode) or stat.st_uid != os.getuid() or stat.st_mode & 0o077:
        return None
    return folder


def used_now(folder: Path) -> None:
    """Note that a task starts from it, so that it is not removed as old."""
    with suppress(OSError):
        os.utime(folder)


def make_room(place: Path) -> None:
    """Remove what no task used for long; under a lock, so what is not whole was left by a task that was killed."""
    for folder in [one for one in place.iterdir() if one.is_dir()]:
        if not folder.name.startswith(".") and time.time() - folder.stat().st_mtime > UNUSED_S:
            # Renamed first: half a folder must not have the name of a whole one.
            folder = folder.rename(folder.with_name(f".{folder.name}.going"))
        if folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
