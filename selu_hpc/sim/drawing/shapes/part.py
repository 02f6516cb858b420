"""What a shape function gets, and the register that maps kinds to shape functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.skins import RGB, Look


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to model: full extents w (x), h (y), d (z) in metres, its look and its state."""

    kind: str
    w: float
    h: float
    d: float
    look: Look
    openness: float
    flags: frozenset[str]
    liquid: str

    def has(self, flag: str) -> bool:
        """Whether a state flag is set."""
        return flag in self.flags

    def known_form(self) -> bool:
        """Whether this thing has the known world's outline; unknown things of many kinds are cut with corners."""
        return self.look.known

    def plain(self, colour: RGB, *, scale: float = 4.0, contrast: float = 0.72) -> Paint:
        """One colour with the world's finest grain."""
        return Paint(colour, dimmed(colour, contrast), self.look.pattern("plain"), scale)

    def patterned(self, a: RGB, b: RGB, use: str, scale: float, name: str = "") -> Paint:
        """Two colours in one of the world's patterns for a use."""
        return Paint(a, b, self.look.pattern(use, name), scale)

    def wood(self, name: str = "wood", *, dark: float = 1.0, scale: float = 1.5) -> Paint:
        """The skin's wood."""
        colour = self.look.wood(name, dark=dark)
        return Paint(colour, dimmed(colour, 0.68), self.look.pattern("wood"), scale)

    def metal(self, value: float = 0.72, name: str = "metal") -> Paint:
        """Bare metal."""
        return Paint(self.look.metal(value, name))

    def white(self, value: float = 0.93, name: str = "white") -> Paint:
        """Porcelain, enamel, paper."""
        return Paint(self.look.white(value, name))

    def dark(self, value: float = 0.12, name: str = "dark") -> Paint:
        """Black plastic or rubber."""
        return Paint(self.look.dark(value, name))

    def inside(self) -> Paint:
        """The dark inside of an opened thing."""
        return Paint(self.look.interior(), shade=0.55, clean=True)

    def screen(self, *, on: bool, hue: float = 0.56) -> Paint:
        """A display: black, or a bright picture."""
        if not on:
            return Paint(self.look.dark(0.07), clean=True)
        bright, other = self.look.colour(hue, 0.35, 1.0), self.look.colour(hue + 0.4, 0.55, 0.95)
        return Paint(bright, other, self.look.pattern("art"), 3.0, glow=1.05, clean=True)


def dimmed(colour: RGB, factor: float) -> RGB:
    """A colour times a factor."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


Shape = Callable[[Mesher, Part], None]
SHAPES: dict[str, Shape] = {}
OWN_SHARDS: set[str] = set()
"""Kinds whose shape shows "broken" itself; all others become a heap of shards."""


def shape(*kinds: str, own_shards: bool = False) -> Callable[[Shape], Shape]:
    """Register a shape function for kinds."""

    def register(function: Shape) -> Shape:
        for kind in kinds:
            SHAPES[kind] = function
            if own_shards:
                OWN_SHARDS.add(kind)
        return function

    return register
