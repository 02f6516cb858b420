"""Which shards of a run are still to come, and which its rounds did without. Names and seals only, no msgspec."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from selu_hpc.rounds.plan import SEALED, Key
from selu_hpc.rounds.rundir import RunDir, Stage


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Shards without a marker, by stage; stages without any are left out.

    due: still to come.  left_out: their round was sealed without them (`retry.quorum`), and nothing waits for them.
    """

    due: dict[Key, list[int]] = field(default_factory=dict)
    left_out: dict[Key, list[int]] = field(default_factory=dict)


def look_for_unfinished(run: RunDir, shape: Mapping[Key, int]) -> Unfinished:
    """shape: shards per stage, in the plan's order. A seal is read only where one of its round's shards is missing."""
    found = Unfinished()
    sealed: dict[int, set[int] | None] = {}
    for key, count in shape.items():
        shards = run.unfinished(key.round_id, key.stage, count)
        if shards and key.stage in SEALED:
            if key.round_id not in sealed:
                sealed[key.round_id] = _sealed(run, key.round_id)
            in_seal = sealed[key.round_id]
            if in_seal is not None:
                if without := [shard for shard in shards if shard not in in_seal]:
                    found.left_out[key] = without
                shards = [shard for shard in shards if shard in in_seal]
        if shards:
            found.due[key] = shards
    return found


def _sealed(run: RunDir, round_id: int) -> set[int] | None:
    """The shards that a round was sealed with; None before its gate has finished."""
    if not run.shard(round_id, Stage.GATE).marker_file.exists():
        return None
    try:
        return {int(shard) for shard in json.loads(run.seal(round_id).read_bytes())["shards"]}
    except (OSError, ValueError, TypeError, KeyError):
        return None
