"""The run's journal: one JSON object a line, appended and synced, never rewritten.

Owns appending and reading. What events mean belongs to who writes them, the engines and `cancel`. A run's: `plan`,
`code`, `started`, `ended`, `corrupt`, `gave_up`, `finished`; of its Slurm jobs: `slurm_run`, `intent`, `submitted`,
`released`, `adopted`, `abandoned`, `rewired`, `cancelled`, `stopped`; of nodes: `quarantined`, `readmitted`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ONE_BY_ONE = threading.Lock()
"""Of this process's threads; one that looks while another writes could see half a block, and end it for it."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Appends are one write to a file opened with O_APPEND, so lines of two writers never mix."""

    path: Path

    def append(self, event: str, *, sync: bool = True, **fields: Any) -> None:
        """One event. Without sync it survives this process but not a power cut, until the next synced one."""
        self._write([_line(event, fields)], sync=sync)

    def append_all(self, event: str, all_fields: Iterable[Mapping[str, Any]]) -> None:
        """Many events of one kind, in one write and one sync."""
        if lines := [_line(event, fields) for fields in all_fields]:
            self._write(lines, sync=True)

    def sync(self) -> None:
        """Make everything appended so far durable."""
        self._write([], sync=True)

    def _write(self, lines: list[bytes], *, sync: bool) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if lines:
                with ONE_BY_ONE:
                    block = memoryview(_missing_newline(descriptor) + b"".join(lines))
                    while block:  # a disk that fills up takes a part first and refuses the rest
                        block = block[os.write(descriptor, block) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every whole line with an event; a line torn by a crash, or written by something else, is left out."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                yield event


def _line(event: str, fields: Mapping[str, Any]) -> bytes:
    stamped = {"time": round(time.time(), 3), "event": event, **fields}
    return json.dumps(stamped, ensure_ascii=False, default=str).encode() + b"\n"


def _missing_newline(descriptor: int) -> bytes:
    """What a line torn by a crash still needs at its end."""
    size = os.fstat(descriptor).st_size
    return b"" if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
