"""Shards whose bytes are not what their marker says: out of the way with them, so that they are made anew.

Owns what is moved where. Does not own finding out why (rundir.ShardDir.check) or making them again (the engines).
"""

from __future__ import annotations

import logging
import time

from selu_hpc.engines.base import Job
from selu_hpc.errors import CorruptShardError
from selu_hpc.rounds.gate import sealed_stages
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import ShardDir, Stage

logger = logging.getLogger(__name__)


def put_aside_broken_shards(job: Job, round_id: int, *, with_labels: bool = False) -> None:
    """A shard whose bytes are not what its marker says is no shard: it is moved aside and made anew.

    with_labels: a broken rollout's label goes as well, for an engine whose gate waits for labels only.
    """
    for stage in sealed_stages(job.config):
        for shard in range(job.plan[Key(round_id, stage)].num_shards):
            place = job.run.shard(round_id, stage, shard)
            why = _why_broken(place)
            if not why:
                continue
            put_aside(job, place, why)
            label = job.run.shard(round_id, Stage.LABEL, shard)
            if with_labels and stage is Stage.ROLLOUT and label.marker_file.exists():
                put_aside(job, label, f"its rollout is made anew: {why}")


def put_aside(job: Job, place: ShardDir, why: str) -> None:
    """Keep the attempts' records, put everything else out of the way under a name nothing reads."""
    target = place.path / f"broken-{time.strftime('%Y%m%dT%H%M%S')}"
    target.mkdir(parents=True, exist_ok=True)
    place.marker_file.rename(target / place.marker_file.name)
    for part in list(place.path.iterdir()):
        if not part.name.startswith(("attempt-", "broken-")):
            part.rename(target / part.name)
    if place.truth.exists():
        place.truth.rename(place.truth.with_name(f"{place.truth.name}.{target.name}"))
    logger.warning("shard %s is broken and made anew: %s", place.name, why)
    job.journal.append("corrupt", shard=place.name, why=why)


def _why_broken(place: ShardDir) -> str:
    """Empty for a whole shard and for one that is not there yet."""
    try:
        if place.read_marker() is not None:
            place.check()
    except CorruptShardError as error:
        return str(error)
    return ""
