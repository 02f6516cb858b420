"""Materials, colours, light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selu_hpc.sim.drawing.skins import skins, style
from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, action
from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

_ROOM_TYPES = {"kitchen": "Kitchen", "living": "LivingRoom", "bedroom": "Bedroom", "bathroom": "Bathroom"}
_MATERIALS = {"train": 500, "val": 500, "test": 358, "external": 179}


@action()
def randomize_materials(
    world: World,
    agent: Agent,
    useTrainMaterials: bool | None = None,
    useValMaterials: bool | None = None,
    useTestMaterials: bool | None = None,
    useExternalMaterials: bool | None = None,
    inRoomTypes: list[str] | None = None,
    maxRoomsToRandomize: int = 0,
) -> dict[str, Any]:
    """Give every thing the look it would have in a random skin of this world."""
    split = _split(world)
    flags = {
        "train": split == "train" if useTrainMaterials is None else useTrainMaterials,
        "val": split == "val" if useValMaterials is None else useValMaterials,
        "test": split == "test" if useTestMaterials is None else useTestMaterials,
        "external": split == "train" if useExternalMaterials is None else useExternalMaterials,
    }
    if not any(flags.values()):
        raise ActionError(
            "at least one of useTrainMaterials, useValMaterials, useTestMaterials and useExternalMaterials must be true"
        )
    mine = _ROOM_TYPES[world.room_kind]
    rooms = inRoomTypes if inRoomTypes is not None else [mine]
    wrong = [r for r in rooms if r not in (*_ROOM_TYPES.values(), "RoboTHOR")]
    if wrong or mine not in rooms:
        raise ActionError(
            f"inRoomTypes must name this scene's room type, {mine}, and types of {', '.join(_ROOM_TYPES.values())} only"
        )
    choices = skins(world.known)
    rng = world.random
    chosen = {kind: rng.choice(choices) for kind in sorted({t.kind for t in world.things})}
    world.restyle(lambda t: style(chosen[t.kind], t.kind, t.key))
    return {
        "useTrainMaterials": flags["train"],
        "useValMaterials": flags["val"],
        "useTestMaterials": flags["test"],
        "useExternalMaterials": flags["external"],
        "inRoomTypes": rooms if inRoomTypes is not None else None,
        "totalMaterialsConsidered": sum(_MATERIALS[name] for name, used in flags.items() if used),
        "chosenMaterials": {kind: skin.name for kind, skin in chosen.items()},
    }


def _split(world: World) -> str:
    number = (int(world.scene_name.removeprefix("FloorPlan")) - 1) % 100 + 1
    return "train" if number <= 20 else "val" if number <= 25 else "test"


@action("ResetMaterials", "ResetColors")
def reset_materials(world: World, agent: Agent) -> None:
    _restore(world)


@action()
def randomize_colors(world: World, agent: Agent) -> None:
    """Give every single thing a look of its own."""
    choices, rng = skins(world.known), world.random
    world.restyle(lambda t: style(rng.choice(choices), t.kind, t.key))


def _restore(world: World) -> None:
    fresh = {t.name: t.style for t in _made_again(world)}
    world.restyle(lambda t: fresh.get(t.name, style(world.skin, t.kind, t.key)))


def _made_again(world: World) -> list[Thing]:
    from selu_hpc.sim.thor import scenes  # scenes builds worlds' rooms and imports their plans

    return scenes.make(world.scene_name, known=world.known, skin=world.skin).things


@action()
def randomize_lighting(
    world: World,
    agent: Agent,
    brightness: list[float] | None = None,
    randomizeColor: bool = True,
    hue: list[float] | None = None,
    saturation: list[float] | None = None,
    synchronized: bool = False,
) -> None:
    """Light the scene as another skin of this world would."""
    for name, span in (("brightness", brightness), ("hue", hue), ("saturation", saturation)):
        if span is not None and (len(span) != 2 or span[0] < 0 or span[0] > span[1]):
            raise ActionError(f"{name} must be two numbers, low then high, at least 0")
    others = [s for s in skins(world.known) if s != world.look]
    world.look = world.random.choice(others)


@action("ResetLighting")
def reset_lighting(world: World, agent: Agent) -> None:
    world.look = world.skin
