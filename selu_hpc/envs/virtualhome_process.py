"""The process behind VirtualHome's client: the stand-in or a Unity build, on a port of its own, watched.

Owns start-up, the connection and the process's end. Does not own what is asked of it (virtualhome.py).
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

from selu_hpc.config import Backend, EnvConfig
from selu_hpc.envs.launch import Launch, quick_command
from selu_hpc.envs.virtualhome import Client, VirtualHomeEnvironment
from selu_hpc.envs.virtualhome_client import UnityCommunication
from selu_hpc.errors import ConfigError, SimulatorError

LOOK_EVERY_S = 0.05
_EXECUTABLE = "*.x86_64"


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
        self._stopping = False

    @property
    def folder(self) -> Path:
        return self._home.absolute()

    def client(self) -> Client:
        if self._client is None:
            self._client = self._start()
        return self._client

    def close(self) -> None:
        self._stopping = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._stack.close()

    def death(self) -> str:
        """How the process ended, or nothing while it lives."""
        process = self._process
        if self._stopping or process is None or process.poll() is None:
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
        """Until the port is open; a process that ends before is seen by `watch_home`, or here."""
        deadline = time.monotonic() + self._config.start_timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                return
            if self.death():
                raise SimulatorError(self.death())
            time.sleep(0.02)
        raise SimulatorError(f"VirtualHome opened no port within env.start_timeout_s {self._config.start_timeout_s:g}")


def virtualhome_environment(
    config: EnvConfig, home: Path, number: int, executable: Sequence[str], on_death: Callable[[str], None]
) -> VirtualHomeEnvironment:
    """An environment with a process of its own; `on_death` is called from another thread when that dies unasked."""
    process = HomeProcess(config, home, number, executable)

    def look() -> None:
        while not process._stopping:
            how = process.death()
            if how:
                on_death(how)
                return
            time.sleep(LOOK_EVERY_S)

    threading.Thread(target=look, name=f"watch-home-{number}", daemon=True).start()
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


def free_port() -> int:
    """A port nobody listens on; should another process take it first, the worker is started again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
