"""VirtualHome's share of the built-in model's pre-training: pictures of known homes in many states.

    python -m selu_hpc.models.pocket.lessons.homes --out FOLDER --split train --shards 8

Owns how a home is dressed up: poses, states, what is held, sat on, put elsewhere. What is asked is
questions.py's; episodes are home_episodes.py's. Poses, cameras and pictures are the simulator's own:
nothing is drawn that the environment could not show.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from selu_hpc.config import EnvConfig, Simulator, World
from selu_hpc.envs import camera as third_person
from selu_hpc.envs.splits import test_scenes, train_scenes
from selu_hpc.envs.virtualhome.environment import CHARACTER, FIRST_PERSON
from selu_hpc.envs.virtualhome.state import filmable
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.data import FIRST_PERSON_SHARE, Drawn, Tokens, save, snapshot
from selu_hpc.models.pocket.lessons.questions import HOME, Sighting, perception
from selu_hpc.models.pocket.lessons.scenes import Facts, Picture, label
from selu_hpc.models.pocket.lessons.shards import Array, Snapshot
from selu_hpc.models.pocket.model import IMAGE_SIZE
from selu_hpc.records import derive_seed
from selu_hpc.sim.drawing.camera import Camera, Drawable
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.skins import Skin, skins, style
from selu_hpc.sim.virtualhome.catalogue import HomeClass, class_named
from selu_hpc.sim.virtualhome.graph import Edge, Graph, measured, node
from selu_hpc.sim.virtualhome.homes import NUM_PLANS, make_home
from selu_hpc.sim.virtualhome.places import Body, Item, Places
from selu_hpc.sim.virtualhome.rooms import HEIGHT
from selu_hpc.sim.virtualhome.view import CHARACTER_CAMERAS, body_camera, drawables
from selu_hpc.terminal import positive

POSES_PER_HOME = 56
POSES_PER_CHANGE = 7
HELD_SHARE = 0.4
FILMED_SHARE = 0.8
"""How often the camera films what the person stands before, as it films what was acted on; else what is ahead."""
OWN_LAYOUT = 0.2
"""How often a home has the layout that the environment loads; else one of its own, with the home's plan of rooms."""
LEAST_SHOWING = 3
"""Pixels that have to tell a state before it is asked about: the lamp of a far dishwasher is none."""
_PERSON = 1
_OWN_EYES = CHARACTER_CAMERAS[FIRST_PERSON]
_STRUCTURE = frozenset({"Floor", "Walls", "Ceiling"})
_MOST_ON_SEAT = {"bed": 4, "sofa": 4, "bench": 2}
"""What the package lets be on a seat before nobody may sit there; 1 elsewhere."""
_NOUNS = language_of(Simulator.VIRTUALHOME).nouns
_STATE_VERBS = {"open": ("open", "close"), "on": ("switch on", "switch off")}
_PERSONS_FACTS = Facts("Agent", "Agent", True, frozenset(), frozenset(), ())
_FLIPPED = {"OPEN": "CLOSED", "CLOSED": "OPEN", "ON": "OFF", "OFF": "ON"}


