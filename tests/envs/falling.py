"""Two scripted environments in one worker, of which one may fall while the other has its turn."""

from __future__ import annotations

from scripted import ScriptedEnvironment

from selu_hpc.envs.base import Observation, StepResult
from selu_hpc.envs.worker import Place
from selu_hpc.records import Task


class FallingEnvironment(ScriptedEnvironment):
    """Told to "fall later", it answers, and its simulator is dead at the other's next turn."""

    doomed: FallingEnvironment | None = None

    def reset(self, task: Task, *, seed: int) -> Observation:
        self._see_who_falls()
        return super().reset(task, seed=seed)

    def step(self, text: str) -> StepResult:
        self._see_who_falls()
        return super().step(text)

    def _see_who_falls(self) -> None:
        doomed, FallingEnvironment.doomed = FallingEnvironment.doomed, None
        if doomed is not None and doomed is not self:
            doomed.place.on_death("the simulator ended with status -6")

    def _fail(self, what: str) -> None:
        if what == "fall later":
            FallingEnvironment.doomed = self
        else:
            super()._fail(what)


def make(place: Place) -> FallingEnvironment:
    return FallingEnvironment(place)
