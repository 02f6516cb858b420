"""Pictures of the known world in many states, with everything that is true of them.

Owns how a scene is dressed up: poses of the agent, states of things, what is held, and which camera looks. It draws
the simulator's own scenes with its own renderer; which world is the caller's choice (data.py). Does not own
questions (questions.py) or files (shards.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selu_hpc.config import Simulator
from selu_hpc.envs import camera as third_person
from selu_hpc.models.pocket.lessons.questions import Sighting
from selu_hpc.models.pocket.lessons.shards import TOP, Array
from selu_hpc.models.pocket.model import IMAGE_SIZE, PATCH_SIZE
from selu_hpc.sim.drawing.camera import Camera, Drawable
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.skins import Skin, style
from selu_hpc.sim.thor import navigation, scenes
from selu_hpc.sim.thor.agent import FOOT, Agent
from selu_hpc.sim.thor.catalogue import SLICES_INTO, spec, specs
from selu_hpc.sim.thor.thing import Thing
from selu_hpc.sim.thor.visibility import enclosed
from selu_hpc.sim.virtualhome.catalogue import classes

_EVERYWHERE = ("nothing", "Agent", "Ceiling", "Door", "Wall")
CLASSES = (*_EVERYWHERE, *sorted({*specs(), *(c.kind for c in classes().values() if c.kind)} - {*_EVERYWHERE}))
"""What a patch may show: the shapes of both simulators' things."""
STATES = ("open", "on", "broken", "sliced", "dirty", "filled", "held", "sat")
_AGENT_KEY = 9000
_FIRST_PIECE = 20000
_PROPERTY = {"open": "open", "on": "toggle", "broken": "break", "dirty": "dirty", "filled": "fill", "held": "pick"}
_VERB_OF_STATE = {
    Simulator.THOR: {"open": "open", "on": "toggle on", "broken": "break", "sliced": "slice", "held": "pick up"},
    Simulator.VIRTUALHOME: {"open": "open", "on": "switch on", "held": "grab", "sat": "sit"},
}
_NOT = {
    Simulator.THOR: {"open": "close", "on": "toggle off"},
    Simulator.VIRTUALHOME: {"open": "close", "on": "switch off"},
}
_STRUCTURE = frozenset({"Wall", "Floor", "Ceiling", "Door", "Agent"})
_ORIGIN = {piece: kind for kind, (piece, _) in SLICES_INTO.items()}


@dataclass(slots=True)
class Picture:
    """One view: pixels, dense labels (see shards.py) and what is to be seen."""

    rgb: Array
    classes: Array
    shares: Array
    states: Array
    applicable: Array
    seen: list[Sighting] = field(repr=False, default_factory=list)


