"""Where the third-person camera stands: the view that shows the agent, its hand and the thing last acted on.

The camera keeps three habits, so that the last frame shows what became of the task:
- it films the thing that was last acted on, from the side the agent stood on, even when the agent walks off;
- when that thing is in the hand, it goes along with the hand;
- before anything was touched it follows the agent and films what is in front of it.
It zooms: a small thing fills about as much of the frame as a large one. Into what is open at the top it looks from
above, and of several places it takes one from which the agent's body is not in the way.
Owns pure geometry over THOR's metadata, in whose terms virtualhome/state.py puts a home. Neither simulator can attach
such a camera to the agent: thor/ and virtualhome/ move it each step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from selu_hpc.envs.thor.state import Metadata, Thing, box_of, by_id, centre, extent

Point = tuple[float, float, float]

HAND_SPAN = 0.85
"""Metres across the frame when it films the hand."""
FRONT_SPAN = 2.0
"""Metres across the frame when nothing was touched yet."""
LEAST_SPAN, MOST_SPAN = 0.75, 2.6
TIGHTNESS = 1.7
"""Metres across the frame for each metre of the thing filmed."""
FIELD_OF_VIEW = 55.0
WIDEST = 95.0
SIDES = (42.0, -42.0, 75.0, -75.0, 110.0, -110.0)
"""Degrees round the focus, from behind the agent over its right side; the first that does is taken.

