"""Sends a plan's jobs: all intents into the journal, then each job on hold after those it waits for, then its id.

Owns what is done when Slurm refuses, takes no more or gives no answer: a job that was accepted all the same is found
by its name, and what belongs to a refused one is taken back. Does not own what is sent (reconcile.py) or the release,
after which a job may run (submission.py).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_some
from dataclasses import dataclass, field

from selu_hpc.engines.base import Job
from selu_hpc.engines.launch import script, script_file
from selu_hpc.engines.ledger import shards_json, waits_json
from selu_hpc.engines.sbatch import JobSpec, held
from selu_hpc.engines.scheduler import Slurm, SlurmSilentError, SubmitLimitError
from selu_hpc.errors import EngineError
from selu_hpc.site import Site

logger = logging.getLogger(__name__)

LOOKS_S = (1.0, 2.0, 4.0, 8.0)
"""When to look for a job whose sbatch gave no answer, before it is sent again."""
SBATCH_TRIES = 5
SBATCH_AT_ONCE = 3
"""So many jobs of a plan don't wait for one another: two fine-tunings, an evaluation beside the next rollout."""


class TakenBackError(EngineError):
    """Slurm refused one of several jobs, and none of them is left in the queue."""


@dataclass(slots=True)
class Sending:
    """One plan on its way to Slurm.

    ids: of the jobs that others may wait for, by name; those that are sent are added.  by_person: submit on a login
    node, where what was sent before a refusal stays: the next submit goes on from it.  suspicious: sbatch gave no
    answer once, so that a job may be in the queue twice.
    """

    job: Job
    site: Site
    slurm: Slurm
    ids: dict[str, str]
    by_person: bool = False
    suspicious: bool = field(default=False, init=False)

    def send(self, specs: list[JobSpec]) -> list[str]:
        """All intents first, in one write; then the jobs. The names of those that stay."""
        sent: list[str] = []
        if specs:
            self.job.run.jobs.mkdir(parents=True, exist_ok=True)
        umask = os.umask(0o022)
        os.umask(umask)
        for spec in specs:
            text = script(spec, self.job.run, self.job.config, self.site, umask=umask)
            script_file(self.job.run, spec.name).write_bytes(os.fsencode(text))
        self.job.journal.append_all("intent", [_intent(spec) for spec in specs])
        try:
            self._send_in_order(specs, sent)
        except SubmitLimitError as error:
            abandon(self.job, [one.name for one in specs if one.name not in sent])
            return self._cut_to_whole_rounds(specs, sent, error)
        except SlurmSilentError:
            raise
        except EngineError as error:
            if self.by_person:
                raise
            # A person's next submit goes on from here; after a job nobody may come who would.
            abandon(self.job, [one.name for one in specs if one.name not in sent])
            self._take_back(sent, "what belongs to it was refused")
            raise TakenBackError(str(error)) from error
        return sent

    def _send_in_order(self, specs: list[JobSpec], sent: list[str]) -> None:
        """Each job after those it waits for, a few at a time; after an error nothing new is begun. Fills `sent`."""
        left, begun = list(specs), dict[Future[str], JobSpec]()
        errors: list[Exception] = []
        with ThreadPoolExecutor(SBATCH_AT_ONCE) as pool:
            while begun or (left and not errors):
                ready = [one for one in left if all(name in self.ids for wait in one.waits for name in wait.names)]
                for spec in ready if not errors else ():
                    left.remove(spec)
                    begun[pool.submit(self._send, spec, ahead=min(len(left), SBATCH_AT_ONCE))] = spec
                assert begun, "a job waits for one that is neither in the queue nor in this plan"
                for future in wait_for_some(begun, return_when=FIRST_COMPLETED).done:
                    spec = begun.pop(future)
                    if error := future.exception():
                        errors.append(error if isinstance(error, Exception) else EngineError(str(error)))
                    else:
                        self.ids[spec.name] = future.result()
                        sent.append(spec.name)
        if errors:
            raise next((one for one in errors if not isinstance(one, SubmitLimitError)), errors[0])

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

    def _cut_to_whole_rounds(self, specs: list[JobSpec], sent: list[str], error: SubmitLimitError) -> list[str]:
        """Slurm takes no more: keep the rounds that are complete, the rest follows from their gates."""
        refused = next(spec for spec in specs if spec.name not in sent)
        if refused.key is None:
            logger.warning("%s; the gates send the run's last job, which retries what no gate comes after", error)
            return sent
        round_id = refused.key.round_id
        by_name = {spec.name: spec for spec in specs}
        kept = [name for name in sent if (key := by_name[name].key) and key.round_id < round_id]
        goes_on = any((key := by_name[name].key) and key.stage == "gate" for name in kept)
        self._take_back([name for name in sent if not (goes_on and name in kept)], "the rest of its round did not fit")
        if not goes_on:
            raise TakenBackError(
                f"{error}; not even one round fits: wait until your other jobs have ended, make rollout.num_shards "
                "smaller and rollout.episodes_per_shard larger (more episodes per task), or set the site's "
                "max_submit_jobs"
            ) from error
        logger.info("Slurm takes no more jobs now; rounds from %s on are submitted by the gates before them", round_id)
        return kept

    def _take_back(self, names: list[str], why: str) -> None:
        """Jobs on hold that must not stay; they never ran, so no shard has failed by it."""
        for name in names:
            self.slurm.cancel([self.ids[name]])
            self.job.journal.append("cancelled", name=name, job=self.ids[name], why=why)
        abandon(self.job, names)


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
