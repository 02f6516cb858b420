"""Carries out what reconcile.py decides, so that a crash at any point leaves no job twice and none lost.

The intents with their deterministic names into the journal; then per job sbatch on hold and its id into the journal;
then, for all of them at once, the release. A job on hold never ran, so a second copy (an sbatch that failed after Slurm
had accepted it) can be told by its name and cancelled. Whoever comes next adopts or cancels what a crash left behind.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm.attempts import count_failures, known_causes, read_attempts, tried_in_vain
from selu_hpc.engines.slurm.belonging import identity, own_jobs, require_all_seen
from selu_hpc.engines.slurm.launch import commands
from selu_hpc.engines.slurm.ledger import Entry, InQueue, Ledger, Live, completed, match, shards_json, waits_json
from selu_hpc.engines.slurm.limits import Limits, rounds_that_fit
from selu_hpc.engines.slurm.owners import is_denied, is_mine, owners, theirs_last
from selu_hpc.engines.slurm.quarantine import by_pool, failing_nodes, pools_of, starts, suspects
from selu_hpc.engines.slurm.reconcile import Decision, Failures, Situation, unplanned, with_commands
from selu_hpc.engines.slurm.sbatch import JobSpec, Wait
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.engines.slurm.sending import Sending, abandon, those_sent
from selu_hpc.engines.slurm.state import QueueRow, SacctRow
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import SEALED, Key
from selu_hpc.site import Site

logger = logging.getLogger(__name__)

_BEGUN = "no longer pending"
"""Slurm's words for a job that cannot be changed since it runs."""
_ENDED = "already finished"
"""And since it has ended: where what a job waits for is cancelled, Slurm cancels it as well, at a moment of its own."""
UNFIT = "it asks for more than a node has or one job may have"
STUCK = "it can't start any more: what it waits for will not come"
LOOKS = 4
"""Slurm cancels a chain of jobs link by link; what is missed here is found by the run's last job."""
GRACE_S = 10.0
"""How long a finished job's marker may stay invisible on a network file system."""


