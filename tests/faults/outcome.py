"""What a run came to, reduced to digests: two runs with equal outcomes learned from the same bytes.

Counts episodes too, so that one lost or kept twice shows even where a digest would not tell.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path


def outcome(run: Path) -> dict[str, str]:
    """Content digest of every marked shard, bytes of seals, data sets, adapters and results."""
    found = {}
    for marker in sorted(run.glob("rounds/*/*/shard-*/done.json")):
        place = marker.parent
        name = place.relative_to(run / "rounds").as_posix()
        found[name] = json.loads(marker.read_bytes())["content"]
        for file in ("seal.json", "actor.jsonl", "critic.jsonl", "card.json", "results.json"):
            if (place / file).is_file():
                found[f"{name}/{file}"] = _hash(place / file)
        for file in sorted((place / "adapter").glob("*.safetensors")):
            found[f"{name}/adapter/{file.name}"] = _hash(file)
    return found


def differences(ours: dict[str, str], reference: dict[str, str]) -> list[str]:
    missing = [f"lost: {name}" for name in sorted(reference.keys() - ours.keys())]
    extra = [f"extra: {name}" for name in sorted(ours.keys() - reference.keys())]
    other = [f"differs: {name}" for name in sorted(ours.keys() & reference.keys()) if ours[name] != reference[name]]
    return missing + extra + other


def count_episodes(run: Path, episodes_per_shard: int) -> tuple[int, int]:
    """(lost, doubled) episodes over all rollout shards."""
    from selu_hpc.store.trajectories import EpisodeReader

    lost = doubled = 0
    for store in run.glob("rounds/*/rollout/shard-*/episodes.zarr"):
        reader = EpisodeReader(store)
        names = Counter(reader.meta(index)["episode_id"] for index in range(len(reader)))
        lost += episodes_per_shard - len(names)
        doubled += sum(count - 1 for count in names.values())
    return lost, doubled


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
