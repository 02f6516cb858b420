"""The room itself, what is fixed to it, the agent, and the box that stands for kinds without a shape."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.part import Part, shape


def unknown(m: Mesher, p: Part) -> None:
    """A closed box with a band round it."""
    body = p.plain(p.look.free("body"))
    m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    band, e = p.plain(p.look.free("band")), 0.003
    m.box(band, (-p.w / 2 - e, p.h * 0.62, -p.d / 2 - e), (p.w / 2 + e, p.h * 0.72, p.d / 2 + e))


@shape("Floor")
def floor(m: Mesher, p: Part) -> None:
    use = "tile" if p.look.skin_wide("floor_use") < 0.45 else "wood"
    if use == "tile":
        a = p.look.colour(p.look.skin_wide("floor_hue"), 0.16, 0.55 + 0.3 * p.look.skin_wide("floor_value"))
        paint = p.patterned(a, (a[0] * 0.6, a[1] * 0.6, a[2] * 0.6), "tile", 0.6)
    else:
        paint = p.wood("floor", dark=0.9, scale=0.7)
    m.panel(paint, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2), 12, "Y")


@shape("Ceiling")
def ceiling(m: Mesher, p: Part) -> None:
    m.panel(p.white(0.9, "ceiling"), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2), 6, "y")


@shape("Wall")
def wall(m: Mesher, p: Part) -> None:
    a = p.look.colour(
        p.look.skin_wide("wall_hue"),
        0.10 + 0.25 * p.look.skin_wide("wall_sat"),
        0.66 + 0.26 * p.look.skin_wide("wall_v"),
    )
    b = (a[0] * 0.82, a[1] * 0.82, a[2] * 0.82)
    paint = p.patterned(a, b, "wall", 0.6)
    m.panel(paint, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2), 12, "xXzZ")
    m.box(paint, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2), "Y")
    if p.h > 1.2:
        board, e = p.wood("board", dark=0.8), 0.008
        x, z = (p.w / 2 - 0.001, p.d / 2 + e) if p.w > p.d else (p.w / 2 + e, p.d / 2 - 0.001)
        m.box(board, (-x, 0, -z), (x, min(0.09, p.h), z), "xXzZY")


@shape("Agent")
def agent(m: Mesher, p: Part) -> None:
    """A person of simple parts; +z is where the agent looks. "held" brings the arms forward."""
    h, r = p.h, min(p.w, p.d) / 2
    skin = p.plain(p.look.colour(0.065, 0.42, 0.86), scale=8.0)
    shirt = p.plain(p.look.colour(0.62, 0.5, 0.42))
    trousers = p.plain(p.look.colour(0.62, 0.25, 0.25))
    hair = p.dark(0.2, "hair")
    if p.has("sitting"):
        _sit(m, trousers, hair, h, r)
    for side in (-1, 1):
        if not p.has("sitting"):
            m.rod(trousers, (side * 0.42 * r, 0.03 * h, 0), (side * 0.42 * r, 0.47 * h, 0), 0.32 * r, 0.4 * r, 8)
            m.box(hair, (side * 0.42 * r - 0.3 * r, 0, -0.3 * r), (side * 0.42 * r + 0.3 * r, 0.045 * h, 0.62 * r))
        shoulder = (side * 0.95 * r, 0.78 * h, 0.0)
        if p.has("held"):
            elbow = (side * 1.05 * r, 0.60 * h, 0.35 * r)
            wrist = (side * 0.35 * r, 0.60 * h, 1.6 * r)
        else:
            elbow = (side * 1.15 * r, 0.61 * h, 0.0)
            wrist = (side * 1.15 * r, 0.46 * h, 0.25 * r)
        m.rod(shirt, shoulder, elbow, 0.24 * r, 0.2 * r, 7)
        m.rod(shirt, elbow, wrist, 0.2 * r, 0.15 * r, 7)
        m.ball(skin, wrist, 0.22 * r, segments=7, rings=4)
    m.lathe(
        shirt,
        [
            (0, 0.44 * h),
            (0.72 * r, 0.45 * h),
            (0.78 * r, 0.6 * h),
            (0.92 * r, 0.76 * h),
            (0.6 * r, 0.82 * h),
            (0, 0.83 * h),
        ],
        segments=10,
        squash=0.62,
    )
    m.rod(skin, (0, 0.8 * h, 0), (0, 0.87 * h, 0), 0.22 * r, segments=7)
    m.ball(skin, (0, 0.915 * h, 0.02 * r), (0.36 * r, 0.085 * h, 0.4 * r), segments=10, rings=7)
    m.ball(hair, (0, 0.932 * h, -0.06 * r), (0.39 * r, 0.075 * h, 0.4 * r), segments=10, rings=6)
    for side in (-1, 1):
        m.ball(hair, (side * 0.15 * r, 0.915 * h, 0.39 * r), 0.045 * r, segments=5, rings=3)


def _sit(m: Mesher, trousers: Paint, shoes: Paint, h: float, r: float) -> None:
    """Thighs forward and shins down from a seat at 0.44 of the height."""
    for side in (-1, 1):
        x = side * 0.45 * r
        m.rod(trousers, (x, 0.47 * h, 0), (x, 0.46 * h, 2.0 * r), 0.4 * r, 0.34 * r, 8)
        m.rod(trousers, (x, 0.46 * h, 2.0 * r), (x, 0.16 * h, 2.1 * r), 0.34 * r, 0.28 * r, 8)
        m.box(shoes, (x - 0.3 * r, 0.13 * h, 1.8 * r), (x + 0.3 * r, 0.17 * h, 2.8 * r))


@shape("Window", own_shards=True)
def window(m: Mesher, p: Part) -> None:
    """A framed view of the sky; broken shows dark holes."""
    t = min(0.06, 0.12 * min(p.w, p.h)) if p.w >= p.d else 0.05
    frame = p.white(0.9, "frame") if p.look.variant(1, 1, "frame") == 0 else p.wood("frame")
    w, h, d, turn = (p.w, p.h, p.d, 0) if p.w >= p.d else (p.d, p.h, p.w, 90)
    sky = Paint(
        p.look.colour(0.56, 0.35, 0.98), p.look.colour(0.3, 0.4, 0.7), p.look.pattern("art"), 0.5, 1.0, clean=True
    )
    with m.frame(yaw=turn):
        z = 0.35 * d
        lift = p.openness * 0.45 * h
        m.box(sky, (-w / 2, 0, -z), (w / 2, h, z), "zZ")
        for x in (-w / 2, w / 2 - t):
            m.box(frame, (x, 0, -d / 2), (x + t, h, d / 2))
        for y in (0.0, h - t, max(h / 2 - t / 2, 0)):
            rise = lift if y == max(h / 2 - t / 2, 0) else 0.0
            m.box(frame, (-w / 2, y + rise, -d / 2), (w / 2, y + t + rise, d / 2))
        m.box(frame, (-t / 3, h / 2 + lift if lift else 0, -d / 2), (t / 3, h, d / 2))
        if p.has("broken"):
            hole = Paint(p.look.dark(0.06), clean=True)
            e = d / 2 + 0.004
            for i in range(9):
                a = math.tau * i / 9
                tip = (0.46 if i % 2 else 0.25) * min(w, h)
                for side in (-1, 1):
                    m.polygon(
                        hole,
                        [
                            (0, h / 2, side * e),
                            (0.14 * h * math.cos(a - 0.3), h / 2 + 0.14 * h * math.sin(a - 0.3), side * e),
                            (tip * math.cos(a), h / 2 + tip * math.sin(a), side * e),
                            (0.14 * h * math.cos(a + 0.3), h / 2 + 0.14 * h * math.sin(a + 0.3), side * e),
                        ],
                        (0, 0, side),
                    )


@shape("Door", "Doorway", "Doorframe")
def door(m: Mesher, p: Part) -> None:
    w, h, d, turn = (p.w, p.h, p.d, 0) if p.w >= p.d else (p.d, p.h, p.w, 90)
    frame, leaf, knob = p.wood("frame", dark=0.75), p.wood("leaf"), p.metal(0.8)
    with m.frame(yaw=turn):
        t = 0.07
        for x in (-w / 2, w / 2 - t):
            m.box(frame, (x, 0, -d / 2 - 0.01), (x + t, h, d / 2 + 0.01))
        m.box(frame, (-w / 2, h - t, -d / 2 - 0.01), (w / 2, h, d / 2 + 0.01))
        if p.kind != "Door":
            return
        with m.frame((-w / 2 + t, 0, 0), yaw=-95 * p.openness):
            m.box(leaf, (0, 0, -0.02), (w - 2 * t, h - t, 0.02))
            for y in (0.12, 0.55):
                m.box(frame, (0.15 * w, y * h, -0.028), (0.65 * w, (y + 0.3) * h, 0.028), "zZ")
            m.ball(knob, (w - 2 * t - 0.08, 0.47 * h, 0.05), 0.035, segments=8, rings=4)
            m.ball(knob, (w - 2 * t - 0.08, 0.47 * h, -0.05), 0.035, segments=8, rings=4)
