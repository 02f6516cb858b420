"""Puts played episodes into a shard's store and their truth into the evaluation store, and goes on after a kill.

An attempt writes under its own names and adopts what an earlier attempt had acknowledged. The truth of an episode is
durable before the episode is, so that an acknowledged episode always has one. Both are renamed into place when whole.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from selu_hpc.config import RunConfig
from selu_hpc.envs.worker import NOT_SURVIVED
from selu_hpc.records import Action, Episode
from selu_hpc.rounds.rundir import ShardDir, sync_folder
from selu_hpc.stages.entry import Progress
from selu_hpc.stages.playing import Played
from selu_hpc.store.adopt import adopt
from selu_hpc.store.lines import LineWriter
from selu_hpc.store.reader import EpisodeReader
from selu_hpc.store.roots import is_whole
from selu_hpc.store.trajectories import EpisodeWriter
from selu_hpc.store.truth import TruthWriter

logger = logging.getLogger(__name__)

T = TypeVar("T")
EPISODES = "episodes.zarr"
TRUTH = "truth.zarr"
FLUSH_EPISODES, FLUSH_S = 8, 60.0
"""Played episodes are made durable after so many or so long, whichever comes first."""


def collect(
    place: ShardDir,
    attempt: int,
    config: RunConfig,
    *,
    total: int,
    play_from: Callable[[int], Iterable[Played]],
    horizon: int | None = None,
    name: str = EPISODES,
) -> str:
    """Store episodes `play_from(first)` until there are `total`; returns the digest of episodes and truths.

    name: the store's name in the shard's folder; its truth is `truth.zarr`, or `NAME-truth.zarr` for another name.
    """
    truth_name = TRUTH if name == EPISODES else f"{Path(name).stem}-{TRUTH}"
    store, truth = place.attempt(attempt) / name, place.truth / f"attempt-{attempt}" / truth_name
    adopt_newest(store, place.path, attempt)
    adopt_newest(truth, place.truth, attempt)
    progress = Progress.of(place, attempt, total)
    steps = config.env.horizon if horizon is None else horizon
    size = {"height": config.env.height, "width": config.env.width}
    with (
        TruthWriter(truth) as truths,
        EpisodeWriter(store, num_steps=steps, codec=config.store.codec, **size) as episodes,
    ):

        def put(played: Played, _: int) -> Episode:
            truths.append_truth(played.truth)
            return played.episode

        content = fill(truths, episodes, progress, total=total, play_from=play_from, put=put)
    publish(truth, place.truth / truth_name)
    publish(store, place.path / name)
    return content


def fill(
    lines: LineWriter,
    episodes: EpisodeWriter,
    progress: Progress,
    *,
    total: int,
    play_from: Callable[[int], Iterable[T]],
    put: Callable[[T, int], Episode],
) -> str:
    """Go on after what both stores have acknowledged until there are `total` episodes; returns the digest of both.

    put: appends to `lines` what lies beside an episode, by its number, and gives the episode; a line is durable first.
    """
    done = min(lines.num_committed, episodes.num_committed)
    lines.rewind(done)
    episodes.rewind(done)
    flushed = time.monotonic()
    progress.update(done)
    for played in play_from(done) if done < total else ():
        episode = put(played, done)
        lines.flush()
        episodes.append(episode)
        done += 1
        if done % FLUSH_EPISODES == 0 or time.monotonic() - flushed > FLUSH_S:
            episodes.flush()
            flushed = time.monotonic()
        progress.update(done)
    return digest([lines.finish(), episodes.finish()])


def publish(made: Path, final: Path) -> None:
    """Rename a finished store into place, unless an earlier attempt's is there already and whole."""
    if not made.exists():
        return
    if final.exists() and not is_whole(final):
        final.rename(made.with_name(f"{final.name}.damaged"))
    if not final.exists():
        made.rename(final)
        sync_folder(final.parent)


def num_lost(actions: Iterable[Action]) -> int:
    """How many of an episode's steps failed because no try survived them: no fault of the actor's."""
    return sum(action.error == NOT_SURVIVED for action in actions)


def lost_steps(store: Path) -> dict[str, int]:
    """The steps that were lost in a shard's episodes, for its marker's summary, which is silent where none were."""
    with EpisodeReader(store, verify=False) as episodes:
        metas = [episodes.meta(index) for index in range(len(episodes))]
    count = sum(num_lost(Action(**action) for action in meta["actions"]) for meta in metas)
    if count:
        logger.warning(
            "%s of this shard's steps are lost: %s, which its episodes count as failures of the actor; the lines above "
            "say at what, and the simulator's last lines why", count, NOT_SURVIVED,
        )  # fmt: skip
    return {"lost_steps": count} if count else {}


def digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def adopt_newest(new: Path, shard: Path, attempt: int) -> None:
    """Begin with what was renamed into place before a crash, or else with the newest earlier attempt's store."""
    earlier = (shard / f"attempt-{number}" / new.name for number in range(attempt - 1, -1, -1))
    for source in (shard / new.name, *earlier):
        if adopt(source, new):
            return
