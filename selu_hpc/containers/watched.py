"""Runs what holds a stage's container, passes signals on to it, and ends it when its launcher is gone.

The kernel's tie between a process and its parent (PR_SET_PDEATHSIG) is cut when Apptainer enters its user namespace. So
a shell waits at a pipe that only the launcher holds open: however the launcher ends, the pipe closes.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from selu_hpc.processes import die_with_parent

GRACE_S = 20
"""What a stage has from SIGTERM to SIGKILL; stages save and end within ten seconds."""

WATCH = """
read -r ended && exit
kill -TERM "$1"
left=$2
while kill -0 "$1" && [ "$left" -gt 0 ]; do sleep 1; left=$((left - 1)); done
kill -KILL "$1" && sleep 1
rm -rf -- "$3"
"""
"""A line from the launcher says that the stage has ended; the end of the file, that the launcher has."""


def run_watched(line: Sequence[str], *, environment: Mapping[str, str], private: Path) -> int:
    """Run a child, hand it the signals a scheduler sends us, and return its exit code.

    If we are killed the child is ended all the same, and the task's private folder is removed in our place.
    """
    child = subprocess.Popen(line, env=environment, preexec_fn=_tied)
    watch = subprocess.Popen(
        ["sh", "-c", WATCH, "watch", str(child.pid), str(GRACE_S), str(private)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what is sent to our group must not end the watch
    )

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, forward)
    code = child.wait()
    watch.communicate(b"ended\n")
    return code if code >= 0 else 128 - code


def _tied() -> None:
    """Until Apptainer has entered its namespace the kernel's tie holds, and with a setuid Apptainer afterwards too."""
    die_with_parent(signal.SIGTERM)
