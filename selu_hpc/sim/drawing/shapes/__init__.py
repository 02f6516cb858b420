"""From a kind, a size, a style and a state to triangles; one module per family of things."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from selu_hpc.sim.drawing.shapes import (
    appliances,
    bath,
    devices,
    food,
    furniture,
    kitchenware,
    leisure,
    pantry,
    room,
    small,
    states,
)
from selu_hpc.sim.drawing.shapes.build import Mesh, Mesher
from selu_hpc.sim.drawing.shapes.part import OWN_SHARDS, SHAPES, Part
from selu_hpc.sim.drawing.skins import Look

__all__ = ["kinds", "mesh_for"]

FAMILIES = (room, food, kitchenware, appliances, furniture, bath, devices, small, leisure, pantry)
"""The modules whose shapes are registered."""

_ROOM = frozenset({"Floor", "Wall", "Ceiling"})


def kinds() -> tuple[str, ...]:
    """Every kind that has a shape of its own."""
    return tuple(sorted(SHAPES))


@lru_cache(maxsize=4096)
def mesh_for(
    kind: str,
    size: tuple[float, float, float],
    style: int,
    openness: float = 0.0,
    flags: frozenset[str] = frozenset(),
    liquid: str = "",
) -> Mesh:
    """The mesh of a thing of `size` in its own frame; unknown kinds become a box with a lid line."""
    w, h, d = (max(float(s), 0.004) for s in size)
    part = Part(
        kind, w, h, d, Look(style, kind.removesuffix("Sliced")), min(max(float(openness), 0.0), 1.0), flags, liquid
    )
    mesher = Mesher()
    states.prepare(mesher, part)
    if "broken" in flags and kind not in OWN_SHARDS:
        states.shards(mesher, part)
    else:
        SHAPES.get(kind, room.unknown)(mesher, part)
    if "held" in flags and kind != "Agent":
        states.hand(mesher, part)
    if kind not in _ROOM:
        return mesher.mesh(h)
    return _corners_darkened(mesher.mesh(h, floor_shade=1.0), kind, w, h, d)


def _corners_darkened(mesh: Mesh, kind: str, w: float, h: float, d: float) -> Mesh:
    """A room's face with less light where it meets the next one."""
    x, y, z = mesh.position[..., 0], mesh.position[..., 1], mesh.position[..., 2]
    to_x, to_z = w / 2 - np.abs(x), d / 2 - np.abs(z)
    if kind == "Wall":
        gap = np.minimum(np.abs(y), np.abs(h - y))
        if max(w, d) > 2:
            gap = np.minimum(gap, to_x if w > d else to_z)
    else:
        gap = np.minimum(to_x, to_z)
    return replace(mesh, shade=(mesh.shade * (1 - 0.28 * np.exp(-gap / 0.4))).astype(np.float32))
