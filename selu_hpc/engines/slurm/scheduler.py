"""The only place that calls Slurm's commands: typed answers, and errors that say what to do.

An answer that did not come is an error, never an empty answer: who reads "no jobs" must be able to trust it.
Does not own what the answers mean (slurm/state.py) or what is submitted (reconcile.py).
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selu_hpc.engines.slurm.calls import CLUSTERS, SHOW_CONFIG, Calls, TooSlowError
from selu_hpc.engines.slurm.state import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    QueueRow,
    SacctRow,
    read_config,
    read_sacct,
    read_squeue,
)
from selu_hpc.errors import EngineError

logger = logging.getLogger(__name__)

TIMEOUT_S = 120.0
SBATCH_S = 150.0
"""Where the queue is full sbatch itself tries for two minutes; what it says then is clearer than to end it."""
PATIENCE_S = 300.0
RELEASES_AT_ONCE = 3
TRANSIENT = re.compile(
    r"socket timed out|unable to contact|connection (refused|reset|timed out)|temporarily unavailable"
    r"|temporarily unable|try again|slurmctld|communication|timed out|zero bytes were transmitted|slurm_receive_msg"
    r"|endpoint is not connected|broken pipe|no route to host|network is unreachable|munge|authentication error"
    r"|standby",
    re.IGNORECASE,
)
LIMIT = re.compile(
    r"MaxSubmit|SubmitLimit|violates accounting/QOS policy|MaxJobCount|job (count )?limit"
    r"|temporarily unable to accept job|job queue full",  # at MaxJobCount, which sbatch does not name
    re.IGNORECASE,
)
REASON = re.compile(r"\b(?:Assoc|QOS)(?:Max|Min|Grp)\w+")


class SubmitLimitError(EngineError):
    """Slurm takes no more jobs from this user now."""


class SlurmSilentError(EngineError):
    """The controller did not answer for longer than we wait."""


@dataclass(slots=True)
class Slurm:
    """Slurm's command line as the login environment has it."""

    patience_s: float = PATIENCE_S
    calls: Calls = field(default_factory=Calls)
    _config: dict[str, str] = field(default_factory=dict)

    def sbatch(self, script: Path, *, arguments: Sequence[str], dependency: str = "", ahead: int = 0) -> str:
        """Submit a script once; the job's id. Raises whatever Slurm said; the job may exist nevertheless.

        ahead: so many more sbatch are begun while this one is at work; half of their time goes by before they read
        their script, and who starts one stands still until it is loaded.
        """
        first, _, rest = script.read_bytes().partition(b"\n")
        wait = f"#SBATCH --dependency={dependency}\n".encode() if dependency else b""
        command = sbatch_call(arguments)
        try:
            done = self._call(
                command,
                timeout_s=SBATCH_S,
                told=first + b"\n" + wait + rest,
                meanwhile=lambda: self.calls.ahead(*command, count=ahead),
            )
        except SlurmSilentError as error:
            if takes_no_more(str(error)):
                raise SubmitLimitError(str(error)) from error
            raise
        found = re.search(r"^(\d+)(;|$)", done.stdout, re.MULTILINE)
        if done.returncode == 0 and found:
            return found[1]
        said = (done.stderr + done.stdout).strip()
        if takes_no_more(said):
            raise SubmitLimitError(f"sbatch {script.name}: {said}")
        if reason := REASON.search(said):
            raise EngineError(
                f"sbatch refused {script}: {said}; {reason[0]} is about what one job asks for: lower resources.* of "
                "its stage, or name another qos or account in the site profile, then run submit again"
            )
        if done.returncode == 0 or TRANSIENT.search(said):
            raise SlurmSilentError(f"sbatch {script.name}: {said or 'no answer'}")
        raise EngineError(
            f"sbatch refused {script}: {said}; compare the site profile with `sinfo` and `sacctmgr show assoc`, or let "
            "`python -m selu_hpc.doctor` look, then run submit again"
        )

    def would_take(self, script: str) -> tuple[bool, str]:
        """Whether Slurm has nodes for this job, and what it says; none is submitted."""
        done = self._call(("sbatch", "--test-only"), told=script.encode())
        return done.returncode == 0, (done.stderr + done.stdout).strip()

    def squeue(self, names: Iterable[str]) -> list[QueueRow]:
        """What is in the queue under these names, whoever submitted it."""
        return [row for command in _squeue(names) for row in read_squeue(self._ask(command))]

    def squeue_ahead(self, names: Iterable[str]) -> None:
        """Ask now what `squeue` with these names will say."""
        for command in _squeue(names):
            self.calls.ahead(*command)

    def forget(self) -> None:
        """Whatever was asked ahead is to be asked anew."""
        self.calls.forget()

    def sacct(self, ids: Iterable[str]) -> list[SacctRow]:
        """What accounting knows of these jobs and their steps; nothing where a site has none."""
        rows: list[SacctRow] = []
        for block in _blocks(sorted(set(ids), key=int), 200):
            wanted = ("--jobs=" + ",".join(block), SACCT_FORMAT)
            said = self.text("sacct", "--noheader", "--parsable2", *wanted, timeout_s=TIMEOUT_S)
            if said is None:  # not installed, not answering, or too slow: markers and the queue are enough
                logger.debug("no accounting")
                return []
            rows += read_sacct(said)
        return rows

    def release(self, ids: Sequence[str]) -> None:
        """By a few scontrol at once: one alone waits for slurmctld's other work after each of its jobs."""
        blocks = _blocks(ids, min(200, len(ids) // RELEASES_AT_ONCE + 1))
        commands = [["scontrol", "release", ",".join(block)] for block in blocks]
        for command in commands[:RELEASES_AT_ONCE]:
            self.calls.ahead(*command)
        for command in commands:
            self._ask(command)

    def cancel(self, ids: Sequence[str]) -> None:
        for block in _blocks(ids, 200):
            self._ask(["scancel", *block])

    def depend(self, job_id: str, dependency: str) -> None:
        """Replace what a pending job waits for."""
        self._ask(["scontrol", "update", f"jobid={job_id}", f"dependency={dependency}"])

    def avoid(self, job_id: str, nodes: Sequence[str]) -> None:
        self._ask(["scontrol", "update", f"jobid={job_id}", f"excnodelist={','.join(nodes)}"])

    def answers(self) -> tuple[bool, str]:
        """Whether there is a Slurm that takes jobs, and which; or why not. Asked once, without patience."""
        if not self.calls.has("sbatch"):
            return False, "no sbatch on this machine"
        try:
            done = self._call(SHOW_CONFIG, timeout_s=20.0)
        except (EngineError, OSError) as error:
            return False, f"sbatch is here but does not answer: {error}"
        self._config = read_config(done.stdout)
        if done.returncode or not self._config:
            return False, "sbatch is here but its controller does not answer"
        return True, f"Slurm {self._config.get('SLURM_VERSION', '?')} answers"

    def elsewhere(self) -> str:
        """How the shell names another cluster than the one that answers: `SLURM_CLUSTERS=b`; empty where none."""
        asked = {name: os.environ[name] for name in CLUSTERS if os.environ.get(name)}
        here = self.config().get("ClusterName", "") if asked else ""
        return " ".join(f"{name}={cluster}" for name, cluster in asked.items() if cluster != here)

    def require_here(self) -> None:
        """Raises EngineError where the shell names another cluster: none of our calls goes there."""
        if elsewhere := self.elsewhere():
            raise EngineError(
                f"{elsewhere} names another cluster than the one that answers here and would get the run's jobs; "
                "run this on a login node of that cluster, or unset it"
            )

    def config(self) -> dict[str, str]:
        """`scontrol show config` as a table, asked once."""
        self._config = self._config or read_config(self._ask(list(SHOW_CONFIG)))
        return self._config

    def text(self, *command: str, timeout_s: float = 30.0) -> str | None:
        """The output of a Slurm command one can do without, None where it fails, is not there or takes too long."""
        try:
            done = self._call(command, timeout_s=timeout_s)
        except EngineError:
            return None
        return done.stdout if done.returncode == 0 else None

    def _ask(self, command: list[str]) -> str:
        """A command that may be said twice; repeated while the controller is away."""
        deadline = time.monotonic() + self.patience_s
        pause_s = 1.0
        while True:
            try:
                done = self._call(command)
                said = done.stderr.strip()
            except SlurmSilentError as error:
                done, said = None, str(error)
            if done and done.returncode == 0:
                return done.stdout
            if not TRANSIENT.search(said):
                raise EngineError(f"`{' '.join(command)[:200]}` failed: {said or 'no reason given'}")
            if time.monotonic() + pause_s > deadline:
                raise SlurmSilentError(
                    f"Slurm's controller did not answer for {self.patience_s:.0f} s ({said}); "
                    "run the same command again when `scontrol ping` says UP"
                )
            logger.warning("%s: %s; asking again in %.0f s", command[0], said, pause_s)
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 30.0)

    def _call(
        self,
        command: Sequence[str],
        *,
        timeout_s: float = TIMEOUT_S,
        told: bytes = b"",
        meanwhile: Callable[[], object] = lambda: None,
    ) -> subprocess.CompletedProcess[str]:
        if not self.calls.has(command[0]):
            raise EngineError(
                f"no {command[0]} on this machine: this is for a login node (`submit` has --engine local)"
            )
        try:
            return self.calls.call(
                command,
                timeout_s=timeout_s,
                told=told,
                meanwhile=meanwhile,
                on_slow=lambda so_far: logger.warning(
                    "%s is still waiting for Slurm's controller; it has said: %s; waiting up to %.0f s in all",
                    *(command[0], so_far, timeout_s),
                ),
            )
        except TooSlowError as error:
            raise SlurmSilentError(str(error)) from error


def takes_no_more(said: str) -> bool:
    """Slurm has one sentence for too many jobs and for one that asks for too much; a reason before it tells which."""
    reasons = REASON.findall(said)
    return any("Submit" in reason for reason in reasons) if reasons else bool(LIMIT.search(said))


def sbatch_call(arguments: Sequence[str]) -> tuple[str, ...]:
    return ("sbatch", "--parsable", *arguments)


def _squeue(names: Iterable[str]) -> Iterator[list[str]]:
    for block in _blocks(sorted(set(names)), 200):
        wanted = ("--states=all", "--name=" + ",".join(block), SQUEUE_FORMAT)
        yield ["squeue", "--noheader", *wanted]


def _blocks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    yield from (items[at : at + size] for at in range(0, len(items), size))
