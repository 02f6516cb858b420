"""VirtualHome's homes: fifty for each world, generated from (world, number); the same in every process.

Owns where walls, furniture and things come to stand. The rooms' plans and what is in them are in plans.py, facts
of classes in catalogue.py, poses in places.py, relations in graph.py. Known and unknown homes differ in
plan, furniture and in which objects occur.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from selu_hpc.sim.drawing.skins import Skin, skin_for_home
from selu_hpc.sim.virtualhome import plans
from selu_hpc.sim.virtualhome.catalogue import class_named, first_states
from selu_hpc.sim.virtualhome.graph import Edge, Graph, node, relations
from selu_hpc.sim.virtualhome.places import WALL, Item, Places, Rect, Support

NUM_HOMES = 50
"""As the official client counts them."""
NUM_PLANS = 7
"""Homes from this number on share the rooms' plan of the first ones, and nothing else."""
FIRST_ID = 11
"""Characters take the numbers below."""
HEIGHT = 2.5
FEWEST_NODES = 200
_MOST_ATTEMPTS = 30
_MUST_HAVE = frozenset(
    (
        "fridge", "stove", "microwave", "kitchencounter", "kitchentable", "kitchencabinet", "sink", "chair", "sofa",
        "tv", "coffeetable", "bed", "closet", "toilet", "bathtub", "bathroomcounter", "apple", "plate", "mug", "book",
    )
)  # fmt: skip
_MOST_ON_SEATS = 2
"""More would leave no room to sit: the package lets four things be on a sofa or a bed."""
_DOOR = 0.9
_LEAF = 2.05
_CLEAR = 0.75


@dataclass(slots=True)
class Home:
    """One home as it is at first."""

    number: int
    skin: Skin
    places: Places
    graph: Graph


@lru_cache(maxsize=32)
def make_home(number: int, *, known: bool, skin: Skin | None = None, seed: int | None = None) -> Home:
    """Home `number` of a world, or with a seed a home of its own with that plan. Shared: copy before changing."""
    skin = skin or skin_for_home(number, known=known, seed=seed)
    listed = seed is None
    seed = number if seed is None and number >= NUM_PLANS else seed
    maker = partial(_Maker, number % NUM_PLANS, known, skin, seed)
    return maker(plans.WHOLE_AT[known][number]).make() if listed else first_whole(maker)[1]


def first_whole(maker: Callable[[int], _Maker]) -> tuple[int, Home]:
    """The first attempt with all a home must have, or the last one."""
    for attempt in range(_MOST_ATTEMPTS):
        home = maker(attempt).make()
        names = {n["class_name"] for n in home.graph["nodes"]}
        if names >= _MUST_HAVE and len(home.graph["nodes"]) >= FEWEST_NODES:
            break
    return attempt, home