class HomeSet:
    """One home in one skin, changed at will."""

    def __init__(self, number: int, skin: Skin, rng: random.Random, *, known: bool = True) -> None:
        seed = None if rng.random() < OWN_LAYOUT else layout_seed(number, rng)
        home = make_home(number, known=known, skin=skin, seed=seed)
        self.skin, self.rng = skin, rng
        self.places = home.places.copy()
        self.states: dict[int, list[str]] = {node["id"]: list(node["states"]) for node in home.graph["nodes"]}
        self._first = {number: list(states) for number, states in self.states.items()}
        # As much of a graph as the simulator's pictures need.
        self._graph = {
            "nodes": [{"id": number, "states": states} for number, states in self.states.items()],
            "edges": [edge for edge in home.graph["edges"] if edge["relation_type"] == "BETWEEN"],
        }
        self.body = Body(_PERSON, CHARACTER, 0.0, 0.0, 0.0)
        self.places.bodies[_PERSON] = self.body
        self._in_hands: list[Item] = []
        self._touched = ""
        self._room = min(self.places.rooms)
        items = self.places.items.values()
        self.kinds = sorted({item.cls.name for item in items if is_thing(item.cls)})

    def change(self, share: float = 0.35) -> None:
        """Give a share of all things another state, and lay some elsewhere."""
        rng = self.rng
        for item in self.places.items.values():
            if rng.random() > share:
                continue
            states = self.states[item.number]
            states[:] = self._first[item.number]
            for at, state in enumerate(states):
                if state in _FLIPPED and rng.random() < 0.5:
                    states[at] = _FLIPPED[state]
            if states == ["CLEAN"] and is_thing(item.cls) and rng.random() < 0.1:
                states[:] = ["DIRTY"]
        loose = self._loose()
        for item in rng.sample(loose, min(6, len(loose))):
            self._lay(item)
        self._room = rng.choice(sorted(self.places.rooms))

    def pose(self) -> None:
        """Stand before something, or anywhere; hold something, or nothing; sit, or not."""
        rng, places, body = self.rng, self.places, self.body
        self._empty_hands()
        shown = [i for i in places.items.values() if is_thing(i.cls) and not self._shut_in(i)]
        if rng.random() < 0.9:  # mostly one room between two changes: its picture is soon drawn again
            shown = [i for i in shown if places.room_at(i.x, i.z) == self._room] or shown
        pools = (
            shown,
            [i for i in shown if "SITTABLE" in i.cls.properties],
            [i for i in shown if "GRABBABLE" in i.cls.properties],
            [i for i in shown if shows(i.cls, "open")],
            [i for i in shown if shows(i.cls, "on")],
        )
        subject = rng.choice(rng.choices([pool or shown for pool in pools], (1, 4, 2, 3, 2))[0])
        self._touched = str(subject.number) if rng.random() < FILMED_SHARE else ""
        self._stand_before(subject)
        if rng.random() < 0.5:
            self._flip(subject)
        takes = rng.random() < HELD_SHARE
        if takes:
            self._take(subject if subject in self._loose() and rng.random() < 0.7 else None)
            if rng.random() < 0.1:
                self._take(None)
        if self._has_seat(subject) and rng.random() < 0.7:
            places.sit_on(body, subject.number)
        elif takes and rng.random() < 0.4:
            self._stand_before(rng.choice(shown))
        if not body.seat and rng.random() < 0.15:
            body.yaw = (body.yaw + rng.choice((-60.0, -30.0, 30.0, 60.0))) % 360
        if not body.seat and rng.random() < 0.15:
            places.step(body, rng.choice((0.5, -0.5)))
        places.carry()

    def pictures(self, *, both: bool = True) -> list[Picture]:
        """Third person of the present moment, with first person if `both`."""
        views: list[tuple[Camera, int | None]] = [(self._film(), None)]
        if both:
            views.append((body_camera(self.places, self.body, _OWN_EYES), _PERSON))
        found = []
        for view, without in views:
            drawn = drawables(self.places, self._graph, self.skin, view, without=without)
            images = render(drawn, view, width=IMAGE_SIZE, height=IMAGE_SIZE, skin=self.skin)
            known = facts_of(self.places, self.states, seen=set(images.ids.ravel().tolist()))
            found.append(labelled(np.array(images.rgb), images.ids, known))
        return found

    def _film(self) -> Camera:
        """The environment's own third-person camera, over the graph's part that it reads."""
        scene = filmable(self._room_graph())
        shot = third_person.shoot(third_person.subject(scene, self._touched, None), scene)
        return Camera(position=shot.position, yaw=shot.yaw, pitch=shot.pitch, fov=shot.field_of_view)

    def _room_graph(self) -> Graph:
        """The room the person is in and what is in it and in hands, as `environment_graph` tells it."""
        places, body = self.places, self.body
        here = places.room_at(body.x, body.z) or self._room
        x0, z0, x1, z1 = places.rooms[here]
        walls = {"center": [(x0 + x1) / 2, HEIGHT / 2, (z0 + z1) / 2], "size": [x1 - x0, HEIGHT, z1 - z0]}
        nodes = [node(here, "room", "Rooms", [], walls), node(_PERSON, "character", "Characters", [], body.bounds())]
        edges: set[Edge] = {(_PERSON, "INSIDE", here)}
        for item in places.items.values():
            how, by = item.support
            held = how.startswith("HOLDS")
            if held or places.room_at(item.x, item.z) == here:
                nodes.append(
                    node(item.number, item.cls.name, item.cls.category, self.states[item.number], item.bounds())
                )
                edges |= {(item.number, "INSIDE", here), (by, how, item.number) if held else (item.number, how, by)}
        known = {n["id"] for n in nodes}
        kept = [edge for edge in edges if edge[0] in known and edge[2] in known and edge[1] != "ROOM"]
        return measured(
            {"nodes": nodes, "edges": [{"from_id": a, "relation_type": how, "to_id": b} for a, how, b in kept]}, places
        )

    def _stand_before(self, item: Item) -> None:
        """As [Walk] leaves it; now and then anywhere in a room, turned as an episode starts."""
        rng, places, body = self.rng, self.places, self.body
        body.seat, body.y = 0, 0.0
        if rng.random() < 0.1:
            body.x, body.z = self._anywhere(rng.choice(sorted(places.rooms)))
            body.yaw = rng.randrange(12) * 30.0
        else:
            places.walk_to(body, item.number)

    def _anywhere(self, room: int) -> tuple[float, float]:
        x0, z0, x1, z1 = self.places.rooms[room]
        for _ in range(30):
            x, z = self.rng.uniform(x0, x1), self.rng.uniform(z0, z1)
            if self.places.stands_free(x, z, besides=_PERSON):
                return x, z
        return self.places.spot_in_room(room, besides=_PERSON)

    def _take(self, item: Item | None) -> None:
        """As [Grab] leaves it: into the right hand, else into the left."""
        places, body = self.places, self.body
        here = places.room_at(body.x, body.z)
        loose = self._loose()
        near = [i for i in loose if places.room_at(i.x, i.z) == here] or loose
        if item is None:
            if not near:
                return
            item = self.rng.choice(near)
        self._in_hands.append(replace(item))
        if self.rng.random() < 0.7:
            self._touched = str(item.number)
        places.face(body, item.x, item.z)
        item.support = (("HOLDS_RH", "HOLDS_LH")[len(self._in_hands) - 1], _PERSON)

    def _empty_hands(self) -> None:
        for before in self._in_hands:
            self.places.items[before.number] = before
        self._in_hands = []

    def _has_seat(self, item: Item) -> bool:
        on = sum(other.support == ("ON", item.number) for other in self.places.items.values())
        return "SITTABLE" in item.cls.properties and on < _MOST_ON_SEAT.get(item.cls.name, 1)

    def _flip(self, item: Item) -> None:
        states = self.states[item.number]
        for at, state in enumerate(states):
            if state in _FLIPPED and shows(item.cls, "open" if state in ("OPEN", "CLOSED") else "on"):
                states[at] = _FLIPPED[state]

    def _loose(self) -> list[Item]:
        """What could be grabbed so that nothing would be left in the air."""
        items = self.places.items.values()
        bearing = {item.support[1] for item in items}
        return [
            item for item in items
            if "GRABBABLE" in item.cls.properties and is_thing(item.cls) and item.number not in bearing
            and not item.support[0].startswith("HOLDS") and not self._shut_in(item)
        ]  # fmt: skip

    def _lay(self, item: Item) -> None:
        """As [Put] and [PutIn] leave it."""
        rng, places = self.rng, self.places
        tops = [i for i in places.items.values() if "SURFACES" in i.cls.properties and is_thing(i.cls)]
        boxes = [i for i in places.items.values() if self._takes_in(i)]
        pool = boxes if boxes and rng.random() < 0.4 else tops
        pool = [i for i in pool if i.number != item.number and max(i.size) > max(item.size) and not self._shut_in(i)]
        if not pool:
            return
        below = rng.choice(pool)
        near = (below.x + rng.uniform(-0.8, 0.8), below.z + rng.uniform(-0.8, 0.8))
        inside = "CONTAINERS" in below.cls.properties and pool is not tops
        places.put(item, ("INSIDE" if inside and self._takes_in(below) else "ON", below.number), near=near)

    def _takes_in(self, item: Item) -> bool:
        return "CONTAINERS" in item.cls.properties and "CLOSED" not in self.states[item.number] and is_thing(item.cls)

    def _shut_in(self, item: Item) -> bool:
        return any(
            how == "INSIDE" and "CLOSED" in self.states[below.number] for how, below in _below(self.places, item)
        )


