"""A run's journal and markers without stages; a squeue and a sacct that say what a test wants; a job to ask about."""

from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.why.explaining import explain
from selu_hpc.rounds.rundir import Stage, write_json

BEGUN = 1_767_225_600.0  # the first second of 2026, UTC
PLACE = "r01/rollout/1"
ERROR = "2026-01-01 00:00:09.000 ERROR   r01/rollout/1 selu_hpc.stages.entry: {}\n"
QUORUM = "MissingShardError: round 1: 1 of 2 shards are whole, retry.quorum asks for 100%; the chain stops here:\nr01 …"


class FakeSqueue:
    """A squeue that answers with what `says` holds and counts how often it was asked; a sacct, off at first."""

    def __init__(self, folder):
        folder.mkdir()
        self.rows, self.count, self.tool = folder / "rows", folder / "count", folder / "squeue"
        self.says()
        self.tool.write_text(f"#!/bin/sh\necho >> {self.count}\ncat {self.rows}\n")
        self.tool.chmod(0o755)
        self.sacct = folder / "sacct"
        self.accounts_fail("Slurm accounting storage is disabled")
        self.calls = Calls(environment={"PATH": f"{folder}:/usr/bin:/bin"})

    def says(self, *rows):
        self.rows.write_text("".join(f"{row}\n" for row in rows))

    def fails(self, words):
        self.tool.write_text(f'#!/bin/sh\necho "{words}" >&2\nexit 1\n')

    def accounts(self, *rows):
        listed = self.sacct.with_name("accounted")
        listed.write_text("".join(f"{row}\n" for row in rows))
        self._be(f"cat {listed}")

    def accounts_fail(self, words):
        self._be(f'echo "{words}" >&2\nexit 1')

    def _be(self, what):
        self.sacct.write_text(f"#!/bin/sh\necho >> {self.count.with_name('times')}\n{what}\n")
        self.sacct.chmod(0o755)

    @property
    def times_asked(self):
        return _lines(self.count)

    @property
    def times_accounting_was_asked(self):
        return _lines(self.count.with_name("times"))


def _lines(file):
    return len(file.read_text().splitlines()) if file.exists() else 0


def finish(job, *stages):
    for stage in job.plan:
        if not stages or str(stage.key) in stages:
            for shard in range(stage.num_shards):
                job.run.shard(stage.key.round_id, stage.key.stage, shard).write_marker(
                    content="x", names=[], summary={}
                )


def submitted(job, label, job_id, shards="0-1", *, waits=(), generation=0, mem_gb=4, minutes=60):
    """A job in the journal, with its batch script; `waits` as the journal has them."""
    name = f"selu-1a2b3c4d-{label}-g{generation}c0"
    round_id, _, stage = label.partition("-")
    fields = {"label": label, "key": f"{round_id}/{stage}" if stage else "", "shards": shards, "offset": 0}
    job.journal.append("intent", name=name, **fields, generation=generation, waits=[list(wait) for wait in waits])
    job.journal.append("submitted", name=name, job=job_id)
    job.run.jobs.mkdir(exist_ok=True)
    (job.run.jobs / f"{name}.sh").write_text(f"#!/bin/bash\n#SBATCH --mem={mem_gb}GB\n#SBATCH --time={minutes}\n")
    return name


def attempted(job, place, number, /, *, name="", log="", slurm_log="", **record):
    """An attempt's folder, with the record its wrapper leaves under Slurm when `name` is given."""
    round_id, stage, shard = place.split("/")
    folder = job.run.shard(int(round_id[1:]), Stage(stage), int(shard)).attempt(number)
    folder.mkdir(parents=True)
    if name:
        write_json(folder / "job.json", {"name": name, "node": "c1", "begun": BEGUN, **record})
    for file, text in (("log.txt", log), ("slurm.log", slurm_log)):
        if text:
            (folder / file).write_text(text)
    return folder


def row(job_id, index, state, name, reason="None", *, node="", waits=""):
    """A line of squeue; an index of None is a plain job."""
    element = job_id if index is None else f"{job_id}_{index}"
    at = "N/A" if index is None else index
    return f"{job_id}|{at}|{element}|{state}|2026-01-01T00:00:00|{name}|{reason}|{node}|{waits}"


class ExplainedRollout:
    """A rollout job of two shards with its gate behind it; shard 1 is the one that explain is asked about."""

    def __init__(self, job, squeue):
        self.job, self.squeue = job, squeue
        job.journal.append("started", engine="slurm")
        self.rollout = submitted(job, "r01-rollout", "7")
        self.gate = submitted(job, "r01-gate", "9", "0", waits=[("afterany", self.rollout)])
        job.journal.append("released", names=[self.rollout, self.gate])
        finish(job, "r00/testset", "r00/evaluate")
        self.queue()

    def queue(self, *rows, gate=True):
        waits = [row("9", None, "PENDING", self.gate, "Dependency")] if gate else []
        self.squeue.says(*waits, *rows)

    def attempt(self, number=0, *, log="", slurm_log="", job="7_1", name="", **record):
        attempted(self.job, PLACE, number, name=name or self.rollout, job=job, log=log, slurm_log=slurm_log, **record)

    def accounts(self, state, *steps, element="7_1", name=""):
        self.squeue.accounts(f"{element}|{name or self.rollout}|{state}|0:0|2026|2026|2026|c1||4G", *steps)

    def explain(self, what=PLACE):
        return explain(self.job.run, what, self.squeue.calls)

    @property
    def last(self):
        return self.explain().shard.tries[-1]

    @property
    def retry(self):
        return self.explain().shard.retry
