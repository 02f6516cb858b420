"""An agent's body: where it stands, where it looks, what is in its hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from selu_hpc.sim.drawing.camera import Camera, Drawable
from selu_hpc.sim.thor.thing import Thing, Vector, matrix

FOOT = 0.9009982347488403
"""The y that metadata gives an agent: the middle of its body."""
EYE = 0.675
"""Eyes above that, standing."""
HAND = (0.0, -0.16, 0.36)
"""Right, up and ahead of the eyes."""
NEAR, FAR = 0.1, 20.0
_BODY = (0.42, 1.72, 0.30)
_CROUCHED = 1.05


@dataclass(slots=True)
class Agent:
    """One agent. hand: right, up, ahead of the camera.  turn: the held thing's rotation relative to the agent."""

    agent_id: int
    x: float
    z: float
    yaw: float
    horizon: float = 0.0
    standing: bool = True
    held: Thing | None = None
    hand: Vector = HAND
    turn: Vector = (0.0, 0.0, 0.0)
    fov: float = 90.0
    y: float = FOOT

    @property
    def position(self) -> Vector:
        return (self.x, self.y, self.z)

    @property
    def eye(self) -> Vector:
        return (self.x, self.y + (EYE if self.standing else 0.0), self.z)

    def camera(self) -> Camera:
        return Camera(position=self.eye, yaw=self.yaw, pitch=self.horizon, fov=self.fov, near=NEAR, far=FAR)

    def hand_at(self) -> Vector:
        """Where the hand is in the world."""
        return self.from_camera(self.hand)

    def from_camera(self, local: Vector) -> Vector:
        """A point given as right, up, ahead of the camera."""
        m = matrix((self.horizon, self.yaw, 0.0))
        eye = self.eye
        x, y, z = (eye[i] + sum(m[i][j] * local[j] for j in range(3)) for i in range(3))
        return (x, y, z)

    def carry(self) -> None:
        """Bring what is held to the hand."""
        if self.held is None:
            return
        rotation = (self.turn[0] % 360, (self.yaw + self.turn[1]) % 360, self.turn[2] % 360)
        centre = self.hand_at()
        if centre != self.held.centre or rotation != self.held.rotation:
            self.held.move(centre, rotation)

    def take(self, thing: Thing) -> None:
        thing.into(None)
        thing.holder = self.agent_id
        self.held = thing
        self.hand = (HAND[0], HAND[1], HAND[2] + min(thing.size[2], thing.size[0]) / 2)
        self.turn = (0.0, 0.0, 0.0)
        thing.touch()
        self.carry()

    def release(self) -> Thing:
        """Let go; where the thing goes is the caller's business."""
        thing = self.held
        assert thing is not None
        self.held, thing.holder = None, None
        self.turn = (0.0, 0.0, 0.0)
        thing.touch()
        return thing

    def drawable(self, key: int, style: int) -> Drawable:
        height = _BODY[1] if self.standing else _CROUCHED
        flags = frozenset({"held"}) if self.held is not None else frozenset()
        bottom = (self.x, self.y - FOOT, self.z)
        return Drawable(
            key=key,
            kind="Agent",
            position=bottom,
            size=(_BODY[0], height, _BODY[2]),
            yaw=self.yaw,
            style=style,
            flags=flags,
        )


def wrap(angle: float) -> float:
    """0 ≤ angle < 360, without noise of float arithmetic."""
    turned = round(angle % 360.0, 4)
    return 0.0 if turned >= 360.0 or math.isclose(turned, 360.0) else turned
