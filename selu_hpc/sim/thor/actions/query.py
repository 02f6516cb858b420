"""Questions that change nothing: where one can stand, what one can reach, what is where."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from selu_hpc.sim.drawing.camera import Camera
from selu_hpc.sim.thor import forms, navigation, rays, visibility
from selu_hpc.sim.thor.actions.move import DOWN, UP
from selu_hpc.sim.thor.agent import EYE, FOOT, Agent
from selu_hpc.sim.thor.arguments import ActionError, Vector3, action, convert
from selu_hpc.sim.thor.paths import shortest
from selu_hpc.sim.thor.targets import at_pixel, by_id
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_HORIZONS = (-30.0, 0.0, 30.0, 60.0)
_MOST_POSES = 20_000
_MOST_CHECKED = 200_000
Pose = tuple[float, float, float, bool, float]
"""x, z, yaw, standing, horizon."""


def _spot(x: float, z: float) -> dict[str, float]:
    return {"x": x, "y": FOOT, "z": z}


def _reachable(world: World, agent: Agent, grid: float | None, relative: bool = False) -> list[tuple[float, float]]:
    step = world.settings.grid_size if grid is None else grid
    if not 0.05 <= step <= 5:
        raise ActionError("gridSize must be in [0.05:5]")
    found = world.blocks()
    if relative and agent.yaw % 90:
        return navigation.reachable_turned((agent.x, agent.z), agent.yaw, found, world.room, step)
    return world.reachable((agent.x, agent.z), step)


@action(query=True)
def get_reachable_positions(
    world: World,
    agent: Agent,
    gridSize: float | None = None,
    maxStepCount: int = 10000,
    visualize: bool = False,
    gridColor: dict[str, Any] | None = None,
    directionsRelativeAgent: bool = False,
) -> list[dict[str, float]]:
    """Every grid position that can be walked to."""
    if maxStepCount < 1:
        raise ActionError("maxStepCount must be positive")
    return [_spot(x, z) for x, z in _reachable(world, agent, gridSize, directionsRelativeAgent)]


@action("GetInteractablePoses", "PositionsFromWhichItemIsInteractable", query=True)
def get_interactable_poses(
    world: World,
    agent: Agent,
    objectId: str,
    positions: list[dict[str, Any]] | None = None,
    rotations: list[float] | None = None,
    horizons: list[float] | None = None,
    standings: list[bool] | None = None,
    maxDistance: float | None = None,
    maxPoses: int = _MOST_POSES,
) -> list[dict[str, Any]]:
    """Poses from which an object can be acted on."""
    thing = by_id(world, objectId)
    if maxPoses <= 0:
        raise ActionError("maxPoses must be positive")
    if horizons is not None and any(not UP <= h <= DOWN for h in horizons):
        raise ActionError(f"Each horizon must be in [{UP:g}:{DOWN:g}].")
    if standings is not None and not all(isinstance(s, bool) for s in standings):
        raise ActionError("standings must be true or false")
    step = world.settings.rotate_step
    start = math.fmod(agent.yaw, step)
    turns = rotations if rotations is not None else [(start + step * i) % 360 for i in range(max(1, round(360 / step)))]
    points = _points(world, agent, positions)
    reach = world.settings.visibility_distance if maxDistance is None else maxDistance
    if not thing.there or thing.hidden or visibility.enclosed(thing):
        return []
    stands = [True, False] if standings is None else standings
    tilts = list(_HORIZONS) if horizons is None else horizons
    x0, _, z0, x1, _, z1 = thing.boxes()[2]
    points = [(x, z) for x, z in points if math.hypot(max(x0 - x, x - x1, 0.0), max(z0 - z, z - z1, 0.0)) <= reach]
    if len(points) * len(turns) * len(tilts) * len(stands) > _MOST_CHECKED:
        raise ActionError("too many poses to check: give fewer positions, rotations or horizons")
    poses = [(x, z, turn, stand, tilt) for x, z in points for turn in turns for stand in stands for tilt in tilts]
    return [
        {**_spot(x, z), "rotation": turn % 360, "standing": stand, "horizon": tilt}
        for x, z, turn, stand, tilt in _seeing(world, agent, thing, poses, reach, maxPoses)
    ]


def _seeing(world: World, agent: Agent, thing: Thing, poses: list[Pose], reach: float, most: int) -> list[Pose]:
    """The first poses from which one thing is seen."""
    if not poses:
        return []
    found = world.geometry()
    who = next(i for i, t in enumerate(found.things) if t is thing)
    looks: dict[tuple[float, float], int] = {}
    for _, _, turn, _, tilt in poses:
        looks.setdefault((turn, tilt), len(looks))
    axes = np.array([visibility.axes(Camera(position=(0, 0, 0), yaw=turn, pitch=tilt)) for turn, tilt in looks])
    eyes = np.array([(x, FOOT + (EYE if stand else 0.0), z) for x, z, _, stand, _ in poses])
    turns = np.array([looks[turn, tilt] for _, _, turn, _, tilt in poses])
    tan_y = math.tan(math.radians(agent.fov) / 2)
    marks = rays.poses_seeing(
        eyes, turns, axes, tan_y * world.aspect, tan_y, reach,
        found.points[found.point_owner == who], who, found.boxes, found.owners, most,
    )  # fmt: skip
    return [poses[i] for i in np.flatnonzero(marks)]


def _points(world: World, agent: Agent, positions: list[dict[str, Any]] | None) -> list[tuple[float, float]]:
    if positions is None:
        return _reachable(world, agent, None)
    out = []
    for one in positions[:5000]:
        given: Vector3 = convert("GetInteractablePoses", "positions", one, "Vector3")
        x, _, z = given.filled(agent.x, agent.y, agent.z)
        out.append((x, z))
    return out


@action(query=True)
def get_object_in_frame(world: World, agent: Agent, x: float, y: float, checkVisible: bool = False) -> str:
    """The id of what is at a point of the picture."""
    thing = at_pixel(world, agent, x, y)
    if checkVisible and thing.key not in world.visible(agent.agent_id):
        raise ActionError(f"Target object not found within the specified visibility at ({x}, {y}).")
    return thing.obj_id


@action(query=True)
def get_coordinate_from_raycast(world: World, agent: Agent, x: float, y: float) -> dict[str, float]:
    """Where the ray through a point of the picture meets something."""
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ActionError("x and y must be in [0:1] inclusive.")
    found = visibility.under_pixel(world.geometry(), agent.camera(), x, y, aspect=world.aspect)
    if found is None:
        raise ActionError("Raycast hit nothing")
    px, py, pz = found[2]
    return {"x": px, "y": py, "z": pz}


@action(query=True)
def get_scenes_in_build(world: World, agent: Agent) -> list[str]:
    from selu_hpc.sim.thor import scenes  # scenes imports plans that import much

    return [f"{name}_physics" for name in scenes.scene_names()] + ["Procedural"]


@action(query=True)
def get_scene_bounds(world: World, agent: Agent) -> dict[str, Any]:
    bounds: dict[str, Any] = world.describer.agent(agent.agent_id)["sceneBounds"]
    return bounds


@action(query=True)
def get_map_view_camera_properties(world: World, agent: Agent) -> dict[str, Any]:
    """A camera that looks down on the whole room."""
    room = world.room
    return {
        "position": {"x": (room.x0 + room.x1) / 2, "y": room.height + 0.6, "z": (room.z0 + room.z1) / 2},
        "rotation": {"x": 90.0, "y": 0.0, "z": 0.0},
        "orthographic": True,
        "orthographicSize": max(room.x1 - room.x0, room.z1 - room.z0) / 2,
    }


@action(query=True)
def get_spawn_coordinates_above_receptacle(
    world: World, agent: Agent, objectId: str, anywhere: bool = True
) -> list[dict[str, float]]:
    """Points on a receptacle's surface; only those in reach unless anywhere."""
    place = by_id(world, objectId)
    if not place.spec.can("rec"):
        raise ActionError(f"{place.obj_id} is not a Receptacle and can't have coordinates above it")
    out = []
    for zone in forms.zones(place.kind, place.size):
        for x in np.linspace(zone.x0 + 0.05, zone.x1 - 0.05, 7):
            for z in np.linspace(zone.z0 + 0.05, zone.z1 - 0.05, 7):
                px, py, pz = place.to_world(float(x), zone.y, float(z))
                if anywhere or math.hypot(px - agent.x, pz - agent.z) <= world.settings.visibility_distance:
                    out.append({"x": px, "y": py, "z": pz})
    return out


