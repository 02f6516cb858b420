"""Random and hostile actions, and what must hold after each of them."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import msgpack

from selu_hpc.sim.thor import visibility
from selu_hpc.sim.thor.arguments import ACTIONS
from selu_hpc.sim.thor.catalogue import MUST_BE_OPEN
from selu_hpc.sim.thor.world import World

NEVER_RAISES_IN_CLIENT = {"Initialize", "ChangeResolution"}
WALKS = {
    "MoveAhead",
    "MoveBack",
    "MoveLeft",
    "MoveRight",
    "RotateLeft",
    "RotateRight",
    "LookUp",
    "LookDown",
    "Crouch",
    "Stand",
}
SLOW = {"GetInteractablePoses", "PositionsFromWhichItemIsInteractable", "GetShortestPath", "InitialRandomSpawn"}
HUGE = "x" * 1_000_000
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**30,
    -1e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "Apple",
    "NaN",
    HUGE,
    [],
    {},
    [1, 2],
    {"x": 1},
    {"x": math.nan, "y": 0, "z": 0},
    {"x": "a"},
    [{}],
    [None],
    ["a", "b"],
    {"a": {"b": [1]}},
    0.5,
    1.0,
    90,
    -90,
    "é\x00",
)


class Fuzzer:
    """Makes actions: sensible ones that get somewhere, and ones that make no sense."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.names = sorted(ACTIONS)

    def message(self, world: World) -> dict[str, Any]:
        rng = self.rng
        roll = rng.random()
        if roll < 0.25:
            return {"action": rng.choice(sorted(WALKS))}
        if roll < 0.65:
            return self._sensible(world)
        name: Any = rng.choice(self.names) if roll < 0.95 else rng.choice(HOSTILE)
        if isinstance(name, str) and name in SLOW and rng.random() < 0.8:
            name = "Pass"
        message: dict[str, Any] = {"action": name}
        known = ACTIONS[name].parameters if isinstance(name, str) and name in ACTIONS else {}
        for parameter in known:
            if rng.random() < 0.6:
                message[parameter] = self._value(world, parameter)
        if rng.random() < 0.2:
            message[rng.choice(("agentId", "foo", "renderImage", "position", "objectId", HUGE[:50]))] = rng.choice(
                HOSTILE
            )
        return message

    def _sensible(self, world: World) -> dict[str, Any]:
        rng = self.rng
        verbs = (
            "PickupObject",
            "PutObject",
            "OpenObject",
            "CloseObject",
            "ToggleObjectOn",
            "ToggleObjectOff",
            "SliceObject",
            "BreakObject",
            "DirtyObject",
            "CleanObject",
            "FillObjectWithLiquid",
            "EmptyLiquidFromObject",
            "UseUpObject",
            "CookObject",
            "PushObject",
            "PullObject",
            "DirectionalPush",
        )
        if rng.random() < 0.15:
            return {"action": rng.choice(("DropHandObject", "ThrowObject", "MoveHeldObjectAhead", "RotateHeldObject"))}
        things = world.objects
        near = [t for t in things if t.key in world.visible()] or things
        thing = rng.choice(near if rng.random() < 0.6 else things)
        return {"action": rng.choice(verbs), "objectId": thing.obj_id, "forceAction": rng.random() < 0.7}

    def _value(self, world: World, parameter: str) -> Any:
        rng = self.rng
        roll = rng.random()
        if roll < 0.5:
            return rng.choice(HOSTILE)
        if "bjectId" in parameter:
            chosen = rng.choice(world.things).obj_id
            return [chosen] if parameter.endswith("s") else chosen
        if parameter in ("position", "rotation", "target", "direction"):
            return {"x": rng.uniform(-4, 4), "y": rng.uniform(-1, 2), "z": rng.uniform(-4, 4)}
        if parameter == "positions":
            return [{"x": rng.uniform(-4, 4), "z": rng.uniform(-4, 4)}]
        if parameter == "objectPoses":
            thing = rng.choice(world.things)
            return [
                {"objectName": thing.name, "position": {"x": 0, "y": 1, "z": 0}, "rotation": {"x": 0, "y": 0, "z": 0}}
            ]
        if parameter == "agentCount":
            return rng.randint(1, 3)
        return rng.choice((0.0, 0.3, 1.0, 25.0, 90.0, -30.0, True, False, "water", "Apple"))


def centres(world: World) -> dict[int, tuple[float, float, float]]:
    return {t.key: t.centre for t in world.things}


def check(world: World, message: dict[str, Any], before: dict[int, tuple[float, float, float]]) -> None:
    """Everything that must hold after an action."""
    outcome = world.deed.outcome
    assert outcome.success or outcome.error, message
    json.dumps(outcome.value, allow_nan=False)
    held = [a.held for a in world.agents if a.held is not None]
    for agent in world.agents:
        room = world.room
        assert room.x0 <= agent.x <= room.x1
        assert room.z0 <= agent.z <= room.z1
        assert 0 <= agent.yaw < 360
        assert math.isfinite(agent.horizon)
        if agent.held is not None:
            assert agent.held.holder == agent.agent_id
            assert agent.held.parent is None
            assert math.dist(agent.held.centre, agent.hand_at()) < 1e-6
    for thing in world.things:
        assert all(math.isfinite(c) for c in (*thing.centre, *thing.rotation)), thing.obj_id
        assert (thing.holder is None) or thing in held
        if thing.parent is not None:
            assert sum(c is thing for c in thing.parent.children) == 1, thing.obj_id
            assert thing.parent in world.things
        for child in thing.children:
            assert child.parent is thing, (thing.obj_id, child.obj_id)
        assert thing not in thing.descendants()
        assert 0 <= thing.openness <= 1
    where = [id(c) for t in world.things for c in t.children]
    assert len(where) == len(set(where)), "in two places"
    seen = world.visible()
    for thing in world.things:
        if thing.kind in MUST_BE_OPEN and not thing.is_open:
            for inside in thing.descendants():
                assert inside.key not in seen, (thing.obj_id, inside.obj_id)
                assert visibility.enclosed(inside)
    if message.get("action") in tuple(WALKS):
        moving = {t.key for h in held for t in (h, *h.descendants())}
        now = centres(world)
        assert all(now[key] == at for key, at in before.items() if key not in moving), message


def check_metadata(world: World) -> None:
    """Packed and plain metadata say the same, and nothing is not a number."""
    plain = world.metadata(0)
    json.dumps(plain, allow_nan=False)
    packed = msgpack.loads(world.describer.packed(sequence_id=7), raw=False, strict_map_key=False)
    assert packed["sequenceId"] == 7
    assert packed["agents"][0] == json.loads(json.dumps(plain))


def play(world: World, fuzzer: Fuzzer, steps: int) -> int:
    """Do that many actions; returns how many succeeded."""
    num = 0
    for i in range(steps):
        message = fuzzer.message(world)
        before = centres(world)
        num += world.apply(message).success
        check(world, message, before)
        if i % 25 == 0:
            check_metadata(world)
    return num
