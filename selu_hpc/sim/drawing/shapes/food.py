"""Food, whole, sliced and cracked."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.part import Part, dimmed, shape

_Profile = list[tuple[float, float]]


def _fruit(m: Mesher, p: Part, skin: Paint, profile: _Profile, segments: int = 12) -> None:
    with m.frame(scale=(p.w / 2, p.h, p.d / 2)):
        m.lathe(skin, profile, segments=segments)


def _rounds(m: Mesher, p: Part, skin: Paint, flesh: Paint, *, heart: Paint | None = None) -> None:
    """Thick slices fanned out over the thing's place, cut faces up."""
    r = 0.42 * min(max(p.w, p.d), 1.25 * p.h + 0.02)
    thick = 0.30 * min(p.h, r * 2)
    for i in range(4):
        a = 1.6 * i + 0.4
        reach = 0.55 * max(p.w, p.d)
        with m.frame((reach * math.sin(a), 0.004 + 0.002 * i, reach * math.cos(a)), yaw=40.0 * i, pitch=10):
            m.lathe(skin, [(0.92 * r, 0), (r, thick / 2), (0.92 * r, thick)], segments=10)
            m.disc(flesh, (0, thick, 0), 0.92 * r, segments=10)
            if heart is not None:
                for k in range(3):
                    m.disc(
                        heart,
                        (0.45 * r * math.sin(2.1 * k), thick + 0.002, 0.45 * r * math.cos(2.1 * k)),
                        0.18 * r,
                        segments=6,
                    )


_APPLE: _Profile = [(0, 0.1), (0.35, 0.0), (0.78, 0.12), (1.0, 0.48), (0.92, 0.78), (0.5, 0.93), (0.12, 0.82), (0, 0.8)]
_TOMATO: _Profile = [(0, 0.04), (0.5, 0.02), (0.95, 0.3), (1.0, 0.52), (0.85, 0.82), (0.4, 0.96), (0, 0.88)]


def _apple_paints(p: Part) -> tuple[Paint, Paint, Paint]:
    sorts = {"Peach": 0.06, "Pear": 0.2, "Plum": 0.8, "Lime": 0.28}
    hue = sorts.get(p.kind, (0.985, 0.145, 0.24)[int(p.look.unit("sort") * 3)])
    skin = p.plain(p.look.colour(hue, 0.85, 0.82, "skin"), scale=10.0, contrast=0.85)
    return skin, Paint(p.look.colour(0.14, 0.24, 0.98)), Paint(p.look.colour(0.07, 0.6, 0.3))


@shape("Apple", "Peach", "Pear", "Plum", "Lime")
def apple(m: Mesher, p: Part) -> None:
    skin, flesh, seed = _apple_paints(p)
    if p.has("sliced"):
        return _rounds(m, p, skin, flesh, heart=seed)
    _fruit(m, p, skin, _APPLE)
    m.rod(seed, (0, 0.8 * p.h, 0), (0.08 * p.w, 1.02 * p.h, 0), 0.035 * p.w, segments=5)
    leaf = Paint(p.look.colour(0.3, 0.7, 0.5))
    m.polygon(
        leaf,
        [
            (0.05 * p.w, 0.95 * p.h, 0),
            (0.2 * p.w, 1.03 * p.h, 0.09 * p.d),
            (0.38 * p.w, 0.98 * p.h, 0),
            (0.2 * p.w, 0.97 * p.h, -0.09 * p.d),
        ],
        (0, 1, 0),
        two_sided=True,
    )
    return None


@shape("AppleSliced")
def apple_slice(m: Mesher, p: Part) -> None:
    skin, flesh, seed = _apple_paints(p)
    _wedge(m, p, skin, flesh, seed)


def _wedge(m: Mesher, p: Part, skin: Paint, flesh: Paint, seed: Paint | None) -> None:
    """A slice lying on its rind, cut face up and to the front."""
    r = max(p.w, p.d) / 2
    thick = max(0.35 * r, min(p.h, r))
    with m.frame(scale=(p.w / 2 / r, 1, p.d / 2 / r)):
        m.lathe(skin, [(0.8 * r, 0), (r, thick / 2), (0.8 * r, thick)], segments=10)
        m.disc(flesh, (0, thick, 0), 0.86 * r, segments=10)
        if seed is not None:
            for k in range(4):
                m.disc(
                    seed,
                    (0.42 * r * math.sin(1.57 * k), thick + 0.002, 0.42 * r * math.cos(1.57 * k)),
                    0.13 * r,
                    segments=5,
                )


def _tomato_paints(p: Part) -> tuple[Paint, Paint, Paint]:
    skin = Paint(p.look.colour(0.0, 0.9, 0.85, "skin"))
    return skin, Paint(p.look.colour(0.01, 0.62, 0.95)), Paint(p.look.colour(0.13, 0.65, 0.85))


