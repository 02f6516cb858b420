"""What follows by itself: a tap fills and cleans, heat cooks, a fridge cools, and all goes back to room temperature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from selu_hpc.sim.thor.thing import Thing

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World

DECAY_SECONDS = 20.0
"""How long hot and cold things stay so once away from their source."""
_HOT_DRINKS = frozenset({"coffee"})


def pass_time(world: World) -> None:
    """Side effects, and hot and cold things on their way to room temperature."""
    settle(world)
    for thing in world.things:
        if thing.temperature != "RoomTemp" and world.time >= thing.decays_at:
            thing.temperature, thing.decays_at = "RoomTemp", math.inf
            thing.touch()


def settle(world: World) -> None:
    for source in world.things:
        if source.kind == "Fridge":
            for thing in source.descendants():
                _temper(world, thing, "Cold")
        elif source.toggled and source.kind in _WORKS:
            _WORKS[source.kind](world, source)


def _heat(world: World, source: Thing) -> None:
    """A burner or a microwave heats and cooks what is on or in it, and boils no liquid away."""
    for thing in source.descendants():
        _temper(world, thing, "Hot")
        if thing.spec.can("cook") and not thing.cooked:
            thing.cooked = True
            thing.touch()


def _toast(world: World, source: Thing) -> None:
    for thing in source.children:
        _temper(world, thing, "Hot")
        if thing.spec.can("cook") and not thing.cooked:
            thing.cooked = True
            thing.touch()


def _run_tap(world: World, tap: Thing) -> None:
    """Water fills and cleans what lies in the basin."""
    for pool in tap.controls:
        for thing in pool.descendants():
            if thing.spec.can("fill") and not thing.liquid and not thing.broken:
                pour(world, thing, "water")
            if thing.spec.can("dirty") and thing.dirty:
                thing.dirty = False
                thing.touch()


def _brew(world: World, machine: Thing) -> None:
    for thing in machine.children:
        if thing.spec.can("fill") and not thing.liquid and not thing.broken:
            pour(world, thing, "coffee")


_WORKS = {"StoveBurner": _heat, "Microwave": _heat, "Toaster": _toast, "Faucet": _run_tap, "CoffeeMachine": _brew}


def pour(world: World, thing: Thing, liquid: str) -> None:
    thing.liquid = liquid
    thing.touch()
    if liquid in _HOT_DRINKS:
        _temper(world, thing, "Hot")


def _temper(world: World, thing: Thing, temperature: str) -> None:
    thing.decays_at = world.time + world.decay_seconds.get(thing.kind, world.decay_seconds.get("", DECAY_SECONDS))
    if thing.temperature != temperature:
        thing.temperature = temperature
        thing.touch()
