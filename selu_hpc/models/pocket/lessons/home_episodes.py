"""Scripted episodes in VirtualHome's known homes, for the built-in model's judging and acting.

Owns how episodes are played there in this process. How narrow judging and acting stay is episodes.py's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selu_hpc.config import EnvConfig, Simulator, World
from selu_hpc.envs.goals import VIRTUALHOME_VERBS
from selu_hpc.envs.language import Command
from selu_hpc.envs.splits import pair_is_held_out
from selu_hpc.envs.virtualhome.environment import VirtualHomeEnvironment
from selu_hpc.envs.virtualhome.local import LocalHome
from selu_hpc.envs.virtualhome.state import Graph, Node, close_to, goals_that_hold, held, hidden, sitting_on, suits
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.data import save
from selu_hpc.models.pocket.lessons.episodes import EXPLORE_EVERY, Attempts, play_all
from selu_hpc.models.pocket.lessons.homes import OWN_LAYOUT, facts_of, homes_of, labelled, layout_seed
from selu_hpc.models.pocket.lessons.questions import HOME, LEAST_PIXELS
from selu_hpc.models.pocket.lessons.scenes import Picture
from selu_hpc.records import Goal, derive_seed
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.skins import Skin
from selu_hpc.sim.virtualhome.homes import NUM_HOMES
from selu_hpc.sim.virtualhome.view import drawables


class LabelledHome(LocalHome):
    """A home in this process in the place of VirtualHome's client; `labelled` holds the last two views."""

    labelled: tuple[Picture, Picture]

    def __init__(self, config: EnvConfig, *, skin: Skin, rng: random.Random) -> None:
        super().__init__(config, skin=skin)
        self._rng = rng
        self._seed: int | None = None

    def reset(self, environment: int | None = None) -> bool:
        """A home as the environment loads it, or one of its own with that plan, but the same at every reset."""
        if self._seed is None and environment is not None:
            own = self._rng.random() < OWN_LAYOUT
            self._seed = environment if own else layout_seed(environment, self._rng)
        assert self._seed is not None
        if self._seed < NUM_HOMES:
            return super().reset(self._seed)
        return self.ask("procedural_generation", [self._seed])[0]

    def camera_image(
        self, camera_indexes: list[int], mode: str = "normal", image_width: int = 96, image_height: int = 96
    ) -> tuple[bool, list[Any]]:
        world, found = self.world, []
        states = {node["id"]: node["states"] for node in world.graph["nodes"]}
        for index in camera_indexes:
            _, view, without = world.cameras.find(index)
            drawn = drawables(world.places, world.graph, world.skin, view, without=without)
            images = render(drawn, view, width=image_width, height=image_height, skin=world.skin)
            known = facts_of(world.places, states, seen=set(images.ids.ravel().tolist()))
            found.append(labelled(np.array(images.rgb), images.ids, known))
        self.labelled = (found[0], found[1])
        return True, [picture.rgb[..., ::-1] for picture in found]


class HomeClassroom:
    """A home in one skin."""

    simulator, verbs, subject = Simulator.VIRTUALHOME, VIRTUALHOME_VERBS, HOME

    def __init__(self, scene: str, skin: Skin, *, known: bool, rng: random.Random) -> None:
        config = EnvConfig(simulator=Simulator.VIRTUALHOME, world=World.KNOWN if known else World.UNKNOWN)
        self.scene = scene
        self.driver = LabelledHome(config, skin=skin, rng=rng)
        self.environment = VirtualHomeEnvironment(config, self.driver)

    def goals(self, verbs: Sequence[str]) -> list[Goal]:
        inventory = self.environment.feasible(self.scene)
        return [goal for verb in verbs for goal in inventory.goals(verb)]

    def holding(self, metadata: Graph) -> frozenset[Goal]:
        return goals_that_hold(metadata)

    def explorer(self, goal: Goal) -> Callable[[Graph], str]:
        return home_explorer(goal, self)


def home_explorer(goal: Goal, room: HomeClassroom) -> Callable[[Graph], str]:
    """As episodes.explorer: tries the verb on whatever takes it, else walks to something that does."""
    language = language_of(Simulator.VIRTUALHOME)
    attempts = Attempts(goal.verb)

    def speak(graph: Graph) -> str:
        if attempts.over():
            return "done"
        if sitting_on(graph):
            return "stand up"
        sightings = sorted(room.driver.labelled[0].seen, key=lambda thing: -thing.prominence)
        seen = list(dict.fromkeys(thing.kind for thing in sightings if thing.pixels >= LEAST_PIXELS))
        close, in_hand = close_to(graph), {node["id"] for node in held(graph)}
        near: dict[str, list[Node]] = {}
        for node in graph["nodes"]:
            if node["id"] in close - in_hand and not hidden(graph, node["id"]):
                near.setdefault(node["class_name"], []).append(node)
        verb = "grab" if goal.verb == "put" and not in_hand else goal.verb
        options: list[str] = []
        for kind in seen:
            if kind in near and not pair_is_held_out(verb, kind):
                options += _tries(verb, kind, near[kind], bool(in_hand))
        far = [kind for kind in seen if kind not in near]
        takes = {thing.kind for thing in sightings if verb in thing.can and not pair_is_held_out(verb, thing.kind)}
        far.sort(key=lambda kind: kind not in takes)
        options += [language.say(Command("walk to", kind)) for kind in far]
        return attempts.next(options)

    return speak


def _tries(verb: str, kind: str, near: Sequence[Node], holds: bool) -> list[str]:
    """The words for a verb with a type that is near, where it can be done."""
    say = language_of(Simulator.VIRTUALHOME).say
    if verb == "put":
        return [say(Command("put", "", kind))] if holds and any("SURFACES" in n["properties"] for n in near) else []
    command = Command("sit on" if verb == "sit" else verb, kind)
    return [say(command)] if any(suits(command, node) for node in near) else []


def draw_home_episodes(folder: Path, *, split: str, number: int, episodes: int, exploring: bool = False) -> None:
    """One shard of episodes in homes, as episodes.draw_episodes."""
    what = "explorations" if exploring else "episodes"
    world, known, scenes = homes_of(split)
    rng = random.Random(derive_seed(f"pocket home {what}", split, number))
    explore_every = 1 if exploring else EXPLORE_EVERY
    name = f"home_{what}"
    snapshots, drawn = play_all(
        HomeClassroom, name, split, world, scenes, rng, episodes=episodes, known=known, explore_every=explore_every
    )
    save(folder / f"{name}-{split}-{number:03d}", snapshots, drawn)
