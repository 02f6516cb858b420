"""The engine without a scheduler: runs a plan's shards on this machine's cores and GPUs and shows how far it is.

Owns starting, retrying and stopping shards. Which shard may start is frontier.py's, the processes are shards.py's (a
fork server) or contained.py's (the run's image), the picture on the terminal is progress.py's.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from selu_hpc.engines.base import Job
from selu_hpc.engines.broken import put_aside_broken_shards
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.local.contained import ContainedShards
from selu_hpc.engines.local.gpus import Gpus, find_gpus
from selu_hpc.engines.local.shards import ForkServer, Running, Zygote
from selu_hpc.engines.progress import ProgressView
from selu_hpc.engines.slurm.attempts import describe_exit
from selu_hpc.engines.slurm.belonging import own_jobs, require_all_seen
from selu_hpc.engines.slurm.ledger import Ledger, match
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.engines.why import logs
from selu_hpc.engines.why.identity import another_run, blamed
from selu_hpc.errors import EXIT_REQUEUE, EngineError, StageFailedError
from selu_hpc.rounds.gate import needed_by
from selu_hpc.rounds.lock import hold_run
from selu_hpc.rounds.plan import SEALED, Key
from selu_hpc.rounds.rundir import Stage
from selu_hpc.viz.plain import plain

logger = logging.getLogger(__name__)

GRACE_S = 15.0
GPU_GRACE_S = 120.0
"""Weights of a base of billions have to come from several GPUs and go to a shared disk."""
TAIL_LINES = 25
FULL_BELOW_BYTES = 1 << 20
REFRESH_S = 0.5


class Interrupted(EngineError):  # noqa: N818 - a person's wish, not a fault
    """Ctrl-C or SIGTERM: everything was stopped cleanly and the same command goes on from here."""

    exit_code = 130


class LocalEngine:
    """`LocalEngine().run(job, wait=True)`; the number of shards at once is `workers`, by default the cores."""

    name = "local"

    def __init__(
        self,
        *,
        workers: int | None = None,
        fork_server: Callable[[], ForkServer] | None = None,
        slurm: Slurm | None = None,
    ) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self.fork_server = fork_server
        self.slurm = slurm

    def run(self, job: Job, *, wait: bool = True) -> None:
        """Run everything that is due; raises StageFailedError when a shard gave up, Interrupted on Ctrl-C."""
        if not wait:
            logger.info("the local engine has no queue to leave jobs in: following the run until its end")
        with hold_run(job.run, purpose="a local run"):
            if job.due():
                refuse_live_slurm_jobs(job, self.slurm or Slurm(patience_s=10.0))
            job.settle()
            for key in [key for key in job.due() if key.stage is Stage.GATE]:
                put_aside_broken_shards(job, key.round_id)
            due = job.due()
            job.journal.append("started", engine=self.name, pid=os.getpid(), due={str(k): v for k, v in due.items()})
            if due:
                shards = self.fork_server or (ContainedShards if job.run.image_file.exists() else Zygote)
                LocalRun(job, Frontier.of(job.plan, due), workers=self.workers, gpus=gpus_for(job, due)).drive(shards)
            job.journal.append("finished")


def refuse_live_slurm_jobs(job: Job, slurm: Slurm) -> None:
    """No shard is worked on by two engines: jobs of this run that Slurm still has come first."""
    ledger = own_jobs(Ledger.read(job.journal), job.run)
    if not ledger.entries:
        return
    if not slurm.calls.has("squeue"):
        logger.warning("%s: was handed to Slurm before, and no squeue here says whether jobs are left", job.run.path)
        return
    try:
        queue = match(ledger, slurm.squeue(ledger.entries))
        require_all_seen(ledger, job.run, slurm.config() if ledger.cluster else {})
    except EngineError as error:
        raise EngineError(
            f"{job.run.path}: was handed to Slurm before, and whether jobs of it are left is not known ({error}); "
            f"try again when `squeue` answers, or use another --run"
        ) from error
    alive = {one.entry.job_id: name for name, one in queue.live.items() if one.alive}
    if alive:
        first = min(alive, key=int)
        raise EngineError(
            f"{job.run.path}: Slurm still has {len(alive)} jobs of this run, the first is {first} ({alive[first]}); "
            f"see them with `squeue --name={alive[first]}` or `{job.run.command('status')}`, then go on there "
            f"with --engine slurm, or stop them with `{job.run.command('cancel')}` and run this again"
        )


class LocalRun:
    """One drive through a plan's unfinished shards."""

    def __init__(self, job: Job, frontier: Frontier, *, workers: int, gpus: Gpus) -> None:
        self.job = job
        self.frontier = frontier
        self.workers = workers
        self.gpus = gpus
        self.running: dict[str, Running] = {}
        self.failures: dict[tuple[Key, int], int] = {}
        self.gave_up: list[Running] = []
        self.stop_signal: int | None = None
        self.is_up = False
        """Whether shards may have begun; before, a signal ends the run at once."""

    def drive(self, fork_server: Callable[[], ForkServer]) -> None:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with fork_server() as zygote, ProgressView(self.job, self.frontier) as view:
                self.is_up = True
                try:
                    self._loop(zygote, view)
                finally:
                    self._stop_all(zygote)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.gave_up:
            raise StageFailedError(self._why_gave_up(self.gave_up[0]))

    @property
    def _again(self) -> str:
        return self.job.run.command("submit", "--engine", "local")

    def _loop(self, zygote: ForkServer, view: ProgressView) -> None:
        while not self.frontier.finished:
            if self.stop_signal is not None:
                raise self._interrupted(self.stop_signal)
            self._start_ready(zygote)
            if not self.running and not self.frontier.finished:
                raise EngineError("nothing runs and nothing can start; this is a fault in the plan: please report it")
            # All are written down before one is judged, which may stop the run.
            for ended, code, seconds in self._take_ended(zygote, timeout_s=REFRESH_S):
                self._judge(ended, code, seconds, view)
            view.update(self.running.values())

    def _start_ready(self, zygote: ForkServer) -> None:
        waits_for_gpus = False  # what comes later in the line must not take them from it
        for key, shard in self.frontier.ready():
            if len(self.running) >= self.workers:
                return
            wanted = self.job.plan[key].resources.gpus
            lent = None if wanted and waits_for_gpus else self.gpus.take(wanted)
            if lent is None:
                waits_for_gpus = True
                continue
            place = self.job.run.shard(key.round_id, key.stage, shard)
            started = Running(key, place, place.begin_attempt(), lent)
            zygote.start(started)
            self.running[started.name] = started
            self.frontier.set(key, shard, State.RUNNING)

    def _take_ended(self, zygote: ForkServer, *, timeout_s: float) -> list[tuple[Running, int, float]]:
        """The attempts that have ended, with their codes and seconds."""
        names = [(one["ended"], one["code"]) for one in zygote.messages(timeout_s=timeout_s) if "ended" in one]
        taken = [(self.running.pop(name), code) for name, code in names]
        for ended, _ in taken:
            self.gpus.give_back(ended.gpus)
        return [(ended, code, self._note_end(ended, code)) for ended, code in taken]

    def _judge(self, ended: Running, code: int, seconds: float, view: ProgressView) -> None:
        place, key, shard = ended.place, ended.key, ended.place.shard
        if code == 0 and place.marker_file.exists():
            self.frontier.set(key, shard, State.DONE)
            view.shard_done(key, seconds)
            return
        if code == EXIT_REQUEUE:
            self.frontier.set(key, shard, State.WAITING)
            return
        failures = self.failures[key, shard] = self.failures.get((key, shard), 0) + 1
        if failures <= self.job.config.retry.max_retries:
            view.say(
                f"{key} shard {shard} failed ({describe_exit(code)}); trying again, log: {place.log(ended.attempt)}"
            )
            self.frontier.set(key, shard, State.WAITING)
            return
        view.say(f"{key} shard {shard} failed ({describe_exit(code)}) and is given up after {failures} attempts")
        self.job.journal.append("gave_up", shard=place.name, attempts=failures, code=code)
        self.frontier.set(key, shard, State.GAVE_UP)
        if not self._quorum_can_be_met(ended):
            self.gave_up.append(ended)
            raise StageFailedError(self._why_gave_up(ended))

    def _note_end(self, ended: Running, code: int, **more: Any) -> float:
        """Write an attempt's end into the journal; the seconds it took."""
        seconds = round(time.monotonic() - ended.since, 2)
        name = ended.place.name
        self.job.journal.append("ended", shard=name, attempt=ended.attempt, code=code, seconds=seconds, **more)
        return seconds

    def _quorum_can_be_met(self, lost: Running) -> bool:
        """A gate decides over rollouts and labels; whatever else is lost stops the run."""
        total = self.job.plan[lost.key].num_shards
        alive = total - self.frontier.count(lost.key, State.GAVE_UP, State.IMPOSSIBLE)
        return lost.key.stage in SEALED and alive >= needed_by(self.job.config.retry.quorum, total)

    def _why_gave_up(self, lost: Running) -> str:
        log = lost.place.log(lost.attempt)
        settings = blamed(self.job.config, logs.last_error(logs.tail(log) or ""))
        mend = another_run(settings) if settings else f"mend the cause, then run `{self._again}` to go on"
        return (
            f"round {lost.key.round_id} {lost.key.stage}: shard {lost.place.shard} failed "
            f"{self.failures[lost.key, lost.place.shard]} times; the end of {log}:\n{tail(log)}\n{full_disk(log)}"
            f"{mend}"
        )

    def _stop_all(self, zygote: ForkServer) -> None:
        """A shard that is stopped here is no failure of its own: it goes on from what it has flushed."""
        for name in self.running:
            zygote.kill(name, signal.SIGTERM)
        grace_s = GPU_GRACE_S if any(shard.gpus for shard in self.running.values()) else GRACE_S
        deadline = time.monotonic() + grace_s
        while self.running and time.monotonic() < deadline:
            for message in zygote.messages(timeout_s=0.2):
                if "ended" in message:
                    ended = self.running.pop(message["ended"])
                    self._note_end(ended, message["code"] and EXIT_REQUEUE, why="stopped")
        for name, ended in self.running.items():
            zygote.kill(name, signal.SIGKILL)
            self._note_end(ended, EXIT_REQUEUE, why="stopped")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.stop_signal is not None:
            raise Interrupted(f"stopped at once; run the same command (or `{self._again}`) to go on")
        if not self.is_up:
            raise self._interrupted(number)
        self.stop_signal = number

    def _interrupted(self, number: int) -> Interrupted:
        return Interrupted(
            f"stopped by {signal.Signals(number).name}; finished shards and flushed episodes are kept: run the same "
            f"command (or `{self._again}`) to go on"
        )


