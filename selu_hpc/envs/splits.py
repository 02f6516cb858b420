"""Which scenes, object-verb pairs and seeds are for training, and which are held out.

Owns every split. The stand-in's known world is where the built-in model was pre-trained; its unknown world has other
scenes. A Unity build has one world and THOR's usual split. Training and held-out scenes are disjoint by construction,
and so are the seeds: training seeds are even, held-out seeds are odd.
"""

from __future__ import annotations

import hashlib

from selu_hpc.config import Backend, EnvConfig, Simulator, World
from selu_hpc.records import derive_seed

THOR_ROOMS = (0, 200, 300, 400)
"""What is added to a scene's number: kitchens, living rooms, bedrooms, bathrooms."""

_THOR_NUMBERS: dict[World | None, tuple[range, range]] = {
    World.KNOWN: (range(1, 13), range(13, 16)),
    World.UNKNOWN: (range(16, 28), range(28, 31)),
    None: (range(1, 21), range(26, 31)),
}
_VIRTUALHOME_NUMBERS: dict[World | None, tuple[range, range]] = {
    World.KNOWN: (range(2), range(2, 3)),
    World.UNKNOWN: (range(3, 6), range(6, 7)),
    None: (range(5), range(5, 7)),
}
HELD_OUT_PAIRS = 0.4
"""Share of object-verb pairs that tasks of the known world never have."""


def train_scenes(config: EnvConfig) -> tuple[str, ...]:
    """Scenes that rollouts may use."""
    return _scenes(config, 0)


def test_scenes(config: EnvConfig) -> tuple[str, ...]:
    """Scenes that only evaluation uses."""
    return _scenes(config, 1)


test_scenes.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


def train_seed(*parts: int | str) -> int:
    """An even seed from (run seed, round, shard, index …)."""
    return derive_seed("train", *parts) & ~1


def test_seed(*parts: int | str) -> int:
    """An odd seed, which no training episode has."""
    return derive_seed("test", *parts) | 1


test_seed.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


def pair_is_held_out(verb: str, target: str) -> bool:
    """Whether this verb with this object is kept from the known world's tasks, and so from pre-training."""
    digest = hashlib.blake2b(f"{verb}/{target}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32 < HELD_OUT_PAIRS


def _scenes(config: EnvConfig, part: int) -> tuple[str, ...]:
    world = config.world if config.backend is Backend.STAND_IN else None
    if config.simulator is Simulator.VIRTUALHOME:
        return tuple(f"home{number}" for number in _VIRTUALHOME_NUMBERS[world][part])
    return tuple(f"FloorPlan{room + number}" for room in THOR_ROOMS for number in _THOR_NUMBERS[world][part])
