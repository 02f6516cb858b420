"""One of the pool's processes: holds some environments and does what the pool says, one request after another.

    python -m selu_hpc.envs.worker CONNECTION_FD PARENT_PID

Owns the environments of its slots. When a simulator dies it says why and ends at once: the pool starts a new worker
and replays. When the pool's process is gone it kills its own process group, simulators included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from selu_hpc.config import Backend, EnvConfig
from selu_hpc.envs.base import Environment, NoSuchSceneError, StepResult
from selu_hpc.envs.words import language_of
from selu_hpc.errors import ConfigError, SimulatorError

SIMULATOR_DIED = 70
"""The worker's exit status after a death that it noticed itself."""
DIED = "died"
"""The file in a worker's folder that then names the slot whose simulator it was."""
NOT_SURVIVED = "the simulator did not survive it"
"""Why a lost step failed."""
ONE_STATE = 100_000
"""More objects than an unpacked state has: it goes when the next one comes, with no walk for garbage between."""


@dataclass(frozen=True)
class Place:
    """Where one environment lives: its configuration, its private HOME, and what to do when its process dies.

    executable: a command to run instead of the configured simulator; number: the slot, for spreading over GPUs.
    """

    config: EnvConfig
    home: Path
    number: int
    executable: tuple[str, ...]
    on_death: Callable[[str], None]


@dataclass(frozen=True)
class Spec:
    """What a worker is told first. factory: "module:function" from a Place to an Environment."""

    config: EnvConfig
    home: Path
    factory: str
    executable: tuple[str, ...] = ()


def variables_of(spec: Spec) -> dict[str, str]:
    """A worker's environment: a HOME and TMPDIR of its own, one thread per library, no GPU it doesn't draw with."""
    variables = dict(os.environ)
    variables.update(
        HOME=str(spec.home),
        TMPDIR=str(spec.home.parent / "tmp"),
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        NUMBA_NUM_THREADS="1",
    )
    for name in ("no_proxy", "NO_PROXY"):  # VirtualHome's client would ask a site's proxy for this machine's port
        variables[name] = ",".join(filter(None, (variables.get(name), "127.0.0.1", "localhost")))
    if spec.config.backend is not Backend.CLOUD_RENDERING:
        variables.pop("CUDA_VISIBLE_DEVICES", None)  # the client would look for vulkaninfo and nvidia-smi
    return variables


class Worker:
    """Answers requests `(slot, what, arguments)` with `("ok", value)` or an error."""

    def __init__(self, spec: Spec, on_death: Callable[[int, str], None]) -> None:
        module, _, name = spec.factory.partition(":")
        self._make: Callable[[Place], Environment] = getattr(importlib.import_module(module), name)
        self._spec = spec
        self._on_death = on_death
        self._slots: dict[int, Environment] = {}
        self._surveys: dict[int, Any] = {}

    def answer(self, slot: int, what: str, arguments: tuple[Any, ...]) -> Any:
        environment = self._slots.get(slot)
        if environment is None:
            spec = self._spec
            place = Place(spec.config, spec.home, slot, spec.executable, partial(self._on_death, slot))
            environment = self._slots[slot] = self._make(place)
            gc.freeze()  # the client's modules stay; walking them again after every unpacked state is a fifth of a step
            gc.set_threshold(ONE_STATE)
        match what:
            case "reset":
                task, seed = arguments
                return environment.reset(task, seed=seed)
            case "step":
                return environment.step(*arguments)
            case "lose":
                return self._lose(environment, *arguments)
            case "truth":
                return environment.truth(*arguments)
            case "survey":
                return self._survey(slot, environment, arguments)
        raise AssertionError(what)

    def _lose(self, environment: Environment, text: str) -> StepResult:
        """A step that the simulator is not asked for: words that cannot be read change nothing."""
        language = language_of(self._spec.config.simulator)
        command = language.read(text)
        parsed = language.say(command) if command else ""
        return dataclasses.replace(environment.step(""), parsed=parsed, ok=False, error=NOT_SURVIVED)

    def _survey(self, slot: int, environment: Environment, arguments: tuple[Any, ...]) -> Any:
        from selu_hpc.envs.survey import Survey, Surveyed

        if slot not in self._surveys:
            self._surveys[slot] = Survey(cast(Surveyed, environment))
        what, *rest = arguments
        return getattr(self._surveys[slot], what)(*rest)

    def close(self) -> None:
        for environment in self._slots.values():
            environment.close()


def main() -> None:
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pool decides; a Ctrl-C reaches its process too
    _die_with(parent)
    spec: Spec = connection.recv()

    first = threading.Lock()

    def on_death(slot: int, how: str) -> None:
        first.acquire()  # for good: what other watches see now is not told
        print(how, file=sys.stderr, flush=True)  # noqa: T201 - stderr is the worker's log
        with contextlib.suppress(OSError):
            (spec.home.parent / DIED).write_text(str(slot))
        os._exit(SIMULATOR_DIED)

    worker = Worker(spec, on_death)
    while True:
        try:
            slot, what, arguments = connection.recv()
        except EOFError:
            break
        if what == "close":
            break
        connection.send(_outcome(worker, slot, what, arguments))
    worker.close()


def _outcome(worker: Worker, slot: int, what: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "ok", worker.answer(slot, what, arguments)
    except NoSuchSceneError as error:
        return "no scene", str(error)
    except (ConfigError, FileNotFoundError, PermissionError) as error:
        return "hopeless", f"{type(error).__name__}: {error}"
    except SimulatorError as error:
        return "failed", str(error)
    except Exception as error:  # whatever the client raises: the pool decides whether to try again
        traceback.print_exc()
        return "failed", f"{type(error).__name__}: {error}"


def _die_with(parent: int) -> None:
    """End this process group, which the simulators belong to, when the pool's process has ended."""
    if os.getppid() != parent:
        os.killpg(0, signal.SIGKILL)
    try:
        watched = os.pidfd_open(parent)
    except (OSError, AttributeError):
        return  # a kernel without pidfd: the reaper sees the end of its input

    def look() -> None:
        select.select([watched], [], [])
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=look, name="die-with-parent", daemon=True).start()


if __name__ == "__main__":
    main()
