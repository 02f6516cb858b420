"""What stands and lies in a home: furniture along the walls and in the middle, what belongs to it, and loose things.

Owns where each finds room. Does not own what a kind of room has (plans.py) or the rooms themselves (rooms.py).
"""

from __future__ import annotations

from selu_hpc.sim.virtualhome import plans
from selu_hpc.sim.virtualhome.catalogue import class_named
from selu_hpc.sim.virtualhome.draft import Draft
from selu_hpc.sim.virtualhome.places import Item, Rect

_MOST_ON_SEATS = 2
"""More would leave no room to sit: the package lets four things be on a sofa or a bed."""
_CLEAR = 0.75
_ALWAYS_THERE = ("tv", "computer", "tablelamp", "microwave")


def furnish(draft: Draft) -> None:
    """Furniture in all rooms, then what lies about in them."""
    for room in draft.places.rooms:
        _put_furniture(draft, room)
    for room in draft.places.rooms:
        _put_things(draft, room)
    if draft.rng.random() < 0.5:
        living = next(n for n in draft.places.rooms if draft.names[n] == "livingroom")
        draft.lay("cat", ("ROOM", living))


def _put_furniture(draft: Draft, room: int) -> None:
    kind = draft.names[room]
    for name in plans.AT_WALLS[kind].split():
        if name == "desk" and not draft.known and kind == "livingroom":
            name = "bookshelf"
        item = _put_at_a_wall(draft, name, room)
        if item is not None:
            _complete(draft, item, room)
    item = _put_in_the_middle(draft, plans.IN_THE_MIDDLE[kind], room)
    if item is not None:
        _complete(draft, item, room)
    for name in plans.HIGH_UP[kind].split():
        _put_at_a_wall(draft, name, room, y=plans.LEVEL.get(name, 1.4))


def _put_at_a_wall(draft: Draft, name: str, room: int, y: float = 0.0) -> Item | None:
    """Furniture somewhere along the walls, its front kept clear; None where there is no room."""
    cls = class_named(name)
    x0, z0, x1, z1 = draft.places.rooms[room]
    tries = [(side, f) for side in range(4) for f in range(25)]
    draft.rng.shuffle(tries)
    for side, f in tries:
        span = (x1 - x0 if side % 2 == 0 else z1 - z0) - cls.size[0]
        x, z, yaw = draft.at_wall(room, side, span * (f / 24 - 0.5), cls.size[2], 0.0)
        item = Item(-1, cls, cls.size, x, y, z, yaw, ("ROOM", room))
        if not _is_free(draft, item):
            continue
        front = Item(-2, cls, (cls.size[0], cls.size[1], _CLEAR), 0, y, 0, yaw, ("ROOM", room))
        front.x, front.z = item.to_world(0.0, cls.size[2] / 2 + _CLEAR / 2 + 0.03)
        if y < 1.0 and not _is_free(draft, front, 0.0):
            continue
        if y < 1.0:
            draft.clear.append(front.footprint(-0.02))
        return draft.fix(name, x, y, z, yaw, room)
    return None


def _put_in_the_middle(draft: Draft, name: str, room: int) -> Item | None:
    cls = class_named(name)
    x0, z0, x1, z1 = draft.places.rooms[room]
    for turn in (0.0, 90.0):
        for shift in (0.0, 0.3, -0.3, 0.6, -0.6):
            item = Item(-1, cls, cls.size, (x0 + x1) / 2 + shift, 0.0, (z0 + z1) / 2, turn, ("ROOM", room))
            if _is_free(draft, item, 0.3 if name != "rug" else -0.2):
                return draft.fix(name, item.x, 0.0, item.z, turn, room)
    return None


