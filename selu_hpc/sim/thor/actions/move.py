"""Moving, turning, looking, crouching, teleporting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from selu_hpc.sim.thor import navigation
from selu_hpc.sim.thor.agent import FOOT, Agent, wrap
from selu_hpc.sim.thor.arguments import ActionError, Vector3, action
from selu_hpc.sim.thor.targets import number

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

UP, DOWN = -30.0, 60.0
"""How far an agent may look up and down."""
_Y_SLACK = 0.05


def _others(world: World, agent: Agent) -> list[tuple[float, float, str]]:
    return [(a.x, a.z, f"Agent{a.agent_id}") for a in world.agents if a is not agent]


def _name(world: World, key: int) -> str:
    return world.by_key[key].name if key in world.by_key else "Wall"


def in_the_way(world: World, agent: Agent, x: float, z: float) -> str:
    """What the agent would touch on its way to (x, z); empty for nothing."""
    key = navigation.sweep((agent.x, agent.z), (x, z), world.blocks())
    if key:
        return _name(world, key)
    here = (agent.x, agent.z)
    for ax, az, name in _others(world, agent):
        near = navigation.RADIUS * 2
        if math.dist((x, z), (ax, az)) < near and math.dist((x, z), (ax, az)) < math.dist(here, (ax, az)):
            return name
    return ""


def _step(world: World, agent: Agent, angle: float, magnitude: float | None, force: bool) -> None:
    settings = world.settings
    distance = settings.grid_size if magnitude is None or magnitude == 0 else magnitude
    if distance < 0:
        raise ActionError("moveMagnitude must be positive; move the other way instead")
    turned = math.radians(agent.yaw + angle)
    dx, dz = distance * math.sin(turned), distance * math.cos(turned)
    x, z = agent.x + dx, agent.z + dz
    if settings.snap:
        grid = settings.grid_size
        x, z = round(x / grid) * grid, round(z / grid) * grid
    else:
        x, z = round(x, 6), round(z, 6)
    if not force:
        name = in_the_way(world, agent, x, z)
        if name:
            world.deed.collided = name
            where = f"({number(x - agent.x)}, 0.0000, {number(z - agent.z)})"
            raise ActionError(f"{name} is blocking Agent {agent.agent_id} from moving by {where}.")
    elif not _in_room(world, x, z):
        raise ActionError("the agent can't be moved out of the room")
    agent.x, agent.z = x, z
    agent.carry()


def _in_room(world: World, x: float, z: float) -> bool:
    room = world.room
    return room.x0 <= x <= room.x1 and room.z0 <= z <= room.z1


@action()
def move_ahead(
    world: World, agent: Agent, moveMagnitude: float | None = None, noise: float = 0.0, forceAction: bool = False
) -> None:
    _step(world, agent, 0.0, moveMagnitude, forceAction)


@action()
def move_back(
    world: World, agent: Agent, moveMagnitude: float | None = None, noise: float = 0.0, forceAction: bool = False
) -> None:
    _step(world, agent, 180.0, moveMagnitude, forceAction)


@action()
def move_left(
    world: World, agent: Agent, moveMagnitude: float | None = None, noise: float = 0.0, forceAction: bool = False
) -> None:
    _step(world, agent, 270.0, moveMagnitude, forceAction)


@action()
def move_right(
    world: World, agent: Agent, moveMagnitude: float | None = None, noise: float = 0.0, forceAction: bool = False
) -> None:
    _step(world, agent, 90.0, moveMagnitude, forceAction)


@action()
def move_agent(
    world: World,
    agent: Agent,
    ahead: float = 0.0,
    right: float = 0.0,
    noise: float = 0.0,
    forceAction: bool = False,
    speed: float = 1.0,
    returnToStart: bool = True,
    disableRendering: bool = False,
    fixedDeltaTime: float = 0.02,
) -> None:
    if ahead == 0 and right == 0:
        return
    snap, world.settings.snap = world.settings.snap, False
    try:
        _step(world, agent, math.degrees(math.atan2(right, ahead)), math.hypot(ahead, right), forceAction)
    finally:
        world.settings.snap = snap


def _turn(world: World, agent: Agent, sign: float, degrees: float | None) -> None:
    step = world.settings.rotate_step if degrees is None or degrees == 0 else degrees
    if step < 0:
        raise ActionError("degrees must be positive; turn the other way instead")
    agent.yaw = wrap(agent.yaw + sign * step)
    agent.carry()


@action()
def rotate_right(
    world: World,
    agent: Agent,
    degrees: float | None = None,
    manualInteract: bool = False,
    forceAction: bool = False,
    speed: float = 1.0,
    waitForFixedUpdate: bool = False,
    returnToStart: bool = True,
    disableRendering: bool = False,
    fixedDeltaTime: float = 0.02,
) -> None:
    _turn(world, agent, 1.0, degrees)


@action()
def rotate_left(
    world: World,
    agent: Agent,
    degrees: float | None = None,
    manualInteract: bool = False,
    forceAction: bool = False,
    speed: float = 1.0,
    waitForFixedUpdate: bool = False,
    returnToStart: bool = True,
    disableRendering: bool = False,
    fixedDeltaTime: float = 0.02,
) -> None:
    _turn(world, agent, -1.0, degrees)


@action()
def rotate_agent(
    world: World,
    agent: Agent,
    degrees: float,
    speed: float = 1.0,
    waitForFixedUpdate: bool = False,
    returnToStart: bool = True,
    disableRendering: bool = False,
    fixedDeltaTime: float = 0.02,
) -> None:
    agent.yaw = wrap(agent.yaw + degrees)
    agent.carry()


@action()
def look_up(world: World, agent: Agent, degrees: float | None = None, manualInteract: bool = False) -> None:
    _tilt(agent, -_tilt_step(degrees))


@action()
def look_down(world: World, agent: Agent, degrees: float | None = None, manualInteract: bool = False) -> None:
    _tilt(agent, _tilt_step(degrees))


def _tilt_step(degrees: float | None) -> float:
    step = 30.0 if degrees is None or degrees == 0 else degrees
    if step < 0:
        raise ActionError("Change in degrees must be positive; look the other way instead")
    return step


def _tilt(agent: Agent, by: float) -> None:
    wanted = round(agent.horizon + by, 4)
    if wanted < UP - 1e-4:
        raise ActionError(f"can't look up beyond {-UP:g} degrees above the forward horizon")
    if wanted > DOWN + 1e-4:
        raise ActionError(f"can't look down beyond {DOWN:g} degrees below the forward horizon")
    agent.horizon = wanted
    agent.carry()


@action(lenient=True)
def rotate_look(world: World, agent: Agent, rotation: Any = None, horizon: float | None = None) -> None:
    """Turn to a yaw and a tilt at once."""
    if horizon is not None and not UP <= horizon <= DOWN:
        raise ActionError(f"Each horizon must be in [{UP:g}:{DOWN:g}].")
    yaw = rotation.get("y") if isinstance(rotation, dict) else rotation
    if isinstance(yaw, int | float) and not isinstance(yaw, bool) and math.isfinite(yaw):
        agent.yaw = wrap(float(yaw))
    agent.horizon = agent.horizon if horizon is None else horizon
    agent.carry()


@action()
def crouch(world: World, agent: Agent) -> None:
    _stand(world, agent, False)


@action()
def stand(world: World, agent: Agent) -> None:
    _stand(world, agent, True)


def _stand(world: World, agent: Agent, standing: bool) -> None:
    if world.settings.mode not in ("default", "arm"):
        raise ActionError(f"a {world.settings.mode} agent can neither stand nor crouch")
    if agent.standing == standing:
        raise ActionError("Already Standing." if standing else "Already Crouching.")
    agent.standing = standing
    agent.carry()


@action("Teleport")
def teleport(
    world: World, agent: Agent, position: Vector3 | None = None, rotation: Vector3 | None = None,
    horizon: float | None = None, standing: bool | None = None, forceAction: bool = False,
    x: float | None = None, y: float | None = None, z: float | None = None,
) -> None:  # fmt: skip
    """Go there at once; what is not given stays."""
    place = (position or Vector3(x, y, z)).filled(*agent.position)
    yaw = agent.yaw if rotation is None or rotation.y is None else rotation.y
    _go(world, agent, place, yaw, horizon, standing, forceAction)


@action("TeleportFull")
def teleport_full(
    world: World, agent: Agent, position: Vector3 | None = None, rotation: Vector3 | None = None,
    horizon: float | None = None, standing: bool | None = None, forceAction: bool = False,
    x: float | None = None, y: float | None = None, z: float | None = None,
) -> None:  # fmt: skip
    """Teleport with every part of the pose given."""
    given = position or Vector3(x, y, z)
    needs = {"x": given.x, "y": given.y, "z": given.z, "rotation": rotation, "horizon": horizon}
    if world.settings.mode in ("default", "arm"):
        needs["standing"] = standing
    missing = [name for name, value in needs.items() if value is None]
    if missing:
        raise ActionError(
            f"action: TeleportFull is missing the following arguments: {','.join(missing)}", "MissingArguments"
        )
    teleport(world, agent, given, rotation, horizon, standing, forceAction)


def _go(
    world: World, agent: Agent, place: tuple[float, float, float], yaw: float, horizon: float | None,
    standing: bool | None, force: bool,
) -> None:  # fmt: skip
    if standing is not None and world.settings.mode not in ("default", "arm"):
        raise ActionError("standing is no argument of this agent's Teleport", "InvalidArgument")
    if horizon is not None and not force and not UP - 1e-3 <= horizon <= DOWN + 1e-3:
        raise ActionError(f"Each horizon must be in [{UP:g}:{DOWN:g}]. You gave {horizon:g}.")
    if horizon is not None and not -89 <= horizon <= 89:
        raise ActionError("horizon must be in [-89:89].")
    x, y, z = place
    if not _in_room(world, x, z):
        raise ActionError("Teleport target out of scene bounds! Ignore this by setting forceAction=true.")
    if not force:
        if abs(y - FOOT) > _Y_SLACK:
            raise ActionError(
                f"After teleporting and adjusting agent position to floor, there was too large a change "
                f"({number(abs(y - FOOT))} > {_Y_SLACK}) in the y component. "
                "Consider using `forceAction=true` if you'd like to teleport anyway."
            )
        key = navigation.blocker(x, z, world.blocks())
        crowd = [n for ax, az, n in _others(world, agent) if math.dist((x, z), (ax, az)) < 2 * navigation.RADIUS]
        if key or crowd:
            name = _name(world, key) if key else crowd[0]
            world.deed.collided = name
            raise ActionError(
                f"Cannot teleport due to hitting an object. Collided with: {name} at ({number(x)}, {number(z)})"
            )
    agent.x, agent.z, agent.yaw = x, z, wrap(yaw)
    agent.horizon = agent.horizon if horizon is None else horizon
    agent.standing = agent.standing if standing is None else standing
    agent.carry()


@action("Pass", "Done", "Noop")
def rest(world: World, agent: Agent) -> None:
    """Let time pass."""
