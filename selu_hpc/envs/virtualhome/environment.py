"""VirtualHome as an environment: words in, two pictures out, through the official `UnityCommunication`.

Owns what a command does in VirtualHome's scripts, how an episode starts and which cameras are looked through. Does
not own the process (process.py) or the shims the old client needs (client.py).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from selu_hpc.config import Backend, EnvConfig, Simulator
from selu_hpc.envs import camera
from selu_hpc.envs.base import NEAR_START, Observation, StartRefusedError
from selu_hpc.envs.language import Command
from selu_hpc.envs.spoken import SpokenEnvironment
from selu_hpc.envs.virtualhome.rules import refusal
from selu_hpc.envs.virtualhome.state import (
    ROOMS,
    Graph,
    HomeInventory,
    Node,
    close_to,
    filmable,
    free_ground,
    goals_that_hold,
    held,
    meant,
    rooms_of,
    sitting_on,
)
from selu_hpc.errors import SimulatorError
from selu_hpc.records import FrameHWC, Goal, Task, derive_seed

CHARACTER = "Chars/Female1"
FIRST_PERSON = "FIRST_PERSON"
LONGEST_ERROR = 300
MOST_TURNS = 11
"""Turns to the left, of which twelve make a circle, that an episode may start with."""
HALF_TURN = 6

_MOVES = {
    "move ahead": "walkforward",
    "move back": "walkbackward",
    "turn left": "turnleft",
    "turn right": "turnright",
    "stand up": "standup",
}
_ON_OBJECTS = {
    "walk to": "walk",
    "grab": "grab",
    "open": "open",
    "close": "close",
    "sit on": "sit",
    "switch on": "switchon",
    "switch off": "switchoff",
}


class Client(Protocol):
    """What we use of `unity_simulator.comm_unity.UnityCommunication`."""

    def reset(self, environment: int | None = None) -> bool: ...
    def environment_graph(self) -> tuple[bool, Graph]: ...
    def expand_scene(self, new_graph: Graph) -> tuple[bool, Any]: ...
    def add_character(
        self, character_resource: str = ..., position: list[float] | None = ..., initial_room: str = ...
    ) -> bool: ...
    def add_camera(self, position: list[float], rotation: list[float], field_view: float) -> tuple[bool, Any]: ...
    def update_camera(
        self, camera_index: int, position: list[float], rotation: list[float], field_view: float
    ) -> tuple[bool, Any]: ...
    def camera_count(self) -> tuple[bool, int]: ...
    def character_cameras(self) -> tuple[bool, Any]: ...
    def camera_image(
        self, camera_indexes: list[int], mode: str = ..., image_width: int = ..., image_height: int = ...
    ) -> tuple[bool, list[Any]]: ...
    def render_script(self, script: list[str], **settings: Any) -> tuple[bool, Any]: ...


class VirtualHomeEnvironment(SpokenEnvironment):
    """One home in VirtualHome. client: connects when first needed; close: ends the process."""

    def __init__(self, config: EnvConfig, process: Process) -> None:
        self._config = config
        self._process = process
        super().__init__(Simulator.VIRTUALHOME)
        self._graph: Graph = {"nodes": [], "edges": []}
        self._cameras: list[int] = []
        self._touched = ""
        self._filmed: camera.Subject | None = None

    @property
    def _is_unity(self) -> bool:
        return self._config.backend is Backend.XVFB

    @property
    def metadata(self) -> Graph:
        """The simulator's state; for experts, tests and tasks, never for a stage that learns."""
        return self._graph

    def reset(self, task: Task, *, seed: int) -> Observation:
        client = self._process.client()
        graph = self._load(task.scene)
        changed = prepared(graph, task)
        if changed is not None:
            ok, message = client.expand_scene(changed)
            if not ok:
                raise StartRefusedError(
                    f"VirtualHome refused the start of {task.instruction!r} in {task.scene}: {message}"
                )
        _, count = client.camera_count()
        client.add_camera([0.0, 1.0, 0.0], [0.0, 0.0, 0.0], camera.FIELD_OF_VIEW)  # _film puts it where it belongs
        rng = random.Random(derive_seed("start", seed))
        self._add_character(client, graph, self._start_rooms(graph, task, rng))
        _, names = client.character_cameras()
        names = json.loads(names) if isinstance(names, str) else list(names)
        self._cameras = [count + 1 + names.index(FIRST_PERSON), count]
        self._touched, self._filmed = "", None
        turns = rng.randint(0, MOST_TURNS)
        for part in (turns - 1, 1):  # alone, for after several lines Unity's graph has an older turn
            if turns and part:
                self._run(*["<char0> [turnleft]"] * part)
        first = task.goals[0]
        if task.verb == "put":
            self._begin_with(("walk", "grab"), Command("grab"), first.target)
        if rng.random() < NEAR_START:
            self._begin_with(("walk",), _told_by(first), first.place or first.target)
        self._graph = client.environment_graph()[1]
        for node in held(self._graph):
            self._touch(node)
        self._film()
        return self._begin(task.goals)

    def feasible(self, scene: str) -> HomeInventory:
        """What a home makes feasible."""
        return HomeInventory(self._load(scene))

    def close(self) -> None:
        self._process.close()

    def _holding(self) -> frozenset[Goal]:
        return goals_that_hold(self._graph)

    def _load(self, scene: str) -> Graph:
        client = self._process.client()
        number = int(scene.removeprefix("home"))
        if not client.reset(number):
            raise SimulatorError(f"VirtualHome has no home {number} ({scene})")
        self._graph = client.environment_graph()[1]
        return self._graph

    def _add_character(self, client: Client, graph: Graph, rooms: Sequence[Node]) -> None:
        """At a place that the graph decides: in a room, Unity would choose one by chance, with no seed to give it."""
        for room in rooms:
            place = free_ground(graph, room["id"])
            if place is not None and client.add_character(CHARACTER, position=list(place)):
                return
        tried = ", ".join(room["class_name"] for room in rooms)
        raise StartRefusedError(f"VirtualHome could not put {CHARACTER} into any room of the home: {tried}")

    def _start_rooms(self, graph: Graph, task: Task, rng: random.Random) -> list[Node]:
        """The room to start in, in half the episodes that of the first goal's object, and what to try after it."""
        rooms: dict[int, Node] = {n["id"]: n for n in graph["nodes"] if n["class_name"] in ROOMS}
        target = task.goals[0].place or task.goals[0].target
        where = rooms_of(graph)
        near = sorted({where[n["id"]] for n in graph["nodes"] if n["class_name"] == target and n["id"] in where})
        near = [number for number in near if number in rooms]
        first = rng.choice(near if near and rng.random() < 0.5 else sorted(rooms))
        return [rooms[number] for number in sorted(rooms, key=lambda number: (number < first, number))]

    def _begin_with(self, verbs: Sequence[str], command: Command, name: str) -> None:
        """Before the first step, on the object that such a command would be about."""
        self._graph = self._process.client().environment_graph()[1]
        for verb in verbs:
            node = meant(self._graph, command, name)
            if node is not None:
                self._run(f"<char0> [{verb}] {_named(node)}")

    def _do(self, command: Command) -> tuple[bool, str]:
        line = self._line(command)
        if not line.startswith("<char0>"):
            return False, line
        ok, error = self._step_back() if self._is_unity and command.verb == "move back" else self._run(line)
        self._look()
        return ok, error

    def _line(self, command: Command) -> str:
        """The script's line, or the reason why there is none."""
        if command.verb in _MOVES:
            return self._refused(command) or f"<char0> [{_MOVES[command.verb]}]"
        if command.verb == "put":
            return self._put(command)
        node = meant(self._graph, command, command.target)
        if node is None:
            return f"there is no {self._language.name(command.target)} here"
        if command.verb == "walk to" and node in held(self._graph):
            # The official executor would put us where it was taken from.
            return f"you hold the {self._language.name(command.target)}"
        refused = self._refused(command, node)
        if not refused and command.verb != "walk to":
            self._touch(node)
        return refused or f"<char0> [{_ON_OBJECTS[command.verb]}] {_named(node)}"

    def _put(self, command: Command) -> str:
        in_hand = [node for node in held(self._graph) if command.target in ("", node["class_name"])]
        place = meant(self._graph, command, command.place)
        if not in_hand:
            what = f"the {self._language.name(command.target)}" if command.target else "anything"
            return f"you do not hold {what}"
        if place is None:
            return f"there is no {self._language.name(command.place)} here"
        refused = self._refused(command, in_hand[0], place)
        if refused:
            return refused
        self._touch(in_hand[0])
        verb = "putin" if command.place in self._language.inside else "put"
        return f"<char0> [{verb}] {_named(in_hand[0])} {_named(place)}"

    def _refused(self, command: Command, node: Node | None = None, place: Node | None = None) -> str:
        """What Unity would do all the same; the stand-in refuses by itself, and its words are stored."""
        return refusal(self._graph, command, node, place) if self._is_unity else ""

    def _touch(self, node: Node) -> None:
        """The camera stays on what was last acted on, when that was in reach."""
        if node["id"] in close_to(self._graph) or node in held(self._graph):
            self._touched = str(node["id"])
            self._filmed = camera.subject(filmable(self._graph, self._touched), self._touched, None)

    def _step_back(self) -> tuple[bool, str]:
        """Forwards, turned about: not every Unity build reads WALKBACKWARD. A request a line, as in `reset`."""
        about = ["turnleft"] * HALF_TURN
        done = [self._run(f"<char0> [{word}]") for word in (*about, "walkforward", *about)]
        return next((answer for answer in done if not answer[0]), (True, ""))

    def _run(self, *lines: str) -> tuple[bool, str]:
        ok, message = self._process.client().render_script(
            list(lines),
            skip_animation=True,
            recording=False,
            image_synthesis=[],
            find_solution=False,
            output_folder=str(self._process.folder),
        )
        if isinstance(message, dict):
            told = [entry.get("message", "") for entry in message.values() if isinstance(entry, dict)]
            message = "; ".join(word for word in told if word and word != "Success")
        return bool(ok), "" if ok else (str(message) or "the simulator refused")[:LONGEST_ERROR]

    def _look(self) -> None:
        self._graph = self._process.client().environment_graph()[1]
        self._film()

    def _film(self) -> None:
        """Both pictures of what the graph tells."""
        client = self._process.client()
        scene = filmable(self._graph, self._touched)
        self._filmed = camera.subject(scene, self._touched, self._filmed)
        shot = camera.shoot(self._filmed, scene)
        client.update_camera(self._cameras[1], list(shot.position), [shot.pitch, shot.yaw, 0.0], shot.field_of_view)
        ok, images = client.camera_image(
            self._cameras, mode="normal", image_width=self._config.width, image_height=self._config.height
        )
        if not ok or len(images) != len(self._cameras):
            raise SimulatorError(f"VirtualHome sent {len(images)} pictures of {len(self._cameras)}")
        first_person, third_person = (_rgb(image) for image in images)
        self._seen = Observation(first_person=first_person, third_person=third_person, text=self._text())

    def _text(self) -> str:
        in_hand, seat = held(self._graph), sitting_on(self._graph)
        things = " and ".join(f"the {self._language.name(node['class_name'])}" for node in in_hand)
        text = f"You hold {things}." if things else "You hold nothing."
        return f"{text} You sit on the {self._language.name(seat[0]['class_name'])}." if seat else text


