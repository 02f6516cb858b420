"""What scenes make feasible, remembered in the run's folder: worked out once, not by every shard of every round.

    RUN/scenes/unknown-FloorPlan16.json     {"goals": {"open": […]}, "compositions": […], "possible": {…}}

A file is a cache: the same whoever wrote it, replaced whole, and nothing is lost with it but time. It says what can be
asked for, never what an episode achieved. Does not own the answers (envs/inventory.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from selu_hpc.config import EnvConfig
from selu_hpc.envs import tasks
from selu_hpc.envs.tasks import Inventory
from selu_hpc.records import Goal, Task
from selu_hpc.rounds.rundir import RunDir, write_json


class RememberedScenes:
    """A `tasks.Look` for a run: `with RememberedScenes(run) as look: sample_tasks(…, look=look)`."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._scenes: dict[str, _RememberedScene] = {}

    def __call__(self, config: EnvConfig, scene: str) -> Inventory:
        name = f"{config.world}-{scene}"
        if name not in self._scenes:
            self._scenes[name] = _RememberedScene(self._read(name), config, scene)
        return self._scenes[name]

    def __enter__(self) -> RememberedScenes:
        return self

    def __exit__(self, *_: object) -> None:
        for name, scene in self._scenes.items():
            if scene.has_news:
                write_json(self._run.scenes / f"{name}.json", merged(self._read(name), scene.known))

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self._run.scenes / f"{name}.json").read_bytes())
            return merged({}, found)
        except (OSError, ValueError, TypeError, AttributeError):  # torn, or not of our making
            return merged({}, {})


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What either knows; two shards that looked at a scene at once found parts of the same."""
    return {
        "goals": {**one.get("goals", {}), **other.get("goals", {})},
        "compositions": other.get("compositions", one.get("compositions")),
        "possible": {**one.get("possible", {}), **other.get("possible", {})},
    }


class _RememberedScene:
    """One scene's inventory: what is known, else what the simulator says."""

    def __init__(self, known: dict[str, Any], config: EnvConfig, scene: str) -> None:
        self.known = known
        self.has_news = False
        self._config = config
        self._scene = scene

    def goals(self, verb: str) -> list[Goal]:
        known = self.known["goals"]
        if verb not in known:
            known[verb] = _plain(self._simulator.goals(verb))
            self.has_news = True
        return _goals(known[verb])

    def compositions(self) -> list[tuple[Goal, ...]]:
        if self.known["compositions"] is None:
            self.known["compositions"] = [_plain(goals) for goals in self._simulator.compositions()]
            self.has_news = True
        return [tuple(_goals(goals)) for goals in self.known["compositions"]]

    def possible(self, task: Task) -> bool:
        known, name = self.known["possible"], json.dumps(_plain(task.goals), sort_keys=True)
        if name not in known:
            known[name] = self._simulator.possible(task)
            self.has_news = True
        return bool(known[name])

    @property
    def _simulator(self) -> Inventory:
        return tasks.look_by_simulator(self._config, self._scene)


def _plain(goals: Iterable[Goal]) -> list[dict[str, str]]:
    return [asdict(goal) for goal in goals]


def _goals(plain: Sequence[dict[str, str]]) -> list[Goal]:
    return [Goal(**one) for one in plain]
