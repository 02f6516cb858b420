"""What has a plug or a screen: lamps, television, laptop, telephone, clocks, switches."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.part import Part, shape


def _cracks(m: Mesher, p: Part, w: float, h: float, z: float) -> None:
    """White cracks over a screen in the x-y plane whose lower edge is y = 0."""
    line = Paint(p.look.white(0.95), glow=0.4, clean=True)
    cx, cy = 0.1 * w, 0.55 * h
    for i in range(11):
        a = math.tau * i / 11
        x = min(max(cx + 0.7 * w * math.cos(a), -0.47 * w), 0.47 * w)
        y = min(max(cy + 0.7 * h * math.sin(a), 0.04 * h), 0.96 * h)
        t = 0.02 * min(w, h)
        m.polygon(
            line,
            [
                (cx - t * math.sin(a), cy + t * math.cos(a), z),
                (cx + t * math.sin(a), cy - t * math.cos(a), z),
                (x, y, z),
            ],
            (0, 0, 1),
            two_sided=True,
        )
        k, b = 0.35 + 0.2 * (i % 2), math.tau * (i + 1) / 11
        m.polygon(
            line,
            [
                (cx + k * 0.5 * w * math.cos(a), cy + k * 0.5 * h * math.sin(a), z),
                (cx + (k * 0.5 * w + t) * math.cos(a), cy + (k * 0.5 * h + t) * math.sin(a), z),
                (cx + k * 0.5 * w * math.cos(b), cy + k * 0.5 * h * math.sin(b), z),
            ],
            (0, 0, 1),
            two_sided=True,
        )


@shape("Television", "TV", "Tv", own_shards=True)
def television(m: Mesher, p: Part) -> None:
    """A flat panel on a foot; the screen looks to +z."""
    frame, foot = p.dark(0.1), 0.12 * p.h
    thick = min(0.06, p.d / 2)
    m.box(p.dark(0.16), (-0.25 * p.w, 0, -p.d / 2), (0.25 * p.w, 0.03 * p.h, p.d / 2))
    m.box(p.dark(0.13), (-0.06 * p.w, 0, -thick / 3), (0.06 * p.w, foot, thick / 3))
    m.box(frame, (-p.w / 2, foot, -thick / 2), (p.w / 2, p.h, thick / 2))
    b = 0.03 * p.w
    m.box(
        p.screen(on=p.has("on") and not p.has("broken")),
        (-p.w / 2 + b, foot + b, thick / 2),
        (p.w / 2 - b, p.h - b, thick / 2 + 0.003),
        "Z",
    )
    if p.has("broken"):
        with m.frame((0, foot, 0)):
            _cracks(m, p, p.w, p.h - foot, thick / 2 + 0.006)


@shape("Laptop", own_shards=True)
def laptop(m: Mesher, p: Part) -> None:
    """Hinge at -z; openness lifts the lid; on and open: a bright screen."""
    body, keys = p.metal(0.66) if p.look.unit("steel") < 0.6 else p.dark(0.25), p.dark(0.12)
    t = min(0.018, 0.12 * max(p.w, p.d))
    depth = min(p.d, 0.75 * p.w)
    with m.frame((0, 0, 0)):
        m.box(body, (-p.w / 2, 0, -depth / 2), (p.w / 2, t, depth / 2))
        if p.openness > 0.05:
            m.box(keys, (-0.44 * p.w, t, -0.38 * depth), (0.44 * p.w, t + 0.002, 0.08 * depth), "Y")
            m.box(Paint(p.look.metal(0.5)), (-0.13 * p.w, t, 0.16 * depth), (0.13 * p.w, t + 0.002, 0.42 * depth), "Y")
            for i in range(4):
                z = (-0.36 + 0.11 * i) * depth
                m.box(
                    Paint(p.look.dark(0.32)),
                    (-0.43 * p.w, t + 0.003, z),
                    (0.43 * p.w, t + 0.004, z + 0.06 * depth),
                    "Y",
                )
        with m.frame((0, t, -depth / 2), pitch=-110 * p.openness):
            m.box(body, (-p.w / 2, 0, 0), (p.w / 2, 0.6 * t, depth))
            on = p.has("on") and not p.has("broken")
            with m.frame((0, -0.001, 0), pitch=90):
                m.box(p.screen(on=on), (-0.46 * p.w, 0.06 * depth, -0.001), (0.46 * p.w, 0.95 * depth, 0.002), "Z")
                if p.has("broken"):
                    _cracks(m, p, 0.92 * p.w, depth, 0.004)
            m.disc(p.metal(0.9), (0, 0.6 * t + 0.001, 0.5 * depth), 0.06 * p.w, segments=8)
            if p.has("broken"):
                with m.frame((0, 0.6 * t + 0.001, 0), pitch=-90), m.frame(scale=(1, -1, 1)):
                    _cracks(m, p, 0.92 * p.w, depth, 0.002)


@shape("Desktop", "Computer")
def desktop(m: Mesher, p: Part) -> None:
    """A computer's tower when tall, else a screen with a keyboard."""
    if p.h > 1.3 * p.w:
        z = p.d / 2
        m.box(p.dark(0.2), (-p.w / 2, 0, -z), (p.w / 2, p.h, z))
        for y in (0.84, 0.74):
            m.box(p.metal(0.6), (-0.4 * p.w, y * p.h, z), (0.4 * p.w, (y + 0.07) * p.h, z + 0.004))
        lamp_paint = Paint(p.look.colour(0.33, 0.8, 1.0), glow=1.0)
        m.box(lamp_paint, (-0.08 * p.w, 0.6 * p.h, z), (0.08 * p.w, 0.65 * p.h, z + 0.006))
        for i in range(6):
            m.box(
                p.dark(0.05),
                (-0.35 * p.w, (0.1 + 0.06 * i) * p.h, z),
                (0.35 * p.w, (0.13 + 0.06 * i) * p.h, z + 0.003),
                "Z",
            )
        return
    m.box(p.dark(0.15), (-0.2 * p.w, 0, -p.d / 2), (0.2 * p.w, 0.04 * p.h, 0.1 * p.d))
    m.box(p.dark(0.2), (-0.05 * p.w, 0, -0.2 * p.d), (0.05 * p.w, 0.4 * p.h, -0.1 * p.d))
    m.box(p.dark(0.12), (-p.w / 2, 0.25 * p.h, -0.12 * p.d), (p.w / 2, p.h, 0.0))
    m.box(p.screen(on=p.has("on")), (-0.46 * p.w, 0.3 * p.h, 0), (0.46 * p.w, 0.95 * p.h, 0.003), "Z")
    m.box(p.dark(0.25), (-0.45 * p.w, 0, 0.2 * p.d), (0.45 * p.w, 0.04 * p.h, p.d / 2))


