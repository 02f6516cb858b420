"""The commit index of a store that is being written: which records are acknowledged, and what they say.

One line a record, `crc32c hex, space, JSON`, appended and fsynced after the data it speaks of. A line that a crash
tore is the last one and was never acknowledged, so opening cuts it off. The open file is also the writer's lock.
Does not own what a record means, or the arrays a finished store has instead (arrays.py).
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c

from selu_hpc.errors import CorruptShardError, RunFolderError, UnreadableShardError
from selu_hpc.rounds.rundir import sync_folder, write_bytes
from selu_hpc.store.arrays import damaged, refused, unread
from selu_hpc.store.roots import ROOT, is_finished, read_root

logger = logging.getLogger(__name__)

LOG = "commits.log"


class CommitLog:
    """The index opened for writing by one process; `records` are the acknowledged ones."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._lock()
            self.records, self._size, damage = _parse(self.path)
            if damage:
                logger.warning("%s: %s; what follows is made anew", self.path, damage)
            os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
            sync_folder(folder)
        except BaseException:
            os.close(self._descriptor)
            raise

    @classmethod
    def begin(cls, folder: Path, kind: str) -> CommitLog | None:
        """Begin a store or go on with it; None when it is finished and whole. A damaged finished one is removed."""
        try:
            if _finished(folder, kind) and not (folder / LOG).exists():
                return None
            folder.mkdir(parents=True, exist_ok=True)
            log = cls(folder)
        except OSError as error:
            raise refused(folder, error) from error
        if is_finished(folder):  # its writer ended between our two looks, or was killed before it removed the log
            log.remove()
            log.close()
            return None
        return log

    @classmethod
    def reopen(cls, folder: Path, records: list[dict[str, Any]]) -> CommitLog:
        """Make a finished store an unfinished one that holds these records."""
        try:
            write_bytes(folder / LOG, b"".join(_line(record) for record in records))
            (folder / ROOT).unlink()
            sync_folder(folder)
            return cls(folder)
        except OSError as error:
            raise refused(folder, error) from error

    def append(self, records: list[dict[str, Any]]) -> None:
        """Acknowledge records: durable when this returns, none of them when it raises."""
        data = b"".join(_line(record) for record in records)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise refused(self.path, error) from error
        self._size += len(data)
        self.records += records

    def rewind(self, num_records: int) -> None:
        """Take back every record from `num_records` on."""
        if num_records >= len(self.records):
            return
        self.records = self.records[:num_records]
        self._size = sum(len(_line(record)) for record in self.records)
        os.ftruncate(self._descriptor, self._size)
        os.fsync(self._descriptor)

    def remove(self) -> None:
        """The store is finished: its arrays say it all."""
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(
                f"{self.path.parent}: another process is writing this store; a store has one writer. "
                "Wait for it or end it, or write under another attempt's folder"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            logger.warning("%s: this file system has no locks; two writers would go unnoticed", self.path.parent)


def read_commits(folder: Path) -> list[dict[str, Any]] | None:
    """The acknowledged records of a store; None of one that is finished, also by a writer that just ended."""
    if is_finished(folder):
        return None
    try:
        records, _, damage = _parse(folder / LOG)
    except FileNotFoundError as error:
        if is_finished(folder):
            return None
        raise damaged(folder, "there is no store here") from error
    except OSError as error:
        raise unread(folder / LOG, error) from error
    if damage:
        raise damaged(folder / LOG, damage)
    return records


def _finished(folder: Path, kind: str) -> bool:
    if not is_finished(folder):
        return False
    try:
        read_root(folder, kind, verify=True)
    except UnreadableShardError:
        raise
    except CorruptShardError as error:
        logger.warning("%s; the store is made anew", error)
        shutil.rmtree(folder)
        return False
    return True


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %s\n" % (google_crc32c.value(text), text)


def _parse(path: Path) -> tuple[list[dict[str, Any]], int, str]:
    """Records, how many bytes they take, and what is wrong after them; a last line that a crash tore is not wrong."""
    data = path.read_bytes()
    records: list[dict[str, Any]] = []
    size = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        text = line[9:]
        if line[:9] != b"%08x " % google_crc32c.value(text):
            return records, size, f"line {number} does not match its checksum"
        records.append(json.loads(text))
        size += len(line) + 1
    return records, size, ""
