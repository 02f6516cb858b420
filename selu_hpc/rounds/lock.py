"""One controller per run folder: a lock file that works on NFS and is taken over when its owner is dead.

The lock is made by hard-linking a private file to the lock's name, which NFS does atomically where O_EXCL may not.
The owner touches it every few seconds; a lock nobody touched for `STALE_S`, or whose process on this host is known to
be gone, is broken; where /proc hides other users' processes (hidepid), and of a holder whose processes are numbered
apart from ours (a container, another machine of this name), only the age tells. Who breaks holds a second lock,
PATH.breaking, and looks once more: a lock that somebody else has broken and taken in the meantime is never taken away
from them. Ages are differences of the file server's own times: this machine's clock may be minutes ahead of it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from selu_hpc.errors import LockedError, RunFolderError
from selu_hpc.rounds.rundir import RunDir

BEAT_S = 5.0
STALE_S = 60.0
PAUSE_S = 0.05
TRIES = 100
LOOK_S = 0.2
GONE = (errno.ENOENT, errno.ESTALE)
"""What a file's reader is told that was just removed, by this machine or, on NFS, by another."""


@contextmanager
def hold_lock(path: Path, *, purpose: str) -> Iterator[Callable[[], None]]:
    """Hold the run's lock for the block; raises LockedError that names the holder.

    Gives a check for just before what can't be taken back: it raises where the lock was taken over from a process that
    stood still for too long.
    """
    owner = {"purpose": purpose, "pid": os.getpid(), "born": _born(os.getpid()), **_here()}
    mine = path.with_name(f"{path.name}.{owner['host']}.{os.getpid()}.{time.monotonic_ns()}")
    mine.write_text(json.dumps(owner))
    try:
        _take(path, mine)
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(mine, stop), daemon=True)
        beat.start()
        try:
            yield partial(_require, path, mine)
        finally:
            stop.set()
            beat.join()
            _let_go(path, mine)
    finally:
        mine.unlink(missing_ok=True)


def is_full(error: BaseException | None) -> bool:
    """Whether a file system has no room, or leaves its user none."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def hold_run(run: RunDir, *, purpose: str) -> Iterator[Callable[[], None]]:
    """`hold_lock` of a run, for a command of a person's: a folder that they may not write is named with the way out."""
    with ExitStack() as held:
        try:
            still_mine = held.enter_context(hold_lock(run.lock_file, purpose=purpose))
        except OSError as error:
            do = "ask its owner for leave to write (a Unix group can share it), or choose another with --run"
            if is_full(error):
                do = "make room there, then give the command again"
            raise RunFolderError(f"{run.path}: {purpose} must write in it: {error.strerror or error}; {do}") from error
        yield still_mine


@contextmanager
def wait_for_lock(path: Path, *, purpose: str, patience_s: float = 3600.0) -> Iterator[Callable[[], None]]:
    """As `hold_lock`, but waits for its turn."""
    give_up = time.monotonic() + patience_s
    with ExitStack() as held:
        while True:
            try:
                still_mine = held.enter_context(hold_lock(path, purpose=purpose))
                break
            except LockedError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(LOOK_S)
        yield still_mine


def holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock: host, pid and purpose; None when nobody does, or the holder is dead.

    Who only asks has no file to touch there, so this machine's clock must do.
    """
    owner, dead = _read_owner(path, time.time)
    return None if dead else owner


def _read_owner(path: Path, clock: Callable[[], float]) -> tuple[dict[str, Any] | None, bool]:
    """What the lock says, and whether its holder is dead; (None, False) when there is no lock."""
    owner: dict[str, Any] = {"host": "?", "pid": 0, "purpose": "?"}
    try:
        touched = path.stat().st_mtime
        said = json.loads(path.read_text())
        owner |= {**said, "pid": int(said["pid"])}
    except (ValueError, TypeError, KeyError, PermissionError):  # a power cut may leave it empty
        pass
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None, False
    is_gone = _is_gone(owner["pid"], owner.get("born")) if _here().items() <= owner.items() else None
    return owner, clock() - touched > STALE_S if is_gone is None else is_gone


def _touch(mine: Path) -> float:
    """The file server's time."""
    os.utime(mine)
    return mine.stat().st_mtime


def _take(path: Path, mine: Path) -> None:
    for _ in range(TRIES):
        with suppress(FileExistsError):
            os.link(mine, path)
        if _is_same(path, mine):
            return
        owner, dead = _read_owner(path, partial(_touch, mine))
        if owner and not dead:
            raise LockedError(
                f"{path.parent}: {owner['purpose']} is at work in it (process {owner['pid']} on {owner['host']}); "
                f"wait for it or {_how_to_stop(owner)}, then run the same command again"
            )
        if owner and not _break(path, mine):
            time.sleep(PAUSE_S)
    raise LockedError(f"{path}: another controller takes the lock again and again; wait a minute and try again")


def _how_to_stop(owner: Mapping[str, Any]) -> str:
    return f"stop it (Ctrl-C there, or `kill {owner['pid']}`)" if owner["host"] == socket.gethostname() else "stop it"


def _break(path: Path, mine: Path) -> bool:
    """Remove a dead owner's lock; False when somebody else is just doing so."""
    breaking = path.with_name(f"{path.name}.breaking")
    try:
        os.link(mine, breaking)
    except FileExistsError:
        with _unless_gone():
            if _touch(mine) - breaking.stat().st_mtime > STALE_S:  # killed between these few lines
                breaking.unlink()
        return False
    try:
        # Nobody else can remove it now: what is dead here stays what it is.
        owner, dead = _read_owner(path, partial(_touch, mine))
        if owner and dead:
            with _unless_gone():  # but one that was away for long may come back and let go
                path.unlink()
        return True
    finally:
        _let_go(breaking, mine)


def _let_go(path: Path, mine: Path) -> None:
    """Unlink our own lock; one that was taken over while we were away is somebody else's."""
    if _is_same(path, mine):
        with _unless_gone():
            path.unlink()


def _require(path: Path, mine: Path) -> None:
    if not _is_same(path, mine):
        raise RunFolderError(
            f"{path}: another command took this lock over, for nobody had touched it for {STALE_S:.0f} s; "
            "nothing more is done here: look with `python -m selu_hpc.status`, then run the same command again"
        )


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def _is_same(path: Path, mine: Path) -> bool:
    for _ in range(TRIES):
        try:
            return path.samefile(mine)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        time.sleep(PAUSE_S)  # the name may be another file's by now, even ours
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))


def _here() -> dict[str, str]:
    """Where a number means the same process: this boot of this host, and its namespace of processes."""
    found = {"host": socket.gethostname(), "boot": "", "processes": ""}
    with suppress(OSError):  # no /proc
        found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        found["processes"] = str(Path("/proc/self/ns/pid").readlink())
    return found


def _is_gone(pid: int, born: str | None) -> bool | None:
    """Whether a process of this host has ended; None where that can't be seen."""
    now = _born(pid)
    if now and born:
        return now != born
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return None
    return None


def _born(pid: int) -> str | None:
    """A process's start time in clock ticks; tells it from a later process with the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _beat(mine: Path, stop: threading.Event) -> None:
    """Both names are one file; through our own we never touch a lock that was taken over."""
    while not stop.wait(BEAT_S):
        with suppress(OSError):  # a file server that is away for a moment must not end it
            os.utime(mine)