@dataclass(slots=True)
class Submission:
    """One look at a run and what follows from it; hold the run's lock while using it.

    me: the job this code runs in (a gate), which does not count as being on its way.
    by_person: submit on a login node, which also releases jobs that are on hold again: a controller that crashed may
    have forgotten the release.
    before_release: waits for what the jobs need and was begun beside this.
    still_mine: the lock's check; who lost it releases nothing, for its heir may have sent the same.
    not_ours: last jobs that another user's submit sent, found when they could not be re-pointed.
    """

    job: Job
    site: Site
    slurm: Slurm
    limits: Limits
    me: str = ""
    by_person: bool = False
    grace_s: float = GRACE_S
    before_release: Callable[[], object] = lambda: None
    still_mine: Callable[[], object] = lambda: None
    ids: dict[str, str] = field(default_factory=dict)
    not_ours: set[str] = field(default_factory=set)

    def advance(
        self, *, last_round: int, may_submit: bool = True, gate: Key | None = None, looks: int = LOOKS
    ) -> Decision:
        """Look, decide, act; returns what was decided. Without leave to submit, what can't start is cancelled only.

        looks: how often, at most, since a job that was counted on may have ended in the meantime.

        gate: the one this code runs in and that may still seal. Another is put behind the shards of its round that are
        on their way; when there are none, it decides itself and what waits for it stays as it is.
        """
        ledger = self._ledger()
        require_all_seen(ledger, self.job.run, self.slurm.config())
        rows = self.slurm.squeue(ledger.entries) if ledger.entries else []
        queue = self._settle(ledger, rows)
        live = {name: one for name, one in theirs_last(queue.live).items()
                if one.entry.job_id != self.me and name not in self.not_ours}  # fmt: skip
        self.ids = {name: entry.job_id for name, entry in ledger.entries.items() if entry.job_id}
        due = self._due(ledger, live, rows)
        tried = tried_in_vain(ledger, due, live)
        accounted = self._accounted(ledger, tried)
        excluded = self._quarantine(ledger, due, live, rows, accounted)
        failures = self._failures(ledger, tried, live, rows, accounted)
        now = Situation(
            plan=self.job.plan,
            due=due,
            ledger=ledger,
            live=live,
            failures=failures,
            site=self._measured(failures),
            max_retries=self.job.config.retry.max_retries,
            max_array_size=self.limits.max_array_size,
            last_round=last_round,
            excluded=excluded,
        )
        now, decision = self._decide(now, gate, queue)
        if not may_submit:
            decision.submit.clear()
            decision.rewire.clear()
        if self._carry_out(ledger, decision, live) or looks == 1:
            return decision
        self.slurm.forget()  # a squeue that was begun before says how it was then
        return self.advance(last_round=last_round, may_submit=may_submit, gate=gate, looks=looks - 1)

    def _decide(self, now: Situation, gate: Key | None, queue: InQueue) -> tuple[Situation, Decision]:
        num_queued = _count(now.live.values())
        if gate:
            with_me = {name: one for name, one in queue.live.items() if name in now.live or one.entry.key == gate}
            alone = rounds_that_fit(replace(now, live=with_me), self.limits, num_queued=num_queued)
            if not any(key.round_id == gate.round_id and key.stage in SEALED for key in alone[1].cover):
                return alone
        return rounds_that_fit(now, self.limits, num_queued=num_queued)

    def sweep(self) -> None:
        """Nothing is due: cancel what is left of this run in the queue (copies on hold that came late)."""
        ledger = self._ledger()
        if not ledger.entries:
            return
        queue = self._settle(ledger, self.slurm.squeue(ledger.entries))
        self.ids = {name: entry.job_id for name, entry in ledger.entries.items() if entry.job_id}
        for name, shards in unplanned(self.job.plan, queue.live).items():
            self._cancel(queue.live[name], shards)

    def _ledger(self) -> Ledger:
        """The journal's jobs; a new run, and a copy of another, gets an id of its own.

        A job never takes its run for a copy: its path is the one it was submitted with.
        """
        ledger = Ledger.read(self.job.journal)
        if self.by_person:
            ledger = own_jobs(ledger, self.job.run)
        if not ledger.run_id:
            ledger.run_id = os.urandom(4).hex()
            self.job.run.journal_file.touch()
            begun = {"id": ledger.run_id, "cluster": self.limits.cluster, **identity(self.job.run)}
            self.job.journal.append("slurm_run", sync=False, **begun)
        return ledger

    def _settle(self, ledger: Ledger, rows: list[QueueRow]) -> InQueue:
        queue = match(ledger, rows)
        for name, job_id in queue.adopted.items():
            logger.info("adopted job %s (%s): it was submitted, but its id never reached the journal", job_id, name)
            self.job.journal.append("adopted", name=name, job=job_id)
        for name in queue.lost:
            ledger.entries[name].abandoned = True
        abandon(self.job, queue.lost)
        self._cancel_strays(ledger, queue.strays)
        return queue

    def _cancel_strays(self, ledger: Ledger, strays: Iterable[tuple[str, str]]) -> None:
        for name, job_id in strays:
            try:
                self.slurm.cancel([job_id])
            except EngineError as error:
                if not is_denied(error):
                    raise
                whose = owners([ledger.entries[name]])
                logger.warning("job %s (%s) is a second copy on hold, which only %s may cancel", job_id, name, whose)
                continue
            logger.info("cancelled job %s (%s): a second copy that never ran", job_id, name)
            self.job.journal.append("cancelled", name=name, job=job_id, why="a second copy")

    def _due(self, ledger: Ledger, live: Mapping[str, Live], rows: list[QueueRow]) -> dict[Key, list[int]]:
        """Shards without a marker; where Slurm says a shard's task completed, its marker gets a moment to appear."""
        due = self.job.due()
        done = completed(ledger, live, rows, me=self.me)
        deadline = time.monotonic() + self.grace_s
        while hidden := [(key, shard) for key, shard in done if shard in due.get(key, ())]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
            for key, shard in hidden:
                with suppress(OSError):  # listing a folder makes NFS look at the server again
                    list(self.job.run.shard(key.round_id, key.stage, shard).path.iterdir())
            due = self.job.due()
        return due

    def _failures(
        self,
        ledger: Ledger,
        tried: Mapping[tuple[Key, int], list[str]],
        live: Mapping[str, Live],
        rows: list[QueueRow],
        accounted: list[SacctRow],
    ) -> dict[tuple[Key, int], Failures]:
        known = known_causes(ledger, {name for names in tried.values() for name in names}, rows, accounted)
        alive = {name for name, one in live.items() if one.alive} | ({self.me} if self.me else set())
        found = {}
        for key, shard in tried:
            by_name = {name: by_shard[shard] for name, by_shard in known.items() if shard in by_shard}
            attempts = read_attempts(self.job.run, key, shard)
            found[key, shard] = count_failures(ledger, key, shard, attempts, alive=alive, known=by_name)
        return found

    def _measured(self, failures: Mapping[tuple[Key, int], Failures]) -> Site:
        """The profile, with its nodes' memory and its partitions' time where more is needed and it does not say how
        much there is.

        A job is accepted on hold whatever it asks for, and one that asks for more than there is pends for ever.
        """
        if not any(failed.num_oom or failed.num_timeout for failed in failures.values()):
            return self.site
        from selu_hpc.engines.slurm.discover import with_limits

        return with_limits(self.site, self.slurm)

    def _accounted(self, ledger: Ledger, tried: Mapping[tuple[Key, int], list[str]]) -> list[SacctRow]:
        names = {name for names in tried.values() for name in names}
        ids = [ledger.entries[name].job_id for name in names if ledger.entries[name].job_id]
        return self.slurm.sacct(ids) if ids else []

    def _quarantine(
        self,
        ledger: Ledger,
        due: Mapping[Key, list[int]],
        live: Mapping[str, Live],
        rows: list[QueueRow],
        accounted: list[SacctRow],
    ) -> dict[str, tuple[str, ...]]:
        """Name and exclude nodes on which tasks fail fast, by pool. Only stages with open shards are looked at."""
        self._readmit(ledger, live)
        pools = pools_of(self.job.plan, self.site)
        places = suspects(ledger, due, self.job.plan, self.site)
        attempts = {place: read_attempts(self.job.run, *place) for place in places}
        new = failing_nodes(starts(attempts, ledger, pools, rows, accounted), ledger.quarantined)
        for (pool, node), why in new.items():
            logger.warning("node %s is excluded for this run: %s", node, why)
            self.job.journal.append("quarantined", pool=pool, node=node, why=why)
        ledger.quarantined |= new
        excluded = by_pool(ledger.quarantined)
        for one in live.values():
            pool = pools.get(one.entry.key, "")  # none: the plan has its stage no more
            if one.waiting and any(where == pool for where, _ in new):
                self._avoid(one, excluded[pool])
        return excluded

    def _readmit(self, ledger: Ledger, live: Mapping[str, Live]) -> None:
        """A person said submit since nodes were excluded: what still waits from before may use every node again."""
        if ledger.lifted:
            for one in live.values():
                if one.waiting and one.entry.epoch < ledger.epoch:
                    self._avoid(one, ())
            self.job.journal.append("readmitted")

    def _avoid(self, live: Live, nodes: Sequence[str]) -> None:
        """Slurm refuses to change an array of which a task has begun, so the waiting ones are named.

        One may begin before it is told; then it runs where it is, and how it ends is seen as ever.
        """
        target = live.entry.elements(live.waiting)
        try:
            self.slurm.avoid(target, nodes)
        except EngineError as error:
            logger.warning("%s (%s) may start on the nodes it could before: %s", target, live.entry.name, error)

    def _carry_out(self, ledger: Ledger, decision: Decision, live: Mapping[str, Live]) -> bool:
        """Whether all that was decided on is so now, and nothing that should wait had ended."""
        for (key, shard), why in decision.gave_up.items():
            logger.error("%s shard %s is given up: %s", key, shard, why)
            self.job.journal.append("gave_up", key=str(key), shard=shard, why=why)
        for name, shards in decision.cancel.items():
            self._cancel(live[name], shards, decision.submit)
        specs = with_commands(decision.submit, commands(self.job.plan, self.job.run, self.site))
        held = [one.entry for name, one in live.items()
                if name in self.ids and one.held and (self.by_person or not one.entry.released)]  # fmt: skip
        never_ran = [one.name for one in held if one.key and not one.released and is_mine(one)]
        sending = Sending(self.job, self.site, self.slurm, self.ids, live, held=never_ran, by_person=self.by_person)
        sent = sending.send(specs)
        if sending.suspicious:
            queue = match(Ledger.read(self.job.journal), self.slurm.squeue([spec.name for spec in specs]))
            self._cancel_strays(ledger, queue.strays)
        # Released before anything is made to wait for them: a gate that dies in between leaves nothing that waits for
        # a job on hold, and what waits for the dead gate is cancelled by Slurm and found missing by the last job.
        self._release(sent)
        again = self._rewire_all(decision, live)
        self._release_held([entry for entry in held if entry.name in self.ids])
        if sending.refusal:
            raise sending.refusal
        return not again

    def _cancel(self, live: Live, shards: set[int], instead: Iterable[JobSpec] = ()) -> None:
        """instead: what is to be sent. Another user's job that could still start must be gone before."""
        entry, whole = live.entry, shards >= live.alive | live.stuck
        target = entry.job_id if whole else entry.elements(shards)
        try:
            self.slurm.cancel([target])
        except EngineError as error:
            if not is_denied(error):
                raise
            why = f"{target} ({entry.name}) is {owners([entry])}'s, who alone may cancel it: let them"
            doubled = shards & live.waiting
            if any(one.key == entry.key and doubled.intersection(one.shards) for one in instead):
                raise EngineError(f"{why} run `{self.job.run.command('submit')}`; nothing was sent") from error
            logger.warning("%s run `scancel %s`: %s", why, target, STUCK if live.stuck else "nothing needs it")
            return
        if whole:
            self.ids.pop(entry.name)
        unfit = shards_json(shards & live.stuck & entry.unfit)
        dropped = bool(unplanned(self.job.plan, {entry.name: live}))
        why = UNFIT if unfit else "the plan has it no more" if dropped else STUCK
        self.job.journal.append("cancelled", name=entry.name, job=target, why=why, unfit=unfit)
        if unfit:
            logger.error("cancelled %s (%s): %s; lower resources.* of its stage", target, entry.name, why)
        else:
            logger.info("cancelled %s (%s): %s", target, entry.name, why)

    def _rewire_all(self, decision: Decision, live: Mapping[str, Live]) -> bool:
        """Whether another look is needed: what should wait had ended, or the last job is another user's."""
        again = False
        for name, waits in decision.rewire.items():
            entry, left = live[name].entry, live[name].waiting - decision.cancel.get(name, set())
            there, known = those_sent(waits, self.ids), {name for wait in entry.waits for name in wait.names}
            if there != waits and (entry.key or not those_sent(there, self.ids.keys() - known)):
                continue  # whoever sends the others does it; the last job waits for what there is
            if name in self.ids and not self._rewire(entry, left, there):
                again = True
        return again

    def _rewire(self, entry: Entry, waiting: set[int], waits: tuple[Wait, ...]) -> bool:
        """As in `_avoid`, what has begun is not told; it finds out by itself what is missing, and is sent again.

        False where the job has ended, or is another user's last job, beside which this one's own is needed.
        """
        name, target = entry.name, entry.elements(waiting)
        dependency = ",".join(wait.resolve(self.ids) for wait in waits)
        try:
            self.slurm.depend(target, dependency)
        except EngineError as error:
            if _ENDED in str(error):
                logger.warning("%s (%s) ended before it could be told to wait for %s", target, name, dependency)
                self.ids.pop(name)
                return False
            if is_denied(error):
                logger.warning(
                    "%s (%s) does not wait for %s: only %s may tell it", target, name, dependency, owners([entry])
                )
                self.not_ours.update({name} if not entry.key else ())
                return bool(entry.key)
            if _BEGUN not in str(error):
                raise
            logger.warning("%s (%s) begins before it could be told to wait for %s", target, name, dependency)
        self.job.journal.append("rewired", name=name, waits=waits_json(waits), dependency=dependency)
        logger.info("job %s (%s) now waits for %s", target, name, dependency)
        return True

    def _release_held(self, entries: list[Entry]) -> None:
        """What another user's submit left on hold only they can release."""
        self._release([entry.name for entry in entries if is_mine(entry)])
        theirs = [entry for entry in entries if not is_mine(entry)]
        try:
            self._release([entry.name for entry in theirs])
        except EngineError as error:
            if not is_denied(error):
                raise
            ids = ", ".join(entry.job_id for entry in theirs)
            why = f"jobs {ids} are on hold and {owners(theirs)}'s: let them run `{self.job.run.command('submit')}`"
            if self.by_person:
                raise EngineError(why) from error
            logger.error("%s", why)

    def _release(self, names: list[str]) -> None:
        if names:
            self.before_release()
            self.job.journal.sync()
            self.still_mine()
            self.slurm.release([self.ids[name] for name in names])
            self.job.journal.append("released", names=names)


def _count(live: Iterable[Live]) -> int:
    return sum(len(one.alive) for one in live)


def this_element() -> str:
    """The job id this process runs in, '' outside a job."""
    return os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID", "")


def horizon(job: Job, round_id: int) -> int:
    """Up to which round jobs are submitted now: all of them, or with `chain: rolling` one ahead."""
    return job.config.rounds if job.config.chain == "upfront" else min(job.config.rounds, max(1, round_id))