def layout_seed(number: int, rng: random.Random) -> int:
    """A seed that gives a home of its own with the plan of home `number`."""
    return NUM_PLANS * rng.randrange(1, 1 << 24) + number


def is_thing(cls: HomeClass) -> bool:
    """Whether it is drawn, has a name and is no part of the house."""
    return bool(cls.kind) and cls.category not in _STRUCTURE and cls.name in _NOUNS


def labelled(rgb: Array, ids: Array, known: dict[int, Facts]) -> Picture:
    """A picture's labels; a state that so few pixels tell is neither asked about nor denied."""
    picture = label(rgb, ids, known, Simulator.VIRTUALHOME)
    picture.seen = [_legible(thing) for thing in picture.seen]
    return picture


def _legible(thing: Sighting) -> Sighting:
    cls = class_named(thing.kind)
    faint = {
        verb
        for state, verbs in _STATE_VERBS.items()
        if thing.pixels * share_that_shows(cls, state) < LEAST_SHOWING
        for verb in verbs
    }
    return replace(thing, can=thing.can - faint, true=thing.true - faint)


def shows(cls: HomeClass, state: str) -> bool:
    """Whether its look tells the state: "open", "on" or "dirty"."""
    return share_that_shows(cls, state) > 0


@cache
def share_that_shows(cls: HomeClass, state: str) -> float:
    """How much of its picture another state changes: 0 for a phone that is switched on, most of an open fridge."""
    needed = {"open": "CAN_OPEN", "on": "HAS_SWITCH"}.get(state)
    if not cls.kind or (needed is not None and needed not in cls.properties):
        return 0.0
    skin = skins(True)[0]
    away = max(0.5, 1.2 * max(cls.size))
    view = Camera(
        position=(0.35 * away, cls.size[1] / 2 + 0.45 * away, away + cls.size[2] / 2), yaw=199.0, pitch=23.0, fov=60.0
    )
    plain = Drawable(key=1, kind=cls.kind, position=(0.0, 0.0, 0.0), size=cls.size, yaw=0.0, style=style(skin, "", 0))
    other = replace(plain, openness=0.95) if state == "open" else replace(plain, flags=frozenset({state}))
    one, two = (render([d], view, width=IMAGE_SIZE, height=IMAGE_SIZE, skin=skin) for d in (plain, other))
    changed = np.abs(one.rgb.astype(int) - two.rgb.astype(int)).max(-1) > 25
    return float(changed.sum() / max(1, (one.ids == 1).sum()))