@action(query=True)
def get_shortest_path(
    world: World,
    agent: Agent,
    objectId: str | None = None,
    objectType: str | None = None,
    position: Vector3 | None = None,
    allowedError: float | None = None,
) -> dict[str, Any]:
    """Corners of a way to where an object can be acted on."""
    found = [t for t in world.objects if t.kind == objectType] if objectId is None and objectType else []
    thing = by_id(world, objectId) if objectId is not None else (found[0] if len(found) == 1 else None)
    if thing is None:
        raise ActionError("give the objectId, or the objectType of the only object of its type")
    start = (position or Vector3()).filled(*agent.position)
    poses = get_interactable_poses(world, agent, thing.obj_id, horizons=[0.0, 30.0], standings=[True])
    goals = sorted({(p["x"], p["z"]) for p in poses})
    return _path(world, agent, (start[0], start[2]), goals, thing.obj_id)


@action(query=True)
def get_shortest_path_to_point(
    world: World,
    agent: Agent,
    position: Vector3 | None = None,
    target: Vector3 | None = None,
    x: float | None = None,
    y: float | None = None,
    z: float | None = None,
    allowedError: float | None = None,
) -> dict[str, Any]:
    end = (target or Vector3(x, y, z)).filled(*agent.position)
    start = (position or Vector3()).filled(*agent.position) if target is not None else agent.position
    return _path(world, agent, (start[0], start[2]), [(end[0], end[2])], "the point")


