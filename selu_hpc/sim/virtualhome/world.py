"""A running VirtualHome: the home, its characters and cameras, and what each request of the client does to them.

Owns the state between requests. Does not own HTTP (virtualhome_server.py), how requests are read and answers written
(messages.py), rules, plans, poses or pictures.
"""

from __future__ import annotations

import base64
import copy
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from selu_hpc.sim.drawing.camera import Camera, Images
from selu_hpc.sim.drawing.render import class_colour, instance_colour, paint_ids, render
from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.virtualhome.graph import in_order, measured, node, supports_in, with_surroundings
from selu_hpc.sim.virtualhome.homes import FIRST_ID, NUM_HOMES, NUM_PLANS, make_home
from selu_hpc.sim.virtualhome.messages import (
    Reply,
    RequestError,
    character_camera,
    graph_of,
    json_object,
    point,
    reply,
    scene_camera,
    text_at,
    whole,
)
from selu_hpc.sim.virtualhome.places import Body, add_item
from selu_hpc.sim.virtualhome.rules import Done, Execution, ScriptError, read_script
from selu_hpc.sim.virtualhome.view import (
    CHARACTER_CAMERAS,
    body_camera,
    camera_matrices,
    drawables,
    room_cameras,
)

_TURN_DEGREES = 30.0
_STEP_METRES = 0.5
_MODES = ("normal", "albedo", "seg_inst", "seg_class", "depth")
_MOST_PIXELS = 4096 * 4096
_MOST_CHARACTERS = FIRST_ID - 1


