"""Shards whose bytes are not what their marker says: out of the way with them, so that they are made anew.

Owns what is moved where, and telling damage from a storage that is away. Does not own finding out why
(rundir.ShardDir.check) or making them again (the engines).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from selu_hpc.engines.base import Job
from selu_hpc.errors import CorruptShardError, RunFolderError, UnreadableShardError
from selu_hpc.rounds.gate import sealed_stages
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import ShardDir, Stage

logger = logging.getLogger(__name__)

PATIENCE_S = (1.0, 5.0, 20.0)
"""How long to wait before a shard that cannot be read is read again: a server that fails over takes seconds."""


def put_aside_broken_shards(job: Job, round_id: int) -> None:
    """A shard whose bytes are not what its marker says is no shard: it is moved aside and made anew.

    A rollout's label goes with it, for a gate waits for labels only, and a label is of the episodes it was made of.
    One shard that cannot be read among others that can is damage. Where several can't, or none can, the storage is
    away: nothing is moved, and RunFolderError says so.
    """
    broken = {place: error for place, error in _checked(job, round_id) if error is not None}
    unread = [place for place, error in broken.items() if isinstance(error, UnreadableShardError)]
    finished = sum(place.marker_file.exists() for place in _places(job, round_id))
    if len(unread) > 1 or 0 < len(unread) == finished:
        raise RunFolderError(
            f"{len(unread)} of {finished} finished shards of round {round_id} cannot be read, as where a storage "
            f"server is away; nothing was changed. The first: {broken[unread[0]]}"
        )
    for place, error in broken.items():
        put_aside(job, place, str(error))
    for place in _places(job, round_id):
        label = job.run.shard(round_id, Stage.LABEL, place.shard)
        if place.stage is Stage.ROLLOUT and not place.marker_file.exists() and label.marker_file.exists():
            put_aside(job, label, f"its rollout is made anew: {broken.get(place, 'it has no marker')}")


def put_aside(job: Job, place: ShardDir, why: str) -> None:
    """Keep the attempts' records, put everything else out of the way under a name nothing reads.

    The marker goes last: where this is cut short, the shard is found broken again and the rest is put aside.
    """
    target = place.path / f"broken-{time.strftime('%Y%m%dT%H%M%S')}"
    target.mkdir(parents=True, exist_ok=True)
    for part in list(place.path.iterdir()):
        if not part.name.startswith(("attempt-", "broken-")) and part != place.marker_file:
            part.rename(target / part.name)
    if place.truth.exists():
        place.truth.rename(place.truth.with_name(f"{place.truth.name}.{target.name}"))
    place.marker_file.rename(target / place.marker_file.name)
    logger.warning("shard %s is broken and made anew: %s", place.name, why)
    job.journal.append("corrupt", shard=place.name, why=why)


def _places(job: Job, round_id: int) -> Iterator[ShardDir]:
    for stage in sealed_stages(job.config):
        for shard in range(job.plan[Key(round_id, stage)].num_shards):
            yield job.run.shard(round_id, stage, shard)


def _checked(job: Job, round_id: int) -> Iterator[tuple[ShardDir, CorruptShardError | None]]:
    """Each shard with what is wrong with it; what can't be read is tried again, all of it together."""
    places = list(_places(job, round_id))
    for pause in (*PATIENCE_S, None):
        found = {place: _why_broken(place) for place in places}
        yield from ((one, error) for one, error in found.items() if not isinstance(error, UnreadableShardError))
        places = [one for one, error in found.items() if isinstance(error, UnreadableShardError)]
        if not places:
            return
        if pause is None:
            yield from ((one, found[one]) for one in places)
        else:
            time.sleep(pause)


def _why_broken(place: ShardDir) -> CorruptShardError | None:
    """Nothing for a whole shard and for one that is not there yet."""
    try:
        if place.read_marker() is not None:
            place.check()
    except CorruptShardError as error:
        return error
    except OSError as error:
        return UnreadableShardError(f"{place.marker_file} cannot be read: {error.strerror}")
    return None
