"""The rough solid form of each type: the panels a ray or a body hits, the surfaces things lie on, how it opens.

Owns geometry in an object's own frame (origin at the bottom's centre, front towards +z). Does not own meshes
(shapes/), which may be finer, or where an instance stands (thing.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

Box = tuple[float, float, float, float, float, float]
"""x0, y0, z0, x1, y1, z1."""
Size = tuple[float, float, float]

T = 0.02
"""Thickness of a panel in metres."""

SLIDES = frozenset({"Drawer"})
SWINGS = frozenset({"Cabinet", "Fridge", "Microwave", "Safe"})
TWO_DOORS = 0.62
"""A cabinet that is wider has two doors."""
SLIDE_SHARE = 0.7
"""How much of its depth a fully open drawer comes out."""
_FOUR_LEGS = frozenset({"DiningTable", "Desk", "SideTable", "CoffeeTable", "Stool", "Footstool"})
_OPEN_TOPS = frozenset(
    {
        "Box",
        "LaundryHamper",
        "GarbageCan",
        "Sink",
        "SinkBasin",
        "Bathtub",
        "BathtubBasin",
        "Bowl",
        "Pot",
        "Pan",
        "Mug",
        "Cup",
    }
)
_LIDDED = frozenset({"Box", "LaundryHamper"})
_SEATS = {"Sofa": (0.50, 0.28, 0.11), "ArmChair": (0.48, 0.26, 0.12), "Chair": (0.49, 0.10, 0.0)}
"""Seat height and back depth as shares of the size, arm width as a share of the width."""
BED_HEIGHT = 0.60
TOILET_SEAT = 0.55
SHELVES = 4


@dataclass(frozen=True, slots=True)
class Zone:
    """A surface that takes things: a rectangle at height y with `clear` metres above it.

    loose: only a thing's middle must lie on it (a pan on a burner, a fork on a plate); it takes `room` things.
    hangs: things hang below it.
    """

    x0: float
    x1: float
    z0: float
    z1: float
    y: float
    clear: float
    loose: bool = False
    hangs: bool = False
    room: int = 99


@lru_cache(maxsize=8192)
def zones(kind: str, size: Size) -> tuple[Zone, ...]:
    """The surfaces of a receptacle; an openable one's surfaces move with `slide`."""
    w, h, d = size
    x, z, far = w / 2, d / 2, 9.0
    match kind:
        case "Fridge":
            return tuple(
                Zone(-x + 0.05, x - 0.05, -z + 0.06, z - 0.10, h * share, h * gap - 0.02)
                for share, gap in ((0.42, 0.17), (0.60, 0.17), (0.78, 0.18))
            )
        case "Cabinet" | "Microwave" | "Safe":
            return (Zone(-x + 0.03, x - 0.03, -z + 0.03, z - 0.05, T + 0.005, h - 2 * T - 0.01),)
        case "Drawer":
            return (Zone(-x + 0.03, x - 0.03, 0.0, z - 0.04, T + 0.005, h - T - 0.01),)
        case "Box" | "LaundryHamper" | "GarbageCan":
            return (Zone(-x + 0.03, x - 0.03, -z + 0.03, z - 0.03, T, far),)
        case "SinkBasin" | "BathtubBasin":
            return (Zone(-x + 0.05, x - 0.05, -z + 0.05, z - 0.05, h * 0.2, far),)
        case "Sink":
            return (Zone(-x + 0.09, x - 0.09, -z + 0.17, z - 0.11, h * 0.27, far),)
        case "Bathtub":
            return (Zone(-x + 0.14, x - 0.14, -z + 0.14, z - 0.14, 0.11 + (h - 0.12) * 0.2, far),)
        case "Bowl" | "Pot" | "Pan":
            s = 0.55 if kind == "Pan" else 0.7
            return (Zone(-x * s, x * s, -z * s, z * s, 0.015, far, loose=True, room=3),)
        case "Mug" | "Cup":
            return (Zone(-x * 0.3, x * 0.3, -z * 0.3, z * 0.3, 0.012, far, loose=True, room=2),)
        case "Plate":
            return (Zone(-x * 0.7, x * 0.7, -z * 0.7, z * 0.7, h, far, loose=True, room=3),)
        case "StoveBurner":
            return (Zone(-x * 0.2, x * 0.2, -z * 0.2, z * 0.2, h, far, loose=True, room=1),)
        case "CoffeeMachine":
            return (Zone(-0.02, 0.02, z * 0.25, z * 0.5, h * 0.10, h * 0.5, loose=True, room=1),)
        case "Toaster":
            return (Zone(-x * 0.4, x * 0.4, -z * 0.5, z * 0.5, h * 0.5, far, loose=True, room=2),)
        case "Toilet":
            return (Zone(-x + 0.02, x - 0.02, -z + 0.01, -z + 0.19, h, far),)
        case "TowelHolder" | "HandTowelHolder" | "ToiletPaperHanger":
            return (Zone(-0.02, 0.02, 0.02, 0.03, h, far, loose=True, hangs=True, room=1),)
        case "Sofa" | "ArmChair" | "Chair":
            seat, back, arm = _SEATS[kind]
            return (Zone(-x + w * arm + 0.02, x - w * arm - 0.02, -z + d * back + 0.02, z - 0.04, h * seat, far),)
        case "Bed":
            return (Zone(-x + 0.08, x - 0.08, -z + 0.12, z - 0.10, h * BED_HEIGHT, far),)
        case "ShelvingUnit":
            gap = h / SHELVES
            return tuple(
                Zone(-x + 0.04, x - 0.04, -z + 0.04, z - 0.02, gap * i + 0.06, gap - 0.09) for i in range(SHELVES)
            )
        case "DiningTable" | "CoffeeTable" | "SideTable":  # some are round
            return (Zone(-x * 0.8, x * 0.8, -z * 0.8, z * 0.8, h, far),)
    return (Zone(-x + 0.02, x - 0.02, -z + 0.02, z - 0.02, h, far),)


