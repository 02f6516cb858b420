"""The engine for Slurm: hands a run to the scheduler and returns; `--wait` follows it.

Owns what a person sees of a submission. What is submitted is decided in reconcile.py and done in submission.py; after
that the jobs carry the run on by themselves (gate_job.py), whether or not anybody is logged in.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from loguru import logger

from selu_hpc.config import Site
from selu_hpc.engines.base import Job
from selu_hpc.engines.discover import discover_site
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.launch import saved_site, site_file
from selu_hpc.engines.ledger import Ledger, match
from selu_hpc.engines.limits import ask_limits
from selu_hpc.engines.sbatch import check_site
from selu_hpc.engines.scheduler import Slurm
from selu_hpc.engines.snapshot import held_code, refuse_open_folders
from selu_hpc.engines.submission import Submission, horizon, this_element
from selu_hpc.engines.table import Column, text_table
from selu_hpc.errors import StageFailedError
from selu_hpc.recipes import to_yaml
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import RunDir, ShardDir, write_bytes

POLL_S = 5.0


@dataclass(slots=True)
class SlurmEngine:
    """`SlurmEngine(site=load_site("mylab")).run(job, wait=False)`; without a site the cluster is asked what it has."""

    site: Site | None = None
    accept_code: bool = False
    slurm: Slurm = field(default_factory=Slurm)
    name: str = "slurm"

    def run(self, job: Job, *, wait: bool) -> None:
        """Submit what is due and not on its way; the same command twice submits nothing twice."""
        refuse_open_folders(job.run)
        with hold_lock(job.run.lock_file, purpose="a submit"):
            site = self._site(job.run)
            recorded = Ledger.read(job.journal).code
            with held_code(job.run, job.journal, recorded, accept=self.accept_code) as code_is_whole:
                self._submit(job, site, code_is_whole)
        print_jobs(job, self.slurm)
        if wait:
            Follow(job, self.slurm).until_the_end()

    def _submit(self, job: Job, site: Site, code_is_whole: Callable[[], object]) -> None:
        def before_release() -> None:
            code_is_whole()
            self.slurm.squeue_ahead(Ledger.read(job.journal).entries)  # print_jobs asks this when all are released

        limits = ask_limits(site, self.slurm)
        submission = Submission(
            job, site, self.slurm, limits, me=this_element(), by_person=True, before_release=before_release
        )
        due = job.due()
        if not due:
            submission.sweep()
            return
        job.journal.append("started", sync=False, engine=self.name)
        first = min((key.round_id for key in due if key.round_id), default=1)
        decision = submission.advance(last_round=horizon(job, first))
        for (key, shard), why in decision.gave_up.items():
            logger.error("{} shard {}: {}", key, shard, why)

    def _site(self, run: RunDir) -> Site:
        """The profile asked for; else the run's own; else what this cluster says it has."""
        file = site_file(run)
        if self.site is None and file.is_file():
            return saved_site(run)
        site = check_site(self.site or discover_site(self.slurm))
        if self.site is None:
            logger.info("no --site: using what Slurm says of this cluster (kept in {})", file)
        text = to_yaml(site).encode()
        if not file.is_file() or file.read_bytes() != text:
            write_bytes(file, text)
        return site


def print_jobs(job: Job, slurm: Slurm) -> None:
    """The run's jobs that are in the queue, on stdout."""
    ledger = Ledger.read(job.journal)
    queue = match(ledger, slurm.squeue(ledger.entries) if ledger.entries else [])
    columns = [Column(name, right=name in ("tasks", "waiting", "running"))
               for name in ("stage", "job", "tasks", "waiting", "running", "after")]  # fmt: skip
    rows = []
    for live in queue.live.values():
        entry = live.entry
        after = ", ".join(f"{wait.after}:{'+'.join(_short(name) for name in wait.names)}" for wait in entry.waits)
        numbers = (len(entry.shards), len(live.waiting), len(live.running))
        after = after if entry.key else "everything has ended"
        rows.append([_short(entry.name), entry.job_id, *(str(number) for number in numbers), after])
    sys.stdout.write(text_table(columns, rows, title=f"jobs of {job.run.path}", caption=_left(job)))


def _short(name: str) -> str:
    """`selu-1a2b3c4d-r01-rollout-g0c0` → `r01-rollout-g0c0`."""
    return name.split("-", 2)[2].removesuffix("-g0c0")


def _left(job: Job) -> str:
    shards = sum(len(shards) for shards in job.due().values())
    if not shards:
        return "nothing is left to do"
    where = f"--run {job.run.path}"
    return f"{shards} shards to go: --wait follows them, `python -m selu_hpc.cancel {where}` stops them"


@dataclass(frozen=True, slots=True)
class OnNode:
    """A shard that runs now, as the progress bars want it."""

    key: Key
    place: ShardDir
    attempt: int


class Bars(Protocol):
    def update(self, running: list[OnNode]) -> None: ...


@dataclass(slots=True)
class Follow:
    """Watches markers and the queue until nothing is due or nothing is on its way."""

    job: Job
    slurm: Slurm
    poll_s: float = POLL_S

    def until_the_end(self) -> None:
        from selu_hpc.engines.progress import ProgressView

        frontier = Frontier.of(self.job.plan, self.job.due())
        quiet = 0
        with ProgressView(self.job, frontier) as view:
            while due := self.job.due():
                running, alive = self._look()
                self._mark(frontier, due, running)
                view.update(running)
                quiet = 0 if alive else quiet + 1
                if quiet > 2:
                    raise StageFailedError(self._why_it_stopped(due))
                time.sleep(self.poll_s)
            self._mark(frontier, {}, [])

    def _look(self) -> tuple[list[OnNode], bool]:
        ledger = Ledger.read(self.job.journal)
        queue = match(ledger, self.slurm.squeue(ledger.entries))
        running = []
        for live in queue.live.values():
            for shard in live.running:
                if key := live.entry.key:
                    place = self.job.run.shard(key.round_id, key.stage, shard)
                    running.append(OnNode(key, place, _newest_attempt(place)))
        return running, any(live.alive for live in queue.live.values())

    def _mark(self, frontier: Frontier, due: dict[Key, list[int]], running: list[OnNode]) -> None:
        at_work = {(one.key, one.place.shard) for one in running}
        for key, shard in frontier.states:
            done = shard not in due.get(key, ())
            frontier.states[key, shard] = (
                State.DONE if done else State.RUNNING if (key, shard) in at_work else State.WAITING
            )

    def _why_it_stopped(self, due: dict[Key, list[int]]) -> str:
        gave_up = Ledger.read(self.job.journal).gave_up
        reasons = [f"{key} shard {shard}: {why}" for (key, shard), why in gave_up.items()]
        first = min(due, key=lambda key: key.round_id)
        log = self.job.run.shard(first.round_id, first.stage, due[first][0]).path
        return (
            f"{self.job.run.path}: no job of this run is in the queue any more, {sum(map(len, due.values()))} shards "
            f"are missing, the first is {first} shard {due[first][0]}:\n" + "\n".join(reasons or ["no reason recorded"])
            + f"\nread the newest attempt-*/log.txt in {log}, mend the cause, "
            f"then run `python -m selu_hpc.submit --run {self.job.run.path}` to go on"
        )  # fmt: skip


def _newest_attempt(place: ShardDir) -> int:
    numbers = [int(p.name[8:]) for p in place.path.glob("attempt-*") if p.name[8:].isdigit()]
    return max(numbers, default=0)
