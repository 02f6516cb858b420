"""`submit --wait` watches what the plan has, whatever else of the run is in the queue."""

from faked_slurm import row, submitted

from selu_hpc.engines.base import Job
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.slurm.follow import Follow
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.rundir import Stage


def test_a_running_job_of_a_stage_that_the_plan_has_no_more_is_left_out(job, squeue):
    job.journal.append("slurm_run", id="1a2b3c4d")
    rollout, gone = submitted(job, "r01-rollout", "7"), submitted(job, "r05-evaluate", "12", "0")
    squeue.says(row("7", 0, "RUNNING", rollout), row("12", None, "RUNNING", gone))
    follow = Follow(Job(job.run, job.config, make_plan(job.config)), Slurm(calls=squeue.calls))
    frontier = Frontier.of(job.plan, job.due())
    running, alive = follow._look(frontier)
    assert ([(one.key, one.place.shard) for one in running], alive) == ([(Key(1, Stage.ROLLOUT), 0)], True)
    follow._mark(frontier, job.due(), running)
    assert frontier.states[Key(1, Stage.ROLLOUT), 0] is State.RUNNING
    assert frontier.states[Key(1, Stage.ROLLOUT), 1] is State.WAITING