def facts_of(places: Places, states: Mapping[int, Sequence[str]], *, seen: Iterable[int]) -> dict[int, Facts]:
    """What is true of what is seen, by the number it has in a picture."""
    seats = {body.seat for body in places.bodies.values() if body.seat}
    items = [places.items[number] for number in seen if number in places.items]
    found = {item.number: _facts(places, item, states.get(item.number, ()), seats) for item in items}
    return found | dict.fromkeys(places.bodies, _PERSONS_FACTS)


def _facts(places: Places, item: Item, states: Sequence[str], seats: set[int]) -> Facts:
    cls = item.cls
    held = item.support[0].startswith("HOLDS")
    can = {state for state in ("open", "on") if shows(cls, state)}
    can |= {"held"} if "GRABBABLE" in cls.properties else set()
    can |= {"sat"} if "SITTABLE" in cls.properties else set()
    can |= {"dirty"} if {"CLEAN", "DIRTY"} & set(states) and shows(cls, "dirty") else set()
    true = {
        "open": "OPEN" in states,
        "on": "ON" in states,
        "dirty": "DIRTY" in states,
        "held": held,
        "sat": item.number in seats,
    }
    holders = () if held else tuple(b.cls.name for _, b in _below(places, item) if b.cls.name in _NOUNS)
    return Facts(
        cls.kind,
        cls.name,
        not is_thing(cls),
        frozenset(state for state in can if true[state]),
        frozenset(can),
        holders,
    )


def _below(places: Places, item: Item) -> Iterable[tuple[str, Item]]:
    """What it lies on or in, and what that lies on, with how."""
    seen = {item.number}
    while item.support[0] in ("ON", "INSIDE") and item.support[1] in places.items and item.support[1] not in seen:
        how = item.support[0]
        item = places.items[item.support[1]]
        seen.add(item.number)
        yield how, item


def homes_of(split: str) -> tuple[str, bool, Sequence[str]]:
    """(world, known, homes) of "train", "held_out" (known world, another home) or "unknown" (only ever reported)."""
    world = World.UNKNOWN if split == "unknown" else World.KNOWN
    config = EnvConfig(simulator=Simulator.VIRTUALHOME, world=world)
    return world.value, world is World.KNOWN, train_scenes(config) if split == "train" else test_scenes(config)


def draw_home_perception(folder: Path, *, split: str, number: int, pictures: int) -> None:
    """One shard of perception in homes, the same for the same arguments."""
    world, known, scenes = homes_of(split)
    rng = random.Random(derive_seed("pocket homes", split, number))
    tokens, snapshots, drawn, everywhere = Tokens(), list[Snapshot](), list[Drawn](), set[str]()
    while len(snapshots) < pictures:
        scene, skin, seed = rng.choice(scenes), rng.choice(skins(known)), rng.randrange(1 << 31)
        place = HomeSet(int(scene.removeprefix("home")), skin, random.Random(seed), known=known)
        everywhere.update(place.kinds)
        drawn.append(Drawn("homes", world, scene, skin.name, seed))
        for pose in range(POSES_PER_HOME):
            if pose % POSES_PER_CHANGE == 0:
                place.change()
            place.pose()
            for picture in place.pictures(both=rng.random() < FIRST_PERSON_SHARE):
                absent = rng.sample(sorted(everywhere), min(8, len(everywhere)))
                asked = perception(picture.seen, absent, rng, HOME)
                if asked:
                    snapshots.append(snapshot(picture, tokens.of(asked)))
    save(folder / f"homes-{split}-{number:03d}", snapshots, drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "held_out", "unknown"), default="train")
    parser.add_argument("--shards", type=positive, default=1)
    parser.add_argument("--pictures", type=positive, default=4096, help="in each shard")
    options = parser.parse_args()
    for number in range(options.shards):
        draw_home_perception(options.out / options.split, split=options.split, number=number, pictures=options.pictures)


if __name__ == "__main__":
    main()
