"""Sports gear, plants, vases and what else decorates a house."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import lying
from selu_hpc.sim.drawing.shapes.part import Part, shape


@shape("BasketBall", "Basketball", "Ball")
def ball(m: Mesher, p: Part) -> None:
    orange, line = p.plain(p.look.colour(0.06, 0.85, 0.85), scale=14), p.dark(0.06)
    r = 0.5 * min(p.w, p.d)
    m.ball(orange, (0, p.h / 2, 0), (r, p.h / 2, r), segments=14, rings=8)
    for turn in (0, 60, 120):
        for i in range(12):
            a, b = math.tau * i / 12, math.tau * (i + 1) / 12
            with m.frame((0, p.h / 2, 0), yaw=turn, scale=1.0):
                s, t = 1.012 * r, 0.035 * r
                m.polygon(
                    line,
                    [
                        (s * math.sin(a), s * math.cos(a), -t),
                        (s * math.sin(b), s * math.cos(b), -t),
                        (s * math.sin(b), s * math.cos(b), t),
                        (s * math.sin(a), s * math.cos(a), t),
                    ],
                    (math.sin((a + b) / 2), math.cos((a + b) / 2), 0),
                )


@shape("BaseballBat")
def bat(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        r = max(min(width, thick) / 2, 0.025)
        wood = p.wood("bat") if p.look.unit("wooden") < 0.6 else Paint(p.look.free("alloy", saturation=0.6))
        with m.frame((-length / 2, r, 0), yaw=90, pitch=90):
            m.lathe(
                p.dark(0.15),
                [(0, 0), (0.62 * r, 0), (0.6 * r, 0.025 * length), (0.36 * r, 0.03 * length), (0.36 * r, 0.3 * length)],
                segments=9,
            )
            m.lathe(
                wood,
                [
                    (0.36 * r, 0.3 * length),
                    (0.8 * r, 0.62 * length),
                    (r, 0.8 * length),
                    (0.92 * r, 0.98 * length),
                    (0, length),
                ],
                segments=9,
            )


@shape("TennisRacket")
def racket(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        frame, w = Paint(p.look.free("frame", saturation=0.85)), max(width, 0.15)
        rx, rz, t = 0.26 * length, 0.46 * w, max(0.3 * thick, 0.009)
        cx = length / 2 - rx - t
        ring = [(cx + rx * math.cos(math.tau * i / 12), thick / 2, rz * math.sin(math.tau * i / 12)) for i in range(13)]
        m.path(frame, ring, t, 5)
        m.path(frame, [ring[5], (-0.12 * length, thick / 2, 0)], 0.7 * t, 5)
        m.path(frame, [ring[7], (-0.12 * length, thick / 2, 0)], 0.7 * t, 5)
        m.rod(p.dark(0.15), (-length / 2, thick / 2, 0), (-0.12 * length, thick / 2, 0), 0.016, segments=7)
        string = p.white(0.95)
        for i in range(-2, 3):
            x, z = i * rx / 3, i * rz / 3
            reach_z, reach_x = rz * math.sqrt(1 - (i / 3) ** 2), rx * math.sqrt(1 - (i / 3) ** 2)
            m.box(string, (cx + x - 0.003, thick / 2, -reach_z), (cx + x + 0.003, thick / 2 + 0.002, reach_z), "Yy")
            m.box(string, (cx - reach_x, thick / 2, z - 0.003), (cx + reach_x, thick / 2 + 0.002, z + 0.003), "Yy")


@shape("Dumbbell")
def dumbbell(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        r = max(width, thick) / 2
        m.rod(p.metal(0.75), (-length / 2, r, 0), (length / 2, r, 0), 0.25 * r, segments=7)
        for side in (-1, 1):
            m.rod(p.dark(0.2), (side * 0.27 * length, r, 0), (side * 0.46 * length, r, 0), r, segments=8)


@shape("HousePlant", "Houseplant", "Plant")
def plant(m: Mesher, p: Part) -> None:
    r = 0.3 * min(p.w, p.d)
    pot = (
        p.plain(p.look.colour(0.045, 0.6, 0.65, "pot"))
        if p.look.unit("terracotta") < 0.5
        else Paint(p.look.free("pot", saturation=0.5, value=0.9))
    )
    m.lathe(
        pot,
        [(0, 0), (0.72 * r, 0), (r, 0.3 * p.h), (1.1 * r, 0.3 * p.h), (1.1 * r, 0.36 * p.h), (0.95 * r, 0.36 * p.h)],
        segments=10,
    )
    m.disc(Paint(p.look.colour(0.07, 0.5, 0.2)), (0, 0.34 * p.h, 0), 0.96 * r)
    leaf = Paint(p.look.colour(0.34, 0.75, 0.5, "leaf"), p.look.colour(0.34, 0.6, 0.3), p.look.pattern("plain"), 6.0)
    half = 0.5 * min(p.w, p.d)
    for i in range(13):
        reach, rise = (0.55 + 0.45 * ((i * 7) % 5) / 4), 0.5 + 0.5 * ((i * 3) % 13) / 12
        with m.frame((0, 0.34 * p.h, 0), yaw=137.5 * i):
            y, w = 0.66 * p.h * rise, 0.22 * half
            m.polygon(
                leaf,
                [(0, 0, 0), (-w, 0.7 * y, 0.4 * reach * half), (0, y, reach * half), (w, 0.7 * y, 0.4 * reach * half)],
                (0, 0.6, -0.8),
                two_sided=True,
            )
    if p.has("filled"):
        m.disc(Paint(p.look.colour(0.56, 0.6, 0.9), clean=True), (0, 0.352 * p.h, 0), 0.8 * r)


@shape("Vase")
def vase(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.d)
    glaze = Paint(
        p.look.free("glaze", saturation=0.8),
        p.look.free("band", saturation=0.6, value=0.95),
        p.look.pattern("fabric"),
        5.0,
    )
    waist = p.look.vary(0.25, 0.6, "waist")
    segments = 12 if p.known_form() else 6
    m.lathe(
        glaze,
        [
            (0, 0),
            (0.55 * r, 0),
            (r, 0.35 * p.h),
            (0.85 * r, 0.58 * p.h),
            (waist * r, 0.8 * p.h),
            ((waist + 0.2) * r, p.h),
            ((waist + 0.1) * r, p.h),
        ],
        segments=segments,
    )
    m.lathe(p.inside(), [((waist + 0.1) * r, p.h), (waist * 0.8 * r, 0.82 * p.h), (0, 0.8 * p.h)], segments=segments)
    if p.has("filled"):
        m.disc(Paint(p.look.colour(0.56, 0.6, 0.9), clean=True), (0, p.h + 0.002, 0), (waist + 0.17) * r)


@shape("RoomDecor")
def room_decor(m: Mesher, p: Part) -> None:
    """A tall jar with dry branches."""
    r = 0.5 * min(p.w, p.d)
    jar = p.plain(p.look.free("jar", saturation=0.5))
    m.lathe(
        jar,
        [
            (0, 0),
            (0.6 * r, 0),
            (0.95 * r, 0.25 * p.h),
            (0.5 * r, 0.48 * p.h),
            (0.65 * r, 0.52 * p.h),
            (0.5 * r, 0.52 * p.h),
        ],
        segments=10,
    )
    twig = p.wood("twig", dark=0.7)
    for i in range(7):
        a = 0.9 * i
        tip = (0.9 * r * math.sin(a), (0.8 + 0.03 * i) * p.h, 0.9 * r * math.cos(a))
        m.rod(twig, (0.2 * r * math.sin(a), 0.45 * p.h, 0.2 * r * math.cos(a)), tip, 0.05 * r, 0.02 * r, 4)
        m.ball(Paint(p.look.free("bud", saturation=0.7, value=0.95)), tip, 0.12 * r, segments=5, rings=3)


@shape("TableTopDecor")
def table_decor(m: Mesher, p: Part) -> None:
    """A ring of metal on a foot with a ball in it."""
    gold, r = Paint(p.look.free("metal", saturation=0.6, value=0.95)), 0.42 * min(p.w, p.h)
    m.box(p.dark(0.15), (-0.4 * p.w, 0, -0.4 * p.d), (0.4 * p.w, 0.1 * p.h, 0.4 * p.d))
    y = p.h - 1.15 * r
    ring = [(r * math.sin(math.tau * i / 12), y + r * math.cos(math.tau * i / 12), 0.0) for i in range(13)]
    m.path(gold, ring, 0.12 * r, 6)
    m.rod(gold, (0, 0.1 * p.h, 0), (0, y - r, 0), 0.1 * r, segments=6)
    m.ball(p.white(), (0, y, 0), 0.5 * r, segments=10, rings=6)


@shape("Statue", "Sculpture")
def statue(m: Mesher, p: Part) -> None:
    """A bust on a plinth, or stacked shapes in the unknown world."""
    stone = p.plain(p.look.metal(0.82) if p.look.unit("white") < 0.6 else p.look.colour(0.1, 0.45, 0.5, "bronze"))
    r = 0.5 * min(p.w, p.d)
    m.box(p.wood("plinth", dark=0.6), (-p.w / 2, 0, -p.d / 2), (p.w / 2, 0.16 * p.h, p.d / 2))
    if p.look.variant(2, 1, "form") == 2:
        m.ball(stone, (0, 0.38 * p.h, 0), 0.23 * p.h, segments=10, rings=6)
        with m.frame((0, 0.56 * p.h, 0), yaw=30, roll=12):
            m.box(stone, (-0.5 * r, 0, -0.5 * r), (0.5 * r, 0.24 * p.h, 0.5 * r))
        m.rod(stone, (0, 0.78 * p.h, 0), (0, p.h, 0), 0.45 * r, 0.0, 8)
        return
    m.lathe(
        stone,
        [
            (0.5 * r, 0.16 * p.h),
            (0.35 * r, 0.24 * p.h),
            (0.95 * r, 0.42 * p.h),
            (0.85 * r, 0.52 * p.h),
            (0.3 * r, 0.58 * p.h),
            (0.27 * r, 0.66 * p.h),
        ],
        segments=10,
        squash=0.7,
    )
    m.ball(stone, (0, 0.8 * p.h, 0), (0.42 * r, 0.2 * p.h, 0.46 * r), segments=10, rings=7)
    m.rod(stone, (0, 0.82 * p.h, 0.42 * r), (0, 0.74 * p.h, 0.56 * r), 0.05 * r, 0.1 * r, 5)


@shape("TeddyBear")
def teddy(m: Mesher, p: Part) -> None:
    fur = p.plain(p.look.colour(0.08, 0.6, 0.62, "fur"), scale=12)
    light, black = p.plain(p.look.colour(0.1, 0.3, 0.9)), p.dark(0.05)
    r = 0.5 * min(p.w, p.h)
    m.ball(fur, (0, 0.32 * p.h, 0), (0.55 * r, 0.3 * p.h, 0.5 * r), segments=10, rings=6)
    m.ball(light, (0, 0.3 * p.h, 0.26 * r), (0.36 * r, 0.2 * p.h, 0.28 * r), segments=9, rings=5)
    m.ball(fur, (0, 0.74 * p.h, 0.05 * r), (0.48 * r, 0.23 * p.h, 0.45 * r), segments=10, rings=6)
    m.ball(light, (0, 0.69 * p.h, 0.42 * r), (0.2 * r, 0.09 * p.h, 0.17 * r), segments=8, rings=4)
    m.ball(black, (0, 0.73 * p.h, 0.57 * r), 0.06 * r, segments=6, rings=4)
    for side in (-1, 1):
        m.ball(fur, (side * 0.38 * r, 0.93 * p.h, 0), 0.17 * r, segments=7, rings=4)
        m.ball(black, (side * 0.17 * r, 0.79 * p.h, 0.46 * r), 0.06 * r, segments=5, rings=3)
        m.rod(fur, (side * 0.4 * r, 0.5 * p.h, 0.1 * r), (side * 0.85 * r, 0.3 * p.h, 0.3 * r), 0.19 * r, 0.16 * r, 7)
        m.rod(fur, (side * 0.32 * r, 0.12 * p.h, 0.2 * r), (side * 0.5 * r, 0.1 * p.h, 0.85 * r), 0.22 * r, 0.2 * r, 7)


@shape("WateringCan")
def watering_can(m: Mesher, p: Part) -> None:
    body, r = Paint(p.look.free("body", saturation=0.8)), 0.28 * p.w
    x = -0.1 * p.w
    m.lathe(body, [(0, 0), (r, 0), (0.85 * r, 0.62 * p.h), (0.7 * r, 0.62 * p.h)], at=(x, 0, 0), segments=10)
    m.disc(_liquid_or_dark(p), (x, 0.58 * p.h, 0), 0.75 * r)
    m.rod(body, (x + 0.8 * r, 0.15 * p.h, 0), (0.46 * p.w, 0.8 * p.h, 0), 0.05 * p.w, 0.03 * p.w, 6)
    m.rod(p.metal(0.7), (0.43 * p.w, 0.76 * p.h, 0), (0.5 * p.w, 0.88 * p.h, 0), 0.03 * p.w, 0.07 * p.w, 8)
    m.path(
        body,
        [
            (x - 0.8 * r, 0.2 * p.h, 0),
            (x - 1.5 * r, 0.55 * p.h, 0),
            (x - 0.9 * r, p.h, 0),
            (x + 0.6 * r, 0.92 * p.h, 0),
            (x + 0.75 * r, 0.6 * p.h, 0),
        ],
        0.035 * p.w,
        5,
    )


def _liquid_or_dark(p: Part) -> Paint:
    """Water when filled, else the dark inside."""
    return Paint(p.look.colour(0.56, 0.62, 0.95), clean=True) if p.has("filled") else p.inside()
