"""Pictures for a person to judge the renderer by: every kind with its states, in a known and an unknown skin.

python -m selu_hpc.sim.contact_sheet docs/contact-sheet.png
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from selu_hpc.sim.drawing.camera import Camera, Drawable
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.skins import NUM_KNOWN, NUM_UNKNOWN, Skin, skins, style
from selu_hpc.sim.thor.catalogue import Spec, specs
from selu_hpc.sim.thor.world import World
from selu_hpc.terminal import enter, positive

_LABEL = 14
_ALSO = frozenset({("StoveBurner", "on"), ("SinkBasin", "filled"), ("BathtubBasin", "filled")})
_LIQUIDS = {"Mug": "coffee", "Cup": "wine", "WineBottle": "wine"}


def states_of(spec: Spec) -> list[tuple[str, float, frozenset[str]]]:
    """What a kind can look like: a label, the openness and the flags."""
    out = [("", 0.0, frozenset[str]())]
    for can, label in (
        ("toggle", "on"), ("fill", "filled"), ("dirty", "dirty"), ("slice", "sliced"), ("cook", "cooked"),
        ("break", "broken"), ("useup", "used_up"), ("pick", "held"),
    ):  # fmt: skip
        if spec.can(can) or (spec.kind, label) in _ALSO:
            out.append((label, 1.0 if label == "on" and spec.kind == "Laptop" else 0.0, frozenset({label})))
    if spec.can("open"):
        out.insert(1, ("open", 1.0, frozenset()))
    return out


def portrait(
    kind: str, size: tuple[float, float, float], skin: Skin, side: int,
    *, openness: float = 0.0, flags: frozenset[str] = frozenset(), liquid: str = "", seed: int = 0, fixed: bool = False,
) -> NDArray[np.uint8]:  # fmt: skip
    """One thing before the skin's background, from the front and a little above; `fixed`: one camera for all states."""
    thing = Drawable(
        key=2, kind=kind, position=(0, 0, 0), size=size, style=style(skin, kind, seed), openness=openness, flags=flags,
        liquid=liquid,
    )  # fmt: skip
    held = "held" in flags and not fixed
    spread = 1.45 if fixed or flags & {"broken", "sliced"} or openness > 0 else 1.12
    radius = 0.5 * math.dist((0, 0, 0), size) * spread + (0.06 if held else 0.0)
    distance = radius / math.tan(math.radians(17))
    pitch, yaw = (28.0, 205.0)
    sy, cy, sp, cp = (f(math.radians(a)) for a in (yaw, pitch) for f in (math.sin, math.cos))
    centre = 0.5 * size[1] - (0.05 if held else 0.0)
    camera = Camera(
        position=(-distance * sy * cp, centre + distance * sp, -distance * cy * cp), yaw=yaw, pitch=pitch, fov=36
    )
    return render([thing], camera, width=side, height=side, skin=skin).rgb


def sheet(pictures: Sequence[tuple[str, NDArray[np.uint8]]], columns: int) -> Image.Image:
    """Pictures in rows with their labels below."""
    side = pictures[0][1].shape[0]
    rows = -(-len(pictures) // columns)
    out = Image.new("RGB", (columns * side, rows * (side + _LABEL)), "white")
    pen = ImageDraw.Draw(out)
    for number, (label, picture) in enumerate(pictures):
        x, y = number % columns * side, number // columns * (side + _LABEL)
        out.paste(Image.fromarray(picture), (x, y))
        pen.text((x + 2, y + side + 1), label, fill="black")
    return out


def all_portraits(skin: Skin, side: int, kinds: Sequence[str]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Every kind in every state."""
    out = []
    for kind in kinds:
        spec = specs()[kind]
        for label, openness, flags in states_of(spec):
            liquid = _LIQUIDS.get(kind, "water") if "filled" in flags else ""
            picture = portrait(kind, spec.size, skin, side, openness=openness, flags=flags, liquid=liquid)
            out.append((f"{kind} {label}", picture))
    return out


def room_views(side: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """Four kinds of rooms in both worlds, through the agent's eyes and from behind it."""
    out = []
    for scene in ("FloorPlan3", "FloorPlan207", "FloorPlan310", "FloorPlan415"):
        for known in (True, False):
            world = World(scene, known=known)
            eyes = world.agents[0].camera()
            ahead, aside = (np.array([math.sin(a), 0, math.cos(a)]) for a in np.radians([eyes.yaw, eyes.yaw + 90]))
            x, y, z = np.array(eyes.position) - 1.6 * ahead + 0.5 * aside + (0, 0.6, 0)
            behind = Camera(position=(float(x), float(y), float(z)), yaw=eyes.yaw - 8, pitch=28, fov=75)
            for label, agent, camera in (("first person", 0, eyes), ("third person", None, behind)):
                picture = render(world.drawables(agent), camera, width=side, height=side, skin=world.skin).rgb
                out.append((f"{scene} {world.skin.name} {label}", picture))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--rooms", type=Path, help="second PNG file: rooms in both worlds")
    parser.add_argument("--side", type=positive, default=80, help="size of one picture in pixels")
    parser.add_argument("--columns", type=positive, default=20)
    parser.add_argument("--kinds", nargs="+", metavar="KIND", choices=sorted(specs()), default=sorted(specs()))
    both = range(min(NUM_KNOWN, NUM_UNKNOWN))
    parser.add_argument(
        "--skin", type=int, metavar="N", choices=both, default=3, help="number of the known and of the unknown skin"
    )
    options = parser.parse_args(argv)
    for file in (options.out, options.rooms):
        if file is not None and file.suffix.lower() != ".png":
            parser.error(f"{file}: give a name that ends in .png")
        if file is not None and not file.parent.is_dir():
            parser.error(f"{file}: there is no folder {file.parent}; make it, or give another place")
    pictures = []
    for known in (True, False):
        pictures += all_portraits(skins(known)[options.skin], options.side, options.kinds)
    sheet(pictures, options.columns).save(options.out, optimize=True)
    if options.rooms is not None:
        sheet(room_views(300), 4).save(options.rooms, optimize=True)
    return 0


if __name__ == "__main__":
    enter(main)
