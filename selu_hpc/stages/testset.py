"""One shard of the frozen test sets, made once per run and the same for every method, seed and cut into jobs.

    python -m selu_hpc.stages.testset --run RUN --round 0 --shard 0

    episodes.zarr   the critic's: scripted episodes of held-out scenes and seeds, half of them successes in each type
    tasks.json      the actor's: tasks in held-out scenes with their seeds
    probe.zarr      the general-ability probe's: scripted successes in the world the built-in model knows

Its seeds hold nothing of the run's, so that two runs over the same environment are measured on the same episodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selu_hpc.config import Backend, EnvConfig, RunConfig, World
from selu_hpc.envs.expert import Policy, can_be_undone
from selu_hpc.envs.goals import verbs_of
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.splits import test_scenes, test_seed
from selu_hpc.envs.tasks import Look, sample_tasks
from selu_hpc.errors import SimulatorError
from selu_hpc.recipes import load_run
from selu_hpc.records import Task
from selu_hpc.rounds.rundir import RunDir, Stage, write_json
from selu_hpc.selu.actor import Situation
from selu_hpc.selu.probe import QUESTIONS_AN_EPISODE
from selu_hpc.stages import entry
from selu_hpc.stages.collect import EPISODES, collect, digest, num_lost
from selu_hpc.stages.playing import Played, Players, Work
from selu_hpc.stages.scenes import RememberedScenes
from selu_hpc.stages.scripted import FACTORY

logger = logging.getLogger(__name__)

TASKS, PROBE = "tasks.json", "probe.zarr"
CELLS_AT_ONCE = 16
MOST_TRIALS = 24
TRIALS = 4
"""After so many episodes that did not come out as wanted, a failure takes the next way to fail, a success the next
task type."""
FAILING = (
    Policy.WRONG_OBJECT, Policy.OUT_OF_REACH, Policy.WRONG_VERB, Policy.UNDONE, Policy.EARLY_STOP, Policy.RANDOM,
)  # fmt: skip
"""The ways to fail: in the second and the fourth the words name the deed, and whether they do tells nothing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a test set: its number in the whole set, and how its episode must come out."""

    number: int
    name: str
    wanted: bool
    policies: tuple[Policy, ...]
    accepts: Callable[[Played], bool]


def run(*, run: str, round_id: int, shard: int, attempt: int) -> None:
    """Make a shard of the test sets unless it is there."""
    place = RunDir(Path(run)).shard(round_id, Stage.TESTSET, shard)
    if place.read_marker() is not None:
        return
    config = load_run(run)
    cells, probes = critic_cells(config, shard), probe_cells(config, shard)
    known = probe_world(config.env)
    slots = config.rollout.num_slots
    with RememberedScenes(place.run) as look:
        content = [
            collect(
                place,
                attempt,
                config,
                total=len(cells),
                play_from=lambda first: play_cells(cells, first, config.env, look, num_slots=slots),
            ),
            collect(
                place,
                attempt,
                config,
                total=len(probes),
                play_from=lambda first: play_cells(probes, first, known, look, num_slots=slots),
                name=PROBE,
            ),
        ]
        tasks = [
            {"episode_id": work.episode_id, "task": work.task.to_json(), "seed": work.seed}
            for work in actor_work(config, shard, look)
        ]
    write_json(place.path / TASKS, tasks)
    place.write_marker(
        content=digest([*content, str(tasks)]),
        names=[EPISODES, PROBE, TASKS],
        summary={"episodes": len(cells), "tasks": len(tasks), "attempt": attempt},
    )


def share(total: int, num_shards: int, shard: int) -> range:
    """Which of `total` numbered things a shard has; together the shards have each once."""
    return range(total * shard // num_shards, total * (shard + 1) // num_shards)


def critic_cells(config: RunConfig, shard: int) -> list[Cell]:
    """Successes and failures in turn, each task type as often in both, and within each type every way to fail."""
    return [
        Cell(
            number,
            "c",
            wanted,
            (Policy.EXPERT,) if wanted else _ways_to_fail(config.env, number // 2),
            _succeeded if wanted else _failed,
        )
        for number in share(config.evaluate.critic_episodes, config.evaluate.num_shards, shard)
        for wanted in (number % 2 == 0,)
    ]


def _succeeded(played: Played) -> bool:
    return played.truth.success


def _failed(played: Played) -> bool:
    """A failure, and one of its way: what is undone had been done, whose only word was done stopped early."""
    words = [action.parsed for action in played.episode.actions]
    match played.episode.actions[0].text:
        case Policy.UNDONE:
            of_its_way = any(played.truth.success_after)
        case Policy.EARLY_STOP:
            of_its_way = True
        case _:
            of_its_way = words[0] != "done"
    return of_its_way and not played.truth.success


def _ways_to_fail(config: EnvConfig, number: int) -> tuple[Policy, ...]:
    """Of the number-th failure, the wanted one first: types change from one to the next, ways from one turn of all
    types to the next."""
    verbs = verbs_of(config)
    turn, place = divmod(number, len(verbs))
    ways = [way for way in FAILING if way is not Policy.UNDONE or can_be_undone(verbs[place])]
    first = (turn + place) % len(ways)
    return (*ways[first:], *ways[:first])


def probe_cells(config: RunConfig, shard: int) -> list[Cell]:
    total = -(-config.evaluate.probe_questions // QUESTIONS_AN_EPISODE)
    return [
        Cell(number, "p", True, (Policy.EXPERT,), lambda played: bool(played.truth.achieved))
        for number in share(total, config.evaluate.num_shards, shard)
    ]


def actor_work(config: RunConfig, shard: int, look: Look | None = None) -> list[Work]:
    """The actor's test episodes of a shard."""
    found = []
    for number in share(config.evaluate.actor_episodes, config.evaluate.num_shards, shard):
        seed = test_seed("actor", number)
        found.append(Work(episode_id=f"test-a{number:04d}", task=_task(config.env, number, seed, look), seed=seed))
    return found


