"""Where a thing that is let go comes to rest, and whether it breaks.

Owns falls. Things fall straight down, onto the highest surface that takes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from selu_hpc.sim.thor import surfaces
from selu_hpc.sim.thor.actions import objects
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.catalogue import FRAGILE_DROP, MUST_BE_OPEN
from selu_hpc.sim.thor.navigation import RADIUS
from selu_hpc.sim.thor.thing import Thing, Vector, half_extents

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_SOFT = frozenset({"Sofa", "ArmChair", "Bed", "Ottoman", "DogBed", "LaundryHamper"})
_FAR = 0.45


def fall(world: World, thing: Thing, start: Vector, agent: Agent | None = None, *, hard: bool = False) -> bool:
    """Let a thing fall from `start`; False, and nothing moved, when it has nowhere to lie near there."""
    x, y, z = start
    half = half_extents(thing.size, (0.0, thing.yaw, 0.0))
    room = world.room
    x = min(max(x, room.x0 + half[0] + 0.01), room.x1 - half[0] - 0.01)
    z = min(max(z, room.z0 + half[2] + 0.01), room.z1 - half[2] - 0.01)
    own = {id(thing), *(id(t) for t in thing.descendants())}
    under = [t for t in world.things if t.there and id(t) not in own and _catches(t, x, y, z)]
    under.sort(key=lambda t: (-round(surfaces.surface_y(t), 4), t.key))
    for receptacle in under:
        spot = surfaces.find(
            thing, receptacle, world.things, near=(x, surfaces.surface_y(receptacle), z), upright_yaw=thing.yaw
        )
        if spot is None or math.dist((spot[0][0], spot[0][2]), (x, z)) > _FAR:
            continue
        if receptacle.kind == "Floor" and agent is not None and _on_feet(world, spot[0], half):
            spot = _off_feet(world, thing, receptacle, spot, half)
            if spot is None:
                continue
        height = y - thing.size[1] / 2 - (spot[0][1] - thing.size[1] / 2)
        thing.move(*spot)
        thing.into(receptacle)
        if thing.spec.can("break") and receptacle.kind not in _SOFT and (hard or height > FRAGILE_DROP):
            objects.shatter(world, thing)
        return True
    return False


def _catches(receptacle: Thing, x: float, y: float, z: float) -> bool:
    if not receptacle.spec.can("rec") or receptacle.holder is not None:
        return False
    if receptacle.kind in MUST_BE_OPEN and not (
        receptacle.is_open and receptacle.kind in ("Drawer", "Box", "LaundryHamper")
    ):
        return False
    if receptacle.kind in ("TowelHolder", "HandTowelHolder", "ToiletPaperHanger", "Fridge", "Cabinet", "Microwave"):
        return False
    if any(h.holder is not None for h in receptacle.holders()):
        return False
    box = receptacle.boxes()[2]
    return box[0] <= x <= box[3] and box[2] <= z <= box[5] and surfaces.surface_y(receptacle) <= y


def _on_feet(world: World, centre: Vector, half: Vector) -> bool:
    for agent in world.agents:
        dx = max(abs(centre[0] - agent.x) - half[0], 0.0)
        dz = max(abs(centre[2] - agent.z) - half[2], 0.0)
        if dx * dx + dz * dz < RADIUS**2:
            return True
    return False


def _off_feet(
    world: World, thing: Thing, floor: Thing, spot: tuple[Vector, Vector], half: Vector
) -> tuple[Vector, Vector] | None:
    """The nearest place on the floor that is not where an agent stands."""
    cx, _, cz = spot[0]
    for ring in (0.3, 0.4, 0.5, 0.6, 0.75):
        for i in range(12):
            a = math.tau * i / 12
            near = (cx + ring * math.sin(a), 0.0, cz + ring * math.cos(a))
            other = surfaces.find(thing, floor, world.things, near=near, upright_yaw=thing.yaw)
            if (
                other is not None
                and math.dist((other[0][0], other[0][2]), (near[0], near[2])) < 0.3
                and not _on_feet(world, other[0], half)
            ):
                return other
    return None