class Process(Protocol):
    """A VirtualHome process and its client."""

    @property
    def folder(self) -> Path:
        """Where Unity may make the folders that it makes for every script; it answers nothing more if it cannot."""

    def client(self) -> Client: ...

    def close(self) -> None: ...


def prepared(graph: Graph, task: Task) -> Graph | None:
    """The graph from which the goals are still to be reached, or None where it is that already."""
    changed = {**graph, "nodes": [{**node, "states": list(node["states"])} for node in graph["nodes"]]}
    for goal in task.goals:
        same = [node for node in changed["nodes"] if node["class_name"] == goal.target]
        match goal.verb:
            case "open":
                _swap([node for node in same if "OPEN" in node["states"]], "OPEN", "CLOSED")
            case "close" if not any("OPEN" in node["states"] for node in same):
                _swap([node for node in same if "CLOSED" in node["states"]][:1], "CLOSED", "OPEN")
            case "switch on":
                _swap([node for node in same if "ON" in node["states"]], "ON", "OFF")
    return None if changed["nodes"] == graph["nodes"] else changed


def _swap(nodes: list[Node], old: str, new: str) -> None:
    for node in nodes:
        node["states"] = [new if state == old else state for state in node["states"]]


def _told_by(goal: Goal) -> Command:
    """The command that brings a goal about once one stands there; to put something, one only goes there."""
    return Command({"put": "walk to", "sit": "sit on"}.get(goal.verb, goal.verb), goal.place or goal.target)


def _named(node: Node) -> str:
    return f"<{node['class_name']}> ({node['id']})"


def _rgb(image: Any) -> FrameHWC:
    """The client decodes to blue, green, red."""
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8)[:, :, 2::-1])
