"""What several families share: boxes with a dark inside, doors, drawers, legs, and lying long things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint, Point
from selu_hpc.sim.drawing.shapes.part import Part

DRAWER_TRAVEL = 0.7
"""How far a fully open drawer comes out, as a part of its depth."""
DOOR_ANGLE = 105.0
"""How far a fully open door swings, in degrees."""


def shell(m: Mesher, p: Part, paint: Paint, low: Point, high: Point, *, shelves: int = 0, wall: float = 0.025) -> None:
    """A box whose front (+z) is open when the thing is, with a dark inside and shelves."""
    if p.openness <= 0.01:
        m.box(paint, low, high)
        return
    (x0, y0, z0), (x1, y1, z1) = low, high
    t = min(wall, 0.12 * min(x1 - x0, y1 - y0))
    m.box(paint, low, high, "xXyYz")
    m.cavity(p.inside(), (x0 + t, y0 + t, z0 + t), (x1 - t, y1 - t, z1))
    for a, b in (
        ((x0, y0), (x0 + t, y1)),
        ((x1 - t, y0), (x1, y1)),
        ((x0, y0), (x1, y0 + t)),
        ((x0, y1 - t), (x1, y1)),
    ):
        m.box(paint, (*a, z1 - 0.001), (*b, z1), "Z")
    for i in range(shelves):
        y = y0 + (y1 - y0) * (i + 1) / (shelves + 1)
        m.box(p.metal(0.6), (x0 + t, y - 0.006, z0 + t), (x1 - t, y + 0.006, z1 - 0.05), "yYZ")


def swing_door(
    m: Mesher, paint: Paint, handle: Paint, low: Point, high: Point, openness: float, *, hinge_left: bool,
    inset: Paint | None = None, upright: bool = True, angle: float = DOOR_ANGLE,
) -> None:  # fmt: skip
    """A leaf on the front; swings outwards about its left (-x) or right edge."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    hinge = x0 if hinge_left else x1
    sign = 1 if hinge_left else -1
    width, thick = x1 - x0, z1 - z0
    with m.frame((hinge, 0, z0), yaw=-sign * angle * openness):
        a, b = sorted((0.0, sign * width))
        m.box(paint, (a, y0, 0), (b, y1, thick))
        if inset is not None:
            e, f = 0.14 * width, 0.14 * min(width, y1 - y0)
            m.box(inset, (a + e, y0 + f, 0), (b - e, y1 - f, thick + 0.004), "Z")
        grip = sign * 0.9 * width
        if upright:
            length = min(0.3, 0.4 * (y1 - y0))
            middle = (y0 + y1) / 2
            m.box(handle, (grip - 0.011, middle - length / 2, thick), (grip + 0.011, middle + length / 2, thick + 0.03))
        else:
            m.ball(handle, (grip, (y0 + y1) / 2, thick + 0.012), 0.018, segments=7, rings=4)


def pull_drawer(
    m: Mesher, p: Part, paint: Paint, handle: Paint, low: Point, high: Point, openness: float, *, housed: bool
) -> None:
    """A drawer between low and high that slides along +z; housed ones bring their own case."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    out = openness * DRAWER_TRAVEL * (z1 - z0)
    front = min(0.02, 0.1 * (z1 - z0))
    if openness > 0.01:
        t = 0.012
        if housed:
            m.box(paint, (x0, y0, z0), (x1, y1, z1 - front), "xXyYz")
            m.cavity(p.inside(), (x0, y0, z0), (x1, y1, z1 - front))
        tray = Paint(paint.a, paint.b, paint.tex, paint.scale, shade=0.7)
        with m.frame((0, 0, out)):
            low_in, high_in = (x0 + t, y0 + t, z0 + t), (x1 - t, y1 - 0.15 * (y1 - y0), z1 - front)
            m.box(tray, low_in, high_in, "xXyz")
            m.cavity(p.inside(), low_in, high_in, "xXyzZ")
            m.box(tray, (low_in[0], high_in[1] - 0.001, low_in[2]), (low_in[0] + t, *high_in[1:]), "Y")
            m.box(tray, (high_in[0] - t, high_in[1] - 0.001, low_in[2]), high_in, "Y")
    elif housed:
        m.box(paint, (x0, y0, z0), (x1, y1, z1 - front), "xXyYz")
    m.box(paint, (x0, y0, z1 - front + out), (x1, y1, z1 + out))
    grip, middle = min(0.14, 0.4 * (x1 - x0)), (y0 + y1) / 2
    m.box(handle, (-grip / 2 + (x0 + x1) / 2, middle - 0.009, z1 + out),
          (grip / 2 + (x0 + x1) / 2, middle + 0.009, z1 + out + 0.022))  # fmt: skip


def legs(m: Mesher, paint: Paint, w: float, d: float, top: float, thick: float, *, round_legs: bool = False) -> None:
    """Four legs under a top of w × d."""
    for sx in (-1, 1):
        for sz in (-1, 1):
            x, z = sx * (w / 2 - thick), sz * (d / 2 - thick)
            if round_legs:
                m.rod(paint, (x, 0, z), (x * 0.94, top, z * 0.94), thick * 0.35, thick * 0.55, 6)
            else:
                m.box(paint, (x - thick / 2, 0, z - thick / 2), (x + thick / 2, top, z + thick / 2), "xXzZ")


@contextmanager
def lying(m: Mesher, p: Part) -> Iterator[tuple[float, float, float]]:
    """A frame whose +x runs along the longest side from -length/2, y up from the bottom: (length, width, thickness)."""
    if p.h > 1.3 * max(p.w, p.d):
        with m.frame((0, p.h / 2, -p.d / 2), pitch=90, roll=0), m.frame(yaw=90):
            yield p.h, p.w, p.d
    elif p.d > p.w:
        with m.frame(yaw=-90):
            yield p.d, p.w, p.h
    else:
        yield p.w, p.d, p.h


def round_pan(p: Part) -> tuple[float, float, float]:
    """For things with a long handle: bowl radius, bowl centre z, handle end z (in a frame where z is the long side)."""
    long, short = max(p.w, p.d), min(p.w, p.d)
    radius = short / 2 if long > 1.3 * short else 0.31 * long
    return radius, long / 2 - radius, -long / 2


def liquid_paint(p: Part) -> Paint:
    """The surface of what fills a thing."""
    if p.liquid == "coffee":
        return Paint(p.look.colour(0.07, 0.75, 0.27), clean=True)
    if p.liquid == "wine":
        return Paint(p.look.colour(0.97, 0.8, 0.42), clean=True)
    return Paint(p.look.colour(0.56, 0.62, 0.95), clean=True)
