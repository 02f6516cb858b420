"""What a person sees of a local run at work."""

from selu_hpc.engines.base import Job
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.local import Running
from selu_hpc.engines.progress import ProgressView
from selu_hpc.rounds.plan import make_plan


def test_a_stage_that_is_done_leaves_the_bars_also_the_first(small_run, small_config):
    job = Job(small_run, small_config, make_plan(small_config))
    frontier = Frontier.of(job.plan, {stage.key: list(range(stage.num_shards)) for stage in job.plan})
    first, second = list(job.plan)[:2]
    with ProgressView(job, frontier) as view:
        for stage in (first, second):
            view.update([Running(stage.key, small_run.shard(stage.key.round_id, stage.key.stage, 0), 0)])
        for shard in range(first.num_shards):
            frontier.set(first.key, shard, State.DONE)
        view.update([])
        shown = {key: view.bars.tasks[row].visible for key, row in view.rows.items()}
    assert shown == {first.key: False, second.key: True}