def gpus_for(job: Job, due: Iterable[Key]) -> Gpus:
    """This machine's, where a stage that is due asks for some."""
    asking = [job.plan[key] for key in due if job.plan[key].resources.gpus]
    if not asking:
        if job.config.model.base != "pocket" and find_gpus(os.environ):
            logger.warning("this machine has GPUs and no stage asks for any (resources.*.gpus): all compute on the CPU")
        return Gpus(())
    found = Gpus(find_gpus(os.environ))
    most = max(asking, key=lambda stage: stage.resources.gpus)
    if found.count < most.resources.gpus:
        logger.warning(
            "%s asks for %s GPUs (resources.*.gpus), this machine has %s: stages take what is there%s",
            most.key,
            most.resources.gpus,
            found.count,
            "" if found.count else ", which is the CPU",
        )
    return found


def full_disk(log: Path) -> str:
    """A line where the disk is full: the shard's own words about it may have found no room in its log."""
    try:
        free = shutil.disk_usage(log.parent).free
    except OSError:
        return ""
    if free > FULL_BELOW_BYTES:
        return ""
    return f"No space left on device: {free // 1024} kB are free in {log.parent}\n"


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """A log's last lines for a terminal, which obeys what a model or a simulator may have said in them."""
    text = logs.tail(log)
    if text is None:
        return f"(no log: {log} is missing or not readable)"
    return "\n".join(plain(line.expandtabs(8)) for line in text.splitlines()[-lines:])
