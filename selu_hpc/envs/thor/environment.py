"""AI2-THOR as an environment: words in, two pictures out, through any driver of a THOR process.

Owns what a command does (which calls, on which object), where an episode starts and how the third-person camera
moves. Does not own the process behind it: client.py drives the real `Controller`, local.py the same world
in this process; both yield the same observations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, Protocol

from selu_hpc.config import Simulator
from selu_hpc.envs import camera
from selu_hpc.envs.base import NEAR_START, Observation
from selu_hpc.envs.language import Command
from selu_hpc.envs.spoken import SpokenEnvironment
from selu_hpc.envs.thor.inventory import ThorInventory
from selu_hpc.envs.thor.start import preparation
from selu_hpc.envs.thor.state import (
    Metadata,
    Thing,
    by_id,
    candidates,
    centre,
    extent,
    goals_that_hold,
    held,
    hidden,
    meant,
    original_type,
)
from selu_hpc.records import FrameHWC, Goal, Task, derive_seed

INITIALIZE: dict[str, Any] = {
    "agentMode": "default",
    "visibilityDistance": 1.5,
    "gridSize": 0.25,
    "snapToGrid": True,
    "rotateStepDegrees": 90,
    "fieldOfView": 90,
}
"""What the simulator is initialised with, whatever process is behind it."""

EYE_HEIGHT = 1.575
ROTATIONS = (0.0, 90.0, 180.0, 270.0)
HORIZONS = (-30.0, 0.0, 30.0)
"""Looking down further, THOR's hand, which turns with the eyes, would be inside the body."""
ALL_HORIZONS = (*HORIZONS, 60.0)
REACH = 1.4
FEW = 10
DOOR = 0.4
"""Metres that a thing with a door counts as larger: one stands back to open it."""
LONGEST_ERROR = 300

_MOVES = {
    "move ahead": "MoveAhead",
    "move back": "MoveBack",
    "move left": "MoveLeft",
    "move right": "MoveRight",
    "turn left": "RotateLeft",
    "turn right": "RotateRight",
    "look up": "LookUp",
    "look down": "LookDown",
}
_ON_OBJECTS = {
    "pick up": "PickupObject",
    "open": "OpenObject",
    "close": "CloseObject",
    "break": "BreakObject",
    "slice": "SliceObject",
    "toggle on": "ToggleObjectOn",
    "toggle off": "ToggleObjectOff",
}


class ThorDriver(Protocol):
    """A THOR process, or what stands for one."""

    def reset(self, scene: str) -> Metadata:
        """Load a scene and initialise the agent with `INITIALIZE`."""
        ...

    def call(self, action: dict[str, Any], *, render: bool = False) -> Metadata:
        """Do one of THOR's actions; a failed one is told by the metadata."""
        ...

    def ask(self, action: dict[str, Any]) -> Any:
        """What an action that changes nothing returns; None when it failed."""
        ...

    def frames(self) -> tuple[FrameHWC, FrameHWC]:
        """First and third person of the last call that rendered, owned by the caller."""
        ...

    def close(self) -> None: ...


class Impossible(Exception):  # noqa: N818 - not an error: an answer to the actor
    """The command can't be turned into a call; the message is the step's error."""


