"""Finds the episodes a round has played, with what the critic said of them and, if asked, what the simulator knew.

Reads finished shards only. The truth store is opened for `with_truth=True` alone, which is for people's eyes.
Does not own which episodes a page shows (choice.py) or how (replay.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from selu_hpc.errors import CorruptShardError, MissingShardError, RunFolderError
from selu_hpc.records import Episode, Label, Truth
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.rundir import MARKER, RunDir, ShardDir, Stage
from selu_hpc.store.lines import LineReader
from selu_hpc.store.trajectories import EpisodeReader
from selu_hpc.store.truth import TruthReader
from selu_hpc.viz.choice import Kind

TRUTH = "truth.zarr"
MOST_NAMED = 4
"""Shards that an error lists the episodes of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedEpisode:
    """An episode in its store; label and truth are None where there is none, or none was asked for.

    rewards: what a game paid at each step; empty where nothing pays.  left_out: the round was sealed without its shard,
    so nothing learned from it.
    """

    episode_id: str
    place: ShardDir
    index: int
    label: Label | None = None
    truth: Truth | None = None
    rewards: tuple[float, ...] = ()
    left_out: bool = False
    store: EpisodeReader = field(repr=False, compare=False)

    @property
    def corrected(self) -> bool:
        """Whether the critic judged otherwise in the end; a yes that the actor's words took back is none."""
        return self.label is not None and self.label.tried and self.label.first != self.label.verdict

    @property
    def relabelling_was_right(self) -> bool | None:
        """Whether what hindsight found had happened, by the truth; None where there is nothing to say."""
        if self.truth is None or self.label is None or self.label.relabelled is None:
            return None
        return all(goal in self.truth.achieved for goal in self.label.relabelled.goals)

    @property
    def kinds(self) -> frozenset[Kind]:
        if self.label is None:
            return frozenset({Kind.ALL})
        found = {Kind.ALL, Kind.YES if self.label.verdict else Kind.NO}
        if self.corrected:
            found.add(Kind.CORRECTED)
        if self.label.relabelled is not None:
            found.add(Kind.RELABELLED)
        if self.truth is not None and self.truth.success != self.label.verdict:
            found.add(Kind.WRONG)
        return frozenset(found)

    def read(self) -> Episode:
        """With its frames."""
        try:
            with self.store:
                return self.store.episode(self.index)
        except (KeyError, TypeError, ValueError) as error:
            raise _not_ours(self.place, error) from error


def finished_shards(run: RunDir, stage: Stage) -> dict[int, list[int]]:
    """The shards of a stage that have a marker, by round."""
    found: dict[int, list[int]] = {}
    for marker in sorted(run.path.glob(f"rounds/*/{stage}/shard-*/{MARKER}")):
        round_name, shard_name = marker.parts[-4], marker.parts[-2].removeprefix("shard-")
        if round_name.isdigit() and shard_name.isdigit():
            found.setdefault(int(round_name), []).append(int(shard_name))
    return found


def sealed_shards(run: RunDir, round_id: int) -> set[int] | None:
    """The shards that a round was sealed with, and learned from; None while it is not sealed."""
    if not run.shard(round_id, Stage.GATE).marker_file.exists():
        return None
    try:
        return set(Seal.read(run, round_id).shards)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # the gate's own readers complain of it


def pick_round(run: RunDir, wanted: int | None) -> int:
    """The round that is asked for, else the newest that has labels, else the newest that was played."""
    played, labelled = finished_shards(run, Stage.ROLLOUT), finished_shards(run, Stage.LABEL)
    if not played:
        raise MissingShardError(
            f"{run.path}: no rollout shard is finished yet; `{run.command('status')}` says how far the run is"
        )
    if wanted is None:
        return max(played.keys() & labelled.keys() or played.keys())
    if wanted not in played:
        known = ", ".join(map(str, sorted(played)))
        raise MissingShardError(f"{run.path}: round {wanted} has no finished rollout shard; these rounds have: {known}")
    return wanted


