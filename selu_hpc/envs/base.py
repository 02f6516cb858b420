"""What a stage sees of a simulator: reset, step with words, two pictures; nothing of success.

Owns the seam every simulator is plugged in at. Does not own tasks (tasks.py) or processes (pool.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from selu_hpc.errors import ConfigError, SimulatorError
from selu_hpc.records import FrameHWC, Task, Truth

NEAR_START = 0.4
"""Share of episodes that start within reach of the first goal's object, or of where it is to go."""


class NoSuchSceneError(ConfigError):
    """The build is there and lacks the scene: starting it again would not help."""


class StartRefusedError(SimulatorError):
    """The simulator lives and will not begin a task: the task is impossible there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the agent and the critic may see at one moment.

    first_person, third_person: uint8 (H, W, 3), contiguous and owned by the receiver.
    text: what a person in the agent's place would know without looking, e.g. "You hold the apple.";
    empty where the simulator says nothing. Never holds success.
    """

    first_person: FrameHWC = field(repr=False)
    third_person: FrameHWC = field(repr=False)
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step's outcome.

    parsed: the canonical action the text was read as, empty when none could be read.
    ok, error: what the simulator answered to the call.
    said_done: the actor ended the episode.
    """

    observation: Observation
    parsed: str
    ok: bool
    error: str = ""
    said_done: bool = False


class Environment(Protocol):
    """One simulated home. Unparsable or impossible actions are failed steps, never exceptions."""

    def reset(self, task: Task, *, seed: int) -> Observation:
        """Load the task's scene, start the agent where `seed` says, and look."""
        ...

    def step(self, text: str) -> StepResult:
        """Do what the words say."""
        ...

    def truth(self, episode_id: str) -> Truth:
        """What the simulator knows of the episode so far; goes to the evaluation store and nowhere else."""
        ...

    def close(self) -> None:
        """End the process and leave nothing behind."""
        ...
