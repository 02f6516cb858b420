"""The bathroom, and what cleans."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import liquid_paint
from selu_hpc.sim.drawing.shapes.part import Part, dimmed, shape


@shape("Toilet")
def toilet(m: Mesher, p: Part) -> None:
    """Tank at -z, bowl, a lid that lifts."""
    body = p.white(0.97)
    seat = 0.52 * p.h
    m.box(body, (-0.42 * p.w, 0.5 * p.h, -p.d / 2), (0.42 * p.w, 0.96 * p.h, -0.24 * p.d))
    m.box(body, (-0.45 * p.w, 0.96 * p.h, -p.d / 2), (0.45 * p.w, p.h, -0.22 * p.d))
    m.box(p.metal(), (-0.36 * p.w, 0.86 * p.h, -0.24 * p.d), (-0.2 * p.w, 0.9 * p.h, -0.22 * p.d))
    m.box(body, (-0.26 * p.w, 0, -0.36 * p.d), (0.26 * p.w, 0.5 * p.h, 0.0))
    r = 0.46 * p.w
    squash = 0.36 * p.d / r
    with m.frame((0, 0, 0.13 * p.d)):
        m.lathe(
            body,
            [(0.5 * r, 0), (0.52 * r, 0.18 * p.h), (0.95 * r, 0.42 * p.h), (r, seat), (0.72 * r, seat)],
            segments=14,
            squash=squash,
        )
        m.lathe(
            Paint(body.a, shade=0.65),
            [(0.72 * r, seat), (0.4 * r, 0.34 * p.h), (0, 0.34 * p.h)],
            segments=14,
            squash=squash,
        )
        m.disc(liquid_paint(p), (0, 0.4 * p.h, 0), 0.5 * r, squash=squash)
    with m.frame((0, seat, -0.2 * p.d), pitch=-95 * p.openness):
        m.lathe(
            p.white(0.9, "lid"),
            [(1.02 * r, 0.004), (1.04 * r, 0.05 * p.h), (0, 0.06 * p.h)],
            at=(0, 0, 0.33 * p.d),
            segments=14,
            squash=squash,
        )
        m.lathe(p.white(0.8, "lid"), [(0, 0.004), (1.02 * r, 0.004)], at=(0, 0, 0.33 * p.d), segments=14, squash=squash)


@shape("Bathtub", "Tub")
def bathtub(m: Mesher, p: Part) -> None:
    body, rim, floor = p.white(0.97), 0.075, 0.22 * p.h
    x, z = p.w / 2, p.d / 2
    m.box(body, (-x, 0, -z), (x, p.h, z), "xXzZ")
    for low, high in (
        ((-x, -z), (-x + rim, z)),
        ((x - rim, -z), (x, z)),
        ((-x, -z), (x, -z + rim)),
        ((-x, z - rim), (x, z)),
    ):
        m.box(body, (low[0], p.h - 0.001, low[1]), (high[0], p.h, high[1]), "Y")
    m.cavity(Paint(body.a, shade=0.75), (-x + rim, floor, -z + rim), (x - rim, p.h, z - rim), "xXyzZ")
    if p.has("filled") or p.liquid:
        m.box(liquid_paint(p), (-x + rim, 0.72 * p.h, -z + rim), (x - rim, 0.75 * p.h, z - rim), "Y")


@shape("ShowerHead", "Shower")
def shower_head(m: Mesher, p: Part) -> None:
    """A pipe from the wall at -z and a rose that looks down; on: falling water."""
    steel, r = p.metal(0.8), 0.4 * p.w
    m.path(
        steel,
        [(0, 0.6 * p.h, -p.d / 2), (0, 0.95 * p.h, -0.2 * p.d), (0, 0.9 * p.h, 0.15 * p.d), (0, 0.5 * p.h, 0.25 * p.d)],
        0.015,
        6,
    )
    m.lathe(
        steel,
        [(0, 0.12 * p.h), (r, 0.12 * p.h), (r, 0.25 * p.h), (0.2 * r, 0.5 * p.h)],
        at=(0, 0, 0.25 * p.d),
        segments=12,
    )
    if p.has("on"):
        water = Paint(p.look.colour(0.56, 0.4, 1.0), glow=0.85, clean=True)
        for i in range(9):
            a, reach = math.tau * i / 8, 0.75 * r * (i > 0)
            x, z = reach * math.sin(a), 0.25 * p.d + reach * math.cos(a)
            m.rod(water, (1.4 * x, -1.3, z + 0.4 * (z - 0.25 * p.d)), (x, 0.1 * p.h, z), 0.006, 0.004, 4)


@shape("ShowerDoor", "ShowerGlass")
def shower_door(m: Mesher, p: Part) -> None:
    """A metal frame with bars of glass one can see between."""
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    steel, glass = p.metal(0.7), Paint(p.look.colour(0.52, 0.2, 0.92))
    t = 0.035
    angle = -80 * p.openness if p.kind == "ShowerDoor" else 0.0
    with m.frame(yaw=turn), m.frame((-w / 2, 0, 0), yaw=angle):
        for low, high in (((0, 0), (t, p.h)), ((w - t, 0), (w, p.h)), ((0, 0), (w, t)), ((0, p.h - t), (w, p.h))):
            m.box(steel, (*low, -d / 2), (*high, d / 2))
        for i in range(5):
            y = p.h * (0.06 + 0.19 * i)
            m.box(glass, (t, y, -0.15 * d), (w - t, y + 0.05 * p.h, 0.15 * d))
        if p.has("broken"):
            return
        m.box(steel, (0.86 * w, 0.42 * p.h, d / 2), (0.9 * w, 0.58 * p.h, d / 2 + 0.03))


@shape("Towel", "HandTowel", "Cloth", "Towels")
def towel(m: Mesher, p: Part) -> None:
    a = p.look.free("cloth", saturation=0.5, value=0.95)
    cloth = Paint(a, dimmed(a, 0.8), p.look.pattern("fabric"), 5.0)
    stripe = Paint(p.look.free("stripe", saturation=0.8))
    if p.h > 2.2 * min(p.w, p.d):
        w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
        with m.frame(yaw=turn):
            m.box(cloth, (-w / 2, 0, -d / 2), (w / 2, p.h, d / 2))
            for y in (0.1, 0.2):
                m.box(
                    stripe, (-w / 2 - 0.002, y * p.h, -d / 2 - 0.002), (w / 2 + 0.002, (y + 0.05) * p.h, d / 2 + 0.002)
                )
        return
    for i in range(3):
        y0, y1 = p.h * i / 3, p.h * (i + 0.9) / 3
        shift = 0.04 * p.w * p.look.jitter(f"fold{i}")
        m.box(cloth, (-p.w / 2 + shift, y0, -p.d / 2), (p.w / 2 + shift, y1, p.d / 2))
    m.box(stripe, (-0.3 * p.w, 0, -p.d / 2 - 0.003), (-0.18 * p.w, p.h + 0.002, p.d / 2 + 0.003), "YzZ")


@shape("TowelHolder", "HandTowelHolder", "ToiletPaperHanger", "Towelrack")
def holder(m: Mesher, p: Part) -> None:
    steel = p.metal(0.75)
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    y = 0.6 * p.h
    with m.frame(yaw=turn):
        for side in (-1, 1):
            m.rod(steel, (side * 0.46 * w, y, -d / 2), (side * 0.46 * w, y, 0.35 * d), 0.014, segments=6)
        m.rod(steel, (-w / 2, y, 0.3 * d), (w / 2, y, 0.3 * d), 0.011, segments=6)


@shape("SoapBar", "BarSoap", "Barsoap")
def soap_bar(m: Mesher, p: Part) -> None:
    soap = Paint(p.look.free("soap", saturation=0.4, value=1.0))
    scale = 0.55 if p.has("used_up") else 1.0
    m.box(p.white(0.8), (-p.w / 2, 0, -p.d / 2), (p.w / 2, 0.2 * p.h, p.d / 2))
    with m.frame((0, 0.2 * p.h, 0), scale=(scale, scale, scale)):
        m.ball(soap, (0, 0.4 * p.h, 0), (0.46 * p.w, 0.42 * p.h, 0.46 * p.d), segments=10, rings=5)
        m.box(
            Paint(dimmed(soap.a, 0.8)),
            (-0.2 * p.w, 0.79 * p.h, -0.1 * p.d),
            (0.2 * p.w, 0.84 * p.h, 0.1 * p.d),
        )


@shape("SoapBottle", "DishBowl", "Dishwashingliquid", "Shampoo")
def soap_bottle(m: Mesher, p: Part) -> None:
    """A bottle with a pump; used up it is pale with a last drop."""
    r = 0.5 * min(p.w, p.d)
    soap = p.look.free("soap", saturation=0.75, value=0.9)
    pale = p.look.white(0.85)
    body = Paint(pale if p.has("used_up") else soap)
    m.lathe(body, [(0, 0), (r, 0), (r, 0.55 * p.h), (0.4 * r, 0.68 * p.h)], segments=10)
    if p.has("used_up"):
        m.lathe(Paint(soap), [(1.02 * r, 0.01), (1.02 * r, 0.06 * p.h)], segments=10)
    m.rod(p.white(), (0, 0.68 * p.h, 0), (0, 0.93 * p.h, 0), 0.16 * r, segments=6)
    m.rod(p.white(), (0, 0.66 * p.h, 0), (0, 0.74 * p.h, 0), 0.45 * r, segments=8)
    m.box(p.white(), (-0.25 * r, 0.92 * p.h, -0.2 * r), (0.25 * r, p.h, 1.2 * r))


@shape("SprayBottle")
def spray_bottle(m: Mesher, p: Part) -> None:
    """A bottle with a trigger head towards +z."""
    r = 0.5 * min(p.w, p.d)
    liquid = p.look.white(0.85) if p.has("used_up") else p.look.free("liquid", saturation=0.7, value=0.95)
    head = Paint(p.look.free("head", saturation=0.85, value=0.85))
    m.lathe(
        Paint(liquid),
        [(0, 0), (0.9 * r, 0), (r, 0.35 * p.h), (0.85 * r, 0.5 * p.h), (0.35 * r, 0.7 * p.h)],
        segments=10,
    )
    m.rod(head, (0, 0.68 * p.h, 0), (0, 0.8 * p.h, 0), 0.42 * r, segments=8)
    m.box(head, (-0.35 * r, 0.8 * p.h, -0.8 * r), (0.35 * r, p.h, 1.1 * r))
    m.box(p.dark(0.15), (-0.2 * r, 0.86 * p.h, 1.1 * r), (0.2 * r, 0.96 * p.h, 1.5 * r))
    m.rod(p.dark(0.15), (0, 0.82 * p.h, 0.75 * r), (0, 0.64 * p.h, 1.15 * r), 0.15 * r, segments=5)


@shape("Candle")
def candle(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.d)
    wax = Paint(p.look.free("wax", saturation=0.5, value=1.0))
    top = 0.72 * p.h
    m.lathe(p.metal(0.7), [(0, 0), (r, 0), (r, 0.06 * p.h), (0.7 * r, 0.1 * p.h)], segments=10)
    m.lathe(wax, [(0.62 * r, 0.06 * p.h), (0.62 * r, top), (0.5 * r, 0.97 * top), (0, 0.95 * top)], segments=10)
    m.rod(p.dark(0.05), (0, 0.95 * top, 0), (0, 0.8 * p.h, 0), 0.06 * r, segments=4)
    if p.has("on"):
        y = 0.76 * p.h
        flame = Paint(p.look.colour(0.12, 0.55, 1.0), glow=1.5, clean=True)
        m.lathe(flame, [(0, y), (0.34 * r, y + 0.1 * p.h), (0.2 * r, y + 0.22 * p.h), (0, y + 0.4 * p.h)], segments=8)
        halo = Paint(p.look.colour(0.08, 0.8, 1.0), glow=1.0, clean=True)
        m.lathe(halo, [(0.5 * r, 0.98 * top), (0, 0.97 * top)], segments=10)


@shape("Plunger")
def plunger(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.d)
    m.lathe(
        p.plain(p.look.colour(0.01, 0.75, 0.6)),
        [(0, 0.01), (r, 0), (0.95 * r, 0.1 * p.h), (0.4 * r, 0.24 * p.h), (0.3 * r, 0.3 * p.h)],
        segments=12,
    )
    m.rod(p.wood("stick"), (0, 0.25 * p.h, 0), (0, p.h, 0), 0.16 * r, segments=7)


@shape("ScrubBrush", "ToiletBrush")
def brush(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.d)
    m.lathe(p.white(0.85), [(0, 0), (r, 0), (0.85 * r, 0.34 * p.h), (0.7 * r, 0.34 * p.h)], segments=10)
    m.lathe(
        p.plain(p.look.free("bristle", saturation=0.8), scale=30),
        [(0.65 * r, 0.3 * p.h), (0.7 * r, 0.46 * p.h), (0, 0.48 * p.h)],
        segments=9,
    )
    m.rod(p.white(), (0, 0.45 * p.h, 0), (0, p.h, 0), 0.16 * r, 0.2 * r, 7)


@shape("Mirror", own_shards=True)
def mirror(m: Mesher, p: Part) -> None:
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    glass = Paint(p.look.colour(0.55, 0.16, 0.92), p.look.colour(0.55, 0.08, 1.0), p.look.pattern("art"), 0.7)
    with m.frame(yaw=turn):
        b = 0.05 * min(w, p.h)
        m.box(p.metal(0.6), (-w / 2, 0, -d / 2), (w / 2, p.h, d / 2))
        z = d / 2 + 0.003
        m.box(glass, (-w / 2 + b, b, -z), (w / 2 - b, p.h - b, z), "zZ")
        if p.has("broken"):
            crack = Paint(p.look.dark(0.05), clean=True)
            for i in range(9):
                a = math.tau * i / 9 + 0.3
                x, y = 0.48 * w * math.cos(a), 0.48 * p.h * math.sin(a)
                for side in (-1, 1):
                    m.polygon(
                        crack,
                        [
                            (0.06 * w, p.h / 2, side * (z + 0.002)),
                            (x, p.h / 2 + y, side * (z + 0.002)),
                            (x + 0.05 * w, p.h / 2 + y + 0.03 * p.h, side * (z + 0.002)),
                        ],
                        (0, 0, side),
                        two_sided=True,
                    )
            m.box(crack, (-0.12 * w, 0.42 * p.h, -z - 0.002), (0.1 * w, 0.58 * p.h, z + 0.002), "zZ")


@shape("TissueBox")
def tissue_box(m: Mesher, p: Part) -> None:
    body = Paint(p.look.free("box", saturation=0.6, value=0.95), p.look.white(), p.look.pattern("fabric"), 8.0)
    m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, 0.75 * p.h, p.d / 2))
    m.disc(p.dark(0.2), (0, 0.752 * p.h, 0), 0.25 * min(p.w, p.d))
    if not p.has("used_up"):
        for turn in (0, 65, 130):
            with m.frame((0, 0.75 * p.h, 0), yaw=turn):
                m.polygon(
                    p.white(1.0),
                    [
                        (-0.12 * p.w, 0, 0),
                        (0.12 * p.w, 0, 0),
                        (0.2 * p.w, 0.4 * p.h, 0.05 * p.d),
                        (-0.02 * p.w, 0.33 * p.h, 0),
                        (-0.2 * p.w, 0.42 * p.h, -0.04 * p.d),
                    ],
                    (0, 0.3, 1),
                    two_sided=True,
                )


@shape("LaundryHamper", "Basket")
def hamper(m: Mesher, p: Part) -> None:
    a = p.look.colour(0.1, 0.4, 0.75, "wicker")
    body = Paint(a, dimmed(a, 0.6), p.look.pattern("fabric"), 4.0)
    with m.frame(scale=(p.w / 2, p.h, p.d / 2)):
        m.lathe(body, [(0, 0), (0.85, 0), (1, 0.92), (0.9, 0.92)], segments=12)
        m.lathe(p.inside(), [(0.9, 0.92), (0.8, 0.2), (0, 0.2)], segments=12)
    lift = m.frame((0, 0.92 * p.h, -p.d / 2), pitch=-100 * p.openness)
    with lift, m.frame((0, 0, p.d / 2), scale=(p.w / 2, p.h, p.d / 2)):
        m.lathe(p.wood("lid"), [(0, 0), (1.02, 0), (1.0, 0.07), (0, 0.08)], segments=12)