def read_round(run: RunDir, round_id: int, *, with_truth: bool = False) -> list[PlayedEpisode]:
    """The episodes of a round's finished rollout shards, in the order they were numbered; no frame is read."""
    labelled, sealed = finished_shards(run, Stage.LABEL).get(round_id, []), sealed_shards(run, round_id)
    return [
        replace(episode, left_out=sealed is not None and shard not in sealed)
        for shard in finished_shards(run, Stage.ROLLOUT)[round_id]
        for episode in _read_shard(run, round_id, shard, is_labelled=shard in labelled, with_truth=with_truth)
    ]


def compare_checksums(episodes: Sequence[PlayedEpisode]) -> None:
    """Every file of the shards these lie in is what was written, or a CorruptShardError names the one that is not.

    Not of the whole round: a thousand shards hold gigabytes of frames that no page shows.
    """
    for folder in dict.fromkeys(episode.store.folder for episode in episodes):
        EpisodeReader(folder)


def with_ids(episodes: Sequence[PlayedEpisode], wanted: Sequence[str]) -> list[PlayedEpisode]:
    """The episodes of these names, in the round's order."""
    known = {episode.episode_id for episode in episodes}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise RunFolderError(f"there is no episode {', '.join(map(repr, unknown))}; there are {_named(episodes)}")
    return [episode for episode in episodes if episode.episode_id in wanted]


def _read_shard(
    run: RunDir, round_id: int, shard: int, *, is_labelled: bool, with_truth: bool
) -> Iterator[PlayedEpisode]:
    rollout, label = run.shard(round_id, Stage.ROLLOUT, shard), run.shard(round_id, Stage.LABEL, shard)
    store = EpisodeReader(rollout.episodes, verify=False)  # compare_checksums does, of what is shown
    labels = _read_labels(label) if is_labelled else None
    truths = _read_truths(rollout) if with_truth else None
    paid = [tuple(line["rewards"]) for line in LineReader(rollout.hands).records] if rollout.hands.is_dir() else []
    for index in range(len(store)):
        name = _name_of(store, index, rollout)
        for what, place in ((labels, label), (truths, rollout)):
            if what is not None and name not in what:
                raise CorruptShardError(
                    f"{place.path}: nothing is said of episode {name}, which {rollout.episodes} holds; run "
                    f"`{run.command('submit')}` to make the shard anew"
                )
        yield PlayedEpisode(
            episode_id=name,
            place=rollout,
            index=index,
            label=labels[name] if labels is not None else None,
            truth=truths[name] if truths is not None else None,
            rewards=paid[index] if paid else (),
            store=store,
        )


def _name_of(store: EpisodeReader, index: int, place: ShardDir) -> str:
    try:
        return str(store.meta(index)["episode_id"])
    except KeyError as error:
        raise _not_ours(place, error) from error


def _read_labels(place: ShardDir) -> dict[str, Label]:
    try:
        found = [Label.from_json(record) for record in LineReader(place.labels).records]
    except (KeyError, TypeError, ValueError) as error:
        raise _not_ours(place, error) from error
    return {label.episode_id: label for label in found}


def _read_truths(place: ShardDir) -> dict[str, Truth]:
    store = place.truth / TRUTH
    if not store.is_dir():
        raise MissingShardError(f"{store}: what the simulator knew of this shard is not here; leave --truth out")
    return {truth.episode_id: truth for truth in TruthReader(store, purpose="report").truths}


def _not_ours(place: ShardDir, error: Exception) -> CorruptShardError:
    return CorruptShardError(
        f"round {place.round_id} {place.stage}: shard {place.shard} in {place.path} holds a record that cannot be read "
        f"({type(error).__name__}: {error}); look at it with the code that wrote it (provenance.json names its commit)"
    )


def _named(episodes: Sequence[PlayedEpisode]) -> str:
    """ "r01-s0000-e0000 to r01-s0000-e0095, …": the first and last of every shard."""
    by_shard: dict[int, list[str]] = {}
    for episode in episodes:
        by_shard.setdefault(episode.place.shard, []).append(episode.episode_id)
    spans = [names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" for names in by_shard.values()]
    more = len(spans) - MOST_NAMED
    return ", ".join(spans[:MOST_NAMED]) + (f" and those of {more} more shard{'s' * (more > 1)}" if more > 0 else "")
