"""Cameras that no agent carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, Vector3, action

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_MOST = 16


@action("AddThirdPartyCamera")
def add(
    world: World,
    agent: Agent,
    position: Vector3,
    rotation: Vector3,
    fieldOfView: float = 90.0,
    skyboxColor: str | None = None,
    orthographic: bool = False,
    orthographicSize: float | None = None,
    nearClippingPlane: float | None = None,
    farClippingPlane: float | None = None,
    antiAliasing: str = "none",
) -> None:
    """Add a camera; its pictures come with every later event."""
    from selu_hpc.sim.thor.world import ThirdPartyCamera  # the world imports this module

    if len(world.third_party_cameras) >= _MOST:
        raise ActionError(f"there are {_MOST} cameras already, which is the most")
    _check(fieldOfView, orthographicSize)
    camera = ThirdPartyCamera(
        position=position.filled(0.0, 0.0, 0.0),
        rotation=rotation.filled(0.0, 0.0, 0.0),
        fov=fieldOfView,
        orthographic=orthographic,
        orthographic_size=orthographicSize or 1.0,
    )
    world.third_party_cameras.append(camera)


@action("UpdateThirdPartyCamera")
def update(
    world: World,
    agent: Agent,
    thirdPartyCameraId: int = 0,
    position: Vector3 | None = None,
    rotation: Vector3 | None = None,
    fieldOfView: float | None = None,
    skyboxColor: str | None = None,
    orthographic: bool | None = None,
    orthographicSize: float | None = None,
    nearClippingPlane: float | None = None,
    farClippingPlane: float | None = None,
    agentPositionRelativeCoordinates: bool = False,
) -> None:
    """Move a camera; what is not given stays."""
    if not 0 <= thirdPartyCameraId < len(world.third_party_cameras):
        raise ActionError(
            f"thirdPartyCameraId {thirdPartyCameraId} names no camera: there are {len(world.third_party_cameras)}"
        )
    camera = world.third_party_cameras[thirdPartyCameraId]
    _check(camera.fov if fieldOfView is None else fieldOfView, orthographicSize)
    if position is not None:
        place = position.filled(*camera.position)
        if agentPositionRelativeCoordinates:
            place = agent.from_camera((place[0], place[1] - (agent.eye[1] - agent.y), place[2]))
        camera.position = place
    if rotation is not None:
        camera.rotation = rotation.filled(*camera.rotation)
    camera.fov = camera.fov if fieldOfView is None else fieldOfView
    camera.orthographic = camera.orthographic if orthographic is None else orthographic
    camera.orthographic_size = orthographicSize or camera.orthographic_size


def _check(fov: float, size: float | None) -> None:
    if not 0 < fov < 180:
        raise ActionError("fov must be set to (0, 180) noninclusive.")
    if size is not None and size <= 0:
        raise ActionError("orthographicSize must be positive")