@shape("Tomato")
def tomato(m: Mesher, p: Part) -> None:
    skin, flesh, seeds = _tomato_paints(p)
    if p.has("sliced"):
        return _rounds(m, p, skin, flesh, heart=seeds)
    _fruit(m, p, skin, _TOMATO)
    green = Paint(p.look.colour(0.31, 0.8, 0.42))
    for i in range(5):
        a = math.tau * i / 5
        tip = (0.62 * p.w / 2 * math.sin(a), 0.92 * p.h, 0.62 * p.d / 2 * math.cos(a))
        side = (0.16 * p.w / 2 * math.cos(a), 0, -0.16 * p.d / 2 * math.sin(a))
        top = 0.965 * p.h
        m.polygon(green, [(side[0], top, side[2]), tip, (-side[0], top, -side[2])], (0, 1, 0), two_sided=True)
    m.rod(green, (0, 0.9 * p.h, 0), (0, 1.05 * p.h, 0), 0.05 * p.w, segments=5)
    return None


@shape("TomatoSliced")
def tomato_slice(m: Mesher, p: Part) -> None:
    _wedge(m, p, *_tomato_paints(p))


def _potato_paints(p: Part) -> tuple[Paint, Paint]:
    a = p.look.colour(0.1, 0.5, 0.68, "skin")
    skin = Paint(a, dimmed(a, 0.52), p.look.pattern("stone"), 9.0)
    return skin, Paint(p.look.colour(0.14, 0.38, 0.97))


@shape("Potato")
def potato(m: Mesher, p: Part) -> None:
    skin, flesh = _potato_paints(p)
    if p.has("sliced"):
        return _rounds(m, p, skin, flesh)
    _fruit(m, p, skin, [(0, 0), (0.6, 0.08), (0.95, 0.36), (0.98, 0.6), (0.7, 0.9), (0.3, 0.99), (0, 1)], 10)
    return None


@shape("PotatoSliced")
def potato_slice(m: Mesher, p: Part) -> None:
    _wedge(m, p, *_potato_paints(p), None)


def _leaves(p: Part) -> tuple[Paint, Paint]:
    a = p.look.colour(0.27, 0.68, 0.62, "leaf")
    return Paint(a, dimmed(a, 0.56), p.look.pattern("stone"), 7.0), Paint(p.look.colour(0.2, 0.4, 0.92))


@shape("Lettuce")
def lettuce(m: Mesher, p: Part) -> None:
    leaf, heart = _leaves(p)
    if p.has("sliced"):
        return _rounds(m, p, leaf, heart)
    _fruit(m, p, leaf, [(0, 0.0), (0.55, 0.08), (0.8, 0.4), (0.72, 0.75), (0.35, 0.93), (0, 0.95)], 10)
    for i in range(9):
        with m.frame((0, 0.02 * p.h, 0), yaw=40.0 * i + 10 * p.look.jitter(f"leaf{i}")):
            w, h, r = 0.30 * p.w, (0.70 + 0.2 * (i % 3) / 2) * p.h, 0.5 * min(p.w, p.d)
            m.polygon(
                leaf,
                [
                    (-0.5 * w, 0.1 * h, 0.55 * r),
                    (0.5 * w, 0.1 * h, 0.55 * r),
                    (0.85 * w, 0.65 * h, 0.92 * r),
                    (0.4 * w, h, 1.0 * r),
                    (-0.4 * w, 0.96 * h, 1.0 * r),
                    (-0.85 * w, 0.6 * h, 0.92 * r),
                ],
                (0, 0.35, 0.94),
                two_sided=True,
            )
    return None


@shape("LettuceSliced")
def lettuce_slice(m: Mesher, p: Part) -> None:
    _wedge(m, p, *_leaves(p), None)


def _crust(p: Part) -> tuple[Paint, Paint]:
    crust = p.look.colour(0.085, 0.68, 0.58, "crust")
    return Paint(crust, dimmed(crust, 1.25), p.look.pattern("plain"), 9.0), Paint(p.look.colour(0.12, 0.30, 0.94))


def _loaf_outline(w: float, h: float) -> list[tuple[float, float]]:
    return [
        (-0.42 * w, 0),
        (0.42 * w, 0),
        (0.44 * w, 0.5 * h),
        (0.5 * w, 0.68 * h),
        (0.4 * w, 0.92 * h),
        (0.15 * w, h),
        (-0.15 * w, h),
        (-0.4 * w, 0.92 * h),
        (-0.5 * w, 0.68 * h),
        (-0.44 * w, 0.5 * h),
    ]


