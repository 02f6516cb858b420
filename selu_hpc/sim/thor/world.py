"""A household: things, agents, cameras, and the actions that change them.

Owns the state and the one way to change it, `apply`. What each action does is in actions/, what clients read in
metadata.py, pictures in pictures.py. The same scene, world, skin and actions give the same state everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from selu_hpc.sim.drawing.camera import Camera, Drawable
from selu_hpc.sim.drawing.film import Film
from selu_hpc.sim.drawing.skins import Skin, skin_for, style
from selu_hpc.sim.thor import effects, navigation, scenes, visibility
from selu_hpc.sim.thor.actions import cameras, contents, hand, looks, move, objects, push, query, scene, states, tests
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ACTIONS, ActionError, bound
from selu_hpc.sim.thor.builder import FIRST_OBJECT_KEY, Builder
from selu_hpc.sim.thor.metadata import Describer
from selu_hpc.sim.thor.thing import Thing

__all__ = ["Outcome", "Settings", "ThirdPartyCamera", "World"]

_MODULES = (
    cameras,
    contents,
    hand,
    looks,
    move,
    objects,
    push,
    query,
    scene,
    states,
    tests,
)
AGENT_KEY = 9000
TIME_PER_ACTION = 0.25
"""Seconds of the world's clock that an action takes."""
_LONGEST_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action. query: it changed nothing."""

    success: bool
    error: str = ""
    error_code: str | None = None
    value: Any = None
    query: bool = False


@dataclass(slots=True)
class Deed:
    """What an agent did last, and what it ran into; an agent that did nothing yet was initialised."""

    action: str = "Initialize"
    outcome: Outcome = Outcome(True)
    collided: str = ""


@dataclass(slots=True)
class Settings:
    """What Initialize sets."""

    grid_size: float = 0.25
    visibility_distance: float = 1.5
    rotate_step: float = 90.0
    fov: float = 90.0
    snap: bool = True
    mode: str = "default"
    fast_emit: bool = True
    render: dict[str, bool] = field(default_factory=dict)


@dataclass(slots=True)
class ThirdPartyCamera:
    """A camera that no agent carries. rotation: x down, y to the right, z is not drawn."""

    position: tuple[float, float, float]
    rotation: tuple[float, float, float]
    fov: float = 90.0
    orthographic: bool = False
    orthographic_size: float = 1.0

    def camera(self) -> Camera:
        return Camera(
            position=self.position, yaw=self.rotation[1], pitch=self.rotation[0], fov=self.fov, near=0.1, far=20.0
        )


class World:
    """One scene with its agents."""

    def __init__(self, scene: str, *, known: bool, skin: Skin | None = None, seed: int = 0) -> None:
        self.scene_name = scene
        self.known = known
        self.skin = skin or skin_for(scene, known=known)
        self.seed = seed
        self.agents: list[Agent] = []
        self.load()

    def load(self) -> None:
        """The scene as it is at first; settings go back to their defaults."""
        made = scenes.make(self.scene_name, known=self.known, skin=self.skin)
        self.room, self.room_kind, self.things = made.room, made.room_kind, made.things
        self._start, self._start_yaw = made.start, made.start_yaw
        self.random = random.Random(f"{self.seed}/{self.scene_name}")
        self.time = 0.0
        self.settings = Settings()
        self.third_party_cameras: list[ThirdPartyCamera] = []
        self.filter: frozenset[str] | None = None
        self.look: Skin = self.skin
        self.decay_seconds: dict[str, float] = {}
        self.physics_paused = False
        self.active_agent = 0
        self.describer = Describer(self)
        self._geometry: visibility.Geometry | None = None
        self._seen: dict[int, tuple[tuple[Any, ...], set[int]]] = {}
        self._drawables: dict[int, tuple[int, Drawable]] = {}
        self._drawn: tuple[int, list[Drawable]] | None = None
        self.films: dict[tuple[str, int], Film] = {}
        self._blocks: tuple[int, navigation.Blocks] | None = None
        self._reachable: tuple[tuple[Any, ...], list[navigation.Point]] | None = None
        self.reset_index()
        self.set_agents(1)

    def reset_index(self) -> None:
        self.by_id = {t.obj_id: t for t in self.things if not t.structural}
        self.by_key = {t.key: t for t in self.things}

    @property
    def objects(self) -> list[Thing]:
        """What metadata lists."""
        return [t for t in self.things if not t.structural and not t.hidden]

    def next_key(self) -> int:
        return max(max(self.by_key), FIRST_OBJECT_KEY) + 1

    def insert(self, thing: Thing) -> None:
        """Add a new thing."""
        self.things.append(thing)
        self.by_key[thing.key] = thing
        if not thing.structural:
            self.by_id[thing.obj_id] = thing

    def remove(self, thing: Thing) -> None:
        """Take a thing, and what it holds, out of the scene for good."""
        for agent in self.agents:
            if agent.held is thing:
                agent.release()
        for child in list(thing.children):
            self.remove(child)
        thing.into(None)
        self.things = [t for t in self.things if t is not thing]
        self._drawables.pop(thing.key, None)  # the next new thing may be given its key
        # Fewer versions add up to a signature that may have been before.
        self._drawn = self._geometry = self._blocks = self._reachable = None
        self._seen = {}
        self.reset_index()
        self.describer.forget()

    def builder(self) -> Builder:
        """Labels for new things."""
        return Builder(room=self.room, rng=self.random, skin=self.skin, things=self.things)

    def set_agents(self, num: int) -> None:
        """Put this many agents into the scene, each on free ground of its own."""
        for agent in self.agents:
            if agent.held is not None:
                agent.release()
        self.agents = [Agent(0, self._start[0], self._start[1], self._start_yaw)]
        if num > 1:
            reach = navigation.reachable(self._start, self.blocks(), self.room)
            for i in range(1, num):
                free = [p for p in reach if all((p[0] - a.x) ** 2 + (p[1] - a.z) ** 2 > 0.3 for a in self.agents)]
                spot = free[0] if free else reach[-1]
                self.agents.append(Agent(i, spot[0], spot[1], (self._start_yaw + 90.0 * i) % 360))
        self.active_agent = 0
        self.deeds = [Deed() for _ in self.agents]
        self._seen = {}

    def blocks(self) -> navigation.Blocks:
        now = visibility.signature(self.things)
        if self._blocks is None or self._blocks[0] != now:
            self._blocks = (now, navigation.blocks(self.things, self.room))
        return self._blocks[1]

    def reachable(self, start: navigation.Point, grid: float) -> list[navigation.Point]:
        """Where one can walk to from a point."""
        asked = (visibility.signature(self.things), start, grid)
        if self._reachable is None or self._reachable[0] != asked:
            self._reachable = (asked, navigation.reachable(start, self.blocks(), self.room, grid))
        return self._reachable[1]

    def geometry(self) -> visibility.Geometry:
        self._geometry = visibility.geometry(self.things, self._geometry)
        return self._geometry

    def visible(self, agent_id: int = 0) -> set[int]:
        """Keys of what an agent sees within reach."""
        agent, found = self.agents[agent_id], self.geometry()
        pose = (
            found.signature,
            agent.x,
            agent.z,
            agent.yaw,
            agent.horizon,
            agent.standing,
            agent.fov,
            self.aspect,
            self.settings.visibility_distance,
        )
        kept = self._seen.get(agent_id)
        if kept is None or kept[0] != pose:
            reach = self.settings.visibility_distance
            keys = visibility.seen(found, agent.camera(), agent.position, reach=reach, aspect=self.aspect)
            kept = self._seen[agent_id] = (pose, keys)
        return kept[1]

    screen: tuple[int, int] = (300, 300)
    """Width and height of the pictures."""

    @property
    def aspect(self) -> float:
        """What is beside a picture is not visible."""
        return self.screen[0] / self.screen[1]

    def apply(self, message: dict[str, Any]) -> Outcome:
        """Do one action, as the client names it. Never raises for what a message holds."""
        name = message.get("action")
        agent_id = message.get("agentId", 0)
        if not isinstance(agent_id, int) or isinstance(agent_id, bool) or not 0 <= agent_id < len(self.agents):
            return self._done(str(name), Outcome(False, "agentId names no agent", "InvalidArgument"))
        self.active_agent = agent_id
        found = ACTIONS.get(name) if isinstance(name, str) else None
        if found is None:
            shown = str(name)[:200]
            return self._done(shown, Outcome(False, f"Invalid action: {shown}", "InvalidAction"))
        self.deeds[agent_id].collided = ""
        try:
            value = found.function(self, self.agents[agent_id], **bound(found, message))
            outcome = Outcome(True, value=value, query=found.query)
        except ActionError as error:
            outcome = Outcome(False, str(error)[:_LONGEST_MESSAGE], error.code, query=found.query)
        return self._done(found.name, outcome)

    def _done(self, name: str, outcome: Outcome) -> Outcome:
        if not outcome.query:
            self.time = round(self.time + TIME_PER_ACTION, 4)
            effects.pass_time(self)
        self.tell(name, outcome)
        return outcome

    @property
    def deed(self) -> Deed:
        """The last one, which is the active agent's."""
        return self.deeds[self.active_agent]

    def tell(self, action: str, outcome: Outcome) -> None:
        """What the metadata of who acted are to say, until it acts again."""
        self.deed.action, self.deed.outcome = action, outcome

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time = round(self.time + seconds, 4)
        effects.pass_time(self)

    def metadata(self, agent_id: int = 0) -> dict[str, Any]:
        """The agent's metadata after the last action, as the client's event holds it; the caller's own copy."""
        return self.describer.agent(agent_id)

    def camera(self, agent_id: int = 0) -> Camera:
        return self.agents[agent_id].camera()

    def drawables(self, for_agent: int | None = 0) -> list[Drawable]:
        """What is there to draw; without the agent itself in its own view (None: all agents)."""
        now = visibility.signature(self.things)
        if self._drawn is None or self._drawn[0] != now:
            self._drawn = (now, self._draw_things())
        out = list(self._drawn[1])
        for agent in self.agents:
            if agent.agent_id != for_agent:
                key = AGENT_KEY + agent.agent_id
                out.append(agent.drawable(key, style(self.look, "Agent", agent.agent_id)))
        return out

    def _draw_things(self) -> list[Drawable]:
        kept = self._drawables
        out = []
        for thing in self.things:
            if not thing.there or thing.hidden or visibility.enclosed(thing):
                continue
            entry = kept.get(thing.key)
            if entry is None or entry[0] != thing.version:
                entry = kept[thing.key] = (thing.version, thing.drawable())
            out.append(entry[1])
        return out

    def restyle(self, choose: Callable[[Thing], int]) -> None:
        """Give every thing another look."""
        for thing in self.things:
            thing.style = choose(thing)
            thing.touch()


assert all(_MODULES)
