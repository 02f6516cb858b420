"""A small process that outlives the pool's by a moment and clears away what it left.

    python -S -m selu_hpc.envs.reaper PARENT_PID FOLDER < lifeline

It reads lines from its standard input: `group N` (kill that process group when the parent is gone), `forget N`, and
`done`. When the parent ends in any way, also by SIGKILL, it kills the groups, removes the folder and ends.
Owns nothing but that; imports nothing but the standard library, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time

LINGER_S = 5.0
"""How long to go on removing a folder that dying processes still write to."""


def main() -> None:
    parent, folder = int(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = follow(parent)
    if groups is None:
        return
    deadline = time.monotonic() + LINGER_S
    while True:
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder) or time.monotonic() > deadline:  # noqa: PTH110 - pathlib costs start-up time
            return
        time.sleep(0.05)


def follow(parent: int) -> set[int] | None:
    """The groups to kill once the parent is gone; None when it said that it has cleared up itself."""
    groups: set[int] = set()
    watched = [0]
    with contextlib.suppress(OSError, AttributeError):  # a kernel without pidfd: the end of the input must do
        watched.append(os.pidfd_open(parent))
    if os.getppid() != parent:
        return groups
    pending = b""
    while True:
        ready, _, _ = select.select(watched, [], [])
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return groups
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                word, _, number = line.partition(b" ")
                if word == b"done":
                    return None
                (groups.add if word == b"group" else groups.discard)(int(number))
        elif ready:
            return groups


if __name__ == "__main__":
    main()