def slide(kind: str, size: Size, openness: float) -> float:
    """How far what is inside moves towards +z when it opens."""
    return size[2] * SLIDE_SHARE * openness if kind in SLIDES else 0.0


@lru_cache(maxsize=8192)
def leaf(kind: str, size: Size, openness: float, left: bool = True) -> tuple[Box, ...]:
    """The part that sticks out when open: a door's leaf, hinged left (low x) or right, or a drawer."""
    w, h, d = size
    if openness <= 0:
        return ()
    if kind in SWINGS:
        doors = 2 if kind == "Cabinet" and w > TWO_DOORS else 1
        reach = w / doors * math.sin(math.radians(90 * min(openness, 1.0)))
        low = (-w / 2, 0.0, d / 2, -w / 2 + T, h, d / 2 + reach)
        high = (w / 2 - T, 0.0, d / 2, w / 2, h, d / 2 + reach)
        return (low, high) if doors == 2 else (low if left else high,)
    if kind in SLIDES:
        z = slide(kind, size, openness)
        return ((-w / 2, 0.0, d / 2, w / 2, h, d / 2 + z),)
    return ()


@lru_cache(maxsize=8192)
def panels(kind: str, size: Size, openness: float, left: bool = True) -> tuple[Box, ...]:
    """What hides things behind it, as thin boxes."""
    w, h, d = size
    x, z = w / 2, d / 2
    if kind in _FOUR_LEGS:
        top, leg = min(0.05, h * 0.2), 0.05
        legs = [(sx, sz) for sx in (-x, x - leg) for sz in (-z, z - leg)]
        return ((-x, h - top, -z, x, h, z), *((a, 0.0, b, a + leg, h - top, b + leg) for a, b in legs))
    if kind in _SEATS:
        seat, back, arm = _SEATS[kind]
        boxes = [
            (-x, 0.0 if kind != "Chair" else h * 0.40, -z, x, h * seat, z),
            (-x, h * seat, -z, x, h, -z + d * back),
        ]
        if arm:
            boxes += [(-x, 0.0, -z, -x + w * arm, h * 0.72, z), (x - w * arm, 0.0, -z, x, h * 0.72, z)]
        return tuple(boxes)
    if kind == "Bed":
        return ((-x, 0.0, -z, x, h * BED_HEIGHT, z), (-x, 0.0, -z, x, h, -z + 0.08))
    if kind == "Toilet":
        return ((-x * 0.8, 0.0, -z + 0.2, x * 0.8, h * TOILET_SEAT, z), (-x, 0.0, -z, x, h, -z + 0.2))
    if kind in _OPEN_TOPS:
        closed_lid = ((-x, h - T, -z, x, h, z),) if kind in _LIDDED and openness <= 0 else ()
        return (*_tub(w, h, d), *closed_lid)
    if kind == "Drawer":
        dz = slide(kind, size, openness)
        return tuple((a, b, c + dz, e, f, g + dz) for a, b, c, e, f, g in _tub(w, h, d))
    if kind in SWINGS:
        boxes = [
            (-x, 0.0, -z, -x + T, h, z),
            (x - T, 0.0, -z, x, h, z),
            (-x, 0.0, -z, x, h, -z + T),
            (-x, 0.0, -z, x, T, z),
            (-x, h - T, -z, x, h, z),
        ]
        if openness < 0.5:
            boxes.append((-x, 0.0, z - T, x, h, z))
        elif kind == "Fridge":
            boxes.append((-x, 0.0, -z, x, h * 0.40, z - T))
        return (*boxes, *leaf(kind, size, openness, left))
    if kind == "ShelvingUnit":
        gap = h / SHELVES
        shelves = [(-x, gap * i + 0.03, -z, x, gap * i + 0.05, z) for i in range(SHELVES)]
        return (*shelves, (-x, 0.0, -z, x, h, -z + T), (-x, 0.0, -z, -x + T, h, z), (x - T, 0.0, -z, x, h, z))
    if kind == "CoffeeMachine":
        return ((-x, 0.0, -z, x, h, z * 0.1), (-x, 0.0, -z, x, h * 0.09, z), (-x, h * 0.65, -z, x, h, z))
    if kind == "ShowerCurtain" or kind == "Blinds":
        return ((-x, 0.0, -z, x * (1 - 1.6 * openness), h, z),)
    if kind == "Laptop" and openness > 0:
        return ((-x, 0.0, -z, x, h * 0.1, z), (-x, 0.0, -z, x, h, -z + 0.03))
    return ((-x, 0.0, -z, x, h, z),)


def _tub(w: float, h: float, d: float) -> tuple[Box, ...]:
    """A bottom and four sides."""
    x, z, t = w / 2, d / 2, min(T, h * 0.2)
    return (
        (-x, 0.0, -z, x, t, z),
        (-x, 0.0, -z, -x + t, h, z),
        (x - t, 0.0, -z, x, h, z),
        (-x, 0.0, -z, x, h, -z + t),
        (-x, 0.0, z - t, x, h, z),
    )
