"""Finished shards whose files are not what their markers say, and what to move away to have them made anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from selu_hpc.errors import CorruptShardError
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import MARKER, Marker, RunDir, ShardDir, Stage


@dataclass(frozen=True, slots=True)
class Aside:
    """What must leave a shard's folder before it is made anew: all but its attempts, as a gate does it."""

    folder: Path
    names: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Damage:
    """What a finished shard's files and marker disagree on, and what to put aside for it to be made anew."""

    why: str
    asides: tuple[Aside, ...]


Broken = Mapping[Key, Mapping[int, Damage]]
"""Finished shards whose files disagree with their markers, by stage and shard."""


def damage_of(place: ShardDir, why: str) -> Damage:
    """With a rollout goes its label: a gate waits for labels only, and would look before the rollout is there again."""
    places = [place]
    if place.stage is Stage.ROLLOUT:
        places.append(place.run.shard(place.round_id, Stage.LABEL, place.shard))
    folders = [folder for one in places for folder in (one.path, one.truth) if folder.is_dir()]
    return Damage(why, tuple(aside for aside in map(_aside, folders) if aside.names))


def _aside(folder: Path) -> Aside:
    # the marker last, as a gate does it: cut short, the shard is found broken again
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == MARKER, name))
    kept = [name for name in names if name.startswith(("attempt-", "broken-"))]
    target = next(name for number in count(1) if (name := f"broken-{number}") not in kept)
    return Aside(folder, tuple(name for name in names if name not in kept), target)


def without_remedy(place: ShardDir, error: CorruptShardError) -> str:
    """What is wrong; where to look is where one is looking."""
    return str(error).removesuffix(place.remedy).removesuffix("when its storage is well, ").removesuffix("; ")


def wrong_sizes(run: RunDir, key: Key, shards: Iterable[int]) -> dict[int, Damage]:
    """Of these finished shards those with a file whose size is not what its marker says; no file is read."""
    found = dict[int, Damage]()
    for shard in shards:
        place = run.shard(key.round_id, key.stage, shard)
        try:
            marker = place.read_marker()
            why = next(_differences(place, marker), "") if marker else ""
        except CorruptShardError as error:
            why = without_remedy(place, error)
        if why:
            found[shard] = damage_of(place, why)
    return found


def _differences(place: ShardDir, marker: Marker) -> Iterator[str]:
    for name, (size, _) in marker.files.items():
        try:
            there = (place.path / name).stat().st_size
        except FileNotFoundError:
            yield f"{name} is missing, its marker says {size} bytes"
            continue
        if there != size:
            yield f"{name} has {there} bytes, its marker says {size}"
