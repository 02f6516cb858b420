"""One role's fine-tuning job of a round: its dataset in, an adapter, a curve and a marker out.

    python -m selu_hpc.stages.finetune --run RUN --round 1 --role actor
    srun --ntasks=8 python -m selu_hpc.stages.finetune … --attempt 0
    torchrun --nproc-per-node=8 -m -- selu_hpc.stages.finetune … --attempt 0

Owns which dataset, which start and which ranks; started alone with finetune.num_ranks > 1 it starts its own ranks.
Does not own training (train/).
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from selu_hpc.config import RunConfig
from selu_hpc.errors import EXIT_REQUEUE
from selu_hpc.recipes import load_run
from selu_hpc.records import Role, derive_seed
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage
from selu_hpc.stages import entry

if TYPE_CHECKING:
    from selu_hpc.train import sft
    from selu_hpc.train.ranks import Team
    from selu_hpc.train.result import Result
    from selu_hpc.train.stop import StopWish

logger = logging.getLogger(__name__)


def run(*, run: str, round_id: int, shard: int, attempt: int, role: str) -> None:
    """Train a role's adapter of a round unless it is there; every rank calls this."""
    folder = RunDir(Path(run))
    place = folder.shard(round_id, Stage(f"finetune_{role}"), shard)
    if place.read_marker() is not None:
        shutil.rmtree(place.path / "checkpoints", ignore_errors=True)  # of who was killed right after marking
        return
    from selu_hpc.train.ranks import find_place

    config = load_run(run)
    me = find_place(os.environ)
    if me.world == 1 and me.launcher != "spawned" and config.finetune.num_ranks > 1:
        _start_ranks(place, config, attempt, role)
    else:
        _train(place, config, attempt, Role(role))


def _train(place: ShardDir, config: RunConfig, attempt: int, role: Role) -> None:
    from selu_hpc.store.truth import forbid_truth
    from selu_hpc.train import ranks, stop
    from selu_hpc.train.result import Stopped

    forbid_truth(place.run.truth)
    me = ranks.find_place(os.environ)
    progress = None

    def on_step(done: int, total: int) -> None:
        nonlocal progress
        progress = progress or entry.Progress.of(place, attempt, total)
        progress.update(done)

    def mark(result: Result) -> None:
        if place.read_marker() is not None:
            return
        place.write_marker(
            content=result.content,
            names=["adapter", "curve.json", "tensorboard"],
            summary={**result.summary, "attempt": attempt},
        )
        logger.info("r%02d/%s: %s", place.round_id, role, result.summary)

    with stop.listen() as wish, ranks.meet(me, meeting_file=place.path / "meeting.json") as team:
        try:
            _learn(place, attempt, config, role, team, wish, on_step, mark)
        except Stopped as stopped:
            raise entry.RequeueRequested(f"{stopped}, asked to by {wish.signal_name or 'another rank'}") from stopped


def _learn(
    place: ShardDir,
    attempt: int,
    config: RunConfig,
    role: Role,
    team: Team,
    wish: StopWish,
    on_step: Callable[[int, int], None],
    mark: Callable[[Result], None],
) -> Result:
    from selu_hpc.store.frames import FrameSource
    from selu_hpc.train import keep, sft

    place.run.shard(place.round_id, Stage.GATE).check()  # lines that storage lost would not be missed
    if config.plays_games:
        from selu_hpc.stages.games import finetune

        return finetune.learn(place, attempt, config, team, wish, on_step, mark)
    job = replace(make_job(place, config, role), attempt=place.attempt(attempt))
    untaught = keep.teaches_nothing(job.datasets)
    if untaught:
        job = replace(job, start=_last_adapter(place, config, role))
    if job.start is not None:
        place.run.shard(place.round_id - 1, place.stage).check(job.start.name)
    if untaught:
        return keep.keep(job, team, mark)
    return sft.train(job, team, FrameSource(place.run.path), wish, on_step, mark)


def make_job(place: ShardDir, config: RunConfig, role: Role) -> sft.Job:
    """What this role of this round trains on, from where, and how."""
    from selu_hpc.train.sft import Job

    shared = config.model.shared_adapter
    roles = (Role.ACTOR, Role.CRITIC) if shared else (role,)
    before = _last_adapter(place, config, role) if config.finetune.start_from == "last_round" else None
    return Job(
        name=f"r{place.round_id:02d}/{'both' if shared else role}",
        datasets=tuple(place.run.dataset(place.round_id, one) for one in roles),
        folder=place.path,
        start=before,
        model=config.model,
        finetune=config.finetune,
        training=config.finetune.actor if shared or role is Role.ACTOR else config.finetune.critic,
        seed=derive_seed(config.seed, place.round_id, "finetune", "both" if shared else role),
    )


def _last_adapter(place: ShardDir, config: RunConfig, role: Role) -> Path | None:
    return place.run.adapter(place.round_id - 1, Role.ACTOR if config.model.shared_adapter else role)


def _start_ranks(place: ShardDir, config: RunConfig, attempt: int, role: str) -> None:
    from selu_hpc.train.spawn import run_ranks

    command = [sys.executable, "-m", "selu_hpc.stages.finetune", "--run", str(place.run.path)]
    command += ["--round", str(place.round_id), "--shard", str(place.shard), "--attempt", str(attempt), "--role", role]
    code = run_ranks(
        command,
        num_ranks=config.finetune.num_ranks,
        logs=place.attempt(attempt) / "ranks",
        requeue_code=EXIT_REQUEUE,
    )
    if code == EXIT_REQUEUE:
        raise entry.RequeueRequested(f"r{place.round_id:02d}/{role}: all ranks saved and ended as asked")


if __name__ == "__main__":
    entry.main([Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC])
