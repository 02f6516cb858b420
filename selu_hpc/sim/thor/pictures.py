"""From a world to the bytes of an event's pictures: colours, depth, segmentation, normals, for every camera.

Owns which pictures an event has and how they are laid out for the client (bottom row first). Does not own rendering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selu_hpc.sim.drawing.camera import Camera, Images, View
from selu_hpc.sim.drawing.film import Film
from selu_hpc.sim.drawing.pixels import opaque
from selu_hpc.sim.drawing.render import class_colour, instance_colour, paint_ids, render_views
from selu_hpc.sim.thor.agent import FAR
from selu_hpc.sim.thor.world import AGENT_KEY, ThirdPartyCamera, World

_ORTHOGRAPHIC_FOV = 2.0
_OLD_NAMES = {"renderObjectImage": "renderInstanceSegmentation", "renderClassImage": "renderSemanticSegmentation"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pictures an event has."""

    image: bool = True
    depth: bool = False
    instances: bool = False
    classes: bool = False
    normals: bool = False

    @property
    def segmentation(self) -> bool:
        return self.instances or self.classes

    @property
    def any(self) -> bool:
        return self.image or self.depth or self.segmentation or self.normals


@dataclass(frozen=True, slots=True)
class PackedView:
    """One camera's pictures as bytes; None for what is not wanted."""

    image: bytes | None = None
    depth: bytes | None = None
    normals: bytes | None = None
    classes: bytes | None = None
    instances: bytes | None = None


def wanted(world: World, message: dict[str, Any], *, headless: bool) -> Wanted:
    """What Initialize asked for, changed by what this action asks for."""
    if headless:
        return Wanted(image=False)
    flags = dict(world.settings.render)
    for key, value in message.items():
        if isinstance(key, str) and key.startswith("render") and isinstance(value, bool):
            flags[_OLD_NAMES.get(key, key)] = value
    return Wanted(
        image=flags.get("renderImage", True),
        depth=flags.get("renderDepthImage", False),
        instances=flags.get("renderInstanceSegmentation", False),
        classes=flags.get("renderSemanticSegmentation", False),
        normals=flags.get("renderNormalsImage", False),
    )


def views(world: World, want: Wanted) -> tuple[list[PackedView], list[PackedView]]:
    """What every agent sees, and what every third-party camera sees."""
    num = len(world.agents)
    if not want.any:
        return [PackedView()] * num, [PackedView()] * len(world.third_party_cameras)
    width, height = world.screen
    asked, pushed = [], []
    for agent in world.agents:
        asked.append(View(drawables=world.drawables(agent.agent_id), camera=agent.camera(), width=width, height=height))
        pushed.append(0.0)
    for camera in world.third_party_cameras:
        drawables, shot, back = world.drawables(None), camera.camera(), 0.0
        if camera.orthographic:
            shot, back = _orthographic(camera)
            drawables = [d for d in drawables if d.kind != "Ceiling"]
        asked.append(View(drawables=drawables, camera=shot, width=width, height=height))
        pushed.append(back)
    names = [("agent", i) for i in range(num)] + [("camera", i) for i in range(len(world.third_party_cameras))]
    films = [world.films.setdefault(name, Film()) for name in names]
    drawn = render_views(asked, skin=world.look, films=films)
    out = []
    for i, (view, images, back) in enumerate(zip(asked, drawn, pushed, strict=True)):
        if back:
            images = replace(images, depth=np.clip(images.depth - np.float32(back), 0, FAR))
        out.append(_view(world, images, view.camera, want, rgba=i >= num))
    return out[:num], out[num:]


def _orthographic(camera: ThirdPartyCamera) -> tuple[Camera, float]:
    """A camera so far away that its rays are nearly parallel."""
    far = camera.orthographic_size / math.tan(math.radians(_ORTHOGRAPHIC_FOV / 2))
    pitch, yaw = math.radians(camera.rotation[0]), math.radians(camera.rotation[1])
    forward = (math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch))
    x, y, z = (camera.position[i] - forward[i] * far for i in range(3))
    shot = Camera(
        position=(x, y, z),
        yaw=camera.rotation[1],
        pitch=camera.rotation[0],
        fov=_ORTHOGRAPHIC_FOV,
        near=far + 0.05,
        far=far + FAR,
    )
    return shot, far


def _view(world: World, images: Images, camera: Camera, want: Wanted, *, rgba: bool) -> PackedView:
    by_key = world.by_key
    return PackedView(
        image=_colour(images.rgb, rgba) if want.image else None,
        depth=np.ascontiguousarray(images.depth[::-1]).tobytes() if want.depth else None,
        normals=opaque(_normals(images.depth, camera)) if want.normals else None,
        instances=opaque(paint_ids(images.ids, _colours(world))) if want.instances else None,
        classes=opaque(_painted(images.ids, {k: class_colour(t.kind) for k, t in by_key.items()}))
        if want.classes
        else None,
    )


def _colours(world: World) -> dict[int, tuple[int, int, int]]:
    """By key: an object's own colour, a structural part's type's."""
    found = {key: class_colour(t.kind) if t.structural else instance_colour(key) for key, t in world.by_key.items()}
    return {**found, **_agents(world)}


def _painted(ids: NDArray[np.int32], colours: dict[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    agents = {int(key): class_colour("Agent") for key in np.unique(ids) if int(key) not in colours and key > 0}
    return paint_ids(ids, {**colours, **agents})


def _agents(world: World) -> dict[int, tuple[int, int, int]]:
    return {AGENT_KEY + a.agent_id: class_colour("Agent") for a in world.agents}


def _colour(rgb: NDArray[np.uint8], rgba: bool) -> bytes:
    return opaque(rgb) if rgba else rgb[::-1].tobytes()


def _normals(depth: NDArray[np.float32], camera: Camera) -> NDArray[np.uint8]:
    """Surface directions in the camera's frame, from the depth of neighbours."""
    height, width = depth.shape
    tan_y = math.tan(math.radians(camera.fov) / 2)
    u = ((np.arange(width) + 0.5) / width * 2 - 1) * tan_y * width / height
    v = (1 - (np.arange(height) + 0.5) / height * 2) * tan_y
    points = np.stack([u[None, :] * depth, v[:, None] * depth, depth], -1)
    normal = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    normal = np.where(normal[..., 2:3] > 0, -normal, normal)
    return ((normal * 0.5 + 0.5) * 255).astype(np.uint8)