@shape("CellPhone", "Cellphone", own_shards=True)
def cell_phone(m: Mesher, p: Part) -> None:
    body = Paint(p.look.free("case", saturation=0.7))
    on = p.has("on") and not p.has("broken")
    if p.h > 1.5 * max(p.w, p.d) * 0.5 and p.h > p.d:
        m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
        m.box(
            p.screen(on=on, hue=0.5), (-0.44 * p.w, 0.05 * p.h, p.d / 2), (0.44 * p.w, 0.95 * p.h, p.d / 2 + 0.002), "Z"
        )
        if p.has("broken"):
            _cracks(m, p, p.w, p.h, p.d / 2 + 0.004)
        return
    m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    with m.frame((0, p.h, p.d / 2), pitch=-90):
        m.box(p.screen(on=on, hue=0.5), (-0.44 * p.w, 0.05 * p.d, -0.001), (0.44 * p.w, 0.95 * p.d, 0.002), "Z")
        if p.has("broken"):
            _cracks(m, p, p.w, p.d, 0.004)


@shape("RemoteControl", "Remotecontrol")
def remote(m: Mesher, p: Part) -> None:
    long_x = p.w > p.d
    w, d = (p.d, p.w) if long_x else (p.w, p.d)
    with m.frame(yaw=90 if long_x else 0):
        m.box(p.dark(0.14), (-w / 2, 0, -d / 2), (w / 2, p.h, d / 2))
        m.box(Paint(p.look.colour(0.0, 0.9, 0.85)), (-0.3 * w, p.h, -0.45 * d), (0.0, p.h + 0.004, -0.38 * d))
        for row in range(5):
            for column in range(3):
                x, z = (column - 1) * 0.3 * w, (-0.3 + 0.14 * row) * d
                m.box(p.white(0.8), (x - 0.1 * w, p.h, z), (x + 0.1 * w, p.h + 0.003, z + 0.07 * d), "Y")


