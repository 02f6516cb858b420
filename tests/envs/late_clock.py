"""A pool whose limits pass when a test says so, not when a busy machine has taken its time."""

from __future__ import annotations

import time
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest

from selu_hpc.envs import pool, worker_process

PATIENT = {"step_timeout_s": 900.0, "start_timeout_s": 900.0}
"""However busy the machine, only what hangs meets these limits: for it the pool's clock is put forward."""


def put_forward_at(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the file `mark` is there, the pool's clock says that every limit has passed."""

    def now() -> float:
        return time.monotonic() + (1e6 if mark.exists() else 0.0)

    def wait(connections: list[Connection], timeout: float) -> list[object]:
        end = now() + timeout
        while True:
            ready = connection.wait(connections, 0.05)
            if ready or now() >= end:
                return ready

    for module in (pool, worker_process):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=now, sleep=time.sleep))
    monkeypatch.setattr(pool, "wait", wait)
