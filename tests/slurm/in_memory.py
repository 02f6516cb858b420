"""A Slurm in memory that refuses, falls silent or lies when a test says so, and what tests do with it."""

import os
import re
import threading
from dataclasses import dataclass, field

from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.engines.slurm.sbatch import read_array_text
from selu_hpc.engines.slurm.scheduler import SubmitLimitError
from selu_hpc.engines.slurm.state import QueueRow
from selu_hpc.engines.slurm.submission import Submission
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import Stage, write_json
from selu_hpc.site import Site

FULL = SubmitLimitError("sbatch: QOSMaxSubmitJobPerUserLimit")
SITE = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}})


@dataclass
class SlurmInMemory:
    """Takes jobs on hold, remembers them by id. `trouble(number, name)` may raise; `lies` are accepted all the same.

    reasons: why squeue says that a job is pending, by its id.  nodes: what sinfo says.
    settings: what `scontrol show config` says.  is_blind: squeue shows nothing, as that of another user or cluster may.
    owners: the user who submitted a job.  guards: others may not change it.
    states: of a job or of one element, `{"103": "RUNNING", ("101", 1): "COMPLETED"}`; all others are pending.
    """

    trouble: object = None
    lies: bool = False
    is_blind: bool = False
    guards: bool = False
    owners: dict = field(default_factory=dict)
    settings: dict = field(default_factory=lambda: {"ClusterName": "lab", "PrivateData": "none"})
    jobs: dict = field(default_factory=dict)
    released: list = field(default_factory=list)
    cancelled: list = field(default_factory=list)
    states: dict = field(default_factory=dict)
    avoids: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    nodes: str = ""
    waits: dict = field(default_factory=dict)
    """Dependencies by job, or by the elements that were told."""
    most_at_once: int = 0
    _two: threading.Event = field(default_factory=threading.Event)
    _count: int = 0
    _at_once: int = 0
    _lock: object = field(default_factory=threading.Lock)

    def sbatch(self, script, *, arguments, dependency="", ahead=0):
        text = script.read_text()
        name = re.search(r"^#SBATCH --job-name=(\S+)$", text, re.MULTILINE)[1]
        array = re.search(r"^#SBATCH --array=(\S+)$", text, re.MULTILINE)
        assert "--hold" in arguments
        with self._lock:
            assert set(re.findall(r"\d+", dependency)) <= self.jobs.keys(), "waits for a job that is not there yet"
            self._count += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            number, job_id = self._count, str(100 + self._count)
            if self._at_once > 1:
                self._two.set()
        self._two.wait(5.0)  # the first call stays until there is a second beside it
        try:
            error = self.trouble(number, name) if self.trouble else None
            if error is None or self.lies:
                self.jobs[job_id] = (name, tuple(read_array_text(array[1])) if array else (0,))
                self.waits[job_id], self.owners[job_id] = dependency, os.getuid()
            if error:
                raise error
            return job_id
        finally:
            with self._lock:
                self._at_once -= 1

    def text(self, *command):
        assert command[0] == "sinfo"
        return self.nodes

    def config(self):
        return self.settings

    def squeue(self, names):
        wanted = set() if self.is_blind else set(names)
        return [
            QueueRow(job_id, (index,), self.state(job_id, index), "", name,
                     self.reasons.get(job_id, "") if job_id in self.released else "JobHeldUser", "", "")
            for job_id, (name, indices) in self.jobs.items() if name in wanted for index in indices
        ]  # fmt: skip

    def state(self, job_id, index):
        return self.states.get((job_id, index), self.states.get(job_id, "PENDING"))

    def forget(self):
        """Every answer is of now."""

    def release(self, ids):
        assert set(ids) <= self.jobs.keys()
        self._must_own(ids)
        self.released += ids

    def cancel(self, ids):
        self._must_own(job_id.partition("_")[0] for job_id in ids)
        self.cancelled += ids
        for target in ids:
            job_id, _, some = target.partition("_")
            name, indices = self.jobs.pop(job_id)
            if left := tuple(index for index in indices if some and index not in read_array_text(some)):
                self.jobs[job_id] = (name, left)

    def depend(self, target, dependency):
        self._must_wait(target)
        assert set(re.findall(r"\d+", dependency)) <= self.jobs.keys()
        self.waits[target] = dependency

    def avoid(self, target, nodes):
        self._must_wait(target)
        self.avoids[target] = nodes

    def _must_wait(self, target):
        """As scontrol does it: some of an array may be told, a whole array only while none of its tasks has begun."""
        job_id, _, some = target.partition("_")
        self._must_own([job_id])
        told = read_array_text(some) if some else self.jobs[job_id][1]
        if any(self.state(job_id, index) != "PENDING" for index in told):
            raise EngineError(f"{target}: Job is no longer pending execution")

    def _must_own(self, ids):
        if self.guards and any(self.owners[job_id] != os.getuid() for job_id in ids):
            raise EngineError("`scontrol` failed: slurm_update error: Access/permission denied")

    def sacct(self, ids):
        return []


def submit(job, slurm, last_round=9):
    limits = Limits(cluster=slurm.settings["ClusterName"])
    submission = Submission(job, SITE, slurm, limits, by_person=True, grace_s=0.0)
    job.journal.append("started", engine="slurm")
    return submission.advance(last_round=last_round)


def events(job, *kinds):
    return [event for event in job.journal if event["event"] in kinds]


def stages(slurm, job_ids=None):
    return sorted(slurm.jobs[job_id][0].split("-", 2)[2] for job_id in job_ids or slurm.jobs)


def ids_of(slurm):
    """Job ids by stage, `r01-rollout`."""
    return {name.split("-", 2)[2].removesuffix("-g0c0"): job_id for job_id, (name, _) in slurm.jobs.items()}


def finish(job, *shards):
    for stage in (Stage.ROLLOUT, Stage.LABEL):
        for shard in shards:
            job.run.shard(1, stage, shard).write_marker(content="x", names=[], summary={})


def gate_at_work(job, slurm, **more):
    """The first round's gate, running as a job of the queue."""
    ids = ids_of(slurm)
    slurm.states |= {ids["r01-gate"]: "RUNNING", ids["r01-rollout"]: "FAILED", ids["r01-label"]: "CANCELLED"}
    submission = Submission(job, SITE, slurm, Limits(), me=ids["r01-gate"], **{"grace_s": 0.0} | more)
    return submission.advance(last_round=9, gate=Key(1, Stage.GATE))


def record(job, slurm, stage, shard, node, code, **more):
    """The record of a task that began and ended at once."""
    name = slurm.jobs[ids_of(slurm)[f"r01-{stage}"]][0]
    folder = job.run.shard(1, Stage(stage), shard).attempt(0)
    write_json(
        folder / "job.json", {"name": name, "job": "1", "node": node, "begun": 1.0, "ended": 2.0, "code": code, **more}
    )
