"""What a person sees of a local run at work."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from selu_hpc.engines.base import Job
from selu_hpc.engines.frontier import Frontier, State
from selu_hpc.engines.local.engine import Running
from selu_hpc.engines.progress import ProgressView, columns_for
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


def test_a_path_is_said_in_one_line_where_nobody_sees_a_terminal(small_run, small_config, capsys):
    job = Job(small_run, small_config, make_plan(small_config))
    said = f"round 1 rollout: shard 0 failed; read /scratch/{'a folder of many words/' * 9}log.txt"
    with ProgressView(job, Frontier.of(job.plan, {})) as view:
        view.say(said)
    assert f"{said}\n" in capsys.readouterr().err


@pytest.mark.parametrize("width", [55, 62, 63, 70, 73, 74, 79, 80, 200])
def test_no_time_is_cut_in_a_narrow_window(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with Progress(*columns_for(width), console=console, auto_refresh=False) as bars:
        bars.add_task("round 12 finetune critic", total=16, shards="11/16 shards, 3 failed")
        console.print(bars.get_renderable())
    shown = console.file.getvalue()
    assert "…" not in shown
    assert "0:00:00" in shown
    assert ("-:--:--" in shown, "━" in shown) == (width >= 63, width >= 74)
