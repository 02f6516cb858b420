"""Things of VirtualHome's homes that THOR has no type for: packets, sweets, meat, toiletries, papers, clothes."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import lying
from selu_hpc.sim.drawing.shapes.part import Part, dimmed, shape


@shape("Packet")
def packet(m: Mesher, p: Part) -> None:
    """A printed carton standing upright."""
    a, b = p.look.free("print", saturation=0.9, value=0.95), p.look.free("logo", saturation=0.5, value=1.0)
    m.box(Paint(a), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    label = Paint(b, dimmed(a, 0.6), p.look.pattern("art"), 1.0 / max(p.w, p.h))
    m.box(label, (-0.42 * p.w, 0.3 * p.h, -p.d / 2 - 0.002), (0.42 * p.w, 0.85 * p.h, p.d / 2 + 0.002), "zZ")


@shape("Carton")
def carton(m: Mesher, p: Part) -> None:
    """A milk carton with a gabled top."""
    body = p.white(0.97)
    band = Paint(p.look.free("band", saturation=0.8, value=0.9))
    m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, 0.72 * p.h, p.d / 2))
    m.box(band, (-p.w / 2 - 0.002, 0.2 * p.h, -p.d / 2 - 0.002), (p.w / 2 + 0.002, 0.5 * p.h, p.d / 2 + 0.002), "xXzZ")
    with m.frame(yaw=90):
        roof = [(-p.d / 2, 0.72 * p.h), (p.d / 2, 0.72 * p.h), (0.0, 0.94 * p.h)]
        m.prism(body, roof, -p.w / 2, p.w / 2)
    m.box(body, (-p.w / 2, 0.9 * p.h, -0.01), (p.w / 2, p.h, 0.01))


@shape("Cupcake", "Pudding")
def cupcake(m: Mesher, p: Part) -> None:
    with m.frame(scale=(p.w / 2, p.h, p.d / 2)):
        m.lathe(Paint(p.look.free("paper", saturation=0.6, value=0.9)), [(0, 0), (0.68, 0), (0.9, 0.5)], segments=10)
        m.lathe(
            Paint(p.look.free("icing", saturation=0.4, value=1.0)),
            [(0.9, 0.48), (1.0, 0.56), (0.6, 0.8), (0.2, 0.95), (0, 0.97)],
            segments=10,
        )
    m.ball(Paint(p.look.colour(0.0, 0.9, 0.9)), (0, 0.97 * p.h, 0), 0.09 * p.w, segments=6, rings=4)


@shape("Pie")
def pie(m: Mesher, p: Part) -> None:
    crust = p.look.colour(0.095, 0.6, 0.75, "crust")
    with m.frame(scale=(p.w / 2, p.h, p.d / 2)):
        m.lathe(p.metal(0.7), [(0, 0), (0.75, 0), (1.0, 0.75)], segments=14)
        m.lathe(Paint(crust), [(1.0, 0.7), (1.0, 0.95), (0.85, 1.0)], segments=14)
        m.lathe(Paint(p.look.colour(0.0, 0.75, 0.6)), [(0.85, 0.9), (0, 0.92)], segments=14)
    for i in (-1, 0, 1):
        long = 0.8 * math.sqrt(1 - (i * 0.4) ** 2) * p.w / 2
        for turn in (0, 90):
            with m.frame(yaw=turn):
                m.box(Paint(crust), (-long, 0.93 * p.h, i * 0.2 * p.d - 0.008), (long, p.h, i * 0.2 * p.d + 0.008))


@shape("Salmon")
def salmon(m: Mesher, p: Part) -> None:
    """A fillet."""
    flesh = p.look.colour(0.035, 0.6, 0.95, "flesh")
    with lying(m, p) as (length, width, thick):
        m.ball(
            Paint(flesh, dimmed(flesh, 0.8), p.look.pattern("wood"), 12.0),
            (0, 0.5 * thick, 0), (0.5 * length, 0.5 * thick, 0.5 * width), segments=10, rings=6,
        )  # fmt: skip


@shape("Chicken", "Cutlets")
def chicken(m: Mesher, p: Part) -> None:
    """A roast with two legs."""
    roast = p.plain(p.look.colour(0.085, 0.65, 0.68, "roast"), scale=14)
    m.ball(roast, (0, 0.5 * p.h, 0), (0.42 * p.w, 0.5 * p.h, 0.42 * p.d), segments=10, rings=6)
    for side in (-1, 1):
        m.rod(
            roast,
            (side * 0.25 * p.w, 0.5 * p.h, 0.2 * p.d),
            (side * 0.3 * p.w, 0.6 * p.h, 0.46 * p.d),
            0.14 * p.w,
            0.06 * p.w,
        )
        m.ball(p.white(), (side * 0.3 * p.w, 0.62 * p.h, 0.48 * p.d), 0.06 * p.w, segments=6, rings=4)


@shape("Paper", "Notes")
def paper(m: Mesher, p: Part) -> None:
    lines = Paint(p.look.white(0.97), p.look.dark(0.55), p.look.pattern("wood"), 12.0)
    m.box(p.white(0.95), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2), "xXzZY")
    m.box(lines, (-0.4 * p.w, p.h, -0.4 * p.d), (0.4 * p.w, p.h + 0.001, 0.4 * p.d), "Y")


@shape("Keyboard")
def keyboard(m: Mesher, p: Part) -> None:
    m.box(p.dark(0.15), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    for row in range(4):
        for column in range(9):
            x, z = (-0.46 + 0.103 * column) * p.w, (-0.42 + 0.22 * row) * p.d
            m.box(p.white(0.75), (x, p.h, z), (x + 0.085 * p.w, p.h + 0.004, z + 0.17 * p.d), "Y")


@shape("Mouse")
def mouse(m: Mesher, p: Part) -> None:
    m.ball(p.dark(0.25), (0, 0.15 * p.h, 0), (0.5 * p.w, 0.85 * p.h, 0.5 * p.d), segments=10, rings=6)
    m.box(p.white(0.6), (-0.04 * p.w, 0.7 * p.h, -0.4 * p.d), (0.04 * p.w, p.h, -0.1 * p.d))


@shape("Toothbrush", "Razor")
def toothbrush(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        t = max(0.5 * thick, 0.005)
        m.box(
            Paint(p.look.free("grip", saturation=0.85, value=0.95)),
            (-length / 2, 0, -width / 2),
            (length / 2, t, width / 2),
        )
        m.box(p.white(), (0.28 * length, t, -width / 2), (length / 2, 2.4 * t, width / 2))


@shape("Tube")
def tube(m: Mesher, p: Part) -> None:
    """Toothpaste or cream: flat at one end, a cap at the other."""
    colour = Paint(p.look.free("tube", saturation=0.5, value=1.0))
    with lying(m, p) as (length, width, thick):
        outline = [(-length / 2, 0.45 * thick), (-length / 2, 0.55 * thick), (0.3 * length, thick), (0.3 * length, 0.0)]
        m.prism(colour, outline, -width / 2, width / 2)
        m.rod(p.white(), (0.3 * length, thick / 2, 0), (length / 2, thick / 2, 0), 0.4 * thick, segments=7)


@shape("Hanger")
def hanger(m: Mesher, p: Part) -> None:
    wood, t = p.wood("wood"), 0.008
    with lying(m, p) as (length, width, thick):
        y = thick / 2
        corners = [
            (-length / 2, y, width / 2),
            (0.0, y, -width / 4),
            (length / 2, y, width / 2),
            (-length / 2, y, width / 2),
        ]
        m.path(wood, corners, t, 5)
        m.rod(p.metal(), (0, y, -width / 4), (0, y, -width / 2), 0.5 * t, segments=5)


@shape("Shirt", "ClothesPile")
def shirt(m: Mesher, p: Part) -> None:
    """Folded clothes, one on another."""
    count = 1 if p.kind == "Shirt" else 3
    for i in range(count):
        a = p.look.free(f"cloth{i}", saturation=0.6, value=0.9)
        cloth = Paint(a, dimmed(a, 0.75), p.look.pattern("fabric", str(i)), 4.0)
        y0, y1 = p.h * i / count, p.h * (i + 0.92) / count
        m.box(cloth, (-p.w / 2, y0, -p.d / 2), (p.w / 2, y1, p.d / 2))
    m.box(p.white(), (-0.12 * p.w, p.h * 0.92, -p.d / 2), (0.12 * p.w, p.h, -0.3 * p.d))


@shape("PowerSocket")
def socket(m: Mesher, p: Part) -> None:
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    with m.frame(yaw=turn):
        m.box(p.white(0.95), (-w / 2, 0, -d / 2), (w / 2, p.h, d / 2))
        for x in (-0.2, 0.12):
            m.box(p.dark(), (x * w, 0.4 * p.h, -d / 2 - 0.001), ((x + 0.08) * w, 0.6 * p.h, d / 2 + 0.001), "zZ")


@shape("Telephone")
def telephone(m: Mesher, p: Part) -> None:
    body = Paint(p.look.free("body", saturation=0.6, value=0.7))
    m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, 0.5 * p.h, p.d / 2))
    m.rod(
        p.dark(), (-0.42 * p.w, 0.75 * p.h, -0.25 * p.d), (0.42 * p.w, 0.75 * p.h, -0.25 * p.d), 0.2 * p.h, segments=7
    )
    for i in range(9):
        x, z = (i % 3 - 1) * 0.2 * p.w, (0.05 + 0.15 * (i // 3)) * p.d
        m.box(p.white(), (x - 0.06 * p.w, 0.5 * p.h, z), (x + 0.06 * p.w, 0.53 * p.h, z + 0.09 * p.d), "Y")


@shape("Cat")
def cat(m: Mesher, p: Part) -> None:
    fur = p.plain(p.look.colour(0.08, 0.4, 0.45, "fur"), scale=12)
    m.ball(fur, (0, 0.45 * p.h, -0.1 * p.d), (0.4 * p.w, 0.4 * p.h, 0.32 * p.d), segments=10, rings=6)
    m.ball(fur, (0, 0.75 * p.h, 0.28 * p.d), 0.24 * p.h, segments=9, rings=6)
    for side in (-1, 1):
        m.rod(
            fur,
            (side * 0.14 * p.h, 0.9 * p.h, 0.28 * p.d),
            (side * 0.18 * p.h, 1.03 * p.h, 0.28 * p.d),
            0.07 * p.h,
            0.01,
            4,
        )
        for z in (-0.25, 0.15):
            m.rod(fur, (side * 0.2 * p.w, 0, z * p.d), (side * 0.2 * p.w, 0.4 * p.h, z * p.d), 0.08 * p.h, segments=5)
        m.ball(p.dark(), (side * 0.1 * p.h, 0.8 * p.h, 0.28 * p.d + 0.21 * p.h), 0.035 * p.h, segments=5, rings=3)
    m.rod(fur, (0, 0.5 * p.h, -0.4 * p.d), (0.1 * p.w, 0.95 * p.h, -0.5 * p.d), 0.05 * p.h, 0.03 * p.h, 5)
