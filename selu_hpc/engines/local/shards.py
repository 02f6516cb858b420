"""Shards as processes: what starts, stops and reports them, and our end of the fork server (zygote.py) that does it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from selu_hpc.containers.launch import stage_command
from selu_hpc.errors import EngineError
from selu_hpc.processes import calm
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import ShardDir

START_TIMEOUT_S = 300.0


@dataclass(slots=True)
class Running:
    """One shard at work."""

    key: Key
    place: ShardDir
    attempt: int
    gpus: tuple[str, ...] = ()
    """Lent to it; without any it computes on the CPU."""
    since: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return f"{self.place.name}.{self.attempt}"

    @property
    def command(self) -> list[str]:
        """Of a process of its own, outside any image."""
        place = self.place
        words = stage_command(
            place.stage, run=place.run.path, round_id=place.round_id, shard=place.shard, attempt=self.attempt
        )
        return [sys.executable, *words[1:]]

    @property
    def environment(self) -> dict[str, str]:
        """Of a process of its own: ours, and which devices are its own."""
        found = {name: value for name, value in _environment().items() if name != "DS_ACCELERATOR"}
        return found | ({"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {"DS_ACCELERATOR": "cpu"})


def _environment() -> dict[str, str]:
    """Ours, for processes that share this machine's cores: each shard has one."""
    return {**os.environ, **calm(threads=1), "PYTHONUNBUFFERED": "1"}


class ForkServer(Protocol):
    """What starts, stops and reports shards' processes."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def start(self, shard: Running) -> None: ...
    def kill(self, name: str, number: int) -> None: ...
    def messages(self, *, timeout_s: float) -> list[dict[str, Any]]: ...


class Zygote:
    """Our end of the fork server."""

    def __init__(self) -> None:
        # A process that has looked for GPUs cannot fork children that use them.
        environment = {**_environment(), "DS_ACCELERATOR": "cpu"}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "selu_hpc.engines.local.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            process_group=0,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._buffer = b""

    def __enter__(self) -> Self:
        try:
            if not any("ready" in message for message in self.messages(timeout_s=START_TIMEOUT_S)):
                raise EngineError(f"the worker process did not start within {START_TIMEOUT_S:.0f} s")
        except BaseException:
            self._process.kill()
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._stdout, self._stderr):
            stream.close()

    def start(self, shard: Running) -> None:
        place = shard.place
        request = {
            "start": shard.name,
            "stage": str(shard.key.stage),
            "run": str(place.run.path),
            "round_id": place.round_id,
            "shard": place.shard,
            "attempt": shard.attempt,
            "log": str(place.log(shard.attempt)),
        }
        if shard.gpus:  # DeepSpeed, once loaded for the CPU, stays there
            request |= {"command": shard.command, "environment": shard.environment}
        self._send(request)

    def kill(self, name: str, number: int) -> None:
        with suppress(EngineError):
            self._send({"kill": name, "signal": int(number)})

    def messages(self, *, timeout_s: float) -> list[dict[str, Any]]:
        """What the zygote said until now, waiting at most so long for the first word."""
        readable, _, _ = select.select([self._stdout], [], [], timeout_s)
        if not readable:
            return []
        data = os.read(self._stdout.fileno(), 65536)
        if not data:
            raise EngineError(f"the worker process ended (exit {self._process.wait()}):\n{self._last_words()}")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        except OSError as error:
            raise EngineError(f"the worker process is gone: {error}") from error

    def _last_words(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-3000:]
