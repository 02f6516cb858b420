"""Carries what an earlier attempt acknowledged into a new attempt's folder."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from selu_hpc.rounds.rundir import sync_files, sync_folder
from selu_hpc.store.arrays import refused
from selu_hpc.store.commits import LOG
from selu_hpc.store.roots import NFS_KEEPS, ROOT, is_finished

logger = logging.getLogger(__name__)

_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


def adopt(old: Path, new: Path) -> bool:
    """Give a new attempt an earlier one's store; true when there was one to take and `new` did not exist.

    A writer of the old attempt that is still alive cannot harm the new store: data files are only ever replaced by
    rename, so they are hard-linked, and the commit log, which grows in place, is copied. Damage in what was taken is
    found when the new writer opens it.
    """
    if new.exists() or not (is_finished(old) or (old / LOG).exists()):
        return False
    partial = new.with_name(f".{new.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _take(old, partial)
        sync_files(partial, [file.relative_to(partial).as_posix() for file in partial.rglob("*") if file.is_file()])
        partial.rename(new)
        sync_folder(new.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise refused(new, error) from error
    return True


def _take(old: Path, new: Path) -> None:
    """The index first, then the data it speaks of: what is written meanwhile can only be more."""
    if not is_finished(old):
        try:
            shutil.copyfile(old / LOG, new / LOG)
        except FileNotFoundError:  # its writer finished a moment ago
            logger.info("%s: finished while it was being taken over", old)
    finished = is_finished(old)
    for file in sorted(old.rglob("*")):
        name = file.relative_to(old)
        if (
            name.as_posix() in (LOG, ROOT)
            or not file.is_file()
            or file.name.endswith(".partial")
            or file.name.startswith(NFS_KEEPS)
        ):
            continue
        (new / name).parent.mkdir(exist_ok=True)
        _link(file, new / name)
    if finished:
        _link(old / ROOT, new / ROOT)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:  # a file its writer has just put away; the index does not speak of it
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)