class ThorEnvironment(SpokenEnvironment):
    """One home in THOR."""

    def __init__(self, driver: ThorDriver) -> None:
        self._driver = driver
        super().__init__(Simulator.THOR)
        self._metadata: Metadata = {}
        self._reachable: list[tuple[float, float, float]] = []
        self._went: list[str] = []
        self._touched = ""
        self._filmed: camera.Subject | None = None

    @property
    def metadata(self) -> Metadata:
        """The simulator's state; for experts, tests and tasks, never for a stage that learns."""
        return self._metadata

    def reset(self, task: Task, *, seed: int) -> Observation:
        self._metadata = self._driver.reset(task.scene)
        self._went, self._touched, self._filmed = [], "", None
        self._reachable = self._reachable_positions()
        for alternatives in preparation(task, self._metadata, seed=seed):
            for action in alternatives:
                self._call(action)
                if self._metadata["lastActionSuccess"]:
                    break
        rng = random.Random(derive_seed("start", seed))
        self._call(_teleport(self._start_pose(task, rng)))
        self._touch(held(self._metadata))
        self._look(first=True)
        return self._begin(task.goals)

    def feasible(self, scene: str) -> ThorInventory:
        """What a scene makes feasible, read from its first state and from what there is a way to."""
        self._metadata = self._driver.reset(scene)
        self._reachable = self._reachable_positions()
        known = by_id(self._metadata)
        seen = [thing for thing in self._metadata["objects"] if not hidden(thing, known)]
        return ThorInventory(self._metadata, frozenset(t["objectId"] for t in seen if self.poses_for(t)))

    def close(self) -> None:
        self._driver.close()

    def _holding(self) -> frozenset[Goal]:
        return goals_that_hold(self._metadata)

    def _do(self, command: Command) -> tuple[bool, str]:
        """The calls of one command; then one call that moves the camera and looks."""
        try:
            action = self._action(command)
        except Impossible as answer:
            return False, str(answer)
        if command.verb != "go to":
            self._went = []
        self._call(action)
        ok = bool(self._metadata["lastActionSuccess"])
        error = "" if ok else str(self._metadata["errorMessage"] or "the simulator refused")[:LONGEST_ERROR]
        self._look()
        return ok, error

    def _action(self, command: Command) -> dict[str, Any]:
        if command.verb in _MOVES:
            return {"action": _MOVES[command.verb]}
        if command.verb == "go to":
            return _teleport(self._way_to(command))
        if command.verb == "drop":
            return self._drop(command)
        if command.verb == "put":
            return self._put(command)
        thing = self._meant(command, command.target)
        self._touch(thing)
        return {"action": _ON_OBJECTS[command.verb], "objectId": thing["objectId"]}

    def _drop(self, command: Command) -> dict[str, Any]:
        """Said of an object, it is dropped; said of a whole, what is held of it."""
        in_hand = held(self._metadata)
        if command.target and (
            in_hand is None or command.target not in (in_hand["objectType"], original_type(in_hand))
        ):
            raise Impossible(f"you do not hold the {self._language.name(command.target)}")
        self._touch(in_hand)
        return {"action": "DropHandObject", "forceAction": True}

    def _put(self, command: Command) -> dict[str, Any]:
        in_hand = held(self._metadata)
        if in_hand is None or (command.target and in_hand["objectType"] != command.target):
            what = f"the {self._language.name(command.target)}" if command.target else "anything"
            raise Impossible(f"you do not hold {what}")
        place = self._meant(command, command.place)
        if not place["visible"]:
            raise Impossible(f"the {self._language.name(command.place)} is not within reach")
        self._touch(in_hand)
        return {"action": "PutObject", "objectId": place["objectId"], "placeStationary": True}

    def _meant(self, command: Command, kind: str) -> Thing:
        thing = meant(self._metadata, command, kind)
        if thing is None:
            raise Impossible(f"there is no {self._language.name(kind)} here")
        return thing

    def _touch(self, thing: Thing | None) -> None:
        """The camera stays on what was last acted on, when that was in reach."""
        if thing is not None and (thing["visible"] or thing["isPickedUp"]):
            self._touched = thing["objectId"]
            self._filmed = camera.subject(self._metadata, self._touched, None)

    def _way_to(self, command: Command) -> dict[str, Any]:
        """A pose to act on the named thing from; said again, the next nearest one is gone to."""
        known = by_id(self._metadata)
        found = [thing for thing in candidates(self._metadata, command.target) if not hidden(thing, known)]
        if not found:
            raise Impossible(f"there is no {self._language.name(command.target)} in sight")
        fresh = [thing for thing in found if thing["objectId"] not in self._went]
        if not fresh:
            self._went, fresh = [], found
        for thing in fresh:
            poses = self.poses_for(thing)
            if poses:
                if all(known[went]["objectType"] != thing["objectType"] for went in self._went if went in known):
                    self._went = []
                self._went.append(thing["objectId"])
                return poses[0]
        raise Impossible(f"there is no way to the {self._language.name(command.target)}")

    def poses_for(self, thing: Thing) -> list[dict[str, Any]]:
        """Poses from which a thing is in reach, best first: facing it squarely, at arm's length."""
        target, size = centre(thing), extent(thing) + (DOOR if thing["openable"] else 0.0)
        square = sorted(
            (_awkwardness(point, rotation, target, size), point, rotation)
            for point in self._reachable
            for rotation in ROTATIONS
            if math.dist((point[0], point[2]), (target[0], target[2])) <= REACH + size / 2
        )[:FEW]
        positions = sorted({point for _, point, _ in square})
        rotations = sorted({rotation for _, _, rotation in square})
        poses: list[dict[str, Any]] = []
        if positions:
            poses = self._interactable_poses(thing, positions, rotations)
        poses = poses or self._interactable_poses(thing, None, None)
        return sorted(poses, key=lambda pose: _clumsiness(pose, target, size))

    def _interactable_poses(
        self, thing: Thing, positions: Sequence[tuple[float, float, float]] | None, rotations: Sequence[float] | None
    ) -> list[dict[str, Any]]:
        action: dict[str, Any] = {
            "action": "GetInteractablePoses",
            "objectId": thing["objectId"],
            "horizons": list(HORIZONS if positions else ALL_HORIZONS),
            "standings": [True],
        }
        if positions:
            action["positions"] = [{"x": x, "y": y, "z": z} for x, y, z in positions]
            action["rotations"] = list(rotations or ROTATIONS)
        return list(self._ask(action) or ())

    def _reachable_positions(self) -> list[tuple[float, float, float]]:
        found = self._ask({"action": "GetReachablePositions"}) or ()
        return sorted((point["x"], point["y"], point["z"]) for point in found)

    def _start_pose(self, task: Task, rng: random.Random) -> dict[str, Any]:
        """Somewhere in the room, or within reach of the first goal's object in a share of the episodes."""
        known = by_id(self._metadata)
        goal = task.goals[0]
        named = candidates(self._metadata, goal.place or goal.target)
        found = sorted(
            (thing for thing in named if not hidden(thing, known) and not thing["isPickedUp"]),
            key=lambda thing: str(thing["objectId"]),
        )
        if found and rng.random() < NEAR_START:
            poses = self.poses_for(rng.choice(found))
            if poses:
                return rng.choice(poses[:5])
        if not self._reachable:
            return dict(self._metadata["agent"])
        x, y, z = rng.choice(self._reachable)
        return {"x": x, "y": y, "z": z, "rotation": rng.choice(ROTATIONS), "horizon": rng.choice((0.0, 30.0))}

    def _ask(self, action: dict[str, Any]) -> Any:
        """A question to the simulator: its answer, and the state stays what it was."""
        return self._driver.ask(action)

    def _call(self, action: dict[str, Any]) -> None:
        self._metadata = self._driver.call(action)

    def _look(self, *, first: bool = False) -> None:
        self._filmed = camera.subject(self._metadata, self._touched, self._filmed)
        shot = camera.shoot(self._filmed, self._metadata)
        name = "AddThirdPartyCamera" if first else "UpdateThirdPartyCamera"
        action = {"action": name, **shot.arguments()}
        if not first:
            action["thirdPartyCameraId"] = 0
        self._metadata = self._driver.call(action, render=True)
        first_person, third_person = self._driver.frames()
        in_hand = held(self._metadata)
        text = f"You hold the {self._language.name(in_hand['objectType'])}." if in_hand else "You hold nothing."
        self._seen = Observation(first_person=first_person, third_person=third_person, text=text)