def probe_world(config: EnvConfig) -> EnvConfig:
    """Where the built-in model was pre-trained; a Unity build has one world only."""
    if config.backend is not Backend.STAND_IN:
        return config
    return config.but(world=World.KNOWN, composed_fraction=0.0)


def play_cells(cells: Sequence[Cell], first: int, config: EnvConfig, look: Look, *, num_slots: int) -> Iterator[Played]:
    """An episode for each cell from the `first` on that came out as the cell wants it."""
    voice = _Voice()
    with EnvironmentPool(config, num_slots=num_slots, factory=FACTORY) as pool:
        players = Players(pool, voice, config, model="scripted", adapter="none")
        for start in range(first - first % CELLS_AT_ONCE, len(cells), CELLS_AT_ONCE):
            group = cells[start : start + CELLS_AT_ONCE]
            filled = _fill(group, config, look, players, voice)
            yield from filled[max(first - start, 0) :]


def _fill(group: Sequence[Cell], config: EnvConfig, look: Look, players: Players, voice: _Voice) -> list[Played]:
    filled: dict[int, Played] = {}
    for trial in range(MOST_TRIALS):
        open_cells = [cell for cell in group if cell.number not in filled]
        work = [_work(cell, trial, config, look, voice) for cell in open_cells]
        for cell, played in zip(open_cells, players.play(work), strict=True):
            # a lost step is none of the ways to fail
            if cell.accepts(played) and not num_lost(played.episode.actions):
                filled[cell.number] = played
        if len(filled) == len(group):
            return [filled[cell.number] for cell in group]
        logger.debug("trial %s: %s of %s cells are filled", trial, len(filled), len(group))
    missing = next(cell for cell in group if cell.number not in filled)
    raise SimulatorError(
        f"test set: {MOST_TRIALS} scripted episodes of {', '.join(verbs_of(config))} brought no "
        f"{'success' if missing.wanted else 'failure'} in {', '.join(test_scenes(config))}; widen env.verbs or "
        "raise env.horizon"
    )


def _work(cell: Cell, trial: int, config: EnvConfig, look: Look, voice: _Voice) -> Work:
    seed = test_seed("testset", cell.name, cell.number, trial)
    again = trial // TRIALS
    voice.policies[seed] = cell.policies[again % len(cell.policies)]
    task = _task(config, cell.number // 2 + (again if cell.wanted else 0), seed, look)
    return Work(episode_id=f"test-{cell.name}{cell.number:04d}", task=task, seed=seed)


def _task(config: EnvConfig, number: int, seed: int, look: Look | None) -> Task:
    """Types in turn, so that each is as frequent as any other; the recipe's share of them are compositions."""
    verbs = verbs_of(config)
    if test_seed("composed", number) / 2**63 < config.composed_fraction:
        changes: dict[str, object] = {"composed_fraction": 1.0}
    else:
        changes = {"composed_fraction": 0.0, "verbs": (verbs[number % len(verbs)],)}
    one = config.but(**changes)
    return sample_tasks(one, scenes=test_scenes(config), count=1, seed=seed, look=look)[0]


class _Voice:
    """Says the name of each episode's policy; the environment does the rest (scripted.py)."""

    def __init__(self) -> None:
        self.policies: dict[int, Policy] = {}
        self.batch_size = CELLS_AT_ONCE

    def shape(self, situation: Situation) -> int:
        return 0

    def act(self, situations: Sequence[Situation]) -> list[str]:
        return [str(self.policies[one.seed]) for one in situations]


if __name__ == "__main__":
    entry.main([Stage.TESTSET])
