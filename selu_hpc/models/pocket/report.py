"""What the built-in model can do before any self-learning: the known world's held-out scenes and the unknown world.

    python -m selu_hpc.models.pocket.report --tasks 96

Owns a table of success by world and by verb, the base acting greedily in this process's own copy of the simulator, and
how many names it can repeat. The unknown world's numbers are for the reader; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from selu_hpc.config import EnvConfig, ModelConfig, Simulator, World
from selu_hpc.envs.splits import test_scenes, test_seed
from selu_hpc.envs.tasks import sample_tasks
from selu_hpc.envs.thor.local import world_environment
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.episodes import is_narrow
from selu_hpc.models.pocket.model import IMAGE_SIZE
from selu_hpc.models.pocket.teaching.naming import GOING
from selu_hpc.models.vlm import Generator, Request, load_generator
from selu_hpc.records import Task
from selu_hpc.selu import wording
from selu_hpc.selu.actor import Actor, Situation
from selu_hpc.terminal import positive

SLOTS = 16


def successes(generator: Generator, config: EnvConfig, tasks: Sequence[Task], *, explore: bool = False) -> list[bool]:
    """Whether the base reached each task's goals by the end of its episode."""
    found: list[bool] = []
    for start in range(0, len(tasks), SLOTS):
        found += _together(generator, config, tasks[start : start + SLOTS], start, explore=explore)
    return found


def _together(
    generator: Generator, config: EnvConfig, tasks: Sequence[Task], first: int, *, explore: bool
) -> list[bool]:
    actor = Actor(generator=generator, adapter=None, simulator=Simulator.THOR)
    seeds = [test_seed("pocket report", first + place) for place in range(len(tasks))]
    rooms = [world_environment(config) for _ in tasks]
    seen = [room.reset(task, seed=seed) for room, task, seed in zip(rooms, tasks, seeds, strict=True)]
    histories: list[tuple[str, ...]] = [()] * len(tasks)
    going = list(range(len(tasks)))
    for _ in range(config.horizon):
        situations = [
            Situation(
                instruction=tasks[at].instruction,
                first_person=seen[at].first_person,
                seen=seen[at].text,
                history=histories[at],
                seed=seeds[at],
                explore=explore,
            )
            for at in going
        ]
        for at, text in zip(tuple(going), actor.act(situations), strict=True):
            result = rooms[at].step(text)
            seen[at], histories[at] = result.observation, (*histories[at], result.parsed)
            if result.said_done:
                going.remove(at)
        if not going:
            break
    return [room.truth("report").success for room in rooms]


def names_said(generator: Generator, simulator: Simulator) -> tuple[float, int]:
    """Told over an empty picture to find each thing that has a name: the share it goes to, in either simulator's word
    for going, since only pictures tell which it is in; and how many there are."""
    language = language_of(simulator)
    names = [language.name(noun) for noun in sorted(language.nouns)]
    prompts = [wording.actor_prompt(f"find the {name}", seen="You hold nothing.", history=()) for name in names]
    empty = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 127, dtype=np.uint8)
    said = generator.generate([Request(prompt, (empty,)) for prompt in prompts], adapter=None)
    right = [one.text in {f"{way} the {name}" for way in GOING.values()} for one, name in zip(said, names, strict=True)]
    return round(sum(right) / len(right), 3), len(right)


def report(tasks: int) -> dict[str, dict[str, tuple[float, int]]]:
    """World → kind of task → (success, tasks); and "names" → simulator → (share said, names)."""
    generator = load_generator(ModelConfig(), adapters={})
    table: dict[str, dict[str, tuple[float, int]]] = {
        "names": {simulator: names_said(generator, simulator) for simulator in Simulator}
    }
    for world in World:
        config = EnvConfig(world=world)
        sampled = sample_tasks(config, scenes=test_scenes(config), count=tasks, seed=1)
        groups: dict[str, list[bool]] = defaultdict(list)
        groups["exploring"] = successes(generator, config, sampled, explore=True)
        for task, success in zip(sampled, successes(generator, config, sampled), strict=True):
            for group in ("all", "narrow" if is_narrow(task.goals[0]) else "beyond", task.verb):
                groups[group].append(success)
        table[world] = {name: (round(sum(won) / len(won), 3), len(won)) for name, won in sorted(groups.items())}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=positive, default=96)
    options = parser.parse_args()
    print(json.dumps(report(options.tasks), indent=1))  # noqa: T201  a command's result


if __name__ == "__main__":
    main()
