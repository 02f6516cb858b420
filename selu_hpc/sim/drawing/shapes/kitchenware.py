"""Cups, plates, pots, cutlery, bottles."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import liquid_paint, lying, round_pan
from selu_hpc.sim.drawing.shapes.part import Part, dimmed, shape


def _ceramic(p: Part) -> Paint:
    colour = p.look.free("body", saturation=0.6, value=0.95)
    if p.look.unit("glaze") < 0.35:
        return p.white()
    return (
        Paint(colour, p.look.white(), p.look.pattern("fabric"), 14.0) if p.look.unit("glaze") > 0.8 else Paint(colour)
    )


def _fill(m: Mesher, p: Part, radius: float, y: float, squash: float = 1.0) -> None:
    if p.has("filled") or p.liquid:
        m.disc(liquid_paint(p), (0, y, 0), radius, squash=squash, segments=12)


def _handle(m: Mesher, paint: Paint, x: float, y0: float, y1: float, reach: float, thick: float) -> None:
    middle = (y0 + y1) / 2
    m.path(
        paint,
        [
            (x, y1, 0),
            (x + 0.8 * reach, y1 - 0.1 * (y1 - y0), 0),
            (x + reach, middle, 0),
            (x + 0.8 * reach, y0 + 0.1 * (y1 - y0), 0),
            (x, y0, 0),
        ],
        thick,
        5,
    )


@shape("Mug")
def mug(m: Mesher, p: Part) -> None:
    """A thick straight cup with a handle on the +x side."""
    body = _ceramic(p)
    r = 0.40 * min(p.w, p.d * 1.15)
    x = -0.08 * p.w
    foot = r * (1.0 if p.look.variant(2, 1, "form") == 0 else p.look.vary(0.95, 0.66, "taper"))
    segments = 12 if p.known_form() else 6
    with m.frame((x, 0, 0)):
        m.lathe(body, [(0, 0.005), (foot, 0), (r, 0.6 * p.h), (r, p.h), (0.86 * r, p.h)], segments=segments)
        inner = Paint(body.a, shade=0.62)
        m.lathe(inner, [(0.86 * r, p.h), (0.80 * foot, 0.1 * p.h), (0, 0.1 * p.h)], segments=segments)
        _fill(m, p, 0.85 * r, 0.86 * p.h)
        _handle(m, body, 0.92 * r, 0.2 * p.h, 0.82 * p.h, p.w * 0.27, 0.075 * p.h)


@shape("Cup", "WineGlass", "WaterGlass", "Glass")
def cup(m: Mesher, p: Part) -> None:
    """A tapered tumbler without a handle."""
    tint = p.look.free("glass", saturation=0.35, value=1.0)
    body, r = Paint(tint, p.look.white(), p.look.pattern("plain"), 6.0), 0.5 * min(p.w, p.d)
    foot = r * p.look.vary(0.74, 0.5, "taper")
    segments = 12 if p.known_form() else 8
    if p.kind == "WineGlass":
        m.lathe(
            body,
            [
                (0, 0),
                (0.75 * r, 0),
                (0.1 * r, 0.06 * p.h),
                (0.09 * r, 0.42 * p.h),
                (0.75 * r, 0.55 * p.h),
                (r, 0.75 * p.h),
                (0.8 * r, p.h),
                (0.74 * r, p.h),
                (0.9 * r, 0.75 * p.h),
                (0, 0.5 * p.h),
            ],
            segments=segments,
        )
        _fill(m, p, 0.92 * r, 0.78 * p.h)
        return
    m.lathe(body, [(0, 0.004), (foot, 0), (r, p.h), (0.9 * r, p.h)], segments=segments)
    m.lathe(Paint(body.a, shade=0.6), [(0.9 * r, p.h), (0.85 * foot, 0.08 * p.h), (0, 0.08 * p.h)], segments=segments)
    band = Paint(p.look.free("band"))
    m.lathe(
        band,
        [
            (foot + (r - foot) * 0.68, 0.7 * p.h),
            (1.02 * (foot + (r - foot) * 0.69), 0.72 * p.h),
            (1.01 * (foot + (r - foot) * 0.84), 0.84 * p.h),
        ],
        segments=segments,
    )
    _fill(m, p, 0.89 * r, 0.88 * p.h)


@shape("Bowl")
def bowl(m: Mesher, p: Part) -> None:
    body = _ceramic(p)
    r = 0.5 * p.w
    foot = r * p.look.vary(0.36, 0.55, "foot")
    squash = p.d / p.w
    segments = 14 if p.known_form() else 8
    m.lathe(
        body,
        [(0, 0), (foot, 0), (foot, 0.08 * p.h), (0.78 * r, 0.5 * p.h), (r, p.h), (0.93 * r, p.h)],
        segments=segments,
        squash=squash,
    )
    m.lathe(
        Paint(p.look.white(0.9), shade=0.78),
        [(0.93 * r, p.h), (0.72 * r, 0.5 * p.h), (0.36 * r, 0.16 * p.h), (0, 0.13 * p.h)],
        segments=segments,
        squash=squash,
    )
    _fill(m, p, 0.88 * r, 0.8 * p.h, squash)


@shape("Plate")
def plate(m: Mesher, p: Part) -> None:
    r, squash = 0.5 * p.w, p.d / p.w
    rim = Paint(p.look.free("rim", saturation=0.7, value=0.85))
    segments = 16 if p.known_form() else 8
    m.lathe(p.white(), [(0, 0), (0.55 * r, 0), (r, 0.8 * p.h), (r, p.h)], segments=segments, squash=squash)
    m.lathe(rim, [(r, p.h), (0.84 * r, 0.8 * p.h)], segments=segments, squash=squash)
    m.lathe(p.white(), [(0.84 * r, 0.8 * p.h), (0.66 * r, 0.68 * p.h)], segments=segments, squash=squash)
    m.lathe(
        Paint(p.look.white(0.84)),
        [(0.66 * r, 0.68 * p.h), (0.6 * r, 0.5 * p.h), (0, 0.48 * p.h)],
        segments=segments,
        squash=squash,
    )


def _vessel(m: Mesher, p: Part, body: Paint, r: float, wall: float = 0.93) -> None:
    m.lathe(body, [(0, 0.003), (0.92 * r, 0), (r, 0.25 * p.h), (r, p.h), (wall * r, p.h)], segments=14)
    m.lathe(
        Paint(p.look.dark(0.24), shade=0.75), [(wall * r, p.h), (0.88 * r, 0.12 * p.h), (0, 0.12 * p.h)], segments=14
    )


@shape("Pan", "Fryingpan", "FryingPan")
def pan(m: Mesher, p: Part) -> None:
    with m.frame(yaw=0 if p.d >= p.w else 90):
        r, z, end = round_pan(p)
        body = Paint(p.look.colour(p.look.unit("hue"), 0.35, 0.3 + 0.35 * p.look.unit("value"), "pan"))
        with m.frame((0, 0, z)):
            _vessel(m, p, body, r, 0.95)
            _fill(m, p, 0.92 * r, 0.7 * p.h)
        grip = p.dark(0.1)
        m.rod(p.metal(), (0, 0.7 * p.h, z - r * 0.95), (0, 0.9 * p.h, z - r - 0.04), 0.014, segments=6)
        m.box(grip, (-0.016, 0.75 * p.h, end), (0.016, 0.75 * p.h + 0.022, z - r - 0.03))


@shape("Pot", "Cookingpot")
def pot(m: Mesher, p: Part) -> None:
    body = p.metal(0.66) if p.look.unit("steel") < 0.5 else Paint(p.look.free("enamel", saturation=0.8))
    r = 0.40 * p.w if p.w >= p.d else 0.5 * p.w
    r = min(r, 0.48 * p.d)
    _vessel(m, p, body, r)
    _fill(m, p, 0.92 * r, 0.8 * p.h)
    for side in (-1, 1):
        x = side * r * 0.98
        grip = p.dark(0.14)
        m.path(
            grip,
            [
                (x, 0.72 * p.h, -0.05),
                (x + side * 0.05, 0.74 * p.h, -0.035),
                (x + side * 0.05, 0.74 * p.h, 0.035),
                (x, 0.72 * p.h, 0.05),
            ],
            0.011,
            5,
        )


@shape("Kettle")
def kettle(m: Mesher, p: Part) -> None:
    body = p.metal(0.78) if p.look.unit("steel") < 0.4 else Paint(p.look.free("enamel", saturation=0.85, value=0.85))
    r = 0.36 * p.w
    m.lathe(
        body, [(0, 0), (r, 0.01), (1.05 * r, 0.12 * p.h), (0.8 * r, 0.5 * p.h), (0.42 * r, 0.64 * p.h)], segments=14
    )
    with m.frame((-0.42 * r, 0.64 * p.h, 0), roll=70 * p.openness):
        m.lathe(
            p.dark(0.16),
            [(0.0, 0.0), (0.45 * r, 0), (0.3 * r, 0.06 * p.h), (0, 0.08 * p.h)],
            at=(0.42 * r, 0, 0),
            segments=10,
        )
        m.ball(p.dark(0.1), (0.42 * r, 0.1 * p.h, 0), 0.05 * p.h, segments=7, rings=4)
    if p.openness > 0.2:
        m.disc(p.inside(), (0, 0.645 * p.h, 0), 0.4 * r)
    if p.has("filled") or p.liquid:
        m.lathe(liquid_paint(p), [(1.06 * r, 0.12 * p.h), (0.93 * r, 0.34 * p.h)], segments=14)
    m.rod(body, (0.75 * r, 0.3 * p.h, 0), (p.w / 2 + 0.15 * r, 0.66 * p.h, 0), 0.16 * r, 0.09 * r, 7)
    grip = p.dark(0.1)
    m.path(
        grip,
        [
            (-0.75 * r, 0.5 * p.h, 0),
            (-0.7 * r, 0.9 * p.h, 0),
            (0, p.h, 0),
            (0.7 * r, 0.9 * p.h, 0),
            (0.75 * r, 0.5 * p.h, 0),
        ],
        0.055 * r + 0.006,
        6,
    )
    if p.has("on"):
        m.disc(Paint(p.look.colour(0.03, 0.9, 1.0), glow=1.1), (0, 0.004, 0), 1.2 * r)


@shape("Bottle", "WineBottle", "Milk", "Juice", "Condimentbottle")
def bottle(m: Mesher, p: Part) -> None:
    wine = p.kind == "WineBottle"
    r = 0.5 * min(p.w, p.d)
    glass = p.look.colour(0.34, 0.75, 0.25, "glass") if wine else p.look.free("glass", saturation=0.6, value=0.75)
    body = Paint(glass)
    shoulder = p.look.vary(0.52, 0.62, "shoulder")
    neck = 0.30 * r
    segments = 12 if p.known_form() else 7
    m.lathe(
        body,
        [
            (0, 0),
            (0.96 * r, 0),
            (r, 0.03 * p.h),
            (r, shoulder * p.h),
            (0.75 * r, (shoulder + 0.1) * p.h),
            (neck, (shoulder + 0.2) * p.h),
            (neck, 0.92 * p.h),
        ],
        segments=segments,
    )
    cap = Paint(p.look.free("cap", saturation=0.8))
    m.lathe(cap, [(1.25 * neck, 0.91 * p.h), (1.25 * neck, p.h), (0, p.h)], segments=8)
    label = Paint(p.look.white(0.9), p.look.free("label", saturation=0.8), p.look.pattern("art"), 9.0)
    m.lathe(label, [(1.015 * r, 0.17 * p.h), (1.015 * r, 0.42 * p.h)], segments=segments)
    if p.has("filled") or p.liquid:
        m.lathe(
            liquid_paint(p),
            [(1.02 * r, 0.02 * p.h), (1.02 * r, (shoulder - 0.02) * p.h), (0.8 * r, (shoulder + 0.09) * p.h)],
            segments=segments,
        )
        m.lathe(label, [(1.035 * r, 0.2 * p.h), (1.035 * r, 0.34 * p.h)], segments=segments)


@shape("Knife", "ButterKnife", "CutleryKnife")
def knife(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        t = max(thick / 2, 0.004)
        grip = p.wood("grip", dark=0.6) if p.kind == "Knife" else p.metal(0.55, "grip")
        blade = p.metal(0.88, "blade")
        wide = max(width, 0.02) if p.kind == "Knife" else max(0.7 * width, 0.016)
        m.box(grip, (-length / 2, 0, -0.3 * wide), (-0.1 * length, 2 * t, 0.3 * wide))
        tip = length / 2
        points = [
            (-0.1 * length, -0.5 * wide),
            (0.3 * length, -0.5 * wide),
            (tip, 0.2 * wide),
            (0.94 * tip, 0.5 * wide),
            (-0.1 * length, 0.5 * wide),
        ]
        m.polygon(blade, [(x, 1.4 * t, z) for x, z in points], (0, 1, 0), two_sided=True)
        m.polygon(
            p.metal(0.6, "edge"),
            [
                (-0.1 * length, 1.4 * t, -0.5 * wide),
                (0.3 * length, 1.4 * t, -0.5 * wide),
                (tip, 1.4 * t, 0.2 * wide),
                (tip, 0.4 * t, 0.2 * wide),
                (-0.1 * length, 0.4 * t, -0.5 * wide),
            ],
            (0, 0.5, -0.8),
            two_sided=True,
        )


@shape("Fork", "CutleryFork")
def fork(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        steel, t, w = p.metal(0.84), max(0.6 * thick, 0.005), max(width, 0.018)
        m.box(steel, (-length / 2, 0, -0.22 * w), (0.1 * length, t, 0.22 * w))
        m.box(steel, (0.1 * length, 0, -0.5 * w), (0.24 * length, t, 0.5 * w))
        for i in range(4):
            z = (i - 1.5) * 0.28 * w
            m.box(steel, (0.24 * length, 0, z - 0.08 * w), (length / 2, t, z + 0.08 * w))


@shape("Spoon", "Ladle")
def spoon(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        steel, t, w = p.metal(0.84), max(0.5 * thick, 0.005), max(width, 0.02)
        m.box(steel, (-length / 2, 0.2 * t, -0.14 * w), (0.28 * length, t, 0.14 * w))
        with m.frame((length / 2 - 0.65 * w, 0, 0), scale=(1.3, 1, 1)):
            m.lathe(steel, [(0, 0), (0.35 * w, 0.2 * t), (0.5 * w, 1.5 * t)], segments=10)
            m.lathe(Paint(p.look.metal(0.6)), [(0.5 * w, 1.5 * t), (0.3 * w, 0.7 * t), (0, 0.5 * t)], segments=10)


@shape("Spatula")
def spatula(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        blade, grip = p.dark(0.2), p.plain(p.look.free("grip", saturation=0.8))
        w = max(width, 0.05)
        m.rod(grip, (-length / 2, 0.5 * thick, 0), (0.05 * length, 0.5 * thick, 0), 0.013, segments=6)
        m.rod(p.metal(), (0.05 * length, 0.5 * thick, 0), (0.25 * length, 0.008, 0), 0.006, segments=5)
        for i in range(3):
            z = (i - 1) * 0.36 * w
            m.box(blade, (0.3 * length, 0, z - 0.13 * w), (length / 2, 0.008, z + 0.13 * w))
        m.box(blade, (0.22 * length, 0, -0.5 * w), (0.31 * length, 0.008, 0.5 * w))
        m.box(blade, (0.46 * length, 0, -0.5 * w), (length / 2, 0.008, 0.5 * w))


@shape("SaltShaker", "PepperShaker")
def shaker(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.d)
    body = p.white(0.95) if p.kind == "SaltShaker" else p.wood("pepper", dark=0.55)
    m.lathe(body, [(0, 0), (r, 0), (0.8 * r, 0.45 * p.h), (0.75 * r, 0.72 * p.h)], segments=10)
    m.lathe(p.metal(0.75), [(0.82 * r, 0.72 * p.h), (0.8 * r, 0.85 * p.h), (0.5 * r, p.h), (0, p.h)], segments=10)
    for i in range(4):
        m.disc(
            p.dark(0.05),
            (0.25 * r * math.sin(1.57 * i), p.h + 0.001, 0.25 * r * math.cos(1.57 * i)),
            0.1 * r,
            segments=4,
        )


@shape("AluminumFoil", "PaperTowelRoll", "ToiletPaper")
def roll(m: Mesher, p: Part) -> None:
    """A roll with a hanging end; used up it is the bare tube."""
    standing = p.h >= 0.9 * max(p.w, p.d)
    r = 0.5 * (min(p.w, p.d) if standing else min(p.h, p.w, p.d))
    length = p.h if standing else max(p.w, p.d)
    sheet = (
        p.metal(0.85)
        if p.kind == "AluminumFoil"
        else Paint(p.look.white(0.96), p.look.white(0.86), p.look.pattern("fabric"), 10.0)
    )
    tube = Paint(p.look.colour(0.085, 0.45, 0.55))
    with m.frame((0, 0, 0) if standing else (0, r, 0)):
        yaw, pitch = (0.0, 0.0) if standing else (90.0 if p.w >= p.d else 0.0, 90.0)
        with m.frame(yaw=yaw, pitch=pitch), m.frame((0, 0 if standing else -length / 2, 0)):
            outer = 0.42 * r if p.has("used_up") else r
            m.lathe(tube if p.has("used_up") else sheet, [(outer, 0), (outer, length)], segments=14)
            for y, flip in ((length, 1), (0.0, -1)):
                ring = [(outer, y), (0.36 * r, y)]
                m.lathe(sheet if not p.has("used_up") else tube, ring if flip > 0 else ring[::-1], segments=14)
                m.lathe(p.dark(0.15), [(0.36 * r, y), (0, y - 0.02 * flip)][::flip], segments=8)
        if not p.has("used_up"):
            if standing:
                m.box(sheet, (r * 0.97, 0.02 * p.h, -0.1 * r), (r * 0.99, 0.98 * p.h, 1.15 * r))
            else:
                x = length / 2
                with m.frame(yaw=0 if p.w >= p.d else 90):
                    m.box(sheet, (-x, -1.5 * r, 0.97 * r), (x, 0, 1.0 * r))


@shape("DishSponge", "Sponge")
def sponge(m: Mesher, p: Part) -> None:
    soft = p.look.colour(0.14, 0.75, 0.92, "soft")
    m.box(
        Paint(soft, dimmed(soft, 0.62), p.look.pattern("stone"), 12.0),
        (-p.w / 2, 0, -p.d / 2),
        (p.w / 2, 0.68 * p.h, p.d / 2),
    )
    m.box(p.plain(p.look.colour(0.36, 0.7, 0.45), scale=20), (-p.w / 2, 0.68 * p.h, -p.d / 2), (p.w / 2, p.h, p.d / 2))
