"""Kitchen machines and the kitchen's fixed parts."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.joinery import liquid_paint, pull_drawer, shell, swing_door
from selu_hpc.sim.drawing.shapes.part import Part, dimmed, shape


def _enamel(p: Part) -> Paint:
    """White, steel, black or a colour, as the skin has it."""
    choice = p.look.unit("enamel")
    if choice < 0.35:
        return p.white()
    if choice < 0.6:
        return p.metal(0.68)
    return Paint(p.look.free("enamel_colour", saturation=0.5, value=0.85)) if choice < 0.88 else p.dark(0.22)


@shape("Fridge", "Freezer")
def fridge(m: Mesher, p: Part) -> None:
    """A door over a closed freezer part (its lower 40 %); three shelves in a dark inside."""
    body, grip = _enamel(p), p.metal(0.5)
    front, split = p.d / 2 - 0.05, 0.40 * p.h
    m.box(body, (-p.w / 2, 0.02, -p.d / 2), (p.w / 2, split, front))
    with m.frame((0, split, 0)):
        shell(m, p, body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h - split, front), wall=0.045)
    if p.openness > 0.01:
        shelf = Paint(p.look.metal(0.85), glow=0.25, clean=True)
        for share in (0.42, 0.60, 0.78):
            m.box(
                shelf,
                (-p.w / 2 + 0.04, share * p.h - 0.014, -p.d / 2 + 0.04),
                (p.w / 2 - 0.04, share * p.h - 0.004, front - 0.04),
                "yYZ",
            )
    swing_door(
        m, body, grip, (-p.w / 2, split + 0.006, front), (p.w / 2, p.h, front + 0.05), p.openness, hinge_left=True
    )
    rows = (
        ((0.04, split - 0.006),)
        if p.look.variant(1, 1, "freezer") == 0
        else ((0.04, split / 2 - 0.006), (split / 2 + 0.006, split - 0.006))
    )
    for y0, y1 in rows:
        m.box(body, (-p.w / 2, y0, front), (p.w / 2, y1, front + 0.05))
        m.box(grip, (-0.3 * p.w, y1 - 0.09, front + 0.05), (0.3 * p.w, y1 - 0.065, front + 0.085))
    m.box(p.dark(0.1), (-p.w / 2, 0.02, front), (p.w / 2, split + 0.006, front + 0.01), "Z")


@shape("Microwave", "MicrowaveOven")
def microwave(m: Mesher, p: Part) -> None:
    """A window door on the left, a key pad on the right; on: the window glows."""
    body, front = _enamel(p), p.d / 2 - 0.025
    door_x = 0.22 * p.w
    m.box(body, (door_x, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    with m.frame(((-p.w / 2 + door_x) / 2, 0, 0)):
        half = (door_x + p.w / 2) / 2
        shell(m, p, body, (-half, 0, -p.d / 2), (half, p.h, front), wall=0.02)
        if p.openness > 0.01:
            m.lathe(p.white(0.75), [(0.7 * half, 0.14 * p.h), (0, 0.15 * p.h)], segments=12)
    glass = (
        Paint(
            p.look.colour(0.13, 0.55, 1.0), p.look.colour(0.09, 0.8, 0.7), p.look.pattern("plain"), 3.0, 1.1, clean=True
        )
        if p.has("on")
        else Paint(p.look.dark(0.1), clean=True)
    )
    swing_door(
        m,
        body,
        p.dark(0.2),
        (-p.w / 2, 0.02 * p.h, front),
        (door_x - 0.004, 0.98 * p.h, front + 0.025),
        p.openness,
        hinge_left=True,
        inset=glass,
    )
    pad, z = p.dark(0.3), p.d / 2 + 0.003
    clock = Paint(
        p.look.colour(0.33, 0.8, 1.0) if p.has("on") else p.look.colour(0.33, 0.8, 0.25),
        glow=1.0 if p.has("on") else 0.0,
    )
    x0, x1 = door_x + 0.02, p.w / 2 - 0.02
    m.box(clock, (x0, 0.76 * p.h, z - 0.002), (x1, 0.9 * p.h, z), "Z")
    for row in range(4):
        for column in range(3):
            x = x0 + (x1 - x0) * (column + 0.1) / 3
            y = 0.12 * p.h + 0.15 * p.h * row
            m.box(pad, (x, y, z - 0.002), (x + 0.24 * (x1 - x0), y + 0.09 * p.h, z), "Z")


@shape("Toaster")
def toaster(m: Mesher, p: Part) -> None:
    body = p.metal(0.78) if p.look.unit("steel") < 0.5 else Paint(p.look.free("enamel", saturation=0.75))
    long_z = p.d > p.w
    w, d = (p.d, p.w) if long_z else (p.w, p.d)
    with m.frame(yaw=90 if long_z else 0):
        with m.frame((0, 0, 0), yaw=90):
            outline = [
                (-d / 2, 0.06 * p.h),
                (d / 2, 0.06 * p.h),
                (d / 2, 0.75 * p.h),
                (0.38 * d, p.h),
                (-0.38 * d, p.h),
                (-d / 2, 0.75 * p.h),
            ]
            m.prism(body, outline, -w / 2, w / 2)
        m.box(p.dark(0.1), (-0.48 * w, 0, -0.45 * d), (0.48 * w, 0.07 * p.h, 0.45 * d))
        slot = (
            Paint(p.look.colour(0.03, 0.95, 1.0), glow=1.2, clean=True)
            if p.has("on")
            else Paint(p.look.dark(0.05), clean=True)
        )
        for z in (-0.2 * d, 0.2 * d):
            m.box(slot, (-0.38 * w, p.h - 0.001, z - 0.08 * d), (0.38 * w, p.h + 0.002, z + 0.08 * d), "Y")
            if p.has("on"):
                m.box(
                    Paint(p.look.colour(0.09, 0.6, 0.75)),
                    (-0.3 * w, p.h, z - 0.04 * d),
                    (0.3 * w, 1.12 * p.h, z + 0.04 * d),
                )
        lever = 0.35 if p.has("on") else 0.7
        m.box(p.dark(0.1), (w / 2, (lever - 0.06) * p.h, -0.1 * d), (w / 2 + 0.025, (lever + 0.06) * p.h, 0.1 * d))
        m.box(p.dark(0.15), (w / 2 - 0.001, 0.25 * p.h, -0.02 * d), (w / 2 + 0.002, 0.8 * p.h, 0.02 * d), "X")


@shape("CoffeeMachine", "CoffeeMaker", "Coffeemaker")
def coffee_machine(m: Mesher, p: Part) -> None:
    """A column at the back, a head over the place for the mug; on: a lit lamp and a stream of coffee."""
    body = p.dark(0.2) if p.look.unit("black") < 0.5 else Paint(p.look.free("enamel", saturation=0.6, value=0.7))
    trim = p.metal(0.75)
    m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, -0.12 * p.d))
    m.box(body, (-p.w / 2, 0.68 * p.h, -0.12 * p.d), (p.w / 2, p.h, 0.42 * p.d))
    m.box(trim, (-p.w / 2, 0, -0.12 * p.d), (p.w / 2, 0.08 * p.h, p.d / 2))
    m.box(p.dark(0.06), (-0.42 * p.w, 0.08 * p.h, -0.05 * p.d), (0.42 * p.w, 0.085 * p.h, 0.46 * p.d), "Y")
    m.rod(p.metal(0.6), (0, 0.56 * p.h, 0.15 * p.d), (0, 0.68 * p.h, 0.15 * p.d), 0.05 * p.w, 0.11 * p.w, 8)
    m.box(trim, (-0.4 * p.w, 0.75 * p.h, 0.42 * p.d), (0.4 * p.w, 0.92 * p.h, 0.43 * p.d), "Z")
    lamp = Paint(p.look.colour(0.36, 0.9, 1.0), glow=1.3) if p.has("on") else Paint(p.look.colour(0.0, 0.8, 0.3))
    m.lathe(lamp, [(0.09 * p.w, 0), (0, 0.01)], at=(0.25 * p.w, p.h, 0.15 * p.d), segments=8)
    m.box(lamp, (0.1 * p.w, 0.79 * p.h, 0.43 * p.d), (0.3 * p.w, 0.88 * p.h, 0.445 * p.d))
    if p.has("on"):
        m.rod(
            Paint(p.look.colour(0.07, 0.8, 0.22), clean=True),
            (0, 0.09 * p.h, 0.15 * p.d),
            (0, 0.57 * p.h, 0.15 * p.d),
            0.03 * p.w + 0.003,
            segments=6,
        )


@shape("CounterTop", "KitchenCounter", "Kitchencounter", "Bathroomcounter")
def counter(m: Mesher, p: Part) -> None:
    stone = p.look.colour(p.look.skin_wide("stone_hue"), 0.12, 0.45 + 0.45 * p.look.skin_wide("stone_value"))
    top = Paint(stone, (stone[0] * 0.6, stone[1] * 0.6, stone[2] * 0.6), p.look.pattern("stone"), 1.6)
    slab = min(0.05, p.h)
    m.box(top, (-p.w / 2, p.h - slab, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    if p.h > 0.12:
        m.box(
            p.wood("base"),
            (-p.w / 2 + 0.01, 0.06, -p.d / 2 + 0.01),
            (p.w / 2 - 0.01, p.h - slab, p.d / 2 - 0.03),
            "xXzZ",
        )
        m.box(p.dark(0.15), (-p.w / 2 + 0.03, 0, -p.d / 2 + 0.03), (p.w / 2 - 0.03, 0.06, p.d / 2 - 0.08), "xXzZ")


@shape("Stove", "Oven", "StoveBase")
def stove(m: Mesher, p: Part) -> None:
    body, front = _enamel(p), p.d / 2 - 0.03
    shell(m, p, body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h - 0.03, front), shelves=2)
    glass = Paint(p.look.colour(0.07, 0.9, 1.0), glow=0.9) if p.has("on") else p.dark(0.1)
    with m.frame((0, 0.06 * p.h, front), pitch=80 * p.openness):
        m.box(body, (-p.w / 2, 0, 0), (p.w / 2, 0.74 * p.h, 0.03))
        m.box(glass, (-0.36 * p.w, 0.15 * p.h, 0.02), (0.36 * p.w, 0.58 * p.h, 0.034), "Z")
        m.box(p.metal(0.6), (-0.4 * p.w, 0.66 * p.h, 0.03), (0.4 * p.w, 0.69 * p.h, 0.06))
    m.box(p.dark(0.14), (-p.w / 2, p.h - 0.03, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    for x in (-0.25, 0.25):
        for z in (-0.22, 0.22):
            m.lathe(
                p.metal(0.4),
                [(0.16 * p.w, p.h + 0.001), (0.09 * p.w, p.h + 0.003)],
                at=(x * p.w, 0, z * p.d),
                segments=12,
            )
            if p.has("on") and x < 0 < z:
                _flames(m, p, (x * p.w, p.h, z * p.d), 0.15 * p.w)
    for i in range(4):
        m.rod(
            p.metal(0.8),
            ((i - 1.5) * 0.2 * p.w, 0.88 * p.h, front),
            ((i - 1.5) * 0.2 * p.w, 0.88 * p.h, p.d / 2 + 0.02),
            0.025,
            segments=8,
        )


def _flames(m: Mesher, p: Part, at: tuple[float, float, float], r: float) -> None:
    blue, orange = (
        Paint(p.look.colour(0.6, 0.7, 1.0), glow=1.2, clean=True),
        Paint(p.look.colour(0.07, 0.95, 1.0), glow=1.3, clean=True),
    )
    for i in range(10):
        a = math.tau * i / 10
        x, z = at[0] + r * math.sin(a), at[2] + r * math.cos(a)
        m.rod(blue, (x, at[1], z), (x, at[1] + 0.3 * r, z), 0.16 * r, 0.12 * r, 5)
        m.rod(orange, (x, at[1] + 0.3 * r, z), (x, at[1] + 0.75 * r, z), 0.12 * r, 0.01, 5)


@shape("StoveBurner")
def burner(m: Mesher, p: Part) -> None:
    """A black ring with a grate; on: a ring of flames."""
    r = 0.5 * min(p.w, p.d)
    m.lathe(p.dark(0.13), [(0, 0), (r, 0), (r, 0.4 * p.h), (0.9 * r, 0.6 * p.h), (0, 0.6 * p.h)], segments=16)
    m.lathe(p.metal(0.5), [(0.45 * r, 0.6 * p.h), (0.4 * r, p.h), (0, p.h)], segments=10)
    if p.has("on"):
        m.disc(Paint(p.look.colour(0.04, 0.95, 1.0), glow=1.2), (0, 0.7 * p.h + 0.002, 0), 0.85 * r, segments=16)
        _flames(m, p, (0, 0.7 * p.h, 0), 0.62 * r)
    grate = p.dark(0.05)
    for turn in (0, 90):
        with m.frame(yaw=turn):
            m.box(grate, (-r, p.h, -0.05 * r), (r, p.h + 0.1 * r, 0.05 * r))


@shape("StoveKnob")
def knob(m: Mesher, p: Part) -> None:
    r = 0.5 * min(p.w, p.h)
    body = p.metal(0.75) if p.look.unit("steel") < 0.5 else p.dark(0.15)
    m.rod(body, (0, p.h / 2, -p.d / 2), (0, p.h / 2, p.d / 2), r, 0.85 * r, 10)
    mark = Paint(p.look.colour(0.0, 0.95, 1.0), glow=1.1) if p.has("on") else p.white()
    with m.frame((0, p.h / 2, p.d / 2), roll=-90 if p.has("on") else 0):
        m.box(mark, (-0.14 * r, -0.2 * r, 0), (0.14 * r, 0.85 * r, 0.006))


@shape("Sink", "SinkBasin", "BathtubBasin")
def sink(m: Mesher, p: Part) -> None:
    """A basin with a rim; filled: a water surface."""
    body = p.metal(0.76) if p.look.skin_wide("steel_sink") < 0.5 else p.white(0.96)
    x, z, rim = p.w / 2, p.d / 2, 0.06 * min(p.w, p.d) if p.kind == "Sink" else 0.02
    floor = max(p.h - 0.22, 0.12 * p.h)
    m.box(body, (-x, 0, -z), (x, p.h, z), "xXzZ")
    for low, high in (
        ((-x, -z), (-x + rim, z)),
        ((x - rim, -z), (x, z)),
        ((-x, -z), (x, -z + rim)),
        ((-x, z - rim), (x, z)),
    ):
        m.box(body, (low[0], p.h - 0.001, low[1]), (high[0], p.h, high[1]), "Y")
    inner = Paint(body.a, body.b, body.tex, body.scale, shade=0.7)
    m.cavity(inner, (-x + rim, floor, -z + rim), (x - rim, p.h, z - rim), "xXyzZ")
    m.disc(p.dark(0.15), (0, floor + 0.002, 0), 0.035, segments=8)
    if p.has("filled") or p.liquid or p.has("on"):
        y = floor + (0.75 if p.has("filled") or p.liquid else 0.25) * (p.h - floor)
        m.box(liquid_paint(p), (-x + rim, y - 0.001, -z + rim), (x - rim, y, z - rim), "Y")


@shape("Faucet")
def faucet(m: Mesher, p: Part) -> None:
    """A curved spout towards +z; on: running water."""
    steel, r = p.metal(0.82), 0.055 * p.h + 0.005
    z0, z1 = -0.35 * p.d, 0.38 * p.d
    m.rod(steel, (0, 0, z0), (0, 0.05 * p.h, z0), 2 * r, 1.5 * r, 10)
    m.path(
        steel,
        [
            (0, 0, z0),
            (0, 0.75 * p.h, z0),
            (0, 0.95 * p.h, z0 * 0.5),
            (0, 0.98 * p.h, 0.3 * z1),
            (0, 0.85 * p.h, z1),
            (0, 0.62 * p.h, z1),
        ],
        r,
        8,
    )
    for side in (-1, 1):
        with m.frame((side * max(0.32 * p.w, 2.3 * r), 0, z0)):
            m.rod(steel, (0, 0, 0), (0, 0.22 * p.h, 0), r, 1.2 * r, 7)
            m.box(steel, (-1.9 * r, 0.22 * p.h, -0.6 * r), (1.9 * r, 0.27 * p.h, 0.6 * r))
    if p.has("on"):
        water = Paint(
            p.look.colour(0.56, 0.45, 1.0),
            p.look.colour(0.55, 0.15, 1.0),
            p.look.pattern("wood"),
            6.0,
            0.75,
            clean=True,
        )
        m.rod(water, (0, -0.14, z1), (0, 0.63 * p.h, z1), 1.1 * r, 0.9 * r, 8)
        m.lathe(water, [(4.5 * r, -0.14), (0, -0.12)], at=(0, 0, z1), segments=8)


@shape("Cabinet", "Kitchencabinet", "Bathroomcabinet", "Cupboard", "Closet", "Wardrobe")
def cabinet(m: Mesher, p: Part) -> None:
    """One door, or two on wide ones, with a panel and a handle; a shelf in a dark inside."""
    body = (
        p.wood("body")
        if p.look.skin_wide("painted") < 0.55
        else p.plain(p.look.colour(p.look.skin_wide("cabinet_hue"), 0.4, 0.75, "cabinet"))
    )
    panel = Paint(dimmed(body.a, 0.86), dimmed(body.b, 0.86), body.tex, body.scale)
    grip, front = p.metal(0.62), p.d / 2 - min(0.02, 0.3 * p.d)
    shell(m, p, body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, front), shelves=max(1, round(p.h / 0.5)), wall=0.022)
    doors = ((-p.w / 2, 0.0, True), (0.0, p.w / 2, False)) if p.w > 0.62 else ((-p.w / 2, p.w / 2, True),)
    for x0, x1, left in doors:
        swing_door(
            m,
            body,
            grip,
            (x0 + 0.004, 0.006, front),
            (x1 - 0.004, p.h - 0.006, p.d / 2),
            p.openness,
            hinge_left=left,
            inset=panel,
        )


@shape("Drawer")
def drawer(m: Mesher, p: Part) -> None:
    body = (
        p.wood("body")
        if p.look.skin_wide("painted") < 0.55
        else p.plain(p.look.colour(p.look.skin_wide("cabinet_hue"), 0.4, 0.75, "cabinet"))
    )
    low, high = (-p.w / 2, 0.0, -p.d / 2), (p.w / 2, p.h, p.d / 2)
    pull_drawer(m, p, body, p.metal(0.62), low, high, p.openness, housed=True)


@shape("Dishwasher", "WashingMachine", "Washingmachine", "ClothesDryer")
def washer(m: Mesher, p: Part) -> None:
    body, front = p.white(), p.d / 2 - 0.03
    shell(m, p, body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, front), shelves=1)
    m.box(p.dark(0.3), (-0.46 * p.w, 0.86 * p.h, front), (0.46 * p.w, 0.97 * p.h, front + 0.005), "Z")
    lamp = Paint(p.look.colour(0.36, 0.9, 1.0), glow=1.3) if p.has("on") else p.dark(0.1)
    m.box(lamp, (0.2 * p.w, 0.89 * p.h, front), (0.38 * p.w, 0.94 * p.h, front + 0.012))
    swing_door(
        m, body, p.metal(0.5), (-p.w / 2, 0.04, front), (p.w / 2, 0.83 * p.h, front + 0.03), p.openness, hinge_left=True
    )
    if p.kind != "Dishwasher" and p.openness < 0.01:
        with m.frame((0, 0.45 * p.h, front + 0.03), pitch=90):
            m.lathe(p.metal(0.6), [(0.34 * p.w, 0), (0.34 * p.w, 0.02), (0.27 * p.w, 0.02)], segments=14)
            m.disc(p.dark(0.12), (0, 0.012, 0), 0.28 * p.w, segments=14)
