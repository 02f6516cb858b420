"""Asks Slurm once, for those who only read: what it said, or in words why that is not known.

Loads no settings and repeats nothing; scheduler.py asks with patience and is for those who act.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from selu_hpc.engines.slurm.calls import SHOW_CONFIG, Calls, TooSlowError
from selu_hpc.engines.slurm.state import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    QueueRow,
    SacctRow,
    read_config,
    read_sacct,
    read_squeue,
)

TIMEOUT_S = 60.0
NAMES_AT_ONCE = 1000


def ask_queue(names: Iterable[str], calls: Calls) -> tuple[list[QueueRow], str]:
    """What the queue has under these names; no rows and why, where it did not answer."""
    ordered, rows = sorted(names), list[QueueRow]()
    for at in range(0, len(ordered), NAMES_AT_ONCE):
        block = ",".join(ordered[at : at + NAMES_AT_ONCE])
        said, silence = _ask(["squeue", "--noheader", "--states=all", f"--name={block}", SQUEUE_FORMAT], calls)
        if silence:
            return [], f"Slurm's queue is not known: {silence}"
        rows += read_squeue(said)
    return rows, ""


def ask_accounting(ids: Iterable[str], calls: Calls) -> tuple[list[SacctRow], str]:
    """What accounting has of these jobs and their steps; no rows and why, where it did not answer."""
    wanted = "--jobs=" + ",".join(sorted(set(ids), key=int))
    said, silence = _ask(["sacct", "--noheader", "--parsable2", wanted, SACCT_FORMAT], calls)
    if silence:
        return [], f"Slurm's accounting is not known: {silence}"
    return read_sacct(said), ""


def ask_config(calls: Calls) -> dict[str, str]:
    """The cluster's settings; none where it did not answer."""
    return read_config(_ask(SHOW_CONFIG, calls)[0])


def _ask(command: Sequence[str], calls: Calls) -> tuple[str, str]:
    try:
        done = calls.call(command, timeout_s=TIMEOUT_S)
    except FileNotFoundError:
        return "", f"no {command[0]} on this machine"
    except (OSError, TooSlowError) as error:
        return "", str(error)
    why = (done.stderr.strip() or f"{command[0]} ended with {done.returncode}") if done.returncode else ""
    return done.stdout, why.splitlines()[-1] if why else ""
