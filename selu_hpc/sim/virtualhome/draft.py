"""A home in the making: numbers, names and states of its nodes, where they stand, and what must stay free.

Owns how a thing enters a home. Does not own which things do and where (rooms.py, furnishing.py) or the home that comes
of it (homes.py).
"""

from __future__ import annotations

import random

from selu_hpc.sim.virtualhome.catalogue import Size, class_named, first_states
from selu_hpc.sim.virtualhome.graph import Edge
from selu_hpc.sim.virtualhome.places import Item, Places, Rect, Support

FIRST_ID = 11
"""Characters take the numbers below."""


class Draft:
    """What has been put into a home so far.

    number: the rooms' plan; edges: relations that poses do not tell; gaps: doorways and the two rooms they join; clear:
    ground before furniture.
    """

    def __init__(self, number: int, known: bool, rng: random.Random) -> None:
        self.number, self.known, self.rng = number, known, rng
        self.places = Places({})
        self.names: dict[int, str] = {}
        self.states: dict[int, list[str]] = {}
        self.edges: set[Edge] = set()
        self.gaps: list[tuple[Rect, int, int]] = []
        self.clear: list[Rect] = []
        self._next = FIRST_ID

    def add_node(self, name: str) -> int:
        number, self._next = self._next, self._next + 1
        self.names[number] = name
        self.states[number] = first_states(class_named(name))
        return number

    def fix(self, name: str, x: float, y: float, z: float, yaw: float, room: int, size: Size | None = None) -> Item:
        """Something that stays where it is."""
        number = self.add_node(name)
        cls = class_named(name)
        item = Item(number, cls, size or cls.size, x, y, z, yaw, ("ROOM", room), fixed=True)
        self.places.items[number] = item
        return item

    def lay(self, name: str, support: Support, near: tuple[float, float] | None = None) -> Item:
        """Something that can be carried about."""
        number = self.add_node(name)
        cls = class_named(name)
        item = Item(number, cls, cls.size, 0, 0, 0, 0, ("", 0))
        self.places.items[number] = item
        self.places.put(item, support, near=near)
        return item

    def at_wall(self, room: int, side: int, offset: float, depth: float, out: float) -> tuple[float, float, float]:
        """x, z and yaw of something of this depth with its back to a wall, `offset` from the wall's middle."""
        x0, z0, x1, z1 = self.places.rooms[room]
        cx, cz, gap = (x0 + x1) / 2, (z0 + z1) / 2, out + depth / 2 + 0.005
        return (
            (cx + offset, z0 + gap, 0.0), (x1 - gap, cz + offset, 270.0), (cx - offset, z1 - gap, 180.0),
            (x0 + gap, cz - offset, 90.0),
        )[side]  # fmt: skip
