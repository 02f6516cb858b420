"""One object of a scene: its pose, its state, what holds it and what it holds.

Owns an instance's fields and its boxes in the world. Does not decide what may happen to it (actions/).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from selu_hpc.sim.drawing.camera import Drawable
from selu_hpc.sim.drawing.skins import Look
from selu_hpc.sim.thor import forms
from selu_hpc.sim.thor.catalogue import Spec

Vector = tuple[float, float, float]
Box = forms.Box


@dataclass(slots=True, eq=False)
class Thing:
    """An object, or a structural part (`structural`) that metadata does not list.

    centre: of its bounding box when closed.  rotation: x, y, z Euler degrees.  mount: "floor", "wall" or "top", how it
    got its place.  parent: the receptacle it is in or on.  holder: the agent that holds it.  there: False for what a
    knife or a fall has replaced by pieces.
    """

    key: int
    kind: str
    spec: Spec
    size: Vector
    centre: Vector
    rotation: Vector = (0.0, 0.0, 0.0)
    obj_id: str = ""
    name: str = ""
    style: int = 0
    mount: str = "top"
    structural: bool = False
    parent: Thing | None = None
    children: list[Thing] = field(default_factory=list)
    holder: int | None = None
    there: bool = True
    hidden: bool = False
    openness: float = 0.0
    toggled: bool = False
    broken: bool = False
    sliced: bool = False
    dirty: bool = False
    cooked: bool = False
    used_up: bool = False
    liquid: str = ""
    temperature: str = "RoomTemp"
    decays_at: float = math.inf
    moveable: bool = False
    controls: list[Thing] = field(default_factory=list)
    version: int = 0
    _boxes: tuple[int, tuple[Box, ...], tuple[Box, ...], Box] | None = None

    @property
    def is_open(self) -> bool:
        return self.openness > 0

    @property
    def bottom(self) -> Vector:
        """Centre of the bottom face."""
        return (self.centre[0], self.centre[1] - self.size[1] / 2, self.centre[2])

    @property
    def position(self) -> Vector:
        """What metadata calls its position: the middle of what is carried or hung, the foot of what stands."""
        return self.bottom if self.mount == "floor" else self.centre

    @property
    def yaw(self) -> float:
        return self.rotation[1]

    def touch(self) -> None:
        """Say that a field changed, so that what is cached of it is made anew."""
        self.version += 1

    def move(self, centre: Vector, rotation: Vector | None = None) -> None:
        """Put it elsewhere, and what it holds with it."""
        turn = 0.0 if rotation is None else rotation[1] - self.rotation[1]
        old = self.centre
        self.centre = centre
        if rotation is not None:
            self.rotation = rotation
        self.touch()
        s, c = math.sin(math.radians(turn)), math.cos(math.radians(turn))
        for child in self.children:
            dx, dy, dz = (child.centre[i] - old[i] for i in range(3))
            to = (centre[0] + dx * c + dz * s, centre[1] + dy, centre[2] - dx * s + dz * c)
            child.move(to, (child.rotation[0], (child.rotation[1] + turn) % 360.0, child.rotation[2]))

    def into(self, receptacle: Thing | None) -> None:
        """Change what holds it; the pose stays."""
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent.touch_up()
        self.parent = receptacle
        if receptacle is not None:
            receptacle.children.append(self)
            receptacle.touch_up()
        for thing in (self, *self.descendants()):
            thing.touch()

    def touch_up(self) -> None:
        """Touch it and all that holds it."""
        self.touch()
        for holder in self.holders():
            holder.touch()

    def holders(self) -> Iterator[Thing]:
        """What it is in or on, nearest first."""
        thing = self.parent
        while thing is not None:
            yield thing
            thing = thing.parent

    def descendants(self) -> Iterator[Thing]:
        for child in self.children:
            yield child
            yield from child.descendants()

    def to_world(self, x: float, y: float, z: float) -> Vector:
        """A point of its own frame (origin at the bottom's centre) in the world; yaw only."""
        s, c = math.sin(math.radians(self.yaw)), math.cos(math.radians(self.yaw))
        bx, by, bz = self.bottom
        return (bx + x * c + z * s, by + y, bz - x * s + z * c)

    def boxes(self) -> tuple[tuple[Box, ...], tuple[Box, ...], Box]:
        """Panels that hide, boxes that block, and the bounding box, all in the world."""
        kept = self._boxes
        if kept is None or kept[0] != self.version:
            turned, left = self._turn, self._hinged_left()
            panels = tuple(turned(b) for b in forms.panels(self.kind, self.size, self.openness, left))
            leaves = tuple(turned(b) for b in forms.leaf(self.kind, self.size, self.openness, left))
            body = self.body()
            blocks = (body, *leaves)
            low = [min(b[i] for b in blocks) for i in range(3)]
            high = [max(b[i] for b in blocks) for i in range(3, 6)]
            if self.rotation[0] or self.rotation[2] or self.yaw % 90:
                panels = (body,) if not leaves else panels
            kept = self._boxes = (self.version, panels, blocks, (low[0], low[1], low[2], high[0], high[1], high[2]))
        return kept[1], kept[2], kept[3]

    def _hinged_left(self) -> bool:
        """On which side its door turns, as its shape is drawn."""
        if not self.is_open or self.kind not in ("Fridge", "Cabinet"):
            return True
        look = Look(self.style, self.kind)
        return look.unit("hinge") < 0.5 if self.kind == "Fridge" else look.jitter("hinge") < 0

    def body(self) -> Box:
        """The bounding box without doors and drawers."""
        hx, hy, hz = half_extents(self.size, self.rotation)
        x, y, z = self.centre
        return (x - hx, y - hy, z - hz, x + hx, y + hy, z + hz)

    def corners(self) -> list[list[float]]:
        """The eight corners of the box that turns with it."""
        x, y, z = (extent / 2 for extent in self.size)
        m = matrix(self.rotation)
        out = []
        for a, b, c in (
            (x, -y, z),
            (-x, -y, z),
            (-x, -y, -z),
            (x, -y, -z),
            (x, y, z),
            (-x, y, z),
            (-x, y, -z),
            (x, y, -z),
        ):
            out.append([self.centre[i] + m[i][0] * a + m[i][1] * b + m[i][2] * c for i in range(3)])
        return out

    def _turn(self, box: Box) -> Box:
        a = self.to_world(box[0], box[1], box[2])
        b = self.to_world(box[3], box[4], box[5])
        if self.yaw % 90:
            c, d = self.to_world(box[0], box[1], box[5]), self.to_world(box[3], box[4], box[2])
            xs, zs = (a[0], b[0], c[0], d[0]), (a[2], b[2], c[2], d[2])
            return (min(xs), a[1], min(zs), max(xs), b[1], max(zs))
        return (min(a[0], b[0]), a[1], min(a[2], b[2]), max(a[0], b[0]), b[1], max(a[2], b[2]))

    def drawable(self) -> Drawable:
        """How it looks now."""
        flags = {
            "held": self.holder is not None,
            "broken": self.broken,
            "sliced": self.sliced,
            "on": self.toggled,
            "filled": bool(self.liquid),
            "dirty": self.dirty,
            "cooked": self.cooked,
            "used_up": self.used_up,
        }
        return Drawable(
            key=self.key,
            kind=self.kind,
            position=self.bottom,
            size=self.size,
            yaw=self.yaw,
            style=self.style,
            openness=self.openness,
            flags=frozenset(name for name, is_set in flags.items() if is_set),
            liquid=self.liquid,
        )


def matrix(rotation: Vector) -> tuple[Vector, Vector, Vector]:
    """Unity's rotation matrix: about z, then x, then y."""
    (sx, cx), (sy, cy), (sz, cz) = ((math.sin(math.radians(a)), math.cos(math.radians(a))) for a in rotation)
    return (
        (cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx),
        (cx * sz, cx * cz, -sx),
        (-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx),
    )


def half_extents(size: Vector, rotation: Vector) -> Vector:
    """Half the size of the axis-aligned box round a turned box."""
    if rotation[0] == 0 and rotation[2] == 0:
        quarter = rotation[1] % 180
        if quarter == 0:
            return (size[0] / 2, size[1] / 2, size[2] / 2)
        if quarter == 90:
            return (size[2] / 2, size[1] / 2, size[0] / 2)
    m = matrix(rotation)
    x, y, z = (sum(abs(m[i][j]) * size[j] for j in range(3)) / 2 for i in range(3))
    return (x, y, z)


def make_id(kind: str, position: Vector) -> str:
    """THOR's id: the type and where the object was when the scene was made."""
    return kind + "".join(f"|{value + 0.0:+06.2f}" for value in (round(p, 2) for p in position))
