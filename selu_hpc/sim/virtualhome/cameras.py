"""The cameras of a running home: those that stand in it, those every character carries, and the requests about both.

Owns which cameras there are and the pictures as they are sent. Does not own where a camera looks from (view.py), how
requests are read and answers written (messages.py), or the home (world.py).
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from selu_hpc.sim.drawing.camera import Camera, Images
from selu_hpc.sim.drawing.render import class_colour, instance_colour, paint_ids, render
from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.virtualhome.graph import Graph
from selu_hpc.sim.virtualhome.messages import (
    Reply,
    RequestError,
    character_camera,
    json_object,
    reply,
    scene_camera,
    text_at,
    whole,
)
from selu_hpc.sim.virtualhome.places import Places
from selu_hpc.sim.virtualhome.view import CHARACTER_CAMERAS, body_camera, camera_matrices, drawables, room_cameras

_MODES = ("normal", "albedo", "seg_inst", "seg_class", "depth")
_MOST_PIXELS = 4096 * 4096


class Filmed(Protocol):
    """What cameras see of a running home. bodies: the characters' ids in the order they came."""

    skin: Skin
    graph: Graph
    places: Places
    bodies: list[int]


class HomeCameras:
    """A home's cameras are numbered: those that stand in it first, then each character's."""

    def __init__(self, home: Filmed) -> None:
        self._home = home
        self._standing = room_cameras(home.places)
        self._carried = dict(CHARACTER_CAMERAS)

    def find(self, index: int) -> tuple[str, Camera, int | None]:
        """A camera's name, where it is now, and the body that does not see itself in it."""
        if 0 <= index < len(self._standing):
            return str(index), self._standing[index], None
        character, which = divmod(index - len(self._standing), len(self._carried))
        if index < 0 or character >= len(self._home.bodies):
            raise RequestError("Invalid parameters")
        name, camera = list(self._carried.items())[which]
        body = self._home.places.bodies[self._home.bodies[character]]
        inside = abs(camera.position[0]) < 0.2 and abs(camera.position[2]) < 0.2
        return name, body_camera(self._home.places, body, camera), body.number if inside else None

    def add_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        self._standing.append(scene_camera(json_object(text_at(texts, 0))))
        return reply(f"New camera created. Id:{len(self._standing) - 1}")

    def update_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        index = whole(numbers[0]) if numbers else -1
        if not 0 <= index < len(self._standing):
            raise RequestError(f"The camera index is not valid, there are only {len(self._standing)} cameras")
        self._standing[index] = scene_camera(json_object(text_at(texts, 0)))
        return reply("Camera updated")

    def add_character_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        name = str(asked.get("camera_name", "new_camera"))
        if self._home.bodies:
            raise RequestError("Error: you should add these cameras before defining the characters")
        if name in self._carried:
            raise RequestError("Error: a camera with this name already exists")
        self._carried[name] = character_camera(asked)
        return reply(f"New camera defined with name: {name}")

    def update_character_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        name = str(asked.get("camera_name", ""))
        if name not in self._carried:
            raise RequestError("Error: camera does not exist.")
        self._carried[name] = character_camera(asked)
        return reply("Camera successfully updated.")

    def camera_count(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        return reply(value=len(self._standing) + len(self._home.bodies) * len(self._carried))

    def character_cameras(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        return reply(json.dumps(list(self._carried)))

    def camera_data(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        cameras = [(i, *self.find(i)) for i in map(whole, numbers)]
        return reply(json.dumps([camera_matrices(i, name, camera) for i, name, camera, _ in cameras]))

    def camera_image(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        mode = str(asked.get("mode", "normal"))
        width, height = whole(asked.get("image_width", 640)), whole(asked.get("image_height", 480))
        if mode not in _MODES:
            raise RequestError(
                f"The current camera mode does not exist: {mode[:40]!r}; the stand-in has {', '.join(_MODES)}"
            )
        if not (width >= 1 and height >= 1 and width * height <= _MOST_PIXELS):
            raise RequestError(f"cannot draw {width} x {height} pixels")
        cameras = [self.find(whole(index)) for index in numbers]
        pictures = []
        for _, camera, without in cameras:
            images = self._shoot(camera, without, width, height)
            pictures.append(_encoded(images, mode, self._home.graph))
        return reply(images=pictures)

    def observation(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """Ids and class names of what a camera sees."""
        _, camera, without = self.find(whole(numbers[0]) if numbers else -1)
        ids = set(np.unique(self._shoot(camera, without, 300, 300).ids).tolist())
        names = {str(n["id"]): n["class_name"] for n in self._home.graph["nodes"] if n["id"] in ids}
        return reply(json.dumps(names))

    def _shoot(self, camera: Camera, without: int | None, width: int, height: int) -> Images:
        home = self._home
        seen = drawables(home.places, home.graph, home.skin, camera, without=without)
        return render(seen, camera, width=width, height=height, skin=home.skin)


def _encoded(images: Images, mode: str, graph: Graph) -> str:
    """A PNG in base64; depth in millimetres as 16-bit grey."""
    if mode == "depth":
        picture = Image.fromarray(np.clip(images.depth * 1000, 0, 65535).astype(np.uint16))
    elif mode in ("seg_inst", "seg_class"):
        names = {n["id"]: n["class_name"] for n in graph["nodes"]}
        colours = {i: instance_colour(i) if mode == "seg_inst" else class_colour(name) for i, name in names.items()}
        picture = Image.fromarray(paint_ids(images.ids, colours))
    else:
        picture = Image.fromarray(images.rgb)
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue()).decode()


CAMERA_ANSWERS: dict[str, Callable[[HomeCameras, Sequence[Any], Sequence[Any]], Reply]] = {
    "add_camera": HomeCameras.add_camera,
    "update_camera": HomeCameras.update_camera,
    "add_character_camera": HomeCameras.add_character_camera,
    "update_character_camera": HomeCameras.update_character_camera,
    "camera_count": HomeCameras.camera_count,
    "character_cameras": HomeCameras.character_cameras,
    "camera_data": HomeCameras.camera_data,
    "camera_image": HomeCameras.camera_image,
    "observation": HomeCameras.observation,
}
