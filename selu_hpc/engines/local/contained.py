"""The local engine's way to run shards inside the run's image: one `containers.launch` process each.

Speaks as `shards.ForkServer`; an image cannot be entered by a fork, so every shard pays its imports.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from os import killpg
from typing import Any, Self

from selu_hpc.engines.local.shards import Running

POLL_S = 0.05


class ContainedShards:
    """Starts, stops and reports the launchers of shards."""

    def __init__(self) -> None:
        self._alive: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._alive):
            self.kill(name, 9)

    def start(self, shard: Running) -> None:
        place = shard.place
        log = place.log(shard.attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        line = [sys.executable, "-m", "selu_hpc.containers.launch", "--run", str(place.run.path)]
        line += ["--stage", str(place.stage), "--round", str(place.round_id), "--shard", str(place.shard)]
        with log.open("ab") as file:
            self._alive[shard.name] = subprocess.Popen(
                [*line, "--attempt", str(shard.attempt)],
                env=shard.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
            )

    def kill(self, name: str, number: int) -> None:
        with suppress(ProcessLookupError):
            killpg(self._alive[name].pid, number)

    def messages(self, *, timeout_s: float) -> list[dict[str, Any]]:
        until = time.monotonic() + timeout_s
        while True:
            ended = {name: code for name, child in self._alive.items() if (code := child.poll()) is not None}
            if ended or time.monotonic() > until:
                break
            time.sleep(POLL_S)
        for name in ended:
            del self._alive[name]
        return [{"ended": name, "code": code} for name, code in ended.items()]
