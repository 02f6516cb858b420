"""Which scenes, skins, object-verb pairs and seeds are for training, and which are held out.

Owns every split. The stand-in's known world is where the built-in model was pre-trained; its unknown world has other
scenes in other skins, and of these what is held out differs from what is trained in by scene and by skin. A Unity
build has one world: THOR's usual split, and the last ten of VirtualHome's fifty apartments. Training and held-out
scenes are disjoint by construction, and so are the seeds: training seeds are even, held-out seeds are odd.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from selu_hpc.config import Backend, EnvConfig, Simulator, World
from selu_hpc.records import derive_seed
from selu_hpc.sim.drawing.skins import Skin, skin_for, skin_for_home, skins

THOR_ROOMS = (0, 200, 300, 400)
"""What is added to a scene's number: kitchens, living rooms, bedrooms, bathrooms."""
NUM_HELD_OUT_SKINS = 3
"""The unknown world's last skins: scenes that look so are held out."""

_THOR_NUMBERS: dict[World | None, tuple[range, range]] = {
    World.KNOWN: (range(1, 13), range(13, 16)),
    World.UNKNOWN: (range(16, 31), range(16, 31)),
    None: (range(1, 21), range(26, 31)),
}
_VIRTUALHOME_NUMBERS: dict[World | None, tuple[range, range]] = {
    World.KNOWN: (range(2), range(2, 3)),
    World.UNKNOWN: (range(3, 50), range(3, 50)),
    None: (range(40), range(40, 50)),
}
HELD_OUT_PAIRS = 0.4
"""Share of object-verb pairs that tasks of the known world never have."""


def train_scenes(config: EnvConfig) -> tuple[str, ...]:
    """Scenes that rollouts may use."""
    return _scenes(world_of(config), config.simulator, held_out=False)


def test_scenes(config: EnvConfig) -> tuple[str, ...]:
    """Scenes that only evaluation uses."""
    return _scenes(world_of(config), config.simulator, held_out=True)


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


def world_of(config: EnvConfig) -> World | None:
    """The stand-in's world; a Unity build has one only."""
    return config.world if config.backend is Backend.STAND_IN else None


@lru_cache
def _scenes(world: World | None, simulator: Simulator, *, held_out: bool) -> tuple[str, ...]:
    if simulator is Simulator.VIRTUALHOME:
        found = [f"home{number}" for number in _VIRTUALHOME_NUMBERS[world][held_out]]
    else:
        found = [f"FloorPlan{room + number}" for room in THOR_ROOMS for number in _THOR_NUMBERS[world][held_out]]
    if world is World.UNKNOWN:
        kept_back = skins(known=False)[-NUM_HELD_OUT_SKINS:]
        found = [scene for scene in found if (unknown_skin(scene) in kept_back) == held_out]
    return tuple(found)


def unknown_skin(scene: str) -> Skin:
    """How a scene of the stand-in's unknown world looks."""
    if scene.startswith("home"):
        return skin_for_home(int(scene.removeprefix("home")), known=False)
    return skin_for(scene, known=False)