def _bulb_shade(m: Mesher, p: Part, y0: float, y1: float, low_r: float, high_r: float) -> None:
    colour = p.look.free("shade", saturation=0.35, value=1.0)
    on = p.has("on")
    lit = Paint(p.look.colour(0.14, 0.35, 1.0), glow=1.3, clean=True)
    shade_paint = lit if on else p.plain(colour)
    segments = 12 if p.known_form() else 4
    m.lathe(shade_paint, [(low_r, y0), (high_r, y1)], segments=segments)
    m.lathe(
        Paint(shade_paint.a, shade_paint.b, shade_paint.tex, shade_paint.scale, shade_paint.glow, 0.7),
        [(high_r * 0.98, y1), (low_r * 0.98, y0)],
        segments=segments,
    )
    if on:
        m.ball(
            Paint(p.look.colour(0.15, 0.1, 1.0), glow=1.6, clean=True),
            (0, (y0 + y1) / 2, 0),
            0.3 * (y1 - y0),
            segments=8,
            rings=5,
        )


@shape("DeskLamp", "FloorLamp", "Tablelamp", "Floorlamp", "Ceilinglamp", "Walllamp", "Lamp")
def lamp(m: Mesher, p: Part) -> None:
    """A foot, a pole and a shade; on: the shade glows."""
    r, pole = 0.5 * min(p.w, p.d), p.metal(0.55) if p.look.unit("metal") < 0.5 else p.wood("pole")
    shade_from = {"FloorLamp": 0.8, "Floorlamp": 0.8}.get(p.kind, 0.55)
    if p.kind in ("Ceilinglamp", "Walllamp"):
        m.rod(pole, (0, 0.6 * p.h, 0), (0, p.h, 0), 0.015, segments=6)
        _bulb_shade(m, p, 0.0, 0.7 * p.h, r, 0.5 * r)
        return
    m.lathe(pole, [(0, 0), (0.62 * r, 0), (0.6 * r, 0.02 * p.h + 0.01), (0.1 * r, 0.05 * p.h + 0.01)], segments=10)
    m.rod(pole, (0, 0.02 * p.h, 0), (0, (shade_from + 0.1) * p.h, 0), max(0.012, 0.07 * r), segments=6)
    _bulb_shade(m, p, shade_from * p.h, p.h, r, r * p.look.vary(0.75, 0.3, "cone"))


@shape("LightSwitch", "Lightswitch")
def light_switch(m: Mesher, p: Part) -> None:
    """A plate with a lever: up, with a green lamp, when on."""
    w, d, turn = (p.w, p.d, 0) if p.w >= p.d else (p.d, p.w, 90)
    with m.frame(yaw=turn):
        m.box(p.white(0.96), (-w / 2, 0, -d / 2), (w / 2, p.h, d / 2))
        on = p.has("on")
        y = 0.52 * p.h if on else 0.24 * p.h
        lever = Paint(p.look.colour(0.33, 0.75, 1.0), glow=1.0) if on else p.dark(0.3)
        m.box(p.dark(0.5), (-0.22 * w, 0.2 * p.h, -d / 2 - 0.002), (0.22 * w, 0.8 * p.h, d / 2 + 0.002), "zZ")
        m.box(lever, (-0.17 * w, y, -d / 2 - 0.016), (0.17 * w, y + 0.24 * p.h, d / 2 + 0.016))


