"""Starts a node's ranks when nobody else did, and makes one death the end of all.

The parent holds the store the ranks meet at, so its port is taken before it is told: none is ever guessed.
Does not own what the ranks run: it is given their command line.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from selu_hpc.errors import TrainingError
from selu_hpc.train.ranks import PARENT_STORE, listening_store
from selu_hpc.train.stop import StopWish, listen

logger = logging.getLogger(__name__)

GRACE_S = 5.0
_TAIL_LINES = 15
_PR_SET_PDEATHSIG = 1


def run_ranks(command: Sequence[str], *, num_ranks: int, logs: Path, requeue_code: int) -> int:
    """Run `command` as ranks 0 … n-1 and wait; 0 or `requeue_code` when all agree, TrainingError when one died."""
    store = listening_store("127.0.0.1")
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack, listen() as wish:
        ranks: list[subprocess.Popen[bytes]] = []
        stack.callback(lambda: _kill(ranks))
        for rank in range(num_ranks):
            file = stack.enter_context(_log(logs, rank).open("ab"))
            ranks.append(_start(command, rank, num_ranks, store.port, file.fileno()))
        logger.info("%s ranks started, logs in %s", num_ranks, logs)
        codes = _wait(ranks, wish, requeue_code)
    if set(codes) == {0} or set(codes) == {requeue_code}:
        return codes[0] or 0
    raise TrainingError(_what_happened(codes, requeue_code, logs))


def _wait(ranks: Sequence[subprocess.Popen[bytes]], wish: StopWish, requeue_code: int) -> list[int | None]:
    """How each rank ended; None for those that did not notice in time that another had failed."""
    told = False
    deadline = float("inf")
    while None in (codes := [rank.poll() for rank in ranks]) and time.monotonic() < deadline:
        if wish and not told:
            told = True
            for rank, code in zip(ranks, codes, strict=True):
                if code is None:
                    rank.send_signal(signal.SIGUSR2)
        if set(codes) - {None, 0, requeue_code}:
            deadline = min(deadline, time.monotonic() + GRACE_S)
        time.sleep(0.05)
    return codes


def _start(command: Sequence[str], rank: int, num_ranks: int, port: int, log: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_WORLD_SIZE": str(num_ranks),
        PARENT_STORE: f"127.0.0.1:{port}",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    return subprocess.Popen(
        list(command), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent
    )


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Those left hang in a collective with one that is gone."""
    for rank in ranks:
        if rank.poll() is None:
            rank.kill()
        rank.wait()


def _what_happened(codes: Sequence[int | None], requeue_code: int, logs: Path) -> str:
    bad = {rank: code for rank, code in enumerate(codes) if code not in (None, 0, requeue_code)}
    if not bad:
        return f"ranks disagree: some finished, some want to be requeued ({list(codes)}); read {logs}"
    first = min(bad, key=lambda rank: (bad[rank] >= 0, rank))  # one killed by a signal is the cause, not the others
    code = bad[first]
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    hint = "; out of memory? lower finetune.micro_batch or raise resources.finetune.mem_gb" if code == -9 else ""
    log = _log(logs, first)
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:] if log.is_file() else []
    return f"rank {first} of {len(codes)} {how}{hint}; {log} ends with:\n" + "\n".join(lines)


def _log(logs: Path, rank: int) -> Path:
    return logs / f"rank-{rank}.txt"
