"""What a process says of itself, on stderr and in an attempt's log: when, how grave, where in the run, which module.

Modules log with `logging.getLogger(__name__)`. Handlers are on this package's own loggers only: what a library logs
goes where that library has it go, and what we log is not told again by a handler that a library sets up.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

OURS = ("selu_hpc", "__main__")
"""The loggers above all of ours; a module that is started with -m is called __main__."""

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(place)s %(name)s: %(message)s"
"""engines/why/logs.py reads it back."""

_place: ContextVar[str] = ContextVar("place", default="-")


class _Placed(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(FORMAT, "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.place = _place.get()
        return super().format(record)


def set_up_logging(level: str = "INFO") -> None:
    """One handler on stderr; once per process, at its entry."""
    for name in OURS:
        for old in list(logging.getLogger(name).handlers):
            logging.getLogger(name).removeHandler(old)
        logging.getLogger(name).propagate = False
    _add(logging.StreamHandler(sys.stderr), level)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write to


@contextmanager
def logged_to(file: Path, place: str) -> Iterator[None]:
    """Inside, what is logged from `place` in the run (r01/rollout/3) lies in the file, too, and once."""
    handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    doubled = [(name, old) for name in OURS for old in logging.getLogger(name).handlers if _same_file(old, handler)]
    for name, old in doubled:
        logging.getLogger(name).removeHandler(old)
    _add(handler, "DEBUG")
    before = _place.set(place)
    try:
        yield
    finally:
        _place.reset(before)
        for name in OURS:
            logging.getLogger(name).removeHandler(handler)
        for name, old in doubled:
            logging.getLogger(name).addHandler(old)
        handler.close()


def _same_file(one: logging.Handler, other: logging.FileHandler) -> bool:
    """Whether who started this process has its stderr in the very log."""
    streams = [getattr(handler, "stream", None) for handler in (one, other)]
    try:
        first, second = (os.fstat(stream.fileno()) for stream in streams if stream)
        return os.path.samestat(first, second)
    except (OSError, ValueError):  # a stream that is closed, or none of the system's
        return False


def _add(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(_Placed())
    handler.setLevel(level)
    for name in OURS:
        logging.getLogger(name).setLevel("DEBUG")
        logging.getLogger(name).addHandler(handler)
