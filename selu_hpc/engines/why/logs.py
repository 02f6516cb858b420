"""The line of a log that says why: a SeluError's sentence, an exception's last line, or Slurm's words.

A log may quote what a model, a simulator or a server said, and a terminal obeys control characters: the line has none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.viz.plain import plain

TAIL_BYTES = 1 << 18
LONGEST = 400
HEAD_BYTES = 1 << 16
STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{3} ")
FIRST_STAMP = re.compile(rf"^{STAMP.pattern}", re.MULTILINE)
RECORD = re.compile(STAMP.pattern + r"(?P<level>[A-Z]+) +(?P<place>\S+) [\w.]+: (?P<words>.*)")
"""A line of selu_hpc.logs.FORMAT; lines without a stamp belong to the one before."""
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(:.*)?$")
OF_SLURM = re.compile(r"oom.?kill|out of memory|slurmstepd: error|srun: error|\berror: |^Killed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """What an attempt's log says: its last error, if any; the file; when it was begun and last written to."""

    error: str = ""
    file: str = ""
    begun: float | None = None
    written: float | None = None


def read_said(*files: Path) -> Said:
    """The last error of the first of these logs that has one."""
    there = [(file, text) for file in files if (text := tail(file)) is not None]
    if not there:
        return Said()
    written = max(file.stat().st_mtime for file, _ in there)
    begun = next((stamp for file, _ in there if (stamp := first_stamp(file)) is not None), None)
    begun = written if begun is None and not any(text for _, text in there) else begun
    for file, text in there:
        if error := last_error(text):
            return Said(error, str(file), begun, written)
    return Said("", str(there[0][0]), begun, written)


def tail(file: Path) -> str | None:
    """A log's end, None when there is no such file; a log of gigabytes costs no more than a small one."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return None


def last_error(text: str) -> str:
    """One line, shortened, what cannot be seen spelled out (⟨U+001B⟩); empty when the log has no error."""
    lines = text.splitlines()
    found = _last_record(lines) or _last_exception(lines)
    found = found or next((line.strip() for line in reversed(lines) if OF_SLURM.search(line)), "")
    found = plain(found.rstrip(":; "))
    return found if len(found) <= LONGEST else f"{found[: LONGEST - 2]} …"


def first_stamp(file: Path) -> float | None:
    """When a log was begun: its first line with a stamp, before which libraries may have said something."""
    try:
        with file.open("rb") as stream:
            found = FIRST_STAMP.search(stream.read(HEAD_BYTES).decode(errors="replace"))
    except OSError:
        return None
    return time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) if found else None


def _last_record(lines: list[str]) -> str:
    """The last ERROR; of an unexpected one its exception."""
    for words, rest in _records(lines, level="ERROR"):
        return _last_exception(rest) or words
    return ""


def _records(lines: list[str], *, level: str) -> Iterator[tuple[str, list[str]]]:
    """From the last to the first: the words of a record and the lines that belong to it."""
    end = len(lines)
    for at in range(len(lines) - 1, -1, -1):
        found = RECORD.match(lines[at])
        if found and found["level"] == level:
            yield found["words"], lines[at + 1 : end]
        if found:
            end = at


def _last_exception(lines: list[str]) -> str:
    """The line after the frames of the last traceback."""
    starts = [at for at, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[starts[-1] + 1 :] if starts else []
    return next((line for line in after if EXCEPTION.match(line)), "")
