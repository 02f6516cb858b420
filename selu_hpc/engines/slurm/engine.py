"""The engine for Slurm: hands a run to the scheduler and returns; `--wait` follows it.

Owns what a person sees of a submission. What is submitted is decided in reconcile.py and done in submission.py; after
that the jobs carry the run on by themselves (gate_job.py), whether or not anybody is logged in.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from selu_hpc.config import RunConfig
from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.launch import saved_site, site_file
from selu_hpc.engines.slurm.ledger import Ledger, match
from selu_hpc.engines.slurm.limits import ask_limits
from selu_hpc.engines.slurm.sbatch import check_site
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.engines.slurm.snapshot import held_code, refuse_open_folders
from selu_hpc.engines.slurm.submission import Submission, horizon, this_element
from selu_hpc.engines.table import Column, text_table
from selu_hpc.errors import ConfigError, EngineError, RunFolderError
from selu_hpc.recipes import to_yaml
from selu_hpc.rounds.lock import hold_run
from selu_hpc.rounds.provenance import named_paths
from selu_hpc.rounds.rundir import RunDir, write_bytes
from selu_hpc.site import Site
from selu_hpc.terminal import width_of

logger = logging.getLogger(__name__)


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
        require_absolute(job.config)
        if ":" in str(job.run.path):
            raise RunFolderError(f"{job.run.path}: jobs find their code by PYTHONPATH, which ends at a colon; choose a "
                                 "folder without one by --run")  # fmt: skip
        with hold_run(job.run, purpose="a submit") as still_mine:
            recorded = Ledger.read(job.journal).code
            calls = self.slurm.calls
            with held_code(job.run, job.journal, recorded, accept=self.accept_code, calls=calls) as code_is_whole:
                job.settle()
                known = site_file(job.run).is_file()
                site = self._site(job.run)
                try:
                    self._submit(job, site, code_is_whole, still_mine)
                except EngineError:
                    if (
                        not known
                        and self.site is None
                        and not any(one.job_id for one in Ledger.read(job.journal).entries.values())
                    ):
                        site_file(job.run).unlink()  # what Slurm said now need not be what it says next time
                    raise
        print_jobs(job, self.slurm)
        if wait:
            self.slurm.forget()  # what was begun for nothing would wait as long
            from selu_hpc.engines.slurm.follow import Follow

            Follow(job, self.slurm).until_the_end()

    def _submit(
        self, job: Job, site: Site, code_is_whole: Callable[[], object], still_mine: Callable[[], object]
    ) -> None:
        def before_release() -> None:
            code_is_whole()
            self.slurm.squeue_ahead(Ledger.read(job.journal).entries)  # print_jobs asks this when all are released

        limits = ask_limits(site, self.slurm)
        submission = Submission(
            job,
            site,
            self.slurm,
            limits,
            me=this_element(),
            by_person=True,
            before_release=before_release,
            still_mine=still_mine,
        )
        due = job.due()
        if not due:
            submission.sweep()
            return
        job.journal.append("started", sync=False, engine=self.name)
        first = min((key.round_id for key in due if key.round_id), default=1)
        decision = submission.advance(last_round=horizon(job, first))
        for (key, shard), why in decision.gave_up.items():
            logger.error("%s shard %s: %s", key, shard, why)

    def _site(self, run: RunDir) -> Site:
        """The profile asked for; else the run's own; else what this cluster says it has."""
        file = site_file(run)
        if self.site is None and file.is_file():
            return saved_site(run)
        site = check_site(self.site or self._ask_for_site(file))
        text = to_yaml(site).encode()
        if not file.is_file() or file.read_bytes() != text:
            write_bytes(file, text)
        return site

    def _ask_for_site(self, file: Path) -> Site:
        from selu_hpc.engines.slurm.discover import discover_site

        logger.info("no --site: using what Slurm says of this cluster (kept in %s)", file)
        return discover_site(self.slurm)


def require_absolute(config: RunConfig) -> None:
    """Jobs begin in the run folder, where a name that means something here means something else. In an image stages
    begin elsewhere; what they see there is looked at when it is chosen."""
    for setting, text in named_paths(config).items() if config.image == "none" else ():
        path = Path(text)
        if text and not path.is_absolute() and not text.startswith("~") and path.exists():
            raise ConfigError(f"{setting} {text!r}: jobs begin in another folder; write {path.absolute()}")


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
    title, width = f"jobs of {job.run.path}", width_of(sys.stdout)
    sys.stdout.write(text_table(columns, rows, title=title, caption=_left(job), width=width))


def _short(name: str) -> str:
    """`selu-1a2b3c4d-r01-rollout-g0c0` → `r01-rollout-g0c0`."""
    return name.split("-", 2)[2].removesuffix("-g0c0")


def _left(job: Job) -> str:
    shards = sum(len(shards) for shards in job.due().values())
    if not shards:
        return "nothing is left to do"
    return f"{shards} shards to go: --wait follows them, `{job.run.command('cancel')}` stops them"
