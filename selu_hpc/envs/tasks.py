"""What an episode is asked for: sampled from what a scene makes feasible.

Owns the drawing of tasks, compositions among them. What a scene makes feasible is found out by survey.py, what types
of tasks there are and how they are told is goals.py's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from selu_hpc.config import EnvConfig, World
from selu_hpc.envs.goals import make_task, verbs_of
from selu_hpc.envs.splits import pair_is_held_out, world_of
from selu_hpc.errors import SimulatorError
from selu_hpc.records import Goal, Task, derive_seed

FEWEST_OBJECTS, MOST_OBJECTS = 2, 3
"""Object types sampled for each task type in a scene."""
MOST_TRIED = 6
"""Compositions of one scene that are tried before another scene is."""
MOST_PLACES = 2
"""Places that one object of "put" may be asked to be put."""


class Inventory(Protocol):
    """What a scene makes feasible."""

    def goals(self, verb: str) -> Sequence[Goal]: ...

    def compositions(self) -> Sequence[tuple[Goal, ...]]: ...

    def possible(self, task: Task) -> bool:
        """Whether a scripted actor that sees the state brings the task about."""
        ...


Look = Callable[[EnvConfig, str], Inventory]
"""Loads a scene and says what is feasible there."""


def sample_tasks(
    config: EnvConfig, *, scenes: Sequence[str], count: int, seed: int, first: int = 0, look: Look | None = None
) -> list[Task]:
    """`count` tasks over the scenes, each task type about as often as any other.

    first: how many tasks were drawn elsewhere before these, so that many short draws have every type as well; a draw
    of whole turns of the types begins with any of them.
    The objects of a scene's task type are the same in every call: two or three, so that a run meets them again.
    """
    look = look or look_by_simulator
    rng = random.Random(derive_seed("tasks", seed))
    verbs = verbs_of(config)
    start = first + (0 if count % len(verbs) else seed)
    tasks: list[Task] = []
    for index in range(count):
        composed = rng.random() < config.composed_fraction
        order = rng.sample(list(scenes), len(scenes))
        verb = verbs[(start + index) % len(verbs)]
        task = next(filter(None, (_sample(config, scene, verb, composed, rng, look) for scene in order)), None)
        if task is None:
            task = next(filter(None, (_any(config, scene, rng, look) for scene in order)), None)
        if task is None:
            kept = "; the known world keeps some object-verb pairs back (envs/splits.py)"
            raise SimulatorError(
                f"no task of {', '.join(verbs)} is feasible in {', '.join(scenes)}; widen env.verbs"
                f"{kept if world_of(config) is World.KNOWN else ''}"
            )
        tasks.append(task)
    return tasks


def feasible_goals(config: EnvConfig, scene: str, verb: str, *, look: Look | None = None) -> list[Goal]:
    """The two or three goals a task type has in a scene."""
    goals = list((look or look_by_simulator)(config, scene).goals(verb))
    world = world_of(config)
    if world is World.KNOWN:
        goals = [goal for goal in goals if not pair_is_held_out(goal.verb, goal.target)]
    rng = random.Random(derive_seed("objects", world or "unity", scene, verb))
    targets = sorted({goal.target for goal in goals})
    chosen = rng.sample(targets, min(rng.randint(FEWEST_OBJECTS, MOST_OBJECTS), len(targets)))
    kept: list[Goal] = []
    for target in chosen:
        same = [goal for goal in goals if goal.target == target]
        kept += rng.sample(same, min(MOST_PLACES, len(same)))
    return kept


def look_by_simulator(config: EnvConfig, scene: str) -> Inventory:
    """The scene's inventory from a process of this configuration; remembered."""
    from selu_hpc.envs.inventory import look

    return look(config, scene)


def _sample(config: EnvConfig, scene: str, verb: str, composed: bool, rng: random.Random, look: Look) -> Task | None:
    """A possible task of the scene, drawn at random; None when there is none."""
    inventory = look(config, scene)
    if composed:
        options = [goals for goals in inventory.compositions() if _allowed(config, goals)]
        drawn = rng.sample(options, min(MOST_TRIED, len(options)))
    else:
        by_target: dict[str, list[Goal]] = {}
        for goal in feasible_goals(config, scene, verb, look=look):
            by_target.setdefault(goal.target, []).append(goal)
        targets = rng.sample(sorted(by_target), len(by_target))
        drawn = [(goal,) for target in targets for goal in rng.sample(by_target[target], len(by_target[target]))]
    tasks = (make_task(scene, goals, simulator=config.simulator) for goals in drawn)
    return next((task for task in tasks if inventory.possible(task)), None)


def _any(config: EnvConfig, scene: str, rng: random.Random, look: Look) -> Task | None:
    """A task of whatever type the scene has, where the one asked for is in no scene."""
    for verb in rng.sample(list(verbs_of(config)), len(verbs_of(config))):
        task = _sample(config, scene, verb, False, rng, look)
        if task is not None:
            return task
    return None


def _allowed(config: EnvConfig, goals: Iterable[Goal]) -> bool:
    verbs = verbs_of(config)
    known = world_of(config) is World.KNOWN
    return all(g.verb in verbs and not (known and pair_is_held_out(g.verb, g.target)) for g in goals)