def _teleport(pose: dict[str, Any]) -> dict[str, Any]:
    place = pose.get("position", pose)
    rotation = pose["rotation"]
    return {
        "action": "TeleportFull",
        "position": {axis: place[axis] for axis in "xyz"},
        "rotation": {"x": 0.0, "y": rotation["y"] if isinstance(rotation, dict) else rotation, "z": 0.0},
        "horizon": pose.get("horizon", pose.get("cameraHorizon", 0.0)),
        "standing": True,
        "forceAction": True,
    }


def _awkwardness(
    point: tuple[float, float, float], rotation: float, target: tuple[float, float, float], size: float
) -> float:
    """0 when the thing is straight ahead at arm's length; metres off, sideways and behind count more."""
    dx, dz = target[0] - point[0], target[2] - point[2]
    turn = math.radians(rotation)
    along = dx * math.sin(turn) + dz * math.cos(turn)
    aside = abs(dx * math.cos(turn) - dz * math.sin(turn))
    wish = min(0.55 + size / 2, 1.1)
    return round(abs(along - wish) + 1.5 * aside + (2.0 if along < 0 else 0.0), 3)


def _clumsiness(pose: dict[str, Any], target: tuple[float, float, float], size: float) -> tuple[float, ...]:
    point = (pose["x"], pose["y"], pose["z"])
    flat = max(math.dist((point[0], point[2]), (target[0], target[2])), 0.1)
    down = math.degrees(math.atan2(EYE_HEIGHT - target[1], flat))
    tilt = round(abs(pose["horizon"] - down) / 60, 3)
    key = (round(_awkwardness(point, pose["rotation"], target, size) + tilt, 3), *point, pose["rotation"])
    return (*key, pose["horizon"])
