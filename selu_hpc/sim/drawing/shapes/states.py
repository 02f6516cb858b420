"""States that look alike on every kind: dirt, burns, shards, and the hand that holds a thing."""

from __future__ import annotations

import math

from selu_hpc.sim.drawing.shapes.build import Mesher, Paint
from selu_hpc.sim.drawing.shapes.part import Part


def prepare(m: Mesher, p: Part) -> None:
    """Set the mesher up so that everything drawn is dirty or cooked."""
    if p.has("cooked") and p.kind.startswith("Egg"):
        m.darken = 0.92
        m.overlay = Paint((0, 0, 0), p.look.colour(0.08, 0.75, 0.42), p.look.pattern("burn"), 6.0)
    elif p.has("cooked"):
        m.darken = 0.5
        m.overlay = Paint((0, 0, 0), p.look.colour(0.06, 0.7, 0.13), p.look.pattern("burn"), 5.0)
    if p.has("dirty"):
        spread = max(p.w, p.d)
        m.overlay = Paint((0, 0, 0), p.look.colour(0.08, 0.75, 0.2), p.look.pattern("stain"), max(0.8, 0.9 / spread))


def shards(m: Mesher, p: Part) -> None:
    """A heap of pointed pieces around the place of the thing."""
    reach = max(p.w, p.d, 0.10)
    rise = 0.75 * min(max(p.h, 0.08), reach)
    tones = [p.plain(p.look.free("body", value=0.8)), p.white(), p.plain(p.look.free("body", value=0.5))]
    for i in range(13):
        angle = 2.399963 * i + p.look.jitter(f"shard{i}")
        distance = reach * (0.10 + 0.55 * math.sqrt((i + 0.5) / 13))
        length = reach * (0.34 + 0.12 * p.look.jitter(f"length{i}"))
        with m.frame(
            (distance * math.sin(angle), 0, distance * math.cos(angle)), yaw=97.0 * i, roll=35 * p.look.jitter(f"r{i}")
        ):
            tip = rise * (0.25 + 0.75 * ((i * 5) % 13) / 12) * (1.2 - distance / reach)
            m.prism(tones[i % 3], [(-length / 2, 0), (length / 2, 0.1 * tip), (0.15 * length, tip)], -0.012, 0.012)


def hand(m: Mesher, p: Part) -> None:
    """A hand that holds the thing from below, fingers at its sides, on a sleeved forearm."""
    skin = p.plain(p.look.colour(0.065, 0.42, 0.86), scale=8.0)
    sleeve = p.plain(p.look.colour(0.62, 0.5, 0.42))
    grip = min(max(p.w, p.d) / 2, 0.09)
    palm = max(0.035, 0.7 * grip)
    finger = min(0.035, 0.004 + 0.35 * p.h)
    m.box(skin, (-palm, -0.028, -palm), (palm, -0.002, palm))
    for x in (-0.7, -0.2, 0.3, 0.8):
        m.rod(skin, (x * palm, -0.012, palm), (x * palm, finger, palm + 0.012), 0.011, 0.009, 5)
    m.rod(skin, (-palm, -0.012, 0.0), (-palm - 0.012, finger, 0.01), 0.013, 0.01, 5)
    m.rod(skin, (palm, -0.012, 0.0), (palm + 0.012, finger, 0.01), 0.013, 0.01, 5)
    m.rod(skin, (0, -0.02, -0.4 * palm), (0, -0.11, -0.02 - palm), 0.026, 0.03, 8)
    m.rod(sleeve, (0, -0.10, -0.02 - palm), (0, -0.30, -0.11 - palm), 0.042, 0.055, 8)
