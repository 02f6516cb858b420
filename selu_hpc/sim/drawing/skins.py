"""What a world looks like: hue families, textures, proportions and lights, in a known and an unknown kind.

Known and unknown skins are disjoint by construction: every colour passes through `family_hue`, which leaves the known
family two thirds of the hue circle and the unknown family the sectors in between; every proportion through
`Look.vary`, which gives the families separate intervals; every pattern and light is taken from separate lists.
Owns looks; does not own meshes (shapes/) or pixels (film.py).
"""

from __future__ import annotations

import argparse
import colorsys
import math
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache

RGB = tuple[float, float, float]

NUM_KNOWN = 28
NUM_UNKNOWN = 10
_SEED_BITS = 20
_SEED_MASK = (1 << _SEED_BITS) - 1
_MARGIN = 0.12
_GROUPS = 8

KNOWN_PATTERNS: dict[str, tuple[str, ...]] = {
    "plain": ("grain_fine",),
    "wood": ("planks", "parquet", "wood_lines"),
    "tile": ("tiles", "checks", "tiles_wide"),
    "wall": ("stripes", "speckle", "grain_fine", "dots", "pinstripes"),
    "fabric": ("weave", "plaid", "dots", "stripes"),
    "stone": ("granite", "speckle"),
    "stain": ("blotches",),
    "burn": ("grill",),
    "art": ("art_blocks", "art_hills"),
}
UNKNOWN_PATTERNS: dict[str, tuple[str, ...]] = {
    "plain": ("grain_soft",),
    "wood": ("herringbone", "rings"),
    "tile": ("hexes", "tiles_diagonal"),
    "wall": ("diamonds", "zigzag", "bricks"),
    "fabric": ("chevron", "rings_small", "zigzag"),
    "stone": ("marble", "terrazzo"),
    "stain": ("splashes",),
    "burn": ("char",),
    "art": ("art_circles", "art_waves"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skin:
    """One way a whole home looks. `name` is unique; `seed` is its number in `all_skins()`."""

    name: str
    known: bool
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Two far lights and the rest. Directions point to the light; strengths add up on a surface that faces it."""

    key_direction: RGB
    key_strength: float
    fill_direction: RGB
    fill_strength: float
    ambient: float
    tint: RGB
    background: RGB


@lru_cache(maxsize=2)
def skins(known: bool) -> tuple[Skin, ...]:
    """The skins of the known or of the unknown world."""
    word, first, count = ("known", 0, NUM_KNOWN) if known else ("unknown", NUM_KNOWN, NUM_UNKNOWN)
    return tuple(Skin(name=f"{word}-{i:02d}", known=known, seed=first + i) for i in range(count))


def all_skins() -> tuple[Skin, ...]:
    """Known skins, then unknown ones; a skin's place is its `seed`."""
    return skins(True) + skins(False)


def skin_named(name: str) -> Skin:
    """The skin with this name."""
    for skin in all_skins():
        if skin.name == name:
            return skin
    raise ValueError(
        f"no skin is called {name!r}; choose one of known-00 … known-{NUM_KNOWN - 1:02d}, "
        f"unknown-00 … unknown-{NUM_UNKNOWN - 1:02d}"
    )


def from_argument(name: str) -> Skin:
    """The skin that a command line names, for argparse, which words the error."""
    try:
        return skin_named(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def skin_for(scene: str, *, known: bool) -> Skin:
    """The skin a scene has in the known or in the unknown world; always the same."""
    choices = skins(known)
    return choices[zlib.crc32(f"skin|{scene}".encode()) % len(choices)]


def skin_for_home(number: int, *, known: bool, seed: int | None = None) -> Skin:
    """The skin of VirtualHome's home `number`, or of the one that a seed gives with its plan; always the same."""
    choices = skins(known)
    return choices[(number * 3 + 1 + (seed or 0)) % len(choices)]


def style(skin: Skin, kind: str, seed: int) -> int:
    """A `Drawable.style`: the skin, and a number that lets instances of one kind differ a little."""
    return ((skin.seed + 1) << _SEED_BITS) | (zlib.crc32(f"{kind}|{seed}".encode()) & _SEED_MASK)


def skin_of(style_number: int) -> Skin:
    """The skin inside a style; 0 and styles of no skin mean the first known one."""
    index = (style_number >> _SEED_BITS) - 1
    everything = all_skins()
    return everything[index] if 0 <= index < len(everything) else everything[0]


def family_hue(hue: float, *, known: bool) -> float:
    """The nearest hue (0 … 1) of a family, order-preserving.

    The circle has 24 sectors in 8 groups of three; the middle one of each group is unknown, its neighbours are known.
    """
    position = (hue % 1.0) * _GROUPS
    group = math.floor(position)
    f = position - group
    span = 1 - 2 * _MARGIN
    if not known:
        within = 1 + _MARGIN + span * f
    elif f < 0.5:
        within = _MARGIN + span * 2 * f
    else:
        within = 2 + _MARGIN + span * (2 * f - 1)
    return (3 * group + within) / (3 * _GROUPS)


def hue_is_known(hue: float) -> bool:
    """Which family a hue belongs to."""
    return math.floor((hue % 1.0) * 3 * _GROUPS) % 3 != 1


def _unit(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts only."""
    mixed = zlib.crc32("|".join(map(str, parts)).encode())
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
    mixed = (mixed ^ (mixed >> 12)) * 0x297A2D39 & 0xFFFFFFFF
    return float((mixed ^ (mixed >> 15)) & 0xFFFFFFFF) / 4294967296.0


@cache
def light(skin: Skin) -> Light:
    """A skin's light. Known light comes from the left half of the sky, unknown light from the right."""
    u = [_unit("light", skin.seed, i) for i in range(8)]
    side = -1.0 if skin.known else 1.0
    azimuth = math.radians(20 + 140 * u[0]) * side
    key = _normalised(math.sin(azimuth), 1.1 + 0.9 * u[1], math.cos(azimuth))
    fill = _normalised(-math.sin(azimuth) + 0.3, 0.35, -math.cos(azimuth))
    warmth = 0.05 * u[2] if skin.known else -0.02 - 0.06 * u[2]
    return Light(
        key_direction=key,
        key_strength=0.38 + 0.14 * u[3],
        fill_direction=fill,
        fill_strength=0.12 + 0.10 * u[4],
        ambient=0.56 + 0.10 * u[5] if skin.known else 0.50 + 0.10 * u[5],
        tint=(1.0 + warmth, 1.0, 1.0 - warmth),
        background=colorsys.hsv_to_rgb(family_hue(0.58 + 0.05 * u[6], known=skin.known), 0.25, 0.45),
    )


def _normalised(x: float, y: float, z: float) -> RGB:
    length = math.sqrt(x * x + y * y + z * z)
    return (x / length, y / length, z / length)


class Look:
    """How one instance of a kind looks: what its mesh builder asks for colours, patterns and proportions."""

    def __init__(self, style_number: int, kind: str) -> None:
        self.skin = skin_of(style_number)
        self.known = self.skin.known
        self._skin_key = f"{self.skin.seed}|{kind}"
        self._own_key = f"{style_number & _SEED_MASK}|{self._skin_key}"

    def unit(self, name: str) -> float:
        """A number in [0, 1) shared by all instances of the kind in this skin."""
        return _unit(self._skin_key, name)

    def jitter(self, name: str) -> float:
        """A number in [-1, 1) of this instance alone."""
        return 2.0 * _unit(self._own_key, name) - 1.0

    def vary(self, low: float, high: float, name: str) -> float:
        """A proportion between low and high: the lower 60 % for known skins, the upper 30 % for unknown ones."""
        t = min(max(self.unit(name) + 0.12 * self.jitter(name), 0.0), 1.0)
        return low + (high - low) * (0.6 * t if self.known else 0.7 + 0.3 * t)

    def variant(self, known: int, unknown: int, name: str) -> int:
        """One of `known` + `unknown` shape variants; the last `unknown` ones belong to the unknown skins."""
        count = known if self.known else unknown
        return (0 if self.known else known) + int(self.unit(name) * count)

    def pattern(self, use: str, name: str = "") -> str:
        """A texture for a use ("wood", "tile", "wall", "fabric", "stone", "plain", "stain", "burn", "art")."""
        names = (KNOWN_PATTERNS if self.known else UNKNOWN_PATTERNS)[use]
        return names[int(self.unit(f"pattern{use}{name}") * len(names))]

    def colour(self, hue: float, saturation: float, value: float, name: str = "") -> RGB:
        """A colour near the one asked for, in this skin's hue family, a little different for each instance."""
        if name:
            hue += 0.012 * self.jitter(name + "h")
            value *= 1.0 + 0.06 * self.jitter(name + "v")
            saturation *= 1.0 + 0.08 * self.jitter(name + "s")
        return colorsys.hsv_to_rgb(
            family_hue(hue, known=self.known), min(max(saturation, 0.04), 1.0), min(max(value, 0.02), 1.0)
        )

    def skin_wide(self, name: str) -> float:
        """A number in [0, 1) shared by everything in this skin."""
        return _unit(self.skin.seed, name)

    def wood(self, name: str = "wood", *, dark: float = 1.0) -> RGB:
        """The skin's wood."""
        u, v = self.skin_wide("wood_hue"), self.skin_wide("wood_value")
        return self.colour(0.06 + 0.05 * u, 0.35 + 0.3 * self.skin_wide("wood_sat"), (0.36 + 0.42 * v) * dark, name)

    def metal(self, value: float = 0.72, name: str = "metal") -> RGB:
        """Bare metal, tinted a little."""
        return self.colour(self.skin_wide("metal_hue"), 0.06, value, name)

    def white(self, value: float = 0.93, name: str = "white") -> RGB:
        """Porcelain, enamel, paper."""
        return self.colour(self.skin_wide("white_hue"), 0.05, value, name)

    def dark(self, value: float = 0.12, name: str = "dark") -> RGB:
        """Black plastic, rubber, shadows."""
        return self.colour(self.skin_wide("dark_hue"), 0.12, value, name)

    def free(self, name: str, *, saturation: float = 0.55, value: float = 0.75) -> RGB:
        """A decorative colour: any hue, chosen per skin and kind."""
        hue = self.unit(name + "hue")
        s = saturation * (0.6 + 0.7 * self.unit(name + "sat"))
        v = value * (0.62 + 0.5 * self.unit(name + "val"))
        return self.colour(hue, s, v, name)

    def interior(self) -> RGB:
        """The dark inside of an opened thing."""
        return self.colour(self.skin_wide("inside_hue"), 0.2, 0.20)