@shape("AlarmClock", "Clock")
def alarm_clock(m: Mesher, p: Part) -> None:
    """A round face with hands between two bells, or a digital one in the unknown world."""
    body = Paint(p.look.free("body", saturation=0.8))
    if p.look.variant(2, 1, "form") == 2:
        m.box(body, (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
        m.box(p.dark(0.06), (-0.42 * p.w, 0.2 * p.h, p.d / 2), (0.42 * p.w, 0.8 * p.h, p.d / 2 + 0.003), "Z")
        led = Paint(p.look.colour(0.03, 0.9, 1.0), glow=1.1)
        for i, on in enumerate((1, 1, 0, 1, 1)):
            x = (i - 2) * 0.16 * p.w
            tall = 0.5 if on else 0.12
            m.box(
                led,
                (x - 0.04 * p.w, (0.5 - tall / 2) * p.h, p.d / 2 + 0.003),
                (x + 0.04 * p.w, (0.5 + tall / 2) * p.h, p.d / 2 + 0.006),
                "Z",
            )
        return
    r = 0.42 * min(p.w, p.h)
    y = 0.08 * p.h + r
    with m.frame((0, y, -p.d / 2), pitch=90):
        m.lathe(body, [(0, 0), (r, 0), (r, p.d)], segments=14)
        m.lathe(p.white(), [(0.86 * r, p.d - 0.003), (0, p.d - 0.003)], segments=14)
        m.lathe(body, [(r, p.d), (0.86 * r, p.d), (0.86 * r, p.d - 0.003)], segments=14)
        m.box(p.dark(0.05), (-0.04 * r, p.d - 0.002, -0.7 * r), (0.04 * r, p.d, 0.0), "Y")
        m.box(p.dark(0.05), (0.0, p.d - 0.002, -0.04 * r), (0.5 * r, p.d, 0.04 * r), "Y")
    for side in (-1, 1):
        m.ball(p.metal(0.8), (side * 0.55 * r, y + 0.95 * r, 0), 0.3 * r, segments=8, rings=4)
        m.rod(p.dark(0.2), (side * 0.5 * r, 0, 0), (side * 0.4 * r, 0.3 * r, 0), 0.08 * r, segments=5)


@shape("VacuumCleaner")
def vacuum(m: Mesher, p: Part) -> None:
    body = Paint(p.look.free("body", saturation=0.85))
    m.box(p.dark(0.15), (-p.w / 2, 0, 0.1 * p.d), (p.w / 2, 0.08 * p.h, p.d / 2))
    with m.frame((0, 0.05 * p.h, 0.25 * p.d), pitch=-11):
        m.rod(body, (0, 0, 0), (0, 0.5 * p.h, 0), 0.3 * p.w, 0.22 * p.w, 9)
        m.rod(p.metal(), (0, 0.5 * p.h, 0), (0, 0.95 * p.h, 0), 0.02, segments=6)
        m.rod(p.dark(), (0, 0.9 * p.h, -0.02), (0, p.h, -0.12), 0.025, segments=6)


@shape("Radio", "Stereo", "Speaker")
def radio(m: Mesher, p: Part) -> None:
    m.box(p.wood("body"), (-p.w / 2, 0, -p.d / 2), (p.w / 2, p.h, p.d / 2))
    with m.frame((0, 0.45 * p.h, p.d / 2), pitch=90):
        for side in (-1, 1):
            m.disc(p.dark(0.15), (side * 0.27 * p.w, 0.003, 0), 0.32 * min(p.h, 0.6 * p.w), segments=12)
    lamp_paint = Paint(p.look.colour(0.33, 0.9, 1.0), glow=1.2) if p.has("on") else p.dark(0.3)
    m.box(lamp_paint, (-0.12 * p.w, 0.82 * p.h, p.d / 2), (0.12 * p.w, 0.92 * p.h, p.d / 2 + 0.004), "Z")
