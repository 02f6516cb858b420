"""Whether a run repeats another's bytes: the digests a bundle brings along, and the comparison with what was made here.

Only what shards mean is compared (`Marker.content`), which does not depend on how the work was cut or when it was done.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from selu_hpc.errors import ImageError
from selu_hpc.rounds.provenance import ORIGIN
from selu_hpc.rounds.rundir import RunDir, shard_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Shards of one round that are the same here and there, that differ, and that are not made here yet."""

    round_id: int
    same: tuple[str, ...]
    differ: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.same) + len(self.differ) + len(self.missing)
        parts = [f"round {self.round_id}: {len(self.same)} of {total} shards have the same bytes"]
        parts += [f"{len(self.missing)} not made yet"] if self.missing else []
        parts += [f"DIFFERENT: {', '.join(self.differ)}"] if self.differ else []
        return "; ".join(parts)


def contents(run: RunDir) -> dict[str, str]:
    """`01/rollout/shard-0000` → digest, for every finished shard."""
    found = {}
    for file in sorted(run.path.glob("rounds/*/*/shard-*/done.json")):
        shard = shard_of(file)
        marker = shard.read_marker() if shard else None
        if marker:
            found[file.parent.relative_to(run.path / "rounds").as_posix()] = marker.content
    return found


def compare(run: RunDir) -> list[Comparison]:
    """This run against the one its bundle came from, round by round."""
    file = run.path / ORIGIN
    try:
        there: dict[str, str] = json.loads(file.read_bytes())["contents"]
    except FileNotFoundError:
        raise ImageError(
            f"{run.path}: has no {ORIGIN}: it does not come from a bundle of a run that had begun"
        ) from None
    if not there:
        raise ImageError(f"{run.path}: nothing to compare: where it came from, no shard was finished")
    here = contents(run)
    rounds = sorted({name.partition("/")[0] for name in there})
    return [
        Comparison(
            round_id=int(number),
            same=tuple(name for name in names if here.get(name) == there[name]),
            differ=tuple(name for name in names if name in here and here[name] != there[name]),
            missing=tuple(name for name in names if name not in here),
        )
        for number in rounds
        if (names := [name for name in there if name.startswith(f"{number}/")])
    ]