def _path(
    world: World, agent: Agent, start: tuple[float, float], goals: list[tuple[float, float]], what: str
) -> dict[str, Any]:
    way = shortest(start, goals, world.blocks(), world.room)
    if way is None:
        raise ActionError(f"Path to target could not be found: no way to {what}")
    return {"corners": [_spot(x, z) for x, z in way]}


@action("Get2DSemanticHulls", query=True)
def get_2d_semantic_hulls(
    world: World, agent: Agent, objectIds: list[str] | None = None, objectTypes: list[str] | None = None
) -> dict[str, list[list[float]]]:
    """Each object's convex outline seen from above."""
    if objectIds is not None and objectTypes is not None:
        raise ActionError("Only one of objectTypes and objectIds can have a non-null value.")
    found = [t for t in world.objects if t.there]
    if objectIds is not None:
        found = [by_id(world, i) for i in objectIds]
    if objectTypes is not None:
        found = [t for t in found if t.kind in objectTypes]
    return {t.obj_id: _hull(t) for t in found}


@action("Get2DSemanticHull", query=True)
def get_2d_semantic_hull(world: World, agent: Agent, objectId: str) -> list[list[float]]:
    return _hull(by_id(world, objectId))


def _hull(thing: Thing) -> list[list[float]]:
    if not thing.rotation[0] and not thing.rotation[2]:
        return [[c[0], c[2]] for c in thing.corners()[:4]]
    x0, _, z0, x1, _, z1 = thing.boxes()[2]
    return [[x0, z0], [x1, z0], [x1, z1], [x0, z1]]


@action(query=True)
def objects_in_box(world: World, agent: Agent, x: float, z: float) -> list[str]:
    """Ids of what is within half a metre of a point, whatever its height."""
    out = []
    for thing in world.objects:
        x0, _, z0, x1, _, z1 = thing.boxes()[2]
        if thing.there and x0 <= x + 0.5 and x1 >= x - 0.5 and z0 <= z + 0.5 and z1 >= z - 0.5:
            out.append(thing.obj_id)
    return out


@action(query=True)
def get_object_metadata(world: World, agent: Agent, objectIds: list[str]) -> list[dict[str, Any]]:
    wanted = {by_id(world, i).obj_id for i in objectIds}
    kept, world.filter = world.filter, frozenset(wanted)
    try:
        objects: list[dict[str, Any]] = world.describer.agent(agent.agent_id)["objects"]
    finally:
        world.filter = kept
    return objects
