"""Calls a command of Slurm's, now or ahead of time. Standard library only: submit asks before it imports the rest.

Owns the environment such a command gets and its time limit. What is called and what answers mean is scheduler.py's.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

NOT_FOR_JOBS = re.compile(
    r"SLURM_(?!CONF|JWT$)|S(BATCH|ALLOC|RUN|QUEUE|ACCT|INFO|CANCEL|CONTROL)_|SUBMITIT_|SELU_(?!CLUSTER|FEATURE_CACHE)|PYTHON"
    r"|((LOCAL_|GROUP_|ROLE_)?RANK|(LOCAL_|ROLE_)?WORLD_SIZE|MASTER_(ADDR|PORT))$|TORCHELASTIC_|DS_ACCELERATOR$"
)
SHOW_CONFIG = ("scontrol", "show", "config")
CLUSTERS = ("SBATCH_CLUSTERS", "SLURM_CLUSTERS")
"""By these a shell sends jobs to another cluster. They are not passed on: a run's jobs are on the one that answers."""
SLOW_S = 10.0
"""A person at a login node is told when a command takes longer, for Slurm's are silent while they try again."""


class TooSlowError(Exception):
    """The command did not end within its time."""


@dataclass(slots=True)
class Calls:
    """Commands in a clean environment; `ahead` starts some that later calls of the same words go on with.

    One that reads its standard input waits there until the call, with its own start behind it.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: clean_environment(os.environ))
    _begun: dict[tuple[str, ...], list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    _found: dict[str, bool] = field(default_factory=dict)

    def has(self, tool: str) -> bool:
        if tool not in self._found:
            self._found[tool] = shutil.which(tool, path=self.environment.get("PATH")) is not None
        return self._found[tool]

    def ahead(self, *command: str, count: int = 1) -> None:
        """See to it that so many are begun and not yet called for, or as many as this user may have."""
        begun = self._begun.setdefault(command, [])
        with suppress(OSError):  # who calls for one that is not there is told why
            while len(begun) < count and self.has(command[0]):
                begun.append(self._start(command))

    def call(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        told: bytes = b"",
        meanwhile: Callable[[], object] = lambda: None,
        on_slow: Callable[[str], object] = lambda so_far: None,
    ) -> subprocess.CompletedProcess[str]:
        """`told` is its standard input; `meanwhile` is done while it is at work; `on_slow` gets what it said in SLOW_S.

        Raises TooSlowError, or OSError where the command can't be started.
        """
        with self._take(tuple(command)) as process:
            try:
                _tell(process, told)
                meanwhile()
                said, error = _read(process, command[0], timeout_s=timeout_s, on_slow=on_slow)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(command), process.returncode, said, error)

    def forget(self) -> None:
        """End what was begun and never asked for."""
        for process in [one for begun in self._begun.values() for one in begun]:
            with process:
                process.kill()
        self._begun.clear()

    def _take(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """The one that was begun first; threads may ask at once."""
        try:
            return self._begun[command].pop(0)
        except LookupError:
            return self._start(command)

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(command),
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def _tell(process: subprocess.Popen[bytes], told: bytes) -> None:
    """One write: of what fits into a pipe (64 kB) a command gets all or nothing, even if this process is killed."""
    assert process.stdin
    with suppress(BrokenPipeError):  # it ended without reading; its exit code says more
        os.write(process.stdin.fileno(), told)
    process.stdin.close()


def _read(
    process: subprocess.Popen[bytes], name: str, *, timeout_s: float, on_slow: Callable[[str], object]
) -> tuple[str, str]:
    """Both outputs until their end. `communicate` with a timeout would sleep between looks for the exit code."""
    assert process.stdout
    assert process.stderr
    parts: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    deadline = time.monotonic() + timeout_s
    slow = min(deadline, time.monotonic() + SLOW_S)
    with selectors.DefaultSelector() as selector:
        for descriptor in parts:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, slow - time.monotonic()))
            if not ready:
                so_far = b"".join(block for blocks in parts.values() for block in blocks).decode(errors="replace")
                so_far = so_far.strip() or "nothing"
                if slow == deadline:
                    raise TooSlowError(f"{name} timed out after {timeout_s:.0f} s; it had said: {so_far}")
                on_slow(so_far)
                slow = deadline
            for key, _ in ready:
                block = os.read(key.fd, 1 << 20)
                parts[key.fd].append(block)
                if not block:
                    selector.unregister(key.fd)
    said, error = (b"".join(blocks).decode(errors="replace") for blocks in parts.values())
    return said, error


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would leak into jobs or change an answer of Slurm's.

    The first are another job's SLURM_*, SBATCH_* and PYTHON*, and a launcher's RANK and MASTER_*; the others are
    defaults such as SQUEUE_PARTITION, with which squeue leaves out jobs. SLURM_JWT, by which some login nodes answer
    for their users, stays there; in a job it is out of date, and the node answers.
    """
    kept = {name: value for name, value in environment.items() if not NOT_FOR_JOBS.match(name)}
    if "SLURMD_NODENAME" in environment:
        kept.pop("SLURM_JWT", None)
    return kept | {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}


def user_name() -> str:
    """Who asks; the number of one whom neither the environment nor the machine's list of users names."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def submit_limits(user: str) -> tuple[str, ...]:
    """The question how many jobs a user may have, per association.

    Asked of slurmctld, which knows it in ten milliseconds; sacctmgr asks slurmdbd, whose answers come in packets that
    wait for one another, 200 ms in all.
    """
    return ("scontrol", "--oneliner", "show", "assoc_mgr", f"users={user}", "flags=assoc")
