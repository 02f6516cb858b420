"""Sends a plan's jobs: all intents into the journal, then each job on hold after those it waits for, then its id.

Owns what is done when Slurm refuses, takes no more or gives no answer: a job that was accepted all the same is found
by its name, and what belongs to a refused one is taken back. Does not own what is sent (reconcile.py) or the release,
after which a job may run (submission.py).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_some
from dataclasses import dataclass, field, replace

from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.launch import script, script_file
from selu_hpc.engines.slurm.ledger import Live, shards_json, waits_json
from selu_hpc.engines.slurm.sbatch import JobSpec, Wait, held
from selu_hpc.engines.slurm.scheduler import Slurm, SlurmSilentError, SubmitLimitError
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

logger = logging.getLogger(__name__)

LOOKS_S = (1.0, 2.0, 4.0, 8.0)
"""When to look for a job whose sbatch gave no answer, before it is sent again."""
SBATCH_TRIES = 5
SBATCH_AT_ONCE = 3
"""So many jobs of a plan don't wait for one another: two fine-tunings, an evaluation beside the next rollout."""
_END = sys.maxsize


class TakenBackError(EngineError):
    """Slurm refused one of several jobs, and none of them but the run's last is left in the queue."""


@dataclass(slots=True)
class Sending:
    """One plan on its way to Slurm.

    ids: of the jobs that others may wait for, by name; those that are sent are added, those taken back are dropped.
    live: what the queue has.  held: those of them that a dead submit left on hold: as good as sent by this one.
    by_person: submit on a login node, where what was sent before a refusal stays: the next submit goes on from it.
    suspicious: sbatch gave no answer once, so that a job may be in the queue twice.
    refusal: to be raised when what stays is released.
    """

    job: Job
    site: Site
    slurm: Slurm
    ids: dict[str, str]
    live: Mapping[str, Live]
    held: Collection[str] = ()
    by_person: bool = False
    suspicious: bool = field(default=False, init=False)
    refusal: TakenBackError | None = field(default=None, init=False)
    _on_hold: dict[str, Key | None] = field(default_factory=dict, init=False)

    def send(self, specs: list[JobSpec]) -> list[str]:
        """All intents first, in one write; then the jobs. The names of those that stay."""
        self._on_hold = {name: self.live[name].entry.key for name in self.held}
        if specs:
            self.job.run.jobs.mkdir(parents=True, exist_ok=True)
        umask = os.umask(0o022)
        os.umask(umask)
        for spec in specs:
            text = script(spec, self.job.run, self.job.config, self.site, umask=umask)
            script_file(self.job.run, spec.name).write_bytes(os.fsencode(text))
        self.job.journal.append_all("intent", [_intent(spec) for spec in specs])
        try:
            end, full = self._send_what_fits(specs)
            if full:
                abandon(self.job, self._unsent(specs))
                self._cut_to_whole_rounds(specs, end, full)
        except SlurmSilentError:
            raise
        except EngineError as error:
            if self.by_person:
                self.job.journal.append("refused", why=str(error))
                raise
            # A person's next submit goes on from here; after a job nobody may come who would.
            abandon(self.job, self._unsent(specs))
            self._take_back([one.name for one in specs if one.name in self.ids], "what belongs to it was refused")
            self._close_behind_the_rest(specs)
            self._refuse(str(error), error)
        return [one.name for one in specs if one.name in self.ids]

    def _unsent(self, specs: list[JobSpec]) -> list[str]:
        return [one.name for one in specs if one.name not in self.ids]

    def _send_what_fits(self, specs: list[JobSpec]) -> tuple[int, SubmitLimitError | None]:
        """The round before which it ends, and why. A later round's jobs, which may be sent beside an earlier one's,
        make room for it: the last round's first."""
        left, end, full = specs, _END, None
        while refused := self._send_in_order(left):
            spec, full = refused
            end = max([_round(spec.key), *(_round(key) for key in self._on_hold.values())])
            if end > _round(spec.key):
                later = [name for name, key in self._on_hold.items() if _round(key) == end]
                self._take_back(later, "a round before it comes first")
            left = [one for one in left if one.name not in self.ids and _round(one.key) < end]
        return end, full

    def _send_in_order(self, specs: list[JobSpec]) -> tuple[JobSpec, SubmitLimitError] | None:
        """Each job after those it waits for, a few at a time; after an error nothing new is begun.

        The earliest round's job for which there was no room.
        """
        left, begun = list(specs), dict[Future[str], JobSpec]()
        full, errors = list[tuple[JobSpec, SubmitLimitError]](), list[Exception]()
        with ThreadPoolExecutor(SBATCH_AT_ONCE) as pool:
            while begun or (left and not (full or errors)):
                ready = [one for one in left if all(name in self.ids for wait in one.waits for name in wait.names)]
                for spec in ready if not (full or errors) else ():
                    left.remove(spec)
                    begun[pool.submit(self._send, spec, ahead=min(len(left), SBATCH_AT_ONCE))] = spec
                assert begun, "a job waits for one that is neither in the queue nor in this plan"
                for future in wait_for_some(begun, return_when=FIRST_COMPLETED).done:
                    spec, error = begun.pop(future), future.exception()
                    if isinstance(error, SubmitLimitError):
                        full.append((spec, error))
                    elif error:
                        errors.append(error if isinstance(error, Exception) else EngineError(str(error)))
                    else:
                        self.ids[spec.name] = future.result()
                        self._on_hold[spec.name] = spec.key
        if errors:
            raise errors[0]
        return min(full, key=lambda one: _round(one[0].key), default=None)

    def _send(self, spec: JobSpec, *, ahead: int) -> str:
        """Held sbatch, then the id. An id that a power cut takes from the journal is found again by the job's name."""
        file = script_file(self.job.run, spec.name)
        dependency = spec.dependency(self.ids)
        for attempt in range(SBATCH_TRIES):
            try:
                job_id = self.slurm.sbatch(file, arguments=held(self.job.run.jobs), dependency=dependency, ahead=ahead)
                self.job.journal.append("submitted", sync=False, name=spec.name, job=job_id, dependency=dependency)
                return job_id
            except SlurmSilentError as error:
                self.suspicious = True
                logger.warning("%s; looking whether the job was accepted all the same", error)
                if job_id := self._look_for(spec.name):
                    logger.info("adopted job %s (%s): sbatch failed, but Slurm had accepted it", job_id, spec.name)
                    self.job.journal.append("adopted", name=spec.name, job=job_id)
                    return job_id
                if attempt == SBATCH_TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _look_for(self, name: str) -> str:
        for pause_s in LOOKS_S:
            rows = [row for row in self.slurm.squeue([name]) if row.will_run]
            if rows:
                return min((row.job_id for row in rows), key=int)
            time.sleep(pause_s)
        return ""

    def _cut_to_whole_rounds(self, specs: list[JobSpec], end: int, error: SubmitLimitError) -> None:
        """Slurm takes no more: keep the rounds that are complete, the rest follows from their gates."""
        if end == _END:
            logger.warning("%s; the gates send the run's last job, which retries what no gate comes after", error)
            return
        goes_on = self._goes_on(end)
        self._take_back(
            [name for name, key in self._on_hold.items() if not goes_on or _round(key) >= end],
            "the rest of its round did not fit",
        )
        closes = self._close_behind_the_rest(specs)
        if not goes_on and not (closes and self.by_person):
            self._refuse(
                f"{error}; not even one round fits: wait until your other jobs have ended, make rollout.num_shards "
                "smaller and rollout.episodes_per_shard larger (more episodes per task), or set the site's "
                "max_submit_jobs",
                error,
            )
            return
        logger.info("Slurm takes no more jobs now; rounds from %s on are submitted by the run's jobs before them", end)

    def _goes_on(self, end: int) -> bool:
        """Whether a job that stays looks at the run again: a gate, of this call or from before.

        For a person the last job will do. A gate whose retry did not fit must know, for it decides itself then.
        """
        new = any(key and key.stage is Stage.GATE and _round(key) < end for key in self._on_hold.values())
        before = [one.entry.key for name, one in self.live.items()
                  if one.alive and name in self.ids and name not in self._on_hold]  # fmt: skip
        return new or any(key.stage is Stage.GATE and _round(key) <= end if key else self.by_person for key in before)

    def _close_behind_the_rest(self, specs: list[JobSpec]) -> bool:
        """Send the run's last job, if it is due, behind what is left of those it was to wait for."""
        close = next((one for one in specs if one.key is None), None)
        waits = those_sent(close.waits, self.ids) if close else ()
        if not close or not waits:
            return False
        close = replace(close, waits=waits)
        self.job.journal.append_all("intent", [_intent(close)])
        try:
            self.ids[close.name] = self._send(close, ahead=0)
        except EngineError as error:
            if not isinstance(error, SlurmSilentError):  # else who comes next looks whether it is there
                abandon(self.job, [close.name])
            logger.warning("%s; the gates send the run's last job, which retries what no gate comes after", error)
            return False
        return True

    def _refuse(self, why: str, error: EngineError) -> None:
        self.job.journal.append("refused", why=why)
        self.refusal = TakenBackError(why)
        self.refusal.__cause__ = error

    def _take_back(self, names: list[str], why: str) -> None:
        """Jobs on hold that must not stay; they never ran, so no shard has failed by it."""
        for name in names:
            job_id = self.ids.pop(name)
            self._on_hold.pop(name)
            self.slurm.cancel([job_id])
            self.job.journal.append("cancelled", name=name, job=job_id, why=why)
        abandon(self.job, names)


def _round(key: Key | None) -> int:
    """The last job comes after all rounds."""
    return key.round_id if key else _END


def those_sent(waits: Iterable[Wait], ids: Collection[str]) -> tuple[Wait, ...]:
    """Waits without the jobs that are not with Slurm."""
    kept = (replace(wait, names=tuple(name for name in wait.names if name in ids)) for wait in waits)
    return tuple(wait for wait in kept if wait.names)


def abandon(job: Job, names: Iterable[str]) -> None:
    """Write down that these jobs are not with Slurm."""
    job.journal.append_all("abandoned", [{"name": name} for name in names])


def _intent(spec: JobSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "label": spec.label,
        "key": str(spec.key) if spec.key else "",
        "shards": shards_json(spec.shards),
        "offset": spec.offset,
        "generation": int(spec.name.rpartition("-g")[2].partition("c")[0]),
        "waits": waits_json(spec.waits),
        "uid": os.getuid(),
    }
