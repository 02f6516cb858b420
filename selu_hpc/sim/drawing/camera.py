"""What a world hands to the renderer and what it gets back: the seam between state and pixels.

Axes are Unity's: x right, y up, z forward, left-handed; yaw 0 looks along +z and 90 along +x; metres and degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawable:
    """One thing to draw: an object, a wall, the floor, the agent's body, a hand's content.

    key: instance number ≥ 1, written into the ids image; 0 is "nothing".
    kind: what it is, THOR's object type or "Wall", "Floor", "Ceiling", "Agent"; shapes/ turns it into a mesh.
    position: centre of the bounding box's bottom face.  size: full extents (x, y, z) before rotation.
    style: which of the kind's looks (shape variant, colours, texture); skins.py makes it from a skin and a seed.
    openness: 0 closed … 1 open.
    flags: any of "held", "broken", "sliced", "on", "filled", "dirty", "cooked", "used_up".
    liquid: what fills it ("water", "coffee", "wine") or empty.
    """

    key: int
    kind: str
    position: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float = 0.0
    style: int = 0
    openness: float = 0.0
    flags: frozenset[str] = frozenset()
    liquid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A pinhole camera; pitch is positive downwards (THOR's cameraHorizon), fov is vertical."""

    position: tuple[float, float, float]
    yaw: float
    pitch: float = 0.0
    fov: float = 90.0
    near: float = 0.05
    far: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture to draw."""

    drawables: Sequence[Drawable]
    camera: Camera
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """One view, top row first.

    rgb: uint8 (H, W, 3).  depth: float32 (H, W), metres along the viewing axis, `far` where nothing is.
    ids: int32 (H, W), the `key` of what is seen, 0 for nothing.
    """

    rgb: NDArray[np.uint8] = field(repr=False)
    depth: NDArray[np.float32] = field(repr=False)
    ids: NDArray[np.int32] = field(repr=False)
