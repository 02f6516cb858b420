"""Where sampling looks up what a scene makes feasible: one survey per configuration and process.

The stand-ins' worlds are surveyed in this process; Unity builds through the official client, by a pool of one that
lives until the process ends. Does not do the survey (survey.py) or the drawing (tasks.py).
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from selu_hpc.config import Backend, EnvConfig, Simulator
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.survey import SceneSurvey, Source, Survey
from selu_hpc.records import Goal, Task

SIZE = 32
"""Width and height of the frames nobody looks at."""


def look(config: EnvConfig, scene: str) -> SceneSurvey:
    """The inventory of one scene."""
    return SceneSurvey(_source(_what_matters(config)), scene)


class PoolSurvey:
    """A survey in a pool's process; asks each question once. A pool that an error closed is followed by a new one."""

    def __init__(self, config: EnvConfig) -> None:
        self._config = config
        self._pool: EnvironmentPool | None = None

    @lru_cache(maxsize=4096)  # noqa: B019 - lives as long as the process
    def goals(self, scene: str, verb: str) -> Sequence[Goal]:
        found: Sequence[Goal] = self._ask("goals", scene, verb)
        return found

    @lru_cache(maxsize=4096)  # noqa: B019 - lives as long as the process
    def compositions(self, scene: str) -> Sequence[tuple[Goal, ...]]:
        found: Sequence[tuple[Goal, ...]] = self._ask("compositions", scene)
        return found

    @lru_cache(maxsize=4096)  # noqa: B019 - lives as long as the process
    def possible(self, task: Task) -> bool:
        return bool(self._ask("possible", task))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def _ask(self, what: str, *arguments: Any) -> Any:
        if self._pool is None or self._pool.closed:
            self._pool = EnvironmentPool(self._config, 1)
        return self._pool.survey(what, *arguments)


@lru_cache(maxsize=8)
def _source(config: EnvConfig) -> Source:
    if config.backend is Backend.STAND_IN:
        if config.simulator is Simulator.VIRTUALHOME:
            from selu_hpc.envs.virtualhome.local import blind_home_environment

            return Survey(blind_home_environment(config))
        from selu_hpc.envs.thor.local import blind_environment

        return Survey(blind_environment(config))
    survey = PoolSurvey(config)
    atexit.register(survey.close)
    return survey


def _what_matters(config: EnvConfig) -> EnvConfig:
    """The settings without those that change nothing in a scene, so that runs share what was looked up."""
    plain = EnvConfig()
    same = {name: getattr(plain, name) for name in ("horizon", "stop", "verbs", "composed_fraction")}
    size = {"width": SIZE, "height": SIZE} if config.backend is Backend.STAND_IN else {}
    return config.but(**{**same, **size})
