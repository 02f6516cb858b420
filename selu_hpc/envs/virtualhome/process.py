"""The process behind VirtualHome's client: the stand-in or a Unity build, on a port of its own.

Owns start-up, the connection and the process's end. Does not own what is asked of it (environment.py) or
the watch over it (watch.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from selu_hpc.config import Backend, EnvConfig
from selu_hpc.envs.launch import Launch, quick_command
from selu_hpc.envs.virtualhome.client import UnityCommunication
from selu_hpc.envs.virtualhome.environment import Client, VirtualHomeEnvironment
from selu_hpc.envs.watch import watch
from selu_hpc.errors import ConfigError, SimulatorError

_EXECUTABLE = "*.x86_64"
_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class HomeProcess:
    """Starts the process when its client is first asked for."""

    def __init__(self, config: EnvConfig, home: Path, number: int, executable: Sequence[str] = ()) -> None:
        self._config = config
        self._home = home
        self._number = number
        self._executable = tuple(executable)
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self.stopping = threading.Event()

    @property
    def folder(self) -> Path:
        return self._home.absolute()

    def client(self) -> Client:
        if self._client is None:
            self._client = self._start()
        return self._client

    def close(self) -> None:
        self.stopping.set()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._stack.close()

    def death(self) -> str:
        """How the process ended, or nothing while it lives."""
        process = self._process
        if self.stopping.is_set() or process is None or process.poll() is None:
            return ""
        return f"the VirtualHome process {process.pid} ended with status {process.returncode}"

    def _start(self) -> Client:
        config = self._config
        port = free_port()
        log = self._home / f"virtualhome-{self._number}.log"
        display = self._stack.enter_context(Launch(config, self._home, self._executable).display())
        command = [
            *(self._executable or command_for(config, self._home)),
            "-batchmode",
            f"-http-port={port}",
            "-logFile",
            str(log),
        ]
        with log.with_suffix(".out").open("ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "DISPLAY": display},
            )
        self._wait_for(port)
        client: Client = UnityCommunication(port=str(port), timeout_wait=config.step_timeout_s)
        return client

    def _wait_for(self, port: int) -> None:
        """Until the port is open; a process that ends before is seen by the thread that watches it, or here."""
        deadline = time.monotonic() + self._config.start_timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                self._refuse_stranger(port)
                return
            if self.death():
                raise SimulatorError(self.death())
            time.sleep(0.02)
        raise SimulatorError(f"VirtualHome opened no port within env.start_timeout_s {self._config.start_timeout_s:g}")

    def _refuse_stranger(self, port: int) -> None:
        """A Unity player that finds its port taken logs it and lives on; the stand-in ends (and is another's fork)."""
        process = self._process
        if process is None or (self._config.backend is Backend.STAND_IN and not self._executable):
            return
        if not listens(process.pid, port):
            raise SimulatorError(f"another process listens on port {port}, which VirtualHome was to have")


def virtualhome_environment(
    config: EnvConfig, home: Path, number: int, executable: Sequence[str], on_death: Callable[[str], None]
) -> VirtualHomeEnvironment:
    """An environment with a process of its own; `on_death` is called from another thread when that dies unasked."""
    process = HomeProcess(config, home, number, executable)
    watch(process, on_death)
    return VirtualHomeEnvironment(config, process)


def command_for(config: EnvConfig, home: Path) -> list[str]:
    """The command line of the stand-in, or the one executable in the folder of fetched builds."""
    if config.backend is Backend.STAND_IN:
        return quick_command(config, home)
    found = sorted(Path(config.unity_releases).expanduser().glob(_EXECUTABLE)) if config.unity_releases else []
    if len(found) != 1:
        raise ConfigError(
            f"env.unity_releases {config.unity_releases!r} has {len(found)} files like {_EXECUTABLE}, not one; "
            "docs/real-simulators.md says how to fetch VirtualHome"
        )
    return [str(found[0].resolve())]


def listens(pid: int, port: int) -> bool:
    """Whether a process or one it started listens on a port; True where the kernel does not say."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    try:
        rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        links = [fd.readlink() for one in family for fd in Path(f"/proc/{one.pid}/fd").iterdir()]
    except (OSError, psutil.Error):
        return True
    wanted = {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENS and row[1].endswith(f":{port:04X}")}
    return not wanted or not wanted.isdisjoint(map(str, links))


def free_port() -> int:
    """A port nobody listens on; should another process take it first, the worker is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