@shape("Bread")
def bread(m: Mesher, p: Part) -> None:
    crust, crumb = _crust(p)
    long_z = p.d >= p.w
    w, d = (p.w, p.d) if long_z else (p.d, p.w)
    with m.frame(yaw=0 if long_z else 90):
        if p.has("sliced"):
            m.prism(crust, _loaf_outline(w, p.h), -d / 2, -0.05 * d)
            _face(m, crumb, w, p.h, -0.05 * d + 0.002)
            for i in range(3):
                with m.frame((0, 0, (0.06 + 0.16 * i) * d), pitch=18 + 16 * i):
                    m.prism(crust, _loaf_outline(w, p.h), 0, 0.05 * d)
                    _face(m, crumb, w, p.h, 0.05 * d + 0.002)
            return
        m.prism(crust, _loaf_outline(w, p.h), -d / 2, d / 2)
        for i in range(3):
            z = (i - 1) * 0.27 * d
            m.box(crumb, (-0.3 * w, p.h, z - 0.02 * d), (0.3 * w, 1.01 * p.h, z + 0.02 * d), "YzZ")


def _face(m: Mesher, paint: Paint, w: float, h: float, z: float) -> None:
    m.polygon(paint, [(x * 0.88, 0.05 * h + y * 0.88, z) for x, y in _loaf_outline(w, h)], (0, 0, 1), two_sided=True)


@shape("BreadSliced")
def bread_slice(m: Mesher, p: Part) -> None:
    crust, crumb = _crust(p)
    if p.h >= 0.6 * max(p.w, p.d):
        with m.frame(yaw=0 if p.w >= p.d else 90):
            w, d = max(p.w, p.d), min(p.w, p.d)
            m.prism(crust, _loaf_outline(w, p.h), -d / 2, d / 2)
            _face(m, crumb, w, p.h, d / 2 + 0.002)
            _face(m, crumb, w, p.h, -d / 2 - 0.002)
        return
    with m.frame((0, 0, p.d / 2), pitch=-90):
        m.prism(crust, _loaf_outline(p.w, p.d), 0, p.h)
        _face(m, crumb, p.w, p.d, p.h + 0.002)


@shape("Egg")
def egg(m: Mesher, p: Part) -> None:
    if p.has("broken") or p.has("sliced"):
        return egg_cracked(m, p)
    shell = Paint(p.look.colour(0.09, 0.22, 0.95, "shell"))
    _fruit(m, p, shell, [(0, 0), (0.55, 0.06), (0.95, 0.3), (0.98, 0.48), (0.72, 0.8), (0.35, 0.96), (0, 1)], 10)
    return None


@shape("EggCracked", own_shards=True)
def egg_cracked(m: Mesher, p: Part) -> None:
    """White, yolk and two halves of the shell."""
    r = (0.38 if p.kind == "EggCracked" else 0.75) * max(p.w, p.d)
    shell = Paint(p.look.colour(0.09, 0.22, 0.95, "shell"))
    with m.frame(scale=(1.0, 1, 0.85)):
        m.lathe(p.white(0.97), [(1.25 * r, 0.001), (1.1 * r, 0.006), (0, 0.008)], segments=11)
    m.ball(
        Paint(p.look.colour(0.118, 0.9, 0.98), clean=not p.has("cooked")),
        (0, 0.012, 0),
        (0.42 * r, 0.22 * r, 0.42 * r),
        segments=10,
        rings=5,
    )
    for side in (-1, 1):
        with m.frame((side * 1.15 * r, 0.2 * r, 0.4 * r * side), roll=50.0 * side):
            m.lathe(
                shell,
                [(0, -0.35 * r), (0.35 * r, -0.2 * r), (0.42 * r, 0.12 * r), (0.3 * r, -0.1 * r), (0, -0.25 * r)],
                segments=8,
            )


shape("Egg", own_shards=True)(egg)


@shape("Banana", "Bananas")
def banana(m: Mesher, p: Part) -> None:
    yellow, tip = Paint(p.look.colour(0.145, 0.85, 0.92, "skin")), p.dark(0.2)
    count = 1 if p.kind == "Banana" else 3
    long = max(p.w, p.d)
    for i in range(count):
        with m.frame(yaw=(0 if p.w >= p.d else 90) + 22 * (i - count // 2)):
            points = [
                ((t - 0.5) * long, 0.12 * long + 0.25 * p.h, 0.22 * long * (4 * (t - 0.5) ** 2 - 0.5))
                for t in (0.02, 0.2, 0.4, 0.6, 0.8, 0.96)
            ]
            m.path(yellow, points, 0.085 * long, 6)
            m.rod(
                tip,
                points[0],
                (points[0][0] - 0.05 * long, points[0][1], points[0][2] + 0.03 * long),
                0.035 * long,
                segments=5,
            )