def _is_free(draft: Draft, item: Item, margin: float = 0.02) -> bool:
    x0, z0, x1, z1 = item.footprint(margin)
    r0, s0, r1, s1 = draft.places.rooms[item.support[1]]
    if x0 < r0 - 0.03 or z0 < s0 - 0.03 or x1 > r1 + 0.03 or z1 > s1 + 0.03:
        return False
    for (a0, b0, a1, b1), *_ in draft.gaps:
        if x0 < a1 + 0.55 and a0 - 0.55 < x1 and z0 < b1 + 0.55 and b0 - 0.55 < z1 and item.y < 1.2:
            return False
        if x0 < a1 + 0.1 and a0 - 0.1 < x1 and z0 < b1 + 0.1 and b0 - 0.1 < z1:
            return False
    kept_free = draft.clear if item.y < 1.0 and item.number == -1 and item.size[1] > 0.05 else []
    if any(x0 < a1 and a0 < x1 and z0 < b1 and b0 < z1 for a0, b0, a1, b1 in kept_free):
        return False
    return not _meets_any(draft, item, (x0, z0, x1, z1))


def _meets_any(draft: Draft, item: Item, rect: Rect) -> bool:
    """Whether anything in the room is where an item with this footprint would be."""
    x0, z0, x1, z1 = rect
    low, high = item.y, item.y + item.size[1]
    for other in draft.places.items.values():
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
            return True
    return False


def _complete(draft: Draft, item: Item, room: int) -> None:
    """What belongs to a piece of furniture: chairs, a faucet, pillows, what stands on it."""
    name = item.cls.name
    if name == "kitchentable":
        _put_chairs(draft, item, room)
    if name == "desk":
        wx, wz = item.to_world(-0.15, 0.55)
        made = draft.fix("chair", wx, 0.0, wz, (item.yaw + 180) % 360, room)
        draft.edges.add((made.number, "FACING", item.number))
    if name == "sink":
        wx, wz = item.to_world(0.0, -0.22)
        draft.fix("faucet", wx, item.size[1], wz, item.yaw, room)
    for thing in plans.ON_FURNITURE.get(name, "").split():
        if thing in _ALWAYS_THERE or draft.rng.random() < 0.75:
            if name == "kitchencounter" and thing in {draft.names[n] for n in draft.places.items}:
                continue
            placed = draft.lay(thing, ("ON", item.number))
            placed.fixed = "GRABBABLE" not in placed.cls.properties
    if name == "sofa":
        draft.lay("pillow", ("ON", item.number))


def _put_chairs(draft: Draft, table: Item, room: int) -> None:
    cls = class_named("chair")
    for x, z, yaw in ((0, 0.62, 180), (0, -0.62, 0), (0.85, 0, 270), (-0.85, 0, 90))[: draft.rng.randint(2, 4)]:
        wx, wz = table.to_world(x, z)
        chair = Item(-1, cls, cls.size, wx, 0, wz, (yaw + table.yaw) % 360, ("ROOM", room))
        if _is_free(draft, chair, -0.1):
            made = draft.fix("chair", wx, 0.0, wz, chair.yaw, room)
            draft.edges.add((made.number, "FACING", table.number))


def _put_things(draft: Draft, room: int) -> None:
    kind, rng = draft.names[room], draft.rng
    here = [i for i in draft.places.items.values() if i.support == ("ROOM", room)]
    tops = [i for i in here if i.cls.name in plans.GOES_ON[kind].split()]
    boxes = [i for i in here if i.cls.name in plans.GOES_IN[kind].split()]
    names = plans.LOOSE[kind].split()
    left_out = set(rng.sample(names, len(names) // (5 if draft.known else 4)))
    for name in names:
        if name in left_out:
            continue
        cold = name in plans.COLD and any(b.cls.name == "fridge" for b in boxes)
        inside = boxes and rng.random() < (0.6 if cold else 0.22)
        if inside:
            choices = [b for b in boxes if (b.cls.name == "fridge") == cold] or boxes
            choice = rng.choice(choices)
            how = "ON" if choice.cls.name == "bookshelf" else "INSIDE"
        elif tops:
            free = [t for t in tops if t.cls.name not in ("sofa", "bed") or _num_on(draft, t) < _MOST_ON_SEATS]
            choice, how = rng.choice(free), "ON"
        else:
            continue
        dx, dz = rng.uniform(-0.6, 0.6), rng.uniform(-0.2, 0.2)
        draft.lay(name, (how, choice.number), (choice.x + dx, choice.z + dz))


def _num_on(draft: Draft, item: Item) -> int:
    return sum(i.support == ("ON", item.number) for i in draft.places.items.values())
