"""VirtualHome's homes: fifty for each world, generated from (world, number); the same in every process.

Owns which home is made and what a whole one has. Walls are in rooms.py, furniture and things in furnishing.py, the
rooms' plans and what is in them in plans.py, facts of classes in catalogue.py, poses in places.py, relations in
graph.py. Known and unknown homes differ in plan, furniture and in which objects occur.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from selu_hpc.sim.drawing.skins import Skin, skin_for_home
from selu_hpc.sim.virtualhome import plans
from selu_hpc.sim.virtualhome.catalogue import class_named
from selu_hpc.sim.virtualhome.draft import Draft
from selu_hpc.sim.virtualhome.furnishing import furnish
from selu_hpc.sim.virtualhome.graph import Graph, node, relations
from selu_hpc.sim.virtualhome.places import Places
from selu_hpc.sim.virtualhome.rooms import HEIGHT, build_rooms

NUM_HOMES = 50
"""As the official client counts them."""
NUM_PLANS = 7
"""Homes from this number on share the rooms' plan of the first ones, and nothing else."""
FEWEST_NODES = 200
_MOST_ATTEMPTS = 30
MUST_HAVE = frozenset(
    (
        "fridge", "stove", "microwave", "kitchencounter", "kitchentable", "kitchencabinet", "sink", "chair", "sofa",
        "tv", "coffeetable", "bed", "closet", "toilet", "bathtub", "bathroomcounter", "apple", "plate", "mug", "book",
    )
)  # fmt: skip


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
    build = partial(build_home, number % NUM_PLANS, known, skin, seed)
    return build(plans.WHOLE_AT[known][number]) if listed else first_whole(build)[1]


def first_whole(build: Callable[[int], Home]) -> tuple[int, Home]:
    """The first attempt with all a home must have, or the last one."""
    for attempt in range(_MOST_ATTEMPTS):
        home = build(attempt)
        names = {n["class_name"] for n in home.graph["nodes"]}
        if names >= MUST_HAVE and len(home.graph["nodes"]) >= FEWEST_NODES:
            break
    return attempt, home


def build_home(number: int, known: bool, skin: Skin, seed: int | None, attempt: int) -> Home:
    """An attempt at a home with the plan `number`; another one comes out differently."""
    draft = Draft(number, known, random.Random(f"home/{known}/{number}/{seed}/{attempt}"))
    build_rooms(draft)
    furnish(draft)
    draft.edges |= relations(draft.places)
    return Home(number, skin, draft.places, _graph(draft))


def _graph(draft: Draft) -> Graph:
    nodes = []
    for number, name in draft.names.items():
        cls = class_named(name)
        if number in draft.places.rooms:
            x0, z0, x1, z1 = draft.places.rooms[number]
            box = {
                "center": [round((x0 + x1) / 2, 4), HEIGHT / 2, round((z0 + z1) / 2, 4)],
                "size": [round(x1 - x0, 4), HEIGHT, round(z1 - z0, 4)],
            }
        else:
            box = draft.places.items[number].bounds()
        nodes.append(node(number, name, cls.category, draft.states[number], box))
    edges = [{"from_id": a, "relation_type": r, "to_id": b} for a, r, b in sorted(draft.edges)]
    return {"nodes": nodes, "edges": edges}
