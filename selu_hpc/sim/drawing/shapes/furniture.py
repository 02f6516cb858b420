"""Seats, tables, beds, chests, shelves and the soft things on them."""

from __future__ import annotations

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import legs, pull_drawer, shell
from selu_hpc.sim.drawing.shapes.part import Part, dimmed, shape


def _cloth(p: Part, name: str = "cloth", value: float = 0.75) -> Paint:
    a = p.look.free(name, saturation=0.6, value=value)
    if p.look.unit(name + "pattern") < 0.5:
        return p.plain(a, scale=5.0)
    return Paint(a, dimmed(a, 0.7), p.look.pattern("fabric", name), 3.0)


def _bolster(m: Mesher, paint: Paint, low: tuple[float, float, float], high: tuple[float, float, float]) -> None:
    """A cushion: a box with its upper edges cut."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    c = 0.28 * (y1 - y0)
    m.box(paint, (x0, y0, z0), (x1, y1 - c, z1), "xXzZ")
    m.box(paint, (x0 + c, y1 - 0.001, z0 + c), (x1 - c, y1, z1 - c), "Y")
    corner = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    inner = [(x0 + c, z0 + c), (x1 - c, z0 + c), (x1 - c, z1 - c), (x0 + c, z1 - c)]
    for i, n in enumerate(((0, 0.7, -0.7), (0.7, 0.7, 0), (0, 0.7, 0.7), (-0.7, 0.7, 0))):
        j = (i + 1) % 4
        m.polygon(
            paint,
            [
                (corner[i][0], y1 - c, corner[i][1]),
                (corner[j][0], y1 - c, corner[j][1]),
                (inner[j][0], y1, inner[j][1]),
                (inner[i][0], y1, inner[i][1]),
            ],
            n,
        )


@shape("Sofa", "ArmChair", "Armchair", "Couch", "Loveseat")
def sofa(m: Mesher, p: Part) -> None:
    """Base, back at -z, arms, one cushion a seat."""
    body = _cloth(p)
    lighter = Paint(dimmed(body.a, 1.18), body.b, body.tex, body.scale)
    arm = min(0.2, 0.17 * p.w)
    seat, back = (0.50 if p.w > 1.2 else 0.48) * p.h, 0.27 * p.d
    m.box(body, (-p.w / 2, 0.09 * p.h, -p.d / 2), (p.w / 2, 0.3 * p.h, p.d / 2))
    _bolster(m, body, (-p.w / 2, 0.3 * p.h, -p.d / 2), (p.w / 2, p.h, -p.d / 2 + back))
    arm_height = p.look.vary(0.58, 0.76, "arms") * p.h
    for side in (-1, 1):
        x0, x1 = sorted((side * p.w / 2, side * (p.w / 2 - arm)))
        _bolster(m, body, (x0, 0.3 * p.h, -p.d / 2 + back), (x1, arm_height, p.d / 2))
    seats = max(1, round((p.w - 2 * arm) / 0.65))
    step = (p.w - 2 * arm) / seats
    for i in range(seats):
        x = -p.w / 2 + arm + i * step
        _bolster(m, lighter, (x + 0.008, 0.3 * p.h, -p.d / 2 + back), (x + step - 0.008, seat, p.d / 2 - 0.01))
    legs(m, p.wood("leg", dark=0.6), p.w, p.d, 0.09 * p.h, 0.05)


@shape("Chair", "Kitchenchair", "Diningchair", "Barstool")
def chair(m: Mesher, p: Part) -> None:
    """Four legs, a seat, a back at -z."""
    frame = p.wood("frame")
    seat_y, t = 0.49 * p.h - 0.045, 0.045
    legs(m, frame, p.w, p.d, seat_y, 0.045, round_legs=p.look.variant(2, 1, "legs") != 0)
    padded = p.look.unit("padded") < 0.5
    m.box(_cloth(p) if padded else frame, (-p.w / 2, seat_y, -p.d / 2), (p.w / 2, seat_y + t, p.d / 2))
    for side in (-1, 1):
        x = side * (p.w / 2 - 0.03)
        m.box(frame, (x - 0.022, seat_y, -p.d / 2), (x + 0.022, p.h, -p.d / 2 + 0.04))
    if p.look.variant(2, 1, "back") == 0:
        for i in range(3):
            y = seat_y + (p.h - seat_y) * (0.3 + 0.27 * i)
            m.box(frame, (-p.w / 2 + 0.03, y, -p.d / 2 + 0.008), (p.w / 2 - 0.03, y + 0.055, -p.d / 2 + 0.03))
    elif p.look.variant(2, 1, "back") == 1:
        m.box(
            frame,
            (-p.w / 2 + 0.03, seat_y + 0.35 * (p.h - seat_y), -p.d / 2 + 0.008),
            (p.w / 2 - 0.03, p.h, -p.d / 2 + 0.03),
        )
    else:
        for i in range(5):
            x = (i - 2) * (p.w - 0.1) / 5
            m.box(frame, (x - 0.012, seat_y, -p.d / 2 + 0.008), (x + 0.012, p.h - 0.03, -p.d / 2 + 0.03))
        m.box(frame, (-p.w / 2 + 0.03, p.h - 0.06, -p.d / 2), (p.w / 2 - 0.03, p.h, -p.d / 2 + 0.035))


@shape("Stool", "Footstool", "Ottoman", "Bench")
def stool(m: Mesher, p: Part) -> None:
    if p.kind == "Ottoman":
        legs(m, p.wood("leg", dark=0.6), p.w, p.d, 0.12 * p.h, 0.05)
        _bolster(m, _cloth(p), (-p.w / 2, 0.12 * p.h, -p.d / 2), (p.w / 2, p.h, p.d / 2))
        return
    legs(m, p.wood("leg"), p.w, p.d, 0.88 * p.h, 0.045, round_legs=True)
    if p.known_form():
        with m.frame(scale=(p.w / 2, 1, p.d / 2)):
            m.lathe(p.wood("seat", dark=0.85), [(0, 0.86 * p.h), (1, 0.86 * p.h), (1, p.h), (0, p.h)], segments=12)
    else:
        m.box(p.wood("seat", dark=0.85), (-p.w / 2, 0.86 * p.h, -p.d / 2), (p.w / 2, p.h, p.d / 2))


@shape("DiningTable", "CoffeeTable", "SideTable", "Desk", "Kitchentable", "Table", "Coffeetable", "Nightstand")
def table(m: Mesher, p: Part) -> None:
    """A top on four legs or a pedestal; desks have a side of drawers, side tables a drawer under the top."""
    wood, t = p.wood("table"), min(0.05, 0.1 * p.h)
    form = p.look.variant(2, 1, "form")
    if p.kind in ("DiningTable", "Kitchentable") and form == 2:
        with m.frame(scale=(p.w / 2, 1, p.d / 2)):
            m.lathe(wood, [(0, p.h - t), (1, p.h - t), (1, p.h), (0, p.h)], segments=16)
        m.rod(wood, (0, 0.04, 0), (0, p.h - t, 0), 0.06, 0.09, 8)
        m.lathe(wood, [(0, 0), (0.34 * min(p.w, p.d), 0), (0.06, 0.09)], segments=10)
        return
    m.box(wood, (-p.w / 2, p.h - t, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    legs(m, p.wood("leg", dark=0.85), p.w, p.d, p.h - t, 0.06 if p.h > 0.5 else 0.05, round_legs=form == 1)
    m.box(wood, (-p.w / 2 + 0.04, p.h - t - 0.06, -p.d / 2 + 0.05), (p.w / 2 - 0.04, p.h - t, p.d / 2 - 0.05), "xXzZ")
    if p.kind == "Desk" and p.w > 0.7:
        m.box(wood, (0.2 * p.w, 0.15 * p.h, -p.d / 2 + 0.03), (0.46 * p.w, p.h - t, p.d / 2 - 0.04))
        for i in range(3):
            y = 0.2 * p.h + 0.24 * p.h * i
            m.box(
                p.metal(0.6), (0.29 * p.w, y + 0.08 * p.h, p.d / 2 - 0.04), (0.37 * p.w, y + 0.1 * p.h, p.d / 2 - 0.02)
            )
            m.box(
                p.dark(0.2),
                (0.2 * p.w, y + 0.2 * p.h, p.d / 2 - 0.0395),
                (0.46 * p.w, y + 0.21 * p.h, p.d / 2 - 0.039),
                "Z",
            )
    if p.kind == "CoffeeTable":
        m.box(p.wood("lower", dark=0.9), (-0.44 * p.w, 0.28 * p.h, -0.42 * p.d), (0.44 * p.w, 0.33 * p.h, 0.42 * p.d))
    if p.kind in ("SideTable", "Nightstand"):
        m.box(wood, (-0.46 * p.w, 0.62 * p.h, -0.46 * p.d), (0.46 * p.w, p.h - t, 0.46 * p.d))
        m.ball(p.metal(0.7), (0, 0.79 * p.h, 0.48 * p.d), 0.02, segments=7, rings=4)


@shape("Dresser", "TVStand", "Tvstand", "ChestOfDrawers")
def dresser(m: Mesher, p: Part) -> None:
    wood = p.wood("body")
    front = p.d / 2 - 0.02
    if p.openness > 0.01:
        shell(m, p, wood, (-p.w / 2, 0.05, -p.d / 2), (p.w / 2, p.h, front), shelves=2)
    else:
        m.box(wood, (-p.w / 2, 0.05, -p.d / 2), (p.w / 2, p.h, front))
    legs(m, p.wood("leg", dark=0.7), p.w, p.d, 0.05, 0.05)
    columns = 2 if p.w > 0.9 else 1
    rows = max(1, round(p.h / 0.27))
    face = p.wood("face", dark=0.9)
    for column in range(columns):
        for row in range(rows):
            x0 = -p.w / 2 + p.w * column / columns + 0.012
            y0 = 0.06 + (p.h - 0.08) * row / rows + 0.008
            low = (x0, y0, -p.d / 2 + 0.02)
            high = (x0 + p.w / columns - 0.024, y0 + (p.h - 0.08) / rows - 0.016, p.d / 2)
            pull_drawer(m, p, face, p.metal(0.7), low, high, p.openness * (1 - 0.3 * row / rows), housed=False)


@shape("ShelvingUnit", "Shelf", "Bookshelf", "Wallshelf", "Tvshelf")
def shelves(m: Mesher, p: Part) -> None:
    wood = p.wood("body")
    if p.h < 0.12:
        m.box(wood, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
        for x in (-0.36 * p.w, 0.36 * p.w):
            m.box(p.metal(0.5), (x - 0.012, -0.09, -p.d / 2), (x + 0.012, 0, 0.2 * p.d))
        return
    if p.kind == "ShelvingUnit":
        count, t = 4, 0.03
        levels = [p.h * i / 4 + 0.03 for i in range(4)] + [p.h - t]
    else:
        t, count = 0.025, max(1, round(p.h / 0.36))
        levels = [(p.h - t) * i / count for i in range(count + 1)]
    for y in levels:
        m.box(wood, (-p.w / 2, y, -p.d / 2), (p.w / 2, y + t, p.d / 2))
    for side in (-1, 1):
        x = side * (p.w / 2 - t / 2)
        m.box(wood, (x - t / 2, 0, -p.d / 2), (x + t / 2, p.h, p.d / 2))
    if p.kind == "Bookshelf":
        m.box(p.wood("back", dark=0.6), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, -p.d / 2 + 0.01))
        step, spot = (p.w - 0.1) / 9, 0
        for i in range(count):
            y = (p.h - t) * i / count + t
            for k in range(9):
                spot += 1
                if p.look.jitter(f"gap{spot}") > 0.6:
                    continue
                tall = (p.h / count - t) * (0.6 + 0.25 * abs(p.look.jitter(f"tall{spot}")))
                x = -p.w / 2 + 0.05 + k * step
                colour = p.look.colour(abs(p.look.jitter(f"hue{spot}")), 0.55, 0.7)
                m.box(Paint(colour), (x, y, -0.3 * p.d), (x + 0.85 * step, y + tall, 0.3 * p.d), "xXYZ")


@shape("Bed")
def bed(m: Mesher, p: Part) -> None:
    """Head board at -z, pillows there, a blanket over the rest; dirty: an unmade bed."""
    wood, sheet, blanket = p.wood("frame"), p.white(0.94), _cloth(p, "blanket")
    top = 0.575 * p.h
    m.box(wood, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, -p.d / 2 + 0.06))
    m.box(wood, (-p.w / 2, 0.08 * p.h, -p.d / 2), (p.w / 2, 0.28 * p.h, p.d / 2))
    legs(m, p.wood("leg", dark=0.7), p.w, p.d, 0.1 * p.h, 0.07)
    _bolster(m, sheet, (-p.w / 2 + 0.03, 0.28 * p.h, -p.d / 2 + 0.06), (p.w / 2 - 0.03, top, p.d / 2 - 0.03))
    messy = p.has("dirty")
    if messy:
        for i in range(4):
            with m.frame(((i % 2 - 0.5) * 0.4 * p.w, top - 0.02, (0.1 + 0.09 * i) * p.d), yaw=35.0 * i, pitch=6):
                _bolster(m, blanket, (-0.3 * p.w, 0, -0.12 * p.d), (0.3 * p.w, 0.07 + 0.03 * i, 0.12 * p.d))
    else:
        m.box(blanket, (-p.w / 2 + 0.015, 0.2 * p.h, -0.18 * p.d), (p.w / 2 - 0.015, top + 0.025, p.d / 2 - 0.015))
        m.box(sheet, (-p.w / 2 + 0.014, 0.42 * p.h, -0.26 * p.d), (p.w / 2 - 0.014, top + 0.03, -0.17 * p.d))
    count = 2 if p.w > 1.2 else 1
    for i in range(count):
        x = (i - (count - 1) / 2) * 0.46 * p.w
        half = min(0.3, 0.42 * p.w / count)
        m.ball(p.white(0.98), (x, top + 0.07, -p.d / 2 + 0.3), (half, 0.085, 0.2), segments=10, rings=5)


@shape("Pillow", "Cushion")
def pillow(m: Mesher, p: Part) -> None:
    cloth = _cloth(p, value=0.95)
    n = 4
    for i in range(n):
        for k in range(n):
            for flip in (1, -1):
                quad = []
                for a, b in ((i, k), (i + 1, k), (i + 1, k + 1), (i, k + 1)):
                    x, z = 2 * a / n - 1, 2 * b / n - 1
                    bulge = max(0.0, (1 - x * x) * (1 - z * z)) ** 0.5
                    pull = 1 - 0.09 * (1 - abs(x) * abs(z)) * (abs(x) == 1 or abs(z) == 1)
                    quad.append((x * pull * p.w / 2, p.h / 2 + flip * bulge * p.h / 2, z * pull * p.d / 2))
                cx, cz = (2 * i + 1) / n - 1, (2 * k + 1) / n - 1
                m.polygon(cloth, quad, (0.75 * cx, flip * 0.75, 0.75 * cz), two_sided=True)


@shape("DogBed")
def dog_bed(m: Mesher, p: Part) -> None:
    r = 0.5 * p.w
    outer = _cloth(p, "outer")
    with m.frame(scale=(1, 1, p.d / p.w)):
        m.lathe(
            outer,
            [(0, 0), (0.9 * r, 0), (r, 0.45 * p.h), (0.88 * r, p.h), (0.72 * r, 0.75 * p.h), (0.66 * r, 0.35 * p.h)],
            segments=14,
        )
        m.disc(_cloth(p, "inner", 0.9), (0, 0.38 * p.h, 0), 0.69 * r, segments=14)


@shape("Curtains", "Blinds", "ShowerCurtain")
def curtains(m: Mesher, p: Part) -> None:
    """Open: drawn together at the sides or up; closed: over the whole width."""
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    with m.frame(yaw=turn):
        m.rod(p.metal(0.6), (-w / 2, 0.98 * p.h, 0), (w / 2, 0.98 * p.h, 0), 0.016, segments=6)
        if p.kind == "Blinds":
            slat = p.white(0.92)
            low = p.h * 0.8 * p.openness
            m.box(slat, (-w / 2, 0.93 * p.h, -d / 2), (w / 2, p.h, d / 2))
            count = 14
            for i in range(count):
                y = low + (0.92 * p.h - low) * i / count
                with m.frame((0, y, 0), pitch=28):
                    m.box(slat, (-w / 2, 0, -0.35 * d), (w / 2, 0.35 * (0.92 * p.h - low) / count, 0.35 * d))
            return
        cloth = _cloth(p, value=0.9)
        shade = Paint(cloth.a, cloth.b, cloth.tex, cloth.scale, shade=0.78)
        sides = ((-1, 0.5), (1, 0.5))
        for side, part in sides:
            width = w * part * (1 - 0.72 * p.openness)
            folds = 5
            for i in range(folds):
                x0 = side * (w / 2 - width * i / folds)
                x1 = side * (w / 2 - width * (i + 1) / folds)
                z = (-0.3 * d, 0.3 * d)
                za, zb = z[i % 2], z[(i + 1) % 2]
                m.polygon(
                    cloth if i % 2 else shade,
                    [(x0, 0, za), (x1, 0, zb), (x1, 0.97 * p.h, zb), (x0, 0.97 * p.h, za)],
                    (0, 0, 1),
                    two_sided=True,
                )


@shape("Painting", "Poster", "Wallpictureframe", "Photoframe")
def painting(m: Mesher, p: Part) -> None:
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    a, b = (
        p.look.colour(0.5 + 0.5 * p.look.jitter("a"), 0.55, 0.9),
        p.look.colour(0.5 + 0.5 * p.look.jitter("b"), 0.6, 0.55),
    )
    picture = Paint(a, b, p.look.pattern("art", str(p.look.jitter("picture") > 0)), 1.0 / max(w, p.h))
    with m.frame(yaw=turn):
        border = 0.0 if p.kind == "Poster" else 0.09 * min(w, p.h)
        m.box(p.wood("frame", dark=0.7), (-w / 2, 0, -d / 2), (w / 2, p.h, d / 2))
        m.box(p.white(), (-w / 2 + border, border, -d / 2 - 0.002), (w / 2 - border, p.h - border, d / 2 + 0.002), "zZ")
        border *= 1.7
        m.box(picture, (-w / 2 + border, border, -d / 2 - 0.004), (w / 2 - border, p.h - border, d / 2 + 0.004), "zZ")


@shape("Rug")
def rug(m: Mesher, p: Part) -> None:
    m.box(_cloth(p), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2), "xXYzZ")
    e = 0.08 * min(p.w, p.d)
    m.box(_cloth(p, "inner"), (-p.w / 2 + e, p.h, -p.d / 2 + e), (p.w / 2 - e, p.h + 0.003, p.d / 2 - e), "Y")