class HomeWorld:
    """The simulator behind one port."""

    def __init__(self, *, known: bool, skin: Skin | None = None) -> None:
        self._known = known
        self._own_skin = skin
        self._home_number = 0
        self._seed: int | None = None
        self._load()

    def handle(self, action: str, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """Answer one request; raises RequestError for what cannot be done."""
        answer = _ANSWERS.get(action)
        if answer is None:
            raise RequestError(f"unknown action {action!r}; known are {', '.join(sorted(_ANSWERS))}")
        return answer(self, numbers, texts)

    # --- loading ---

    def _load(self) -> None:
        home = make_home(self._home_number, known=self._known, skin=self._own_skin, seed=self._seed)
        self.skin, self.graph = home.skin, home.graph
        self._first = home.places
        self.places = home.places.copy()
        self._cameras = room_cameras(self.places)
        self._character_cameras = dict(CHARACTER_CAMERAS)
        self._bodies: list[int] = []

    def reset(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        if numbers:
            number = whole(numbers[0])
            if not 0 <= number < NUM_HOMES:
                raise RequestError(f"there is no environment {number}; choose 0 to {NUM_HOMES - 1}")
            self._home_number, self._seed = number, None
        self._load()
        return reply()

    def generate(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        seed = whole(numbers[0]) if numbers else 0
        self._home_number, self._seed = seed % NUM_PLANS, seed
        self._load()
        return reply()

    def fine(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """For requests that change nothing here: clearing, time of day, physics, terrain."""
        return reply()

    # --- graph ---

    def environment_graph(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        return reply(json.dumps(measured(self.graph, self.places), separators=(",", ":")))

    def instance_colors(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        return reply(
            json.dumps({str(n["id"]): [c / 255 for c in instance_colour(n["id"])] for n in self.graph["nodes"]})
        )

    def expand_scene(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """Take the given graph for the scene: states, places, added and removed things."""
        graph = graph_of(text_at(texts, 1))
        have = {n["id"] for n in self.graph["nodes"]}
        given = {n["id"] for n in graph["nodes"]}
        rooms, people = set(self.places.rooms), set(self._bodies)
        missing = (rooms | people) - given
        if missing:
            raise RequestError(
                json.dumps({"missing": sorted(missing), "hint": "rooms and characters must stay in the graph"})
            )
        for number in have - given:
            self.places.items.pop(number, None)
        boxed = {n["id"]: n for n in self.graph["nodes"]}
        self.graph = in_order(graph)
        self._place_added(given - have)
        self.places.settle(supports_in(self.graph, self.places))
        for n in self.graph["nodes"]:
            if n.get("bounding_box") is None:
                item = self.places.items.get(n["id"])
                n["bounding_box"] = item.bounds() if item else boxed.get(n["id"], {}).get("bounding_box")
        return reply("{}")

    def _place_added(self, added: set[int]) -> None:
        supports = supports_in(self.graph, self.places)
        room = next(iter(self.places.rooms))
        for n in self.graph["nodes"]:
            if n["id"] in added and n["class_name"] != "character":
                add_item(self.places, n["id"], n["class_name"], supports.get(n["id"], ("ROOM", room)))

    # --- characters ---

    def add_character(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        if len(self._bodies) >= _MOST_CHARACTERS:
            raise RequestError(f"no more than {_MOST_CHARACTERS} characters fit")
        mode = asked.get("mode", "random")
        if mode == "fix_position":
            x, _, z = point(asked.get("character_position"))
            if self.places.room_at(x, z) is None:
                raise RequestError(f"({x:g}, {z:g}) lies in no room")
        else:
            x, z = self._spot(str(asked.get("initial_room") or "") if mode == "fix_room" else "")
        number = len(self._bodies) + 1
        body = Body(number, str(asked.get("character_resource", "Chars/Male1")), x, z, 0.0)
        self.places.bodies[number] = body
        self._bodies.append(number)
        room = self.places.room_at(x, z)
        assert room is not None
        person = node(number, "character", "Characters", [], body.bounds()) | {
            "prefab_name": body.resource,
            "properties": [],
        }
        self.graph = in_order({"nodes": [*self.graph["nodes"], person], "edges": list(self.graph["edges"])})
        self.graph = with_surroundings(self.graph, self.places, body)
        return reply()

    def _spot(self, room_name: str) -> tuple[float, float]:
        """The middle of a room of that name, or of rooms in turn."""
        named = [n["id"] for n in self.graph["nodes"] if n["id"] in self.places.rooms and n["class_name"] == room_name]
        rooms = named or sorted(self.places.rooms)
        if room_name and not named:
            raise RequestError(f"this home has no {room_name}")
        return self.places.spot_in_room(rooms[(0 if named else len(self._bodies)) % len(rooms)])

    def move_character(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        body = self._body(whole(asked.get("char_index", 0)))
        x, _, z = point(asked.get("character_position"))
        if self.places.room_at(x, z) is None:
            raise RequestError(f"({x:g}, {z:g}) lies in no room")
        body.x, body.z, body.seat, body.y = x, z, 0, 0.0
        self.graph = with_surroundings(self.graph, self.places, body)
        self.places.carry()
        return reply()

    def _body(self, index: int) -> Body:
        if not 0 <= index < len(self._bodies):
            raise RequestError(f"there is no character {index}; {len(self._bodies)} were added")
        return self.places.bodies[self._bodies[index]]

    # --- scripts ---

    def render_script(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        if not self._bodies:
            raise RequestError("No character added yet!")
        settings = json_object(text_at(texts, 0))
        try:
            script = read_script(texts[1:])
        except ScriptError as error:
            return reply(f"Error parsing script: {error}", success=False)
        before = (copy.deepcopy(self.graph), self.places.copy()) if settings.get("skip_execution") else None
        run = Execution(self.graph, len(self._bodies), find_solution=bool(settings.get("find_solution")))
        for done in run.run(script):
            self._follow(done, run)
        told = {
            str(i): {"message": f"ScriptExcutor {i}: {run.errors[i]}" if i in run.errors else "Success"}
            for i in sorted({*range(len(self._bodies)), *run.errors})
        }
        if before is not None:
            self.graph, self.places = before
        return reply(json.dumps(told), success=not run.errors)

    def check_script(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """Whether a script could be executed now; nothing changes."""
        return self.render_script(numbers, [json.dumps({"skip_execution": True}), *texts])

    def _follow(self, done: Done, run: Execution) -> None:
        """Bring poses, and for Unity's own steps the graph, up to date with one executed step."""
        step, places = done.step, self.places
        body = places.bodies[self._bodies[step.character]]
        target = done.objects[-1] if done.objects else 0
        match step.action:
            case "TURNLEFT" | "TURNRIGHT":
                body.yaw = (body.yaw + (_TURN_DEGREES if step.action == "TURNRIGHT" else -_TURN_DEGREES)) % 360
            case "WALKFORWARD" | "WALKBACKWARD":
                if body.seat or not places.step(body, _STEP_METRES if step.action == "WALKFORWARD" else -_STEP_METRES):
                    run.errors[step.character] = "the character sits" if body.seat else "the way is blocked"
                else:
                    self.graph = with_surroundings(self.graph, self.places, body)
                    run.replace(self.graph)
            case _:
                self.graph = done.graph
                self._pose(step.action, body, target)
        places.settle(supports_in(self.graph, self.places), body)

    def _pose(self, action: str, body: Body, target: int) -> None:
        places = self.places
        if action in ("WALK", "RUN", "FIND"):
            places.walk_to(body, target)
        elif action in ("SIT", "LIE"):
            places.sit_on(body, target)
        elif action in ("STANDUP", "WAKEUP") and body.seat:
            places.stand_up(body)
        elif target in places.items and not body.seat and places.items[target].support[1] != body.number:
            places.face(body, places.items[target].x, places.items[target].z)

    # --- cameras ---

    def add_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        self._cameras.append(scene_camera(json_object(text_at(texts, 0))))
        return reply(f"New camera created. Id:{len(self._cameras) - 1}")

    def update_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        index = whole(numbers[0]) if numbers else -1
        if not 0 <= index < len(self._cameras):
            raise RequestError(f"The camera index is not valid, there are only {len(self._cameras)} cameras")
        self._cameras[index] = scene_camera(json_object(text_at(texts, 0)))
        return reply("Camera updated")

    def add_character_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        name = str(asked.get("camera_name", "new_camera"))
        if self._bodies:
            raise RequestError("Error: you should add these cameras before defining the characters")
        if name in self._character_cameras:
            raise RequestError("Error: a camera with this name already exists")
        self._character_cameras[name] = character_camera(asked)
        return reply(f"New camera defined with name: {name}")

    def update_character_camera(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        name = str(asked.get("camera_name", ""))
        if name not in self._character_cameras:
            raise RequestError("Error: camera does not exist.")
        self._character_cameras[name] = character_camera(asked)
        return reply("Camera successfully updated.")

    def camera_count(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        return reply(value=len(self._cameras) + len(self._bodies) * len(self._character_cameras))

    def character_cameras(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        return reply(json.dumps(list(self._character_cameras)))

    def camera_data(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        cameras = [(i, *self._camera(i)) for i in map(whole, numbers)]
        return reply(json.dumps([camera_matrices(i, name, camera) for i, name, camera, _ in cameras]))

    def _camera(self, index: int) -> tuple[str, Camera, int | None]:
        """A camera's name, where it is now, and the body that does not see itself in it."""
        if 0 <= index < len(self._cameras):
            return str(index), self._cameras[index], None
        character, which = divmod(index - len(self._cameras), len(self._character_cameras))
        if index < 0 or character >= len(self._bodies):
            raise RequestError("Invalid parameters")
        name, camera = list(self._character_cameras.items())[which]
        body = self.places.bodies[self._bodies[character]]
        inside = abs(camera.position[0]) < 0.2 and abs(camera.position[2]) < 0.2
        return name, body_camera(self.places, body, camera), body.number if inside else None

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
        cameras = [self._camera(whole(index)) for index in numbers]
        pictures = []
        for _, camera, without in cameras:
            seen = drawables(self.places, self.graph, self.skin, camera, without=without)
            pictures.append(self._encoded(render(seen, camera, width=width, height=height, skin=self.skin), mode))
        return reply(images=pictures)

    def _encoded(self, images: Images, mode: str) -> str:
        """A PNG in base64; depth in millimetres as 16-bit grey."""
        if mode == "depth":
            picture = Image.fromarray(np.clip(images.depth * 1000, 0, 65535).astype(np.uint16))
        elif mode in ("seg_inst", "seg_class"):
            names = {n["id"]: n["class_name"] for n in self.graph["nodes"]}
            colours = {i: instance_colour(i) if mode == "seg_inst" else class_colour(name) for i, name in names.items()}
            picture = Image.fromarray(paint_ids(images.ids, colours))
        else:
            picture = Image.fromarray(images.rgb)
        out = io.BytesIO()
        picture.save(out, "PNG", compress_level=1)
        return base64.b64encode(out.getvalue()).decode()

    def observation(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """Ids and class names of what a camera sees."""
        _, camera, without = self._camera(whole(numbers[0]) if numbers else -1)
        seen = drawables(self.places, self.graph, self.skin, camera, without=without)
        ids = set(np.unique(render(seen, camera, width=300, height=300, skin=self.skin).ids).tolist())
        names = {str(n["id"]): n["class_name"] for n in self.graph["nodes"] if n["id"] in ids}
        return reply(json.dumps(names))

    def point_cloud(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        """Each thing's box by its eight corners."""
        clouds = []
        for item in self.places.items.values():
            box = item.bounds()
            corners = [
                [c + s * e / 2 for c, s, e in zip(box["center"], signs, box["size"], strict=True)]
                for signs in ((a, b, d) for a in (-1, 1) for b in (-1, 1) for d in (-1, 1))
            ]
            clouds.append({"id": item.number, "class_name": item.cls.name, "points": corners})
        return reply(json.dumps(clouds))


_ANSWERS: dict[str, Callable[[HomeWorld, Sequence[Any], Sequence[Any]], Reply]] = {
    "idle": HomeWorld.fine,
    "clear": HomeWorld.fine,
    "clear_procedural": HomeWorld.fine,
    "set_time": HomeWorld.fine,
    "activate_physics": HomeWorld.fine,
    "remove_terrain": HomeWorld.fine,
    "environment": HomeWorld.reset,
    "fast_reset": HomeWorld.reset,
    "procedural_generation": HomeWorld.generate,
    "environment_graph": HomeWorld.environment_graph,
    "instance_colors": HomeWorld.instance_colors,
    "expand_scene": HomeWorld.expand_scene,
    "add_character": HomeWorld.add_character,
    "move_character": HomeWorld.move_character,
    "render_script": HomeWorld.render_script,
    "check_script": HomeWorld.check_script,
    "add_camera": HomeWorld.add_camera,
    "update_camera": HomeWorld.update_camera,
    "add_character_camera": HomeWorld.add_character_camera,
    "update_character_camera": HomeWorld.update_character_camera,
    "camera_count": HomeWorld.camera_count,
    "character_cameras": HomeWorld.character_cameras,
    "camera_data": HomeWorld.camera_data,
    "camera_image": HomeWorld.camera_image,
    "observation": HomeWorld.observation,
    "point_cloud": HomeWorld.point_cloud,
}