Where something hides the focus from all of them, the same places are tried from steeply above.
"""
LATER = 0.12
"""Metres that a place is counted worse for each place before it."""
ABOVE, STEEP = 38.0, 66.0
"""Degrees above the horizon that the camera looks down from; the steeper for what lies in something deep."""
OPEN_AT_THE_TOP = """
bathtub bathtubbasin bowl box bucket cookingpot cup drawer fryingpan garbagecan kitchencounterdrawer laundryhamper mug
pot sink sinkbasin toilet
"""
"""Types of both simulators, in lower case."""
BODY = 0.21
"""Metres around the agent's axis that its body may hide."""
HIDDEN = 3.0
"""Metres that a place is counted worse when the body is in the way."""
MARGIN = 0.15
"""Metres kept from walls and ceiling."""
DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Shot:
    """A camera pose in THOR's terms."""

    position: Point
    pitch: float
    yaw: float
    field_of_view: float

    def arguments(self) -> dict[str, Any]:
        """For AddThirdPartyCamera and UpdateThirdPartyCamera."""
        x, y, z = self.position
        return {
            "position": {"x": x, "y": y, "z": z},
            "rotation": {"x": self.pitch, "y": self.yaw, "z": 0.0},
            "fieldOfView": self.field_of_view,
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """What is filmed: a point, how much of the world around it, the yaw the agent looked along, and from how high.

    thing: the objectId of what is filmed, when it is one.  beside: what does not hide it: itself, what holds it, what
    lies on it, or did when it was touched: what is sliced lies on nothing.
    """

    focus: Point
    span: float
    yaw: float
    above: float = ABOVE
    thing: str = ""
    beside: frozenset[str] = frozenset()


def subject(metadata: Metadata, touched: str, stood: Subject | None) -> Subject:
    """What to film now: the thing last touched (seen as `stood` remembers it), or what is in front of the agent."""
    agent = metadata["agent"]
    yaw = float(agent["rotation"]["y"])
    known = by_id(metadata)
    thing = known.get(touched)
    if thing is not None and thing["isPickedUp"]:
        return Subject(centre(thing), max(HAND_SPAN, _span(thing)), yaw, thing=touched, beside=_beside(thing))
    if thing is not None and stood is not None and _in_pieces(thing, stood):
        return stood
    if thing is not None:
        yaw, beside = (stood.yaw, stood.beside) if stood else (yaw, frozenset())
        return Subject(centre(thing), _span(thing), yaw, _height(thing, known), touched, beside | _beside(thing))
    if stood is not None and touched:
        return stood  # it is no more: what became of it lies where it was
    x, _, z = (agent["position"][axis] for axis in "xyz")
    ahead = math.radians(yaw)
    return Subject((x + 0.6 * math.sin(ahead), 0.95, z + 0.6 * math.cos(ahead)), FRONT_SPAN, yaw)


def shoot(filmed: Subject, metadata: Metadata) -> Shot:
    """The pose that frames a subject from inside the room, past the agent's body and what stands about."""
    best, position = math.inf, filmed.focus
    steep = replace(filmed, above=max(STEEP, filmed.above))
    for late, (wish, side) in enumerate((wish, side) for wish in (filmed, steep) for side in SIDES):
        if best <= round(LATER * late, 3):
            break  # no later place can be better
        lost, place = _place(wish, metadata, side)
        cost = round(lost + LATER * late, 3)
        if cost < best:
            best, position = cost, place
    fx, fy, fz = filmed.focus
    dx, dy, dz = fx - position[0], fy - position[1], fz - position[2]
    flat = math.hypot(dx, dz)
    distance = max(math.hypot(flat, dy), 0.1)
    wide = 2 * math.degrees(math.atan(filmed.span / 2 / distance))
    return Shot(
        position=(round(position[0], DECIMALS), round(position[1], DECIMALS), round(position[2], DECIMALS)),
        pitch=round(math.degrees(math.atan2(-dy, flat)), DECIMALS),
        yaw=round(math.degrees(math.atan2(dx, dz)) % 360, DECIMALS),
        field_of_view=round(min(max(wide, 20.0), WIDEST), DECIMALS),
    )


def _in_pieces(thing: Thing, stood: Subject) -> bool:
    """Whether a thing went to pieces where it stood; what fell first lies elsewhere."""
    gone = (thing.get("isSliced") or thing.get("isBroken")) and not box_of(thing)
    return bool(gone) and math.dist(centre(thing), stood.focus) < stood.span / 2


def _span(thing: Thing) -> float:
    return min(max(extent(thing) * TIGHTNESS, LEAST_SPAN), MOST_SPAN)


def _height(thing: Thing, known: dict[str, Thing]) -> float:
    """Steep for a thing in something deep, and for such a thing itself unless it is closed."""
    inside = [known[parent] for parent in thing.get("parentReceptacles") or () if parent in known]
    shown = inside if thing["openable"] and not thing["isOpen"] else [thing, *inside]
    return STEEP if any(place["objectType"].lower() in OPEN_AT_THE_TOP.split() for place in shown) else ABOVE


def _beside(thing: Thing) -> frozenset[str]:
    return frozenset(
        (thing["objectId"], *(thing.get("parentReceptacles") or ()), *(thing.get("receptacleObjectIds") or ()))
    )


def _place(filmed: Subject, metadata: Metadata, side: float) -> tuple[float, Point]:
    """How bad a place is, in metres it had to be moved to stay in the room and in what hides, and the place."""
    distance = filmed.span / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    round_about = math.radians(filmed.yaw + 180.0 - side)
    flat = distance * math.cos(math.radians(filmed.above))
    wish = (
        filmed.focus[0] + flat * math.sin(round_about),
        filmed.focus[1] + distance * math.sin(math.radians(filmed.above)),
        filmed.focus[2] + flat * math.cos(round_about),
    )
    kept = _inside(wish, metadata.get("sceneBounds"))
    hides = _body_hides(filmed.focus, kept, metadata) or _something_hides(filmed, kept, metadata)
    return math.dist(wish, kept) + (HIDDEN if hides else 0.0), kept


def _body_hides(focus: Point, camera: Point, metadata: Metadata) -> bool:
    """Whether the line from the camera to the focus passes through the agent, seen from above."""
    place = metadata["agent"]["position"]
    ax, az = place["x"] - camera[0], place["z"] - camera[2]
    lx, lz = focus[0] - camera[0], focus[2] - camera[2]
    length = math.hypot(lx, lz)
    if length < 0.05:
        return False
    along = min(max((ax * lx + az * lz) / length, 0.0), length)
    return math.hypot(ax - lx / length * along, az - lz / length * along) < BODY and along < length - 0.05


def _something_hides(filmed: Subject, camera: Point, metadata: Metadata) -> bool:
    """Whether another thing is in the line of sight; what is beside the filmed one, or a piece of it, does not."""
    if not filmed.thing:
        return False
    for thing in metadata["objects"]:
        box, name = thing.get("axisAlignedBoundingBox"), thing["objectId"]
        if name in filmed.beside or name.startswith(f"{filmed.thing}|"):
            continue
        if box and _crosses(camera, filmed.focus, box["center"], box["size"]):
            return True
    return False


def _crosses(start: Point, end: Point, middle: dict[str, float], size: dict[str, float]) -> bool:
    """Whether a line meets a box on its way."""
    enter, leave = 0.0, 0.97  # what touches the focus itself does not hide it
    for a, b, axis in zip(start, end, "xyz", strict=True):
        low, high = middle[axis] - size[axis] / 2, middle[axis] + size[axis] / 2
        step = b - a
        if abs(step) < 1e-9:
            if not low <= a <= high:
                return False
            continue
        near, far = sorted(((low - a) / step, (high - a) / step))
        enter, leave = max(enter, near), min(leave, far)
        if enter > leave:
            return False
    return True


def _inside(point: Point, bounds: dict[str, Any] | None) -> Point:
    if not bounds:
        return point
    kept = []
    for value, axis in zip(point, "xyz", strict=True):
        half = max(bounds["size"][axis] / 2 - MARGIN, 0.0)
        middle = bounds["center"][axis]
        kept.append(min(max(value, middle - half), middle + half))
    return kept[0], kept[1], kept[2]
