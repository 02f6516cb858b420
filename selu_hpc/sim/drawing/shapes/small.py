"""Books, boxes, pens, sports gear, plants and the other small things of a house."""

from __future__ import annotations

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import lying, shell, swing_door
from selu_hpc.sim.drawing.shapes.part import Part, shape


def _dim(paint: Paint, factor: float) -> Paint:
    r, g, b = paint.a
    return Paint((r * factor, g * factor, b * factor), paint.b, paint.tex, paint.scale)


@shape("Book", "Notebook", "Magazine")
def book(m: Mesher, p: Part) -> None:
    """Closed: covers round white pages; open: two white pages with lines."""
    cover, page = Paint(p.look.free("cover", saturation=0.85)), p.white(0.97)
    lines = Paint(p.look.white(0.96), p.look.dark(0.45), p.look.pattern("wood"), 14.0)
    if p.openness > 0.05:
        for side in (-1, 1):
            with m.frame(yaw=0, roll=side * 7.0):
                x0, x1 = sorted((0.0, side * 0.98 * p.w))
                m.box(cover, (x0, 0.02 * p.h, -p.d / 2), (x1, 0.25 * p.h, p.d / 2))
                m.box(page, (x0 * 0.96, 0.2 * p.h, -0.48 * p.d), (x1 * 0.96, 0.8 * p.h, 0.48 * p.d))
                m.box(
                    lines,
                    (min(0.1 * side * p.w, 0.86 * side * p.w), 0.8 * p.h, -0.4 * p.d),
                    (max(0.1 * side * p.w, 0.86 * side * p.w), 0.82 * p.h, 0.4 * p.d),
                    "Y",
                )
        return
    t = 0.16 * p.h
    m.box(cover, (-p.w / 2, 0, -p.d / 2), (p.w / 2, t, p.d / 2))
    m.box(page, (-p.w / 2 + 0.01, t, -0.47 * p.d), (0.47 * p.w, p.h - t, 0.47 * p.d))
    m.box(cover, (-p.w / 2, 0, -p.d / 2), (-p.w / 2 + 0.012, p.h, p.d / 2))
    m.box(cover, (-p.w / 2, p.h - t, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    m.box(
        Paint(p.look.free("title", saturation=0.3, value=1.0)),
        (-0.25 * p.w, p.h, -0.3 * p.d),
        (0.3 * p.w, p.h + 0.002, -0.12 * p.d),
        "Y",
    )


@shape("Newspaper")
def newspaper(m: Mesher, p: Part) -> None:
    paper = p.white(0.88)
    print_ = Paint(p.look.white(0.86), p.look.dark(0.35), p.look.pattern("wood"), 10.0)
    m.box(paper, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    y = p.h + 0.002
    m.box(p.dark(0.2), (-0.42 * p.w, y - 0.001, -0.44 * p.d), (0.42 * p.w, y, -0.3 * p.d), "Y")
    for i in range(3):
        x = (-0.43 + 0.3 * i) * p.w
        m.box(print_, (x, y - 0.001, -0.24 * p.d), (x + 0.26 * p.w, y, 0.44 * p.d), "Y")


@shape("Box", "Folder", "Toy")
def box(m: Mesher, p: Part) -> None:
    """A carton with tape; open: four flaps and a dark inside."""
    a = p.look.colour(0.09, 0.45, 0.68, "carton") if p.look.unit("carton") < 0.6 else p.look.free("box", saturation=0.7)
    card = p.plain(a, scale=3.0)
    x, z = p.w / 2, p.d / 2
    if p.openness <= 0.05:
        m.box(card, (-x, 0, -z), (x, p.h, z))
        m.box(
            p.white(0.75, "tape"), (-0.1 * p.w, p.h - 0.3 * p.h, -z - 0.002), (0.1 * p.w, p.h + 0.002, z + 0.002), "YzZ"
        )
        return
    m.box(card, (-x, 0, -z), (x, p.h, z), "xXzZ")
    m.cavity(p.inside(), (-x + 0.006, 0.01, -z + 0.006), (x - 0.006, p.h, z - 0.006), "xXyzZ")
    flap = 0.42 * min(p.w, p.d)
    for turn, half, edge in ((0, x, z), (180, x, z), (90, z, x), (270, z, x)):
        with m.frame(yaw=turn), m.frame((0, p.h, edge), pitch=-140):
            m.box(_dim(card, 1.12), (-half, -0.004, -flap), (half, 0.004, 0))


@shape("CreditCard")
def credit_card(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        m.box(Paint(p.look.free("card", saturation=0.85)), (-length / 2, 0, -width / 2), (length / 2, thick, width / 2))
        y = thick + 0.001
        m.box(p.dark(0.08), (-length / 2, thick, -0.36 * width), (length / 2, y, -0.14 * width), "Y")
        m.box(
            Paint(p.look.colour(0.14, 0.7, 0.9)),
            (-0.36 * length, thick, 0.02 * width),
            (-0.16 * length, y, 0.28 * width),
            "Y",
        )


@shape("KeyChain", "Keys")
def key_chain(m: Mesher, p: Part) -> None:
    brass, r = Paint(p.look.colour(0.12, 0.6, 0.8)), 0.2 * max(p.w, p.d)
    m.lathe(
        p.metal(0.8),
        [(0.75 * r, 0.002), (r, 0.002), (r, 0.5 * p.h + 0.004), (0.75 * r, 0.5 * p.h + 0.004), (0.75 * r, 0.002)],
        at=(0, 0, -r),
        segments=10,
    )
    for i, turn in enumerate((-38, 0, 38)):
        with m.frame((0, 0.002 * i, 0), yaw=turn):
            paint = brass if i != 1 else p.metal(0.7)
            long = 0.5 * max(p.w, p.d)
            m.lathe(
                paint,
                [(0, 0), (0.55 * r, 0), (0.55 * r, 0.5 * p.h + 0.003), (0, 0.5 * p.h + 0.003)],
                at=(0, 0, 0.4 * r),
                segments=8,
            )
            m.box(paint, (-0.16 * r, 0, 0.6 * r), (0.16 * r, 0.5 * p.h + 0.002, long))
            for k in (0.7, 0.88):
                m.box(paint, (0.1 * r, 0, k * long), (0.45 * r, 0.5 * p.h + 0.002, k * long + 0.2 * r))


@shape("Watch")
def watch(m: Mesher, p: Part) -> None:
    strap = p.plain(p.look.free("strap", saturation=0.6, value=0.5))
    r, d = 0.34 * min(p.w, p.d), 1.35 * max(p.w, p.d)
    with m.frame(yaw=0 if p.d >= p.w else 90):
        m.box(strap, (-0.5 * r, 0, -d / 2), (0.5 * r, 0.4 * p.h, d / 2))
        m.lathe(Paint(p.look.colour(0.13, 0.55, 0.85)), [(0, 0), (r, 0), (r, p.h), (0.85 * r, p.h)], segments=12)
        m.disc(p.white(), (0, 0.97 * p.h, 0), 0.88 * r)
        m.box(p.dark(0.05), (-0.06 * r, p.h, -0.7 * r), (0.06 * r, p.h + 0.001, 0), "Y")
        m.box(p.dark(0.05), (0, p.h, -0.06 * r), (0.5 * r, p.h + 0.001, 0.06 * r), "Y")


@shape("Pencil", "Pen")
def pencil(m: Mesher, p: Part) -> None:
    with lying(m, p) as (length, width, thick):
        r = max(min(width, thick) / 2, 0.004)
        x = length / 2
        if p.kind == "Pencil":
            body = Paint(p.look.colour(0.122, 0.9, 0.95))
            m.rod(body, (-0.8 * x, r, 0), (0.75 * x, r, 0), r, segments=6)
            m.rod(Paint(p.look.colour(0.1, 0.35, 0.9)), (0.75 * x, r, 0), (0.95 * x, r, 0), r, 0.3 * r, 6)
            m.rod(p.dark(0.05), (0.95 * x, r, 0), (x, r, 0), 0.3 * r, 0.05 * r, 5)
            m.rod(Paint(p.look.colour(0.97, 0.5, 0.95)), (-x, r, 0), (-0.8 * x, r, 0), r, segments=6)
        else:
            m.rod(Paint(p.look.colour(0.62, 0.8, 0.6)), (-0.1 * x, r, 0), (x * 0.85, r, 0), r, 0.85 * r, 7)
            m.rod(p.metal(0.8), (0.85 * x, r, 0), (x, r, 0), 0.8 * r, 0.2 * r, 6)
            m.rod(p.dark(0.12), (-x, r, 0), (-0.1 * x, r, 0), 1.2 * r, segments=7)
            m.box(p.metal(0.8), (-0.9 * x, 2 * r, -0.25 * r), (-0.2 * x, 2.6 * r, 0.25 * r))


@shape("Boots", "Shoes", "Slippers")
def boots(m: Mesher, p: Part) -> None:
    leather = p.plain(p.look.colour(0.07, 0.55, 0.35, "leather"))
    for side in (-1, 1):
        x = side * 0.25 * p.w
        r = 0.18 * p.w
        m.rod(leather, (x, 0.1 * p.h, -0.25 * p.d), (x, p.h, -0.25 * p.d), r, 1.1 * r, 8)
        m.ball(leather, (x, 0.16 * p.h, 0.08 * p.d), (r, 0.17 * p.h, 0.4 * p.d), segments=8, rings=5)
        m.box(p.dark(0.1), (x - r, 0, -0.45 * p.d), (x + r, 0.06 * p.h, 0.48 * p.d))
        m.disc(p.dark(0.05), (x, p.h + 0.001, -0.25 * p.d), 0.9 * r, segments=8)


@shape("CD", "TargetCircle")
def disc(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.d)
    m.lathe(p.metal(0.9), [(r, 0), (r, p.h), (0.8 * r, p.h)], segments=16)
    m.lathe(Paint(p.look.colour(0.8, 0.3, 0.95)), [(0.8 * r, p.h), (0.5 * r, p.h)], segments=16)
    m.lathe(Paint(p.look.colour(0.45, 0.3, 0.95)), [(0.5 * r, p.h), (0.2 * r, p.h)], segments=16)
    m.lathe(p.dark(0.1), [(0.2 * r, p.h), (0, p.h)], segments=8)


@shape("GarbageCan", "Garbagecan", "Trashcan")
def garbage_can(m: Mesher, p: Part) -> None:
    """An open bin with a bag over its rim."""
    body = p.metal(0.6) if p.look.unit("steel") < 0.4 else Paint(p.look.free("bin", saturation=0.5, value=0.6))
    segments = 14 if p.known_form() else 4
    start = 0.0 if p.known_form() else 45.0
    scale = 1.0 if p.known_form() else 1.3
    with m.frame(scale=(p.w / 2 * scale, p.h, p.d / 2 * scale)):
        m.lathe(body, [(0, 0), (0.74, 0), (0.95, 0.93)], segments=segments, start=start)
        m.lathe(
            p.white(0.85, "bag"), [(0.97, 0.86), (1.0, 0.93), (1.0, 1.0), (0.9, 1.0)], segments=segments, start=start
        )
        m.lathe(p.inside(), [(0.9, 1.0), (0.7, 0.25), (0, 0.25)], segments=segments, start=start)


@shape("GarbageBag")
def garbage_bag(m: Mesher, p: Part) -> None:
    black = p.plain(p.look.dark(0.16), scale=6)
    with m.frame(scale=(p.w / 2, p.h, p.d / 2)):
        m.lathe(
            black,
            [(0, 0), (0.8, 0.02), (1.0, 0.3), (0.85, 0.62), (0.3, 0.8), (0.12, 0.84), (0.3, 1.0), (0, 0.95)],
            segments=9,
        )


@shape("Safe")
def safe(m: Mesher, p: Part) -> None:
    """A steel box with a dial and a wheel on a thick door."""
    body = p.plain(p.look.colour(p.look.unit("hue"), 0.25, 0.42, "steel"))
    front = p.d / 2 - 0.05
    shell(m, p, body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, front), shelves=1, wall=0.05)
    swing_door(
        m,
        _dim(body, 1.25),
        p.metal(0.8),
        (-p.w / 2 + 0.01, 0.02, front),
        (p.w / 2 - 0.01, p.h - 0.02, front + 0.05),
        p.openness,
        hinge_left=True,
    )
    with m.frame((-p.w / 2 + 0.01, 0, front), yaw=-105 * p.openness):
        with m.frame((0.5 * p.w, 0.6 * p.h, 0.05), pitch=90):
            m.lathe(p.metal(0.85), [(0.13 * p.w, 0), (0.13 * p.w, 0.03), (0, 0.035)], segments=12)
            m.box(p.dark(0.05), (-0.01, 0.036, -0.12 * p.w), (0.01, 0.04, 0), "Y")
        for turn in (0, 60, 120):
            with m.frame((0.5 * p.w, 0.28 * p.h, 0.06), roll=turn):
                m.box(p.metal(0.7), (-0.12 * p.w, -0.012, 0), (0.12 * p.w, 0.012, 0.02))
