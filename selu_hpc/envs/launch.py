"""How a THOR process is started: the stand-in, a Unity build headless, or a Unity build under Xvfb.

Owns the Controller's launch arguments and the private folder a build is found in. The three back-ends differ in an
executable and in nothing else. Does not own which GPU draws (gpu.py), the process once it runs (thor/client.py) or
many of them (pool.py).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selu_hpc.config import Backend, EnvConfig, Simulator
from selu_hpc.envs.gpu import as_client_counts, vulkan_mapping
from selu_hpc.errors import ConfigError, SimulatorError
from selu_hpc.sim.nursery import Nursery

_PLATFORMS = {Backend.CLOUD_RENDERING: "CloudRendering", Backend.XVFB: "Linux64"}
XVFB_START_S = 20.0
XVFB_END_S = 2.0
"""How long it may take to remove its socket and its lock, which would stay in /tmp if it were killed at once."""


@dataclass(frozen=True)
class Launch:
    """Everything `ai2thor.controller.Controller` is told about the process.

    home: the HOME of this process; releases are linked into it, logs are written to it.
    executable: a command to run instead of the stand-in, for tests and for a build at an odd place.
    cuda_index: the CUDA device that draws, for `cloud_rendering`; None leaves it to the driver.
    """

    config: EnvConfig
    home: Path
    executable: Sequence[str] = ()
    cuda_index: int | None = None

    def arguments(self, display: str = "") -> dict[str, Any]:
        """The Controller's launch arguments; `display` is the X server's for `xvfb`."""
        size = {"width": self.config.width, "height": self.config.height}
        if self.config.backend is Backend.STAND_IN or self.executable:
            command = list(self.executable) or quick_command(self.config, self.home)
            # The path is split like a shell's words; without a display Popen would be given None for DISPLAY.
            return {**size, "local_executable_path": shlex.join(command), "x_display": display or "0"}
        build = {"platform": _PLATFORMS[self.config.backend], "commit_id": self.config.unity_commit}
        if self.config.backend is Backend.XVFB:
            return {**size, **build, "x_display": display}
        return {
            **size,
            **build,
            **({} if self.cuda_index is None else {"gpu_device": as_client_counts(self.cuda_index)}),
        }

    def link_release(self) -> None:
        """Make the fetched build look like one the client has downloaded into this HOME."""
        if self.config.backend is Backend.STAND_IN or self.executable:
            return
        source = release_folder(self.config)
        target = self.home / ".ai2thor" / "releases" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(source, target_is_directory=True)
        if self.cuda_index is not None and self.config.vulkan_devices:
            mapping = vulkan_mapping(self.config, self.cuda_index)
            (self.home / ".ai2thor" / "cuda-vulkan-mapping.json").write_text(json.dumps(mapping))

    @contextlib.contextmanager
    def display(self) -> Iterator[str]:
        """A private X server for `xvfb`; nothing for the others."""
        if self.config.backend is not Backend.XVFB or self.executable:
            yield ""
            return
        with _xvfb(self.config.width, self.config.height) as display:
            yield display


def stand_in_command(config: EnvConfig) -> list[str]:
    """The command line of the built-in replacement of the Unity process."""
    module = "thor_build" if config.simulator is Simulator.THOR else "virtualhome_server"
    return [sys.executable, "-m", f"selu_hpc.sim.{module}", "--world", str(config.world)]


def quick_command(config: EnvConfig, home: Path) -> list[str]:
    """The same process as a fork from this process's nursery, which is opened for the first."""
    _, _, module, *arguments = stand_in_command(config)
    if module not in _nurseries:
        _nurseries[module] = Nursery(module, folder=home / module)
        atexit.register(_nurseries[module].close)
    return _nurseries[module].command(*arguments)


_nurseries: dict[str, Nursery] = {}


def release_folder(config: EnvConfig) -> Path:
    """The fetched build's folder, checked for what the client needs in it."""
    if not config.unity_commit or not config.unity_releases:
        raise ConfigError(
            f"env.backend is {config.backend}, which needs env.unity_commit and env.unity_releases; "
            "docs/real-simulators.md says how to fetch a build"
        )
    name = f"thor-{_PLATFORMS[config.backend]}-{config.unity_commit}"
    folder = Path(config.unity_releases).expanduser().resolve() / name
    executable = folder / name
    if not os.access(executable, os.X_OK) or not executable.is_file():
        raise ConfigError(f"{executable} is not an executable file; docs/real-simulators.md says how to fetch a build")
    if not (folder / "metadata.json").is_file():
        raise ConfigError(f'{folder} has no metadata.json; write {{"server_types": ["FIFO", "WSGI"]}} there')
    return folder


@contextlib.contextmanager
def _xvfb(width: int, height: int) -> Iterator[str]:
    """Xvfb on a display number that it chooses itself, so that tasks on one node don't meet."""
    command = shutil.which("Xvfb")
    if command is None:
        raise SimulatorError("env.backend is xvfb and there is no Xvfb here; install it or use cloud_rendering")
    reader, writer = os.pipe()
    screen = f"{max(width, 640)}x{max(height, 480)}x24"
    process = subprocess.Popen(
        [command, "-displayfd", str(writer), "-screen", "0", screen, "+extension", "GLX", "-nolisten", "tcp"],
        pass_fds=(writer,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            number = answer.readline().strip()
        if not number:
            raise SimulatorError(f"Xvfb ended with status {process.wait(timeout=XVFB_START_S)} before it had a display")
        yield f":{number}"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(XVFB_END_S)
        process.kill()
        process.wait()