class _Maker:
    def __init__(self, number: int, known: bool, skin: Skin, seed: int | None, attempt: int) -> None:
        self.number, self.known, self.skin = number, known, skin
        self.rng = random.Random(f"home/{known}/{number}/{seed}/{attempt}")
        self.places = Places({})
        self.names: dict[int, str] = {}
        self.states: dict[int, list[str]] = {}
        self.edges: set[Edge] = set()
        self.next = FIRST_ID
        self.gaps: list[tuple[Rect, int, int]] = []
        self.clear: list[Rect] = []

    def make(self) -> Home:
        self._rooms()
        self._doorways()
        for room in self.places.rooms:
            self._shell(room)
        for room in self.places.rooms:
            self._furniture(room)
        for room in self.places.rooms:
            self._things(room)
        if self.rng.random() < 0.5:
            living = next(n for n in self.places.rooms if self.names[n] == "livingroom")
            self._loose("cat", ("ROOM", living))
        self.edges |= relations(self.places)
        return Home(self.number, self.skin, self.places, self._graph())

    # --- numbers and nodes ---

    def _node(self, name: str) -> int:
        number, self.next = self.next, self.next + 1
        self.names[number] = name
        self.states[number] = first_states(class_named(name))
        return number

    def _fix(
        self,
        name: str,
        x: float,
        y: float,
        z: float,
        yaw: float,
        room: int,
        size: tuple[float, float, float] | None = None,
    ) -> Item:
        number = self._node(name)
        cls = class_named(name)
        item = Item(number, cls, size or cls.size, x, y, z, yaw, ("ROOM", room), fixed=True)
        self.places.items[number] = item
        return item

    def _loose(self, name: str, support: Support, near: tuple[float, float] | None = None) -> Item:
        number = self._node(name)
        cls = class_named(name)
        item = Item(number, cls, cls.size, 0, 0, 0, 0, ("", 0))
        self.places.items[number] = item
        self.places.put(item, support, near=near)
        return item

    # --- rooms, walls, doors ---

    def _rooms(self) -> None:
        plan = plans.PLANS[self.known][self.number]
        width = self.rng.uniform(10.4, 11.8) if max(map(len, plan)) < 3 else self.rng.uniform(13.6, 15.0)
        z = 0.0
        for row in plan:
            depth = self.rng.uniform(4.5, 5.3)
            shares = [(0.72 if name == "bathroom" else 1.0) * self.rng.uniform(0.92, 1.08) for name in row]
            span = width if len(row) > 1 else min(width, 7.5)
            x = 0.0
            for name, share in zip(row, shares, strict=True):
                w = span * share / sum(shares)
                self.places.rooms[self._node(name)] = tuple(
                    round(v, 3) for v in (x + WALL, z + WALL, x + w - WALL, z + depth - WALL)
                )  # type: ignore[assignment]
                x += w
            z += depth

    def _doorways(self) -> None:
        """A gap between any two rooms that share enough wall; a leaf in some of them."""
        rooms = self.places.rooms
        for a, ra in rooms.items():
            for b, rb in rooms.items():
                if a >= b:
                    continue
                if abs(ra[2] - rb[0]) < 3 * WALL or abs(rb[2] - ra[0]) < 3 * WALL:
                    low, high, along_x = max(ra[1], rb[1]), min(ra[3], rb[3]), False
                    line = (ra[2] + rb[0]) / 2 if abs(ra[2] - rb[0]) < 3 * WALL else (rb[2] + ra[0]) / 2
                elif abs(ra[3] - rb[1]) < 3 * WALL or abs(rb[3] - ra[1]) < 3 * WALL:
                    low, high, along_x = max(ra[0], rb[0]), min(ra[2], rb[2]), True
                    line = (ra[3] + rb[1]) / 2 if abs(ra[3] - rb[1]) < 3 * WALL else (rb[3] + ra[1]) / 2
                else:
                    continue
                if high - low < _DOOR + 0.5:
                    continue
                middle = round(low + _DOOR / 2 + 0.2 + self.rng.random() * (high - low - _DOOR - 0.4), 3)
                x, z, yaw = (middle, line, 0.0) if along_x else (line, middle, 90.0)
                name = "door" if self.rng.random() < 0.4 else "doorjamb"
                item = self._fix(name, x, 0.0, z, yaw, a, (_DOOR, _LEAF, 0.1))
                if name == "door":
                    self.states[item.number] = ["OPEN"]
                self.edges |= {(item.number, "BETWEEN", a), (item.number, "BETWEEN", b)}
                self.gaps.append((item.footprint(0.02), a, b))

    def _shell(self, room: int) -> None:
        x0, z0, x1, z1 = self.places.rooms[room]
        cx, cz, w, d = (x0 + x1) / 2, (z0 + z1) / 2, x1 - x0, z1 - z0
        self._fix("floor", cx, -0.02, cz, 0.0, room, (w, 0.02, d))
        self._fix("ceiling", cx, HEIGHT, cz, 0.0, room, (w, 0.05, d))
        self._fix("ceilinglamp", cx, HEIGHT - 0.3, cz, 0.0, room)
        self.states[self.next - 1] = ["ON"]
        for side in range(4):
            self._wall(room, side)
        outer = [s for s in range(4) if not self._shared(room, s)]
        if outer:
            side = self.rng.choice(outer)
            length = (w, d)[side % 2] - 1.6
            offset = self.rng.uniform(-0.3, 0.3) * max(length, 0.0)
            self._mount("window", room, side, offset, 1.0)
            if self.rng.random() < 0.7:
                self._mount("curtains", room, side, offset, 0.6, out=0.06)
                self.states[self.next - 1] = ["OPEN"]

    def _shared(self, room: int, side: int) -> bool:
        x0, z0, x1, z1 = self.places.rooms[room]
        x, z = (
            ((x0 + x1) / 2, z0 - 0.3),
            (x1 + 0.3, (z0 + z1) / 2),
            ((x0 + x1) / 2, z1 + 0.3),
            (x0 - 0.3, (z0 + z1) / 2),
        )[side]
        return self.places.room_at(x, z) is not None

    def _wall(self, room: int, side: int) -> None:
        """A wall in pieces beside and above its doorways."""
        x0, z0, x1, z1 = self.places.rooms[room]
        along_x = side % 2 == 0
        low, high = (x0, x1) if along_x else (z0, z1)
        line = (z0 - WALL / 2, x1 + WALL / 2, z1 + WALL / 2, x0 - WALL / 2)[side]
        holes = []
        for (a0, b0, a1, b1), *between in self.gaps:
            across = (b0 + b1) / 2 if along_x else (a0 + a1) / 2
            if room in between and abs(across - line) < 0.12 and ((a1 - a0 > b1 - b0) == along_x):
                holes.append((a0 + 0.02, a1 - 0.02) if along_x else (b0 + 0.02, b1 - 0.02))
        pieces, start = [], low
        for first, last in sorted(holes):
            pieces += [(start, first, 0.0, HEIGHT), (first, last, _LEAF, HEIGHT - _LEAF)]
            start = last
        for first, last, y, h in [*pieces, (start, high, 0.0, HEIGHT)]:
            if last - first < 0.02:
                continue
            middle = (first + last) / 2
            if along_x:
                self._fix("wall", middle, y, line, 0.0, room, (last - first, h, WALL))
            else:
                self._fix("wall", line, y, middle, 0.0, room, (WALL, h, last - first))

    # --- furniture ---

    def _at(self, room: int, side: int, offset: float, depth: float, out: float) -> tuple[float, float, float]:
        """x, z and yaw of something of this depth with its back to a wall, `offset` from the wall's middle."""
        x0, z0, x1, z1 = self.places.rooms[room]
        cx, cz, gap = (x0 + x1) / 2, (z0 + z1) / 2, out + depth / 2 + 0.005
        return (
            (cx + offset, z0 + gap, 0.0), (x1 - gap, cz + offset, 270.0), (cx - offset, z1 - gap, 180.0),
            (x0 + gap, cz - offset, 90.0),
        )[side]  # fmt: skip

    def _mount(self, name: str, room: int, side: int, offset: float, y: float, out: float = 0.0) -> Item:
        cls = class_named(name)
        x, z, yaw = self._at(room, side, offset, cls.size[2], out)
        return self._fix(name, x, y, z, yaw, room)

    def _free(self, item: Item, margin: float = 0.02) -> bool:
        x0, z0, x1, z1 = item.footprint(margin)
        r0, s0, r1, s1 = self.places.rooms[item.support[1]]
        if x0 < r0 - 0.03 or z0 < s0 - 0.03 or x1 > r1 + 0.03 or z1 > s1 + 0.03:
            return False
        for (a0, b0, a1, b1), *_ in self.gaps:
            if x0 < a1 + 0.55 and a0 - 0.55 < x1 and z0 < b1 + 0.55 and b0 - 0.55 < z1 and item.y < 1.2:
                return False
            if x0 < a1 + 0.1 and a0 - 0.1 < x1 and z0 < b1 + 0.1 and b0 - 0.1 < z1:
                return False
        kept_free = self.clear if item.y < 1.0 and item.number == -1 and item.size[1] > 0.05 else []
        if any(x0 < a1 and a0 < x1 and z0 < b1 and b0 < z1 for a0, b0, a1, b1 in kept_free):
            return False
        low, high = item.y, item.y + item.size[1]
        for other in self.places.items.values():
            if (
                other.number == item.number
                or other.support[1] != item.support[1]
                or other.cls.category in ("Floor", "Walls")
            ):
                continue
            if other.y >= high or other.y + other.size[1] <= low:
                continue
            a0, b0, a1, b1 = other.footprint()
            if x0 < a1 and a0 < x1 and z0 < b1 and b0 < z1:
                return False
        return True

    def _against(self, name: str, room: int, y: float = 0.0) -> Item | None:
        """Furniture somewhere along the walls, its front kept clear; None where there is no room."""
        cls = class_named(name)
        x0, z0, x1, z1 = self.places.rooms[room]
        tries = [(side, f) for side in range(4) for f in range(25)]
        self.rng.shuffle(tries)
        for side, f in tries:
            span = (x1 - x0 if side % 2 == 0 else z1 - z0) - cls.size[0]
            x, z, yaw = self._at(room, side, span * (f / 24 - 0.5), cls.size[2], 0.0)
            item = Item(-1, cls, cls.size, x, y, z, yaw, ("ROOM", room))
            if not self._free(item):
                continue
            front = Item(-2, cls, (cls.size[0], cls.size[1], _CLEAR), 0, y, 0, yaw, ("ROOM", room))
            front.x, front.z = item.to_world(0.0, cls.size[2] / 2 + _CLEAR / 2 + 0.03)
            if y < 1.0 and not self._free(front, 0.0):
                continue
            if y < 1.0:
                self.clear.append(front.footprint(-0.02))
            return self._fix(name, x, y, z, yaw, room)
        return None

    def _furniture(self, room: int) -> None:
        kind = self.names[room]
        for name in plans.AT_WALLS[kind].split():
            if name == "desk" and not self.known and kind == "livingroom":
                name = "bookshelf"
            item = self._against(name, room)
            if item is not None:
                self._complete(item, room)
        middle = plans.IN_THE_MIDDLE[kind]
        cls = class_named(middle)
        for turn in (0.0, 90.0):
            x0, z0, x1, z1 = self.places.rooms[room]
            for shift in (0.0, 0.3, -0.3, 0.6, -0.6):
                item = Item(-1, cls, cls.size, (x0 + x1) / 2 + shift, 0.0, (z0 + z1) / 2, turn, ("ROOM", room))
                if self._free(item, 0.3 if middle != "rug" else -0.2):
                    placed = self._fix(middle, item.x, 0.0, item.z, turn, room)
                    self._complete(placed, room)
                    break
            else:
                continue
            break
        for name in plans.HIGH_UP[kind].split():
            self._against(name, room, y=plans.LEVEL.get(name, 1.4))

    def _complete(self, item: Item, room: int) -> None:
        """What belongs to a piece of furniture: chairs, a faucet, pillows, what stands on it."""
        name = item.cls.name
        if name == "kitchentable":
            for x, z, yaw in ((0, 0.62, 180), (0, -0.62, 0), (0.85, 0, 270), (-0.85, 0, 90))[: self.rng.randint(2, 4)]:
                wx, wz = item.to_world(x, z)
                chair = Item(
                    -1,
                    class_named("chair"),
                    class_named("chair").size,
                    wx,
                    0,
                    wz,
                    (yaw + item.yaw) % 360,
                    ("ROOM", room),
                )
                if self._free(chair, -0.1):
                    made = self._fix("chair", wx, 0.0, wz, chair.yaw, room)
                    self.edges.add((made.number, "FACING", item.number))
        if name == "desk":
            wx, wz = item.to_world(-0.15, 0.55)
            made = self._fix("chair", wx, 0.0, wz, (item.yaw + 180) % 360, room)
            self.edges.add((made.number, "FACING", item.number))
        if name == "sink":
            wx, wz = item.to_world(0.0, -0.22)
            self._fix("faucet", wx, item.size[1], wz, item.yaw, room)
        if name in plans.ON_FURNITURE:
            for thing in plans.ON_FURNITURE[name].split():
                if thing in ("tv", "computer", "tablelamp", "microwave") or self.rng.random() < 0.75:
                    if name == "kitchencounter" and thing in {self.names[i.number] for i in self.places.items.values()}:
                        continue
                    placed = self._loose(thing, ("ON", item.number))
                    placed.fixed = "GRABBABLE" not in placed.cls.properties
        if name == "sofa":
            self._loose("pillow", ("ON", item.number))

    # --- things ---

    def _things(self, room: int) -> None:
        kind = self.names[room]
        here = [i for i in self.places.items.values() if i.support == ("ROOM", room)]
        tops = [i for i in here if i.cls.name in plans.GOES_ON[kind].split()]
        boxes = [i for i in here if i.cls.name in plans.GOES_IN[kind].split()]
        names = plans.LOOSE[kind].split()
        left_out = set(self.rng.sample(names, len(names) // (5 if self.known else 4)))
        for name in names:
            if name in left_out:
                continue
            cold = name in plans.COLD and any(b.cls.name == "fridge" for b in boxes)
            inside = boxes and self.rng.random() < (0.6 if cold else 0.22)
            if inside:
                choices = [b for b in boxes if (b.cls.name == "fridge") == cold] or boxes
                choice = self.rng.choice(choices)
                how = "ON" if choice.cls.name == "bookshelf" else "INSIDE"
            elif tops:
                free = [t for t in tops if t.cls.name not in ("sofa", "bed") or self._num_on(t) < _MOST_ON_SEATS]
                choice, how = self.rng.choice(free), "ON"
            else:
                continue
            dx, dz = self.rng.uniform(-0.6, 0.6), self.rng.uniform(-0.2, 0.2)
            self._loose(name, (how, choice.number), (choice.x + dx, choice.z + dz))

    def _num_on(self, item: Item) -> int:
        return sum(i.support == ("ON", item.number) for i in self.places.items.values())

    # --- the graph ---

    def _graph(self) -> Graph:
        nodes = []
        for number, name in self.names.items():
            cls = class_named(name)
            if number in self.places.rooms:
                x0, z0, x1, z1 = self.places.rooms[number]
                box = {
                    "center": [round((x0 + x1) / 2, 4), HEIGHT / 2, round((z0 + z1) / 2, 4)],
                    "size": [round(x1 - x0, 4), HEIGHT, round(z1 - z0, 4)],
                }
            else:
                box = self.places.items[number].bounds()
            nodes.append(node(number, name, cls.category, self.states[number], box))
        edges = [{"from_id": a, "relation_type": r, "to_id": b} for a, r, b in sorted(self.edges)]
        return {"nodes": nodes, "edges": edges}
