"""An explanation as lines for a terminal. Pure; times are this machine's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from selu_hpc.engines.overview import counted
from selu_hpc.engines.why.explaining import Explanation
from selu_hpc.engines.why.findings import ShardWhy, StageWhy
from selu_hpc.engines.why.needs import NeedWhy
from selu_hpc.engines.why.tries import Try
from selu_hpc.engines.why.words import How


def as_text(told: Explanation) -> str:
    lines = [f"{told.run.path}" + (f", engine {told.engine}" if told.engine else "")]
    if told.shard:
        lines += _shard(told.shard)
    elif [stage.stage for stage in told.stages] == [told.what]:
        lines += _stage(told.stages[0])
    else:
        lines += [told.what] if told.what != "run" else []
        lines += _run(told.stages)
    lines += [f"! {line}" for line in told.trouble]
    return "\n".join([*lines, f"next: {told.next}"]) + "\n"


def _run(stages: list[StageWhy]) -> Iterator[str]:
    if not stages:
        yield "finished: nothing holds it up"
        return
    first, *others = stages
    yield f"{'working on' if first.is_at_work else 'held up by'} {first.headline}"
    yield from _groups(first)
    yield from (f"  {line}" for line in first.chain)
    for other in others:
        yield f"besides {other.headline}"
        yield from _groups(other)


def _stage(stage: StageWhy) -> Iterator[str]:
    yield stage.headline
    yield from _needs(stage.needs)
    yield from _groups(stage)
    for job in stage.jobs:
        alive = f"{job.waiting} waiting, {job.running} running" + (f", {job.stuck} stuck" if job.stuck else "")
        state = alive if job.waiting or job.running or job.stuck else "no longer in the queue"
        yield f"  job {job.job} ({job.name}), shards {job.shards}: {state}; Slurm's log: {job.log}"
    yield from (f"  {line}" for line in stage.chain)
    yield f"  logs: {stage.logs}/shard-*/attempt-*/log.txt"


def _groups(stage: StageWhy) -> Iterator[str]:
    for group in stage.groups:
        name = group.shards if "/" in group.shards else f"{stage.stage}/{group.shards}"
        yield f"  {name} {group.state}: {group.reason}"
        yield f"    do: {group.do}"
    if stage.unseen:
        yield f"  {counted(stage.unseen, 'more shard')} {'was' if stage.unseen == 1 else 'were'} not looked into"


def _needs(needs: Iterable[NeedWhy]) -> Iterator[str]:
    for need in needs:
        yield f"  needs {need.on} ({need.after}): {'met, ' if need.met else 'not met, '}{need.words}"


def _shard(why: ShardWhy) -> Iterator[str]:
    yield f"{why.shard} {why.state}: {why.reason}"
    yield f"  do: {why.do}"
    yield from _needs(why.needs)
    for one in why.tries:
        yield from _try(one)
    if not why.tries:
        yield "  no attempt was begun"
    yield f"  retry: {why.retry.words}"
    yield f"  folder: {why.folder}"


def _try(one: Try) -> Iterator[str]:
    number = "no attempt" if one.number is None else f"attempt {one.number}"
    where = f", job {one.job}" * bool(one.job) + f" on {one.node}" * bool(one.node)
    ended = "" if one.how is How.RUNNING else f" to {when(one.ended)}" if one.ended is not None else _last_sign(one)
    slurm = f" (Slurm: {one.slurm})" * bool(one.slurm) + _code(one)
    yield (
        f"  {number}{where}, {when(one.begun)}{ended}: {one.sentence}{slurm}"
        if one.number is not None
        else (f"  {number}{where}: {one.sentence}")
    )
    if figures := ", ".join(_figures(one)):
        yield f"    {figures}"
    if one.said:
        yield f"    {one.said}"
    if one.log:
        yield f"    log: {one.log}"


def _code(one: Try) -> str:
    told = f"exit code {one.code}"
    return "" if one.code is None or told in one.sentence or one.how is How.DONE else f", {told}"


def _last_sign(one: Try) -> str:
    return "" if one.last_sign is None else f", last sign of life {when(one.last_sign)}"


def _figures(one: Try) -> Iterator[str]:
    if one.peak_gb is not None:
        yield f"memory {one.peak_gb:.2f} GB" + (f" of {one.asked_gb:.3g} GB" if one.asked_gb else "")
    elif one.asked_gb:
        yield f"memory not known, {one.asked_gb:.3g} GB asked"
    if one.begun is not None and one.ended is not None:
        yield f"time {duration(one.ended - one.begun)}" + (f" of {one.asked_min} min" if one.asked_min else "")


def when(moment: float | None) -> str:
    return "an unknown moment" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def duration(seconds: float) -> str:
    """`59.9 s`, `2 min 0 s`."""
    seconds = max(0.0, seconds)
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
