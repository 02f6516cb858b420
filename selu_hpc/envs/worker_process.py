"""The pool's end of its processes: a worker's, with what it was asked and may take, and that of who clears up after us.

Owns how both are started, told and ended. Does not own what is asked when (pool.py), what a worker does inside
(worker.py) or how the reaper clears up (reaper.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from selu_hpc.envs.worker import DIED, Spec, variables_of

CLOSE_S = 5.0
"""How long a worker may take to stop its simulators before it is killed."""
LAST_LINES = 12
_LOGS = (".ai2thor/log/unity.log", "virtualhome-*.out", "virtualhome-*.log", ".config/unity3d/**/Player.log")
"""Below a worker's HOME: what clients and servers print, and what Unity players write by themselves."""


class Request(NamedTuple):
    """What a slot is asked: `Request(3, "step", ("move ahead",))`."""

    slot: int
    what: str
    arguments: tuple[Any, ...]


class WorkerProcess:
    """The pool's end of one worker process.

    queue: what it is still to answer, the first of it asked already; replaying: how many of these were answered before
    it was started again; deadline, allowed_s: when the answer is overdue, and how long it was given.
    """

    def __init__(self, spec: Spec, reaper: Reaper) -> None:
        self._spec = spec
        self._reaper = reaper
        self._process: subprocess.Popen[bytes] | None = None
        self._started: set[int] = set()
        self.num_restarts = 0
        self.queue: list[Request] = []
        self.replaying = 0
        self.deadline = 0.0
        self.allowed_s = 0.0
        self.connection: Connection
        self.start()

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def home(self) -> Path:
        return self._spec.home

    @property
    def folder(self) -> Path:
        return self.home.parent

    def start(self, *, last_try: bool = False) -> None:
        """last_try: each request may take as long as a start, so that a slow node is not taken for a fatal deed."""
        config = self._spec.config
        if last_try:
            config = config.but(step_timeout_s=config.step_timeout_s + config.start_timeout_s)
        self._limits = config
        tmp = self.folder / "tmp"
        for folder in (self.home, tmp):
            folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        log = (self.folder / "worker.log").open("ab")
        with theirs, log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "selu_hpc.envs.worker", str(theirs.fileno()), str(os.getpid())],
                env=variables_of(self._spec),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._reaper.watch(self._process.pid)
        self.connection = Connection(ours.detach())
        self.connection.send(replace(self._spec, config=config))
        self._started.clear()

    def send(self, request: Request) -> None:
        self.allowed_s = self._limits.step_timeout_s
        if request.slot not in self._started:
            self.allowed_s += self._limits.start_timeout_s
            self._started.add(request.slot)
        self.deadline = time.monotonic() + self.allowed_s
        self.connection.send(tuple(request))  # a plain one, for which the worker need not load this module

    def ask_to_close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.send((0, "close", ()))

    def end(self, *, grace_s: float) -> None:
        """Gone when this returns: the worker, its simulators, its folder."""
        process = self._process
        if process is None:
            return
        if grace_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _wait_for_group(process.pid)
        self.connection.close()
        self._reaper.forget(process.pid)
        self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def died(self) -> int | None:
        """The slot whose simulator's death ended the worker, where it was that; known until `end`."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / DIED).read_text())
        return None

    def last_words(self) -> str:
        """The end of the worker's log and of every simulator's."""
        found = [log for pattern in _LOGS for log in sorted(self.home.glob(pattern))]
        lines: list[str] = []
        for log in (self.folder / "worker.log", *found):
            with contextlib.suppress(OSError):
                lines += log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"    {line[:500]}" for line in lines)


class Reaper:
    """The pool's end of the process that clears up when we can't."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("reaper.py")), str(os.getpid()), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def process_id(self) -> int:
        return self._process.pid

    def watch(self, group: int) -> None:
        self._tell(f"group {group}")

    def forget(self, group: int) -> None:
        self._tell(f"forget {group}")

    def dismiss(self) -> None:
        self._tell("done 0")
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def _wait_for_group(group: int) -> None:
    """Until the killed group's last process is dead; orphans are init's to reap, and some inits don't."""
    deadline = time.monotonic() + CLOSE_S
    while time.monotonic() < deadline and _alive(group):
        time.sleep(0.005)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in "ZX":
                return True
    return False
