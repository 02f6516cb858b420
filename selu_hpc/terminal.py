"""How a command begins and ends at a terminal: letters it can't show, readers that have gone, Ctrl-C, files that the
file system refuses, numbers it takes.

Standard library only: submit loads it before anything else. What a command says is its own.
"""

from __future__ import annotations

import argparse
import errno
import io
import math
import os
import re
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

EXIT_READER_GONE = 128 + signal.SIGPIPE
EXIT_STOPPED = 128 + signal.SIGINT
EXIT_REFUSED = 1

_OWNER = "ask its owner; a folder that is shared needs `umask 002` and a common group (docs/slurm.md)"
_ROOM = "make room, or choose a folder elsewhere"
_STORAGE = "try again, or ask who runs this storage"
REFUSED = {
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EISDIR: "a folder is where a file should be; move it away",
    errno.ENOTDIR: "a file is where a folder should be; move it away",
    errno.EROFS: "choose a folder that can be written",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.ESTALE: _STORAGE,
    errno.EIO: _STORAGE,
}
"""What a file system refuses for reasons of its own, and what to do; anything else is a fault of ours."""
_HOME = re.compile(r"(--[a-z-]+=)?(~[^=]*)")


def enter(main: Callable[[], int]) -> NoReturn:
    """Run a command's main and end the process with its exit code."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - closed by whoever started this
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.argv[1:] = map(_at_home, sys.argv[1:])
    try:
        try:
            code = main()
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        gone = [stream for stream in (sys.stdout, sys.stderr) if stream and _reader_is_gone(stream)]
        if not gone:  # another pipe than ours: a fault
            raise
        for stream in gone:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left is flushed at the end
        code = EXIT_READER_GONE
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command does again what was left\n")
        code = EXIT_STOPPED
    except OSError as error:
        if _is_nowhere():
            sys.stderr.write("error: the current folder is gone; cd to another, then give the command again\n")
            sys.exit(EXIT_REFUSED)
        if error.errno not in REFUSED or not (error.filename or refuses(sys.stdout)):
            raise
        what = os.fsdecode(error.filename) if error.filename else "standard output"
        sys.stderr.write(f"error: {what}: {error.strerror}; {REFUSED[error.errno]}\n")
        if not error.filename:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_REFUSED
    sys.exit(code)


def _at_home(word: str) -> str:
    """A path with its `~`, which a shell leaves as it is behind an equals sign and in quotes."""
    found = _HOME.fullmatch(word)
    return (found[1] or "") + os.path.expanduser(found[2]) if found else word  # noqa: PTH111 - keeps a slash at its end


def _is_nowhere() -> bool:
    """Whether the folder that the command was given in has been removed."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib's is this
    except FileNotFoundError:
        return True
    return False


def refuses(stream: TextIO) -> bool:
    """Whether what was printed cannot be written."""
    try:
        stream.flush()
        os.write(stream.fileno(), b"\n")  # what is not buffered has been refused already
    except OSError:
        return True
    return False


def _reader_is_gone(stream: TextIO) -> bool:
    ends = select.poll()
    ends.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in ends.poll(0))


def width_of(stream: TextIO) -> int | None:
    """A terminal's columns; None where it is none, or does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def positive(text: str) -> int:
    """An argument's count."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {text}; give a number from 1 on")
    return number


def count(text: str) -> int:
    """An argument's number that may be 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"found {text}; give a number from 0 on")
    return number


def seconds(text: str) -> float:
    """An argument's patience."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"found {text}; give a number of seconds above 0")
    return number


def hours(text: str) -> float:
    """An argument's hours; nothing is above the budget `nan`, so that is none."""
    number = float(text)
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"found {text}; give a number of hours, 0 or more")
    return number
