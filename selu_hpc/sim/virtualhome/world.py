"""A running VirtualHome: the home and its characters, and what each request of the client does to them.

Owns the state between requests. Does not own the cameras (cameras.py), HTTP (virtualhome_server.py), how requests are
read and answers written (messages.py), rules, plans or poses.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from selu_hpc.sim.drawing.render import instance_colour
from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.virtualhome.cameras import CAMERA_ANSWERS, HomeCameras
from selu_hpc.sim.virtualhome.draft import FIRST_ID
from selu_hpc.sim.virtualhome.graph import in_order, measured, node, supports_in, with_surroundings
from selu_hpc.sim.virtualhome.homes import NUM_HOMES, NUM_PLANS, make_home
from selu_hpc.sim.virtualhome.messages import (
    Reply,
    RequestError,
    graph_of,
    json_object,
    point,
    reply,
    text_at,
    whole,
)
from selu_hpc.sim.virtualhome.places import Body, add_item
from selu_hpc.sim.virtualhome.rules import Done, Execution, ScriptError, read_script

_TURN_DEGREES = 30.0
_STEP_METRES = 0.5
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
        if action in _ANSWERS:
            return _ANSWERS[action](self, numbers, texts)
        if action in CAMERA_ANSWERS:
            return CAMERA_ANSWERS[action](self.cameras, numbers, texts)
        raise RequestError(f"unknown action {action!r}; known are {', '.join(sorted({*_ANSWERS, *CAMERA_ANSWERS}))}")

    def _load(self) -> None:
        home = make_home(self._home_number, known=self._known, skin=self._own_skin, seed=self._seed)
        self.skin, self.graph = home.skin, home.graph
        self._first = home.places
        self.places = home.places.copy()
        self.bodies: list[int] = []
        self.cameras = HomeCameras(self)

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
        rooms, people = set(self.places.rooms), set(self.bodies)
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

    def add_character(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        asked = json_object(text_at(texts, 0))
        if len(self.bodies) >= _MOST_CHARACTERS:
            raise RequestError(f"no more than {_MOST_CHARACTERS} characters fit")
        mode = asked.get("mode", "random")
        if mode == "fix_position":
            x, _, z = point(asked.get("character_position"))
            if self.places.room_at(x, z) is None:
                raise RequestError(f"({x:g}, {z:g}) lies in no room")
        else:
            x, z = self._spot(str(asked.get("initial_room") or "") if mode == "fix_room" else "")
        number = len(self.bodies) + 1
        body = Body(number, str(asked.get("character_resource", "Chars/Male1")), x, z, 0.0)
        self.places.bodies[number] = body
        self.bodies.append(number)
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
        return self.places.spot_in_room(rooms[(0 if named else len(self.bodies)) % len(rooms)])

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
        if not 0 <= index < len(self.bodies):
            raise RequestError(f"there is no character {index}; {len(self.bodies)} were added")
        return self.places.bodies[self.bodies[index]]

    def render_script(self, numbers: Sequence[Any], texts: Sequence[Any]) -> Reply:
        if not self.bodies:
            raise RequestError("No character added yet!")
        settings = json_object(text_at(texts, 0))
        try:
            script = read_script(texts[1:])
        except ScriptError as error:
            return reply(f"Error parsing script: {error}", success=False)
        before = (copy.deepcopy(self.graph), self.places.copy()) if settings.get("skip_execution") else None
        run = Execution(self.graph, len(self.bodies), find_solution=bool(settings.get("find_solution")))
        for done in run.run(script):
            self._follow(done, run)
        told = {
            str(i): {"message": f"ScriptExcutor {i}: {run.errors[i]}" if i in run.errors else "Success"}
            for i in sorted({*range(len(self.bodies)), *run.errors})
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
        body = places.bodies[self.bodies[step.character]]
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
    "point_cloud": HomeWorld.point_cloud,
}
