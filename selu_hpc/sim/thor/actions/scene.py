"""The scene as a whole: settings, filters, spawning, materials, light, time, removing things."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from selu_hpc.sim.thor import surfaces
from selu_hpc.sim.thor.agent import FAR, NEAR, Agent
from selu_hpc.sim.thor.arguments import ActionError, action
from selu_hpc.sim.thor.catalogue import MUST_BE_OPEN, specs
from selu_hpc.sim.thor.targets import by_id
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

MODES = ("default", "locobot", "drone", "arm", "stochastic")
_RENDER = (
    "renderImage",
    "renderDepthImage",
    "renderInstanceSegmentation",
    "renderSemanticSegmentation",
    "renderNormalsImage",
)
_MOST_AGENTS = 16
_TRIES = 8


@action(lenient=True)
def initialize(
    world: World,
    agent: Agent,
    gridSize: float = 0.25,
    visibilityDistance: float = 1.5,
    rotateStepDegrees: float = 90.0,
    fieldOfView: float | None = None,
    snapToGrid: bool = True,
    agentMode: str = "default",
    agentCount: int = 1,
    fastActionEmit: bool = True,
    renderImage: bool = True,
    renderDepthImage: bool = False,
    renderInstanceSegmentation: bool = False,
    renderSemanticSegmentation: bool = False,
    renderNormalsImage: bool = False,
) -> dict[str, float]:
    """Set what holds until the next Reset, and put the agents in."""
    mode = agentMode.lower()
    if mode not in MODES:
        raise ActionError(f"unsupported agentMode {agentMode[:60]!r}: choose one of {', '.join(MODES)}")
    if not 0.01 <= gridSize <= 5:
        raise ActionError("grid size must be in the range [0.01:5]")
    fov = fieldOfView if fieldOfView is not None else (60.0 if mode == "locobot" else 90.0)
    if not 0 < fov < 180:
        raise ActionError("fov must be set to (0, 180) noninclusive.")
    if visibilityDistance <= 0 or rotateStepDegrees <= 0:
        raise ActionError("visibilityDistance and rotateStepDegrees must be positive")
    if not 1 <= agentCount <= _MOST_AGENTS:
        raise ActionError(f"agentCount must be in [1:{_MOST_AGENTS}]")
    settings = world.settings
    settings.grid_size, settings.visibility_distance = gridSize, visibilityDistance
    settings.rotate_step, settings.fov, settings.snap = rotateStepDegrees, fov, snapToGrid
    settings.mode, settings.fast_emit = mode if mode != "stochastic" else "default", fastActionEmit
    given = (renderImage, renderDepthImage, renderInstanceSegmentation, renderSemanticSegmentation, renderNormalsImage)
    settings.render = dict(zip(_RENDER, given, strict=True))
    if len(world.agents) != agentCount:
        world.set_agents(agentCount)
    for one in world.agents:
        one.fov = fov
    return {"cameraNearPlane": NEAR, "cameraFarPlane": FAR}


@action()
def change_resolution(world: World, agent: Agent, x: float, y: float) -> None:
    if not (1 <= x <= 4096 and 1 <= y <= 4096):
        raise ActionError("the resolution must be in [1:4096] each way")
    world.screen = (int(x), int(y))


@action("ChangeQuality", "ChangeTimeScale", lenient=True)
def accepted(world: World, agent: Agent) -> None:
    """Of no effect on these pictures."""


@action()
def set_random_seed(world: World, agent: Agent, seed: int) -> None:
    world.random = random.Random(seed)


@action()
def set_object_filter(world: World, agent: Agent, objectIds: list[str]) -> None:
    world.filter = frozenset(objectIds)


@action()
def set_object_filter_for_type(world: World, agent: Agent, objectTypes: list[str]) -> None:
    wanted = set(objectTypes)
    world.filter = frozenset(t.obj_id for t in world.objects if t.kind in wanted)


@action()
def reset_object_filter(world: World, agent: Agent) -> None:
    world.filter = None


@action(lenient=True)
def initial_random_spawn(
    world: World,
    agent: Agent,
    randomSeed: int = 0,
    forceVisible: bool = False,
    numPlacementAttempts: int = 5,
    placeStationary: bool = True,
    numDuplicatesOfType: list[dict[str, Any]] | None = None,
    excludedReceptacles: list[str] | None = None,
    excludedObjectIds: list[str] | None = None,
    allowFloor: bool = False,
    allowMoveable: bool = False,
) -> None:
    """Put everything that can be carried somewhere else it may be; closed places are used unless forceVisible."""
    rng = random.Random(f"{world.scene_name}/{randomSeed}")
    excluded, barred = set(excludedObjectIds or ()), set(excludedReceptacles or ())
    loose = [
        t for t in world.objects if t.spec.can("pick") and t.there and t.holder is None and t.obj_id not in excluded
    ]
    loose = [t for t in loose if not any(h.holder is not None for h in t.holders())]
    rng.shuffle(loose)
    for thing in loose:
        _respawn(
            world, thing, rng, force_visible=forceVisible, barred=barred, floor=allowFloor, tries=numPlacementAttempts
        )
    for wish in numDuplicatesOfType or ():
        _duplicate(world, rng, wish)


def _respawn(
    world: World, thing: Thing, rng: random.Random, *, force_visible: bool, barred: set[str], floor: bool, tries: int
) -> None:
    found = []
    for place in world.objects:
        if place.kind not in thing.spec.places or place.kind in barred or not place.there or place is thing:
            continue
        if thing in place.holders() or place.holder is not None or any(h.holder is not None for h in place.holders()):
            continue
        if (place.kind == "Floor" and not floor) or (
            force_visible and place.kind in MUST_BE_OPEN and not place.is_open
        ):
            continue
        if place.spec.can("pick"):
            continue
        found.append(place)
    rng.shuffle(found)
    for place in found[: max(1, min(tries, 20))]:
        if surfaces.place(thing, place, world.things, rng=rng):
            return


def _duplicate(world: World, rng: random.Random, wish: dict[str, Any]) -> None:
    kind, count = wish.get("objectType"), wish.get("count", 1)
    originals = [t for t in world.objects if t.kind == kind and t.there]
    if not originals or not isinstance(count, int) or not 0 <= count <= 20:
        raise ActionError(f"numDuplicatesOfType: no {str(kind)[:60]} in this scene, or a count outside [0:20]")
    original = originals[0]
    if not original.spec.can("pick"):
        raise ActionError(f"numDuplicatesOfType: {original.kind} can't be picked up")
    b = world.builder()
    for _ in range(count - len(originals)):
        copy = Thing(
            key=world.next_key(), kind=original.kind, spec=original.spec, size=original.size, centre=(0.0, -9.0, 0.0)
        )
        places = [
            p
            for p in world.objects
            if p.kind in copy.spec.places and p.kind not in MUST_BE_OPEN and not p.spec.can("pick")
        ]
        rng.shuffle(places)
        if any(surfaces.place(copy, place, world.things, rng=rng) for place in places):
            b._ids = set(world.by_id)
            b.label(copy)
            world.insert(copy)


@action("RemoveFromScene")
def remove_from_scene(
    world: World, agent: Agent, objectId: str | None = None, objectIds: list[str] | None = None
) -> None:
    wanted = [objectId] if objectId is not None else list(objectIds or ())
    for thing in [by_id(world, i) for i in wanted]:
        if thing.kind == "Floor":
            raise ActionError("the floor can't be removed")
        if thing.obj_id in world.by_id:
            world.remove(thing)


@action("DisableObject", "HideObject")
def disable_object(world: World, agent: Agent, objectId: str) -> None:
    thing = by_id(world, objectId)
    if thing.holder is not None or thing.kind == "Floor":
        raise ActionError(f"{thing.obj_id} can't be disabled while it is held, and the floor never")
    _disable(thing, True)


@action("EnableObject", "UnhideObject")
def enable_object(world: World, agent: Agent, objectId: str) -> None:
    _disable(by_id(world, objectId), False)


@action()
def disable_all_objects_of_type(world: World, agent: Agent, objectType: str) -> None:
    if objectType not in specs() or objectType == "Floor":
        raise ActionError(f"{objectType[:80]} is no object type that can be disabled")
    for thing in world.objects:
        if thing.kind == objectType and thing.holder is None:
            _disable(thing, True)


def _disable(thing: Thing, hidden: bool) -> None:
    thing.hidden = hidden
    thing.touch_up()
    for inside in thing.descendants():
        if inside.holder is None:
            inside.hidden = hidden
            inside.touch()


@action()
def make_all_objects_moveable(world: World, agent: Agent) -> None:
    for thing in world.objects:
        if not thing.spec.can("static") and not thing.moveable:
            thing.moveable = True
            thing.touch()


@action("PausePhysicsAutoSim")
def pause_physics(world: World, agent: Agent) -> None:
    world.physics_paused = True


@action("UnpausePhysicsAutoSim")
def unpause_physics(world: World, agent: Agent) -> None:
    world.physics_paused = False


@action()
def advance_physics_step(
    world: World,
    agent: Agent,
    timeStep: float = 0.02,
    simSeconds: float | None = None,
    allowAutoSimulation: bool = False,
) -> None:
    if not (world.physics_paused or allowAutoSimulation):
        raise ActionError(
            "AdvancePhysicsStep can only be called if Physics Autosimulation is currently paused! "
            "Use PausePhysicsAutoSim first"
        )
    if not 0 < timeStep <= 0.05:
        raise ActionError("timeStep must be in (0:0.05]")
    world.advance(simSeconds if simSeconds is not None and 0 < simSeconds < 600 else timeStep)


@action("SetRoomTempDecayTimeForType")
def set_decay_for_type(world: World, agent: Agent, objectType: str, TimeUntilRoomTemp: float = 20.0) -> None:
    if objectType not in specs() or TimeUntilRoomTemp < 0:
        raise ActionError("objectType must be a type, TimeUntilRoomTemp at least 0")
    world.decay_seconds[objectType] = TimeUntilRoomTemp


@action("SetGlobalRoomTempDecayTime")
def set_decay(world: World, agent: Agent, TimeUntilRoomTemp: float = 20.0) -> None:
    if TimeUntilRoomTemp < 0:
        raise ActionError("TimeUntilRoomTemp must be at least 0")
    world.decay_seconds[""] = TimeUntilRoomTemp


@action("SetDecayTemperatureBool")
def set_decay_bool(world: World, agent: Agent, allowDecayTemperature: bool = True) -> None:
    if allowDecayTemperature:
        world.decay_seconds.pop("", None)
    else:
        world.decay_seconds[""] = 1e9
