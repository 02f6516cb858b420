"""What every engine is: something that brings a plan's unfinished shards to their markers.

Owns the seam and what is the same for all engines: which shards are still due. Does not own how they are run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from selu_hpc.config import RunConfig
from selu_hpc.rounds.due import look_for_unfinished
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.plan import Key, Plan
from selu_hpc.rounds.provenance import keep_config
from selu_hpc.rounds.rundir import RunDir

if TYPE_CHECKING:  # a run without an image loads nothing of it
    from selu_hpc.containers.pinned import Pinned


@dataclass(frozen=True, slots=True)
class Job:
    """All that an engine is given: the run's folder, its config, what must happen and where to write it down.

    image: what its stages run in; None is this machine's own python.
    """

    run: RunDir
    config: RunConfig
    plan: Plan
    image: Pinned | None = None

    @property
    def journal(self) -> Journal:
        return Journal(self.run.journal_file)

    def settle(self) -> None:
        """Write down what is asked of the run: for who holds its lock, once nothing refuses it any more."""
        keep_config(self.run, self.config)
        if self.image or self.run.image_file.exists():
            from selu_hpc.containers.pinned import keep

            keep(self.run, self.image)
        self.note_plan()

    def note_plan(self) -> None:
        """Write the plan's shape into the journal, where status finds it without reading the config."""
        shape = {str(stage.key): stage.num_shards for stage in self.plan}
        noted = [event["stages"] for event in self.journal if event["event"] == "plan"]
        if not noted or noted[-1] != shape:
            self.journal.append("plan", sync=False, stages=shape)

    def due(self) -> dict[Key, list[int]]:
        """The shards that are still to come, by stage; stages that are done are left out."""
        return look_for_unfinished(self.run, {stage.key: stage.num_shards for stage in self.plan}).due


class Engine(Protocol):
    """Runs or submits a job. `run` raises a SeluError when the job cannot be brought to its end."""

    name: str

    def run(self, job: Job, *, wait: bool) -> None:
        """Bring the job to its end (wait) or hand it to a scheduler and return."""
        ...