class Set:
    """One scene in one skin, changed at will."""

    def __init__(self, scene: str, skin: Skin, rng: random.Random, *, known: bool = True) -> None:
        made = scenes.make(scene, known=known, skin=skin)
        self.room, self.skin, self.rng = made.room, skin, rng
        self.things = made.things
        self.agent = Agent(0, made.start[0], made.start[1], made.start_yaw)
        self._walk = navigation.reachable(made.start, navigation.blocks(self.things, self.room), self.room)
        self._pieces: list[Thing] = []
        self._touched: Thing | None = None
        self.kinds = sorted({thing.kind for thing in self.things if thing.kind not in _STRUCTURE})

    def change(self, share: float = 0.35) -> None:
        """Give a share of all things another state."""
        rng = self.rng
        self._restore_pieces()
        for thing in self.things:
            if thing.structural or thing.kind == "Floor" or rng.random() > share:
                continue
            can = thing.spec.can
            thing.openness = rng.choice((0.6, 0.8, 1.0, 1.0)) if can("open") and rng.random() < 0.45 else 0.0
            thing.toggled = can("toggle") and rng.random() < 0.45
            thing.broken = can("break") and thing.kind != "Egg" and rng.random() < 0.35
            thing.dirty = can("dirty") and rng.random() < 0.3
            thing.liquid = rng.choice(("water", "coffee", "wine")) if can("fill") and rng.random() < 0.3 else ""
            thing.touch()
        for thing in [t for t in self.things if t.kind in SLICES_INTO and rng.random() < 0.4]:
            self._slice(thing)

    def pose(self) -> None:
        """Stand before something, or anywhere; hold something, or nothing; film something, or what is ahead."""
        rng = self.rng
        self.agent.horizon = rng.choice((0.0, 30.0))
        shown = [t for t in self.things if t.there and not t.structural and t.kind != "Floor" and not enclosed(t)]
        small = [t for t in shown if t.spec.can("pick")]
        able = [t for t in shown if any(t.spec.can(word) for word in ("open", "toggle"))]
        frail = [t for t in shown if t.spec.can("break")]
        food = [t for t in (*shown, *self._pieces[::3]) if t.spec.can("slice") or t.kind in _ORIGIN]
        subject = rng.choice(rng.choice([pool for pool in (shown, small, able, able, frail, food) if pool]))
        if rng.random() < 0.8:
            self._face(subject)
        else:
            self.agent.x, self.agent.z = rng.choice(self._walk)
            self.agent.yaw = rng.choice((0.0, 90.0, 180.0, 270.0))
        self._touched = subject if rng.random() < 0.75 else None

    def pictures(self, *, hold: bool, both: bool = True) -> list[Picture]:
        """Third person of the present moment, with first person if `both`; `hold` puts something into the hand."""
        held = self._take() if hold else None
        try:
            found = [self._picture(self._film(), own=False)]
            if both:
                found.append(self._picture(self.agent.camera(), own=True))
        finally:
            if held is not None:
                self._give_back(*held)
        return found

    def _face(self, thing: Thing) -> None:
        x, y, z = thing.centre
        reach = 1.4 + max(thing.size) / 2
        near = [p for p in self._walk if math.dist(p, (x, z)) <= reach] or self._walk
        options = []
        for px, pz in near:
            for yaw in (0.0, 90.0, 180.0, 270.0):
                turn = math.radians(yaw)
                along = (x - px) * math.sin(turn) + (z - pz) * math.cos(turn)
                aside = abs((x - px) * math.cos(turn) - (z - pz) * math.sin(turn))
                wish = min(0.6 + max(thing.size) / 2, 1.1)
                options.append((abs(along - wish) + 1.5 * aside + (2.0 if along < 0 else 0.0), px, pz, yaw))
        options.sort()
        _, self.agent.x, self.agent.z, self.agent.yaw = options[min(int(self.rng.expovariate(0.7)), len(options) - 1)]
        eye = FOOT + 0.675
        down = math.degrees(math.atan2(eye - y, max(math.dist((x, z), (self.agent.x, self.agent.z)), 0.2)))
        self.agent.horizon = min((-30.0, 0.0, 30.0, 60.0), key=lambda h: abs(h - down))

    def _film(self) -> Camera:
        """The environment's own third-person camera, from as much metadata as it reads."""
        agent = self.agent
        half = (self.room.x1 - self.room.x0, self.room.height, self.room.z1 - self.room.z0)
        middle = ((self.room.x0 + self.room.x1) / 2, self.room.height / 2, (self.room.z0 + self.room.z1) / 2)
        metadata: dict[str, Any] = {
            "agent": {"position": _xyz((agent.x, agent.y, agent.z)), "rotation": _xyz((0.0, agent.yaw, 0.0))},
            "objects": [_described(t) for t in (*self.things, *self._pieces) if t.there and not t.structural],
            "sceneBounds": {"center": _xyz(middle), "size": _xyz(half)},
        }
        touched = self._touched.obj_id if self._touched is not None else ""
        shot = third_person.shoot(third_person.subject(metadata, touched, None), metadata)
        return Camera(
            position=shot.position, yaw=shot.yaw, pitch=shot.pitch, fov=shot.field_of_view, near=0.1, far=20.0
        )

    def _take(self) -> tuple[Thing, Thing | None, Any, Any] | None:
        small = [t for t in self.things if t.there and t.spec.can("pick") and not t.structural and not t.children]
        if not small:
            return None
        thing = self.rng.choice(small)
        before = (thing, thing.parent, thing.centre, thing.rotation)
        if self.rng.random() < 0.7:
            self._touched = thing
        self.agent.take(thing)
        return before

    def _give_back(self, thing: Thing, parent: Thing | None, centre: Any, rotation: Any) -> None:
        self.agent.release()
        thing.move(centre, rotation)
        thing.into(parent)

    def _slice(self, thing: Thing) -> None:
        kind, count = SLICES_INTO[thing.kind]
        w, h, d = spec(kind).size
        x, y, z = thing.bottom
        thing.there = False
        thing.touch()
        for number in range(count):
            along = (number - (count - 1) / 2) * max(0.8 * min(w, d), 0.02)
            self._pieces.append(
                Thing(
                    key=_FIRST_PIECE + len(self._pieces),
                    kind=kind,
                    spec=spec(kind),
                    size=(w, h, d),
                    centre=(x + along, y + h / 2, z),
                    obj_id=f"{thing.obj_id}|{kind}_{number}",
                    style=style(self.skin, kind, number),
                    parent=thing.parent,
                )
            )

    def _restore_pieces(self) -> None:
        self._pieces = []
        for thing in self.things:
            if not thing.there:
                thing.there = True
                thing.touch()

    def _picture(self, view: Camera, *, own: bool) -> Picture:
        known: dict[int, Thing] = {}
        drawn: list[Drawable] = []
        for thing in (*self.things, *self._pieces):
            if thing.there and not thing.hidden and not enclosed(thing):
                known[thing.key] = thing
                drawn.append(thing.drawable())
        if not own:
            drawn.append(self.agent.drawable(_AGENT_KEY, style(self.skin, "Agent", 0)))
        images = render(drawn, view, width=IMAGE_SIZE, height=IMAGE_SIZE, skin=self.skin)
        return label(np.array(images.rgb), images.ids, facts_of(known.values()))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of one thing, whatever the camera sees of it."""

    kind: str
    origin: str
    structural: bool
    states: frozenset[str]
    applicable: frozenset[str]
    holders: tuple[str, ...]


def label(rgb: Array, ids: Array, known: dict[int, Facts], simulator: Simulator = Simulator.THOR) -> Picture:
    """Dense labels and sightings of one picture from its instance numbers."""
    side = IMAGE_SIZE // PATCH_SIZE
    keys, inverse = np.unique(ids, return_inverse=True)
    inverse = inverse.reshape(ids.shape)
    kinds = np.array([CLASSES.index(_class_of(int(key), known)) for key in keys])
    states = np.array([_bits(known[int(key)].states) if int(key) in known else 0 for key in keys], np.uint16)
    can = np.array([_bits(known[int(key)].applicable) if int(key) in known else 0 for key in keys], np.uint16)
    patches = inverse.reshape(side, PATCH_SIZE, side, PATCH_SIZE).swapaxes(1, 2).reshape(side * side, -1)
    counts = np.zeros((side * side, len(keys)), np.int32)
    np.add.at(counts, (np.repeat(np.arange(side * side), patches.shape[1]), patches.ravel()), 1)
    by_kind = np.zeros((side * side, len(CLASSES)), np.int32)
    for at, kind in enumerate(kinds.tolist()):
        by_kind[:, kind] += counts[:, at]
    top = np.argsort(-by_kind, axis=1, kind="stable")[:, :TOP]
    shares = np.take_along_axis(by_kind, top, 1) * 255 // patches.shape[1]
    # States are asked of the largest thing in the patch that has any.
    able = counts * (can[None] > 0)
    largest = able.argmax(1)
    clear = able.max(1) >= 8
    return Picture(
        rgb,
        top.astype(np.int16),
        shares.astype(np.uint8),
        np.where(clear, states[largest], 0).astype(np.uint16),
        np.where(clear, can[largest], 0).astype(np.uint16),
        _sightings(ids, keys, inverse, known, simulator),
    )


def _sightings(
    ids: Array, keys: Array, inverse: Array, known: dict[int, Facts], simulator: Simulator
) -> list[Sighting]:
    size = ids.shape[0]
    pixels = np.bincount(inverse.ravel(), minlength=len(keys))
    ys, xs = np.divmod(np.arange(ids.size), size)
    x = np.bincount(inverse.ravel(), weights=xs, minlength=len(keys)) / pixels / size
    y = np.bincount(inverse.ravel(), weights=ys, minlength=len(keys)) / pixels / size
    found = []
    for at, key in enumerate(keys.tolist()):
        facts = known.get(key)
        if facts is None or facts.structural:
            continue
        can, true = verbs(facts, simulator)
        found.append(Sighting(facts.origin, int(pixels[at]), float(x[at]), float(y[at]), facts.holders, can, true))
    return found


def verbs(facts: Facts, simulator: Simulator = Simulator.THOR) -> tuple[frozenset[str], frozenset[str]]:
    """Which verbs a thing takes, and which of their goals hold."""
    can: set[str] = set()
    true: set[str] = set()
    opposite = _NOT[simulator]
    for state, verb in _VERB_OF_STATE[simulator].items():
        if state in facts.applicable:
            can |= {verb} | ({opposite[state]} if state in opposite else set())
            true |= {verb} if state in facts.states else {opposite[state]} if state in opposite else set()
    return frozenset(can), frozenset(true)


def facts_of(things: Iterable[Thing]) -> dict[int, Facts]:
    """What is true of things, by the number they have in a picture."""
    return {thing.key: _facts(thing) for thing in things}


def _facts(thing: Thing) -> Facts:
    states = {
        "open": thing.openness > 0,
        "on": thing.toggled,
        "broken": thing.broken or thing.kind == "EggCracked",
        "sliced": thing.sliced or (thing.kind in _ORIGIN and thing.kind != "EggCracked"),
        "dirty": thing.dirty,
        "filled": bool(thing.liquid),
        "held": thing.holder is not None,
    }
    can = {state for state, word in _PROPERTY.items() if thing.spec.can(word)}
    if thing.spec.can("slice") and thing.kind != "Egg":
        can.add("sliced")
    true = frozenset(state for state, holds in states.items() if holds)
    holders = tuple(holder.kind for holder in thing.holders()) if thing.holder is None else ()
    return Facts(
        thing.kind,
        _ORIGIN.get(thing.kind, thing.kind),
        thing.structural or thing.kind in _STRUCTURE,
        true,
        frozenset(can) | true,
        holders,
    )


def _class_of(key: int, known: dict[int, Facts]) -> str:
    if key == _AGENT_KEY:
        return "Agent"
    kind = known[key].kind if key in known else "nothing"
    return kind if kind in CLASSES else "nothing"


def _bits(states: frozenset[str]) -> int:
    return sum(1 << STATES.index(state) for state in states)


def _xyz(values: Sequence[float]) -> dict[str, float]:
    return dict(zip("xyz", values, strict=True))


def _described(thing: Thing) -> dict[str, Any]:
    x0, y0, z0, x1, y1, z1 = thing.boxes()[2]
    return {
        "objectId": thing.obj_id,
        "objectType": thing.kind,
        "isPickedUp": thing.holder is not None,
        "openable": thing.spec.can("open"),
        "isOpen": thing.openness > 0,
        "parentReceptacles": [thing.parent.obj_id] if thing.parent is not None else None,
        "receptacleObjectIds": [child.obj_id for child in thing.children],
        "position": _xyz(thing.centre),
        "axisAlignedBoundingBox": {
            "center": _xyz(((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)),
            "size": _xyz((x1 - x0, y1 - y0, z1 - z0)),
        },
    }
