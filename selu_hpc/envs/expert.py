"""Scripted actors that see the simulator's state: one that succeeds, and several that fail in different ways.

They make the built-in model's pre-training data in the known world and a frozen test set's mix of episodes, and they
try out whether a task can be done. They are no part of learning: a stage that learns never meets them.
Owns what they say next; what a simulator's state means to them is in thor/expert.py and virtualhome/expert.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from selu_hpc.envs.base import Environment, Observation, StepResult
from selu_hpc.envs.goals import OPPOSITES, command_for
from selu_hpc.envs.language import Command, Language
from selu_hpc.envs.thor.expert import ThorEyes
from selu_hpc.envs.virtualhome.expert import HomeEyes
from selu_hpc.records import Goal, Task

Metadata = dict[str, Any]
Script = Callable[[Metadata], str]
MOST_APPROACHES = 4
"""How often an actor goes to something before it gives that goal up."""
_STEPS = ("move ahead", "turn left", "turn right")
_PUT_AWAY = ("pick up", "grab")
"""What is taken back by putting the thing somewhere."""


class Policy(StrEnum):
    """The scripted actors."""

    EXPERT = "expert"
    WRONG_OBJECT = "wrong_object"
    WRONG_VERB = "wrong_verb"
    EARLY_STOP = "early_stop"
    RANDOM = "random"
    OUT_OF_REACH = "out_of_reach"
    UNDONE = "undone"


class Simulated(Environment, Protocol):
    """An environment whose state may be read."""

    @property
    def metadata(self) -> Metadata: ...


class Eyes(Protocol):
    """What a simulator's state means to a scripted actor."""

    language: Language
    verbs: Sequence[str]
    going: str

    def holding(self, metadata: Metadata) -> frozenset[Goal]:
        """Every goal that is true."""
        ...

    def towards(self, goal: Goal, metadata: Metadata) -> tuple[Command, bool] | None:
        """The next command for a goal and whether it can be done from here; None when nothing helps."""
        ...

    def pose(self, metadata: Metadata) -> str:
        """Where the agent is, to see whether it moved."""
        ...

    def goals(self, verb: str, metadata: Metadata) -> Sequence[Goal]:
        """What could be asked for with a verb."""
        ...

    def near(self, metadata: Metadata) -> list[Command]:
        """What could be done from here."""
        ...

    def far(self, metadata: Metadata) -> list[str]:
        """Types one could go to."""
        ...


@dataclass(frozen=True)
class Played:
    """What a scripted actor did: every observation, the one before the first step included."""

    task: Task
    seed: int
    policy: Policy
    first: Observation = field(repr=False)
    texts: tuple[str, ...]
    results: tuple[StepResult, ...] = field(repr=False)


def play(environment: Simulated, task: Task, *, seed: int, policy: Policy = Policy.EXPERT, horizon: int = 10) -> Played:
    """One episode of a scripted actor; it ends by itself or at the horizon."""
    first = environment.reset(task, seed=seed)
    speak = script(policy, task, environment.metadata, seed=seed)
    texts: list[str] = []
    results: list[StepResult] = []
    while len(texts) < horizon and not (results and results[-1].said_done):
        texts.append(speak(environment.metadata))
        results.append(environment.step(texts[-1]))
    return Played(task, seed, policy, first, tuple(texts), tuple(results))


def script(policy: Policy, task: Task, metadata: Metadata, *, seed: int) -> Script:
    """The actor of one episode: from the state to its next words."""
    eyes: Eyes = HomeEyes() if "nodes" in metadata else ThorEyes()
    rng = random.Random(f"{policy}/{seed}")
    match policy:
        case Policy.EXPERT:
            return _Planner(eyes, task.goals)
        case Policy.WRONG_OBJECT:
            return _trying(eyes, _another_object(eyes, task.goals[0], metadata, rng), metadata)
        case Policy.WRONG_VERB:
            return _trying(eyes, _another_verb(eyes, task.goals[0], metadata, rng), metadata)
        case Policy.EARLY_STOP:
            return _Hasty(_Planner(eyes, task.goals), task.goals[-1], rng.randint(0, 3))
        case Policy.RANDOM:
            return _Wanderer(eyes, rng, rng.randint(3, 10))
        case Policy.OUT_OF_REACH:
            return _spoken(_from_afar(eyes, task.goals, metadata, rng))
        case Policy.UNDONE:
            return _Undoer(_Planner(eyes, task.goals), lambda state: _backwards(eyes, task.goals, state, rng))


class _Planner:
    """Brings about goals in order and then says done; plans afresh from each state."""

    def __init__(self, eyes: Eyes, goals: Sequence[Goal]) -> None:
        self._eyes = eyes
        self._goals = list(goals)
        self._approaches: dict[str, int] = {}
        self._last = ("", "")
        self._tries = 0

    def __call__(self, metadata: Metadata) -> str:
        text = self._plan(metadata)
        pose = self._eyes.pose(metadata)
        if (text, pose) == self._last and text != "done" and not text.startswith(self._eyes.going):
            text = self._otherwise()  # the same again from the same place: it did not work
        self._last = (text, pose)
        return text

    def _otherwise(self) -> str:
        """Stand elsewhere: at a better place first, then further away for want of room."""
        self._tries += 1
        kind = self._goals[0].place or self._goals[0].target
        return self._eyes.language.say(Command(self._eyes.going, kind)) if self._tries % 2 else "move back"

    def _plan(self, metadata: Metadata) -> str:
        holding = self._eyes.holding(metadata)
        for goal in self._goals:
            found = None if goal in holding else self._eyes.towards(goal, metadata)
            command = found and (found[0] if found[1] else self._approach(found[0]))
            if command:
                return self._eyes.language.say(command)
        return "done"

    def _approach(self, command: Command) -> Command | None:
        """Go to what the command is about, a few times at most."""
        kind = command.place or command.target
        self._approaches[kind] = self._approaches.get(kind, 0) + 1
        return Command(self._eyes.going, kind) if self._approaches[kind] <= MOST_APPROACHES else None


class _Hasty:
    """Says done before the words that would bring about the last goal."""

    def __init__(self, actor: Script, last: Goal, patience: int) -> None:
        self._actor = actor
        self._last = last.verb
        self._patience = patience

    def __call__(self, metadata: Metadata) -> str:
        self._patience -= 1
        text = self._actor(metadata)
        return "done" if self._patience < 0 or text.startswith(self._last) else text


class _Wanderer:
    """Walks about and does something to what it meets."""

    def __init__(self, eyes: Eyes, rng: random.Random, length: int) -> None:
        self._eyes = eyes
        self._rng = rng
        self._left = length

    def __call__(self, metadata: Metadata) -> str:
        self._left -= 1
        if self._left < 0:
            return "done"
        rng, eyes = self._rng, self._eyes
        moves = [Command(verb) for verb in _STEPS]
        near, types = eyes.near(metadata), eyes.far(metadata)
        far = [Command(eyes.going, rng.choice(types))] if types else []
        options = rng.choice([moves, near or moves, near or far or moves, far or moves])
        return eyes.language.say(rng.choice(options))


class _Undoer:
    """Does what was asked for, and then takes it back."""

    def __init__(self, forwards: Script, backwards: Callable[[Metadata], Script]) -> None:
        self._actor = forwards
        self._backwards: Callable[[Metadata], Script] | None = backwards

    def __call__(self, metadata: Metadata) -> str:
        text = self._actor(metadata)
        if text == "done" and self._backwards is not None:
            self._actor, self._backwards = self._backwards(metadata), None
            text = self._actor(metadata)
        return text


def can_be_undone(verb: str) -> bool:
    """Whether what a verb does can be taken back; nothing makes a broken vase whole."""
    return verb in (*OPPOSITES, *_PUT_AWAY, "put", "sit")


def _backwards(eyes: Eyes, goals: Sequence[Goal], metadata: Metadata, rng: random.Random) -> Script:
    """The actor that takes back the last of the goals it has just brought about that can be."""
    goal = next((goal for goal in reversed(goals) if can_be_undone(goal.verb)), None)
    if goal is None:
        return _spoken([])
    if goal.verb in _PUT_AWAY:
        places = [other for other in eyes.goals("put", metadata) if other.target == goal.target]
        return _Planner(eyes, [rng.choice(places)] if places else [])
    if goal.verb == "sit":
        return _spoken(["stand up"])
    if goal.verb == "put":
        taking = next(verb for verb in _PUT_AWAY if verb in eyes.verbs)
        return _spoken([eyes.language.say(Command(taking, goal.target))])
    return _spoken([eyes.language.say(Command(OPPOSITES[goal.verb], goal.target))])


def _from_afar(eyes: Eyes, goals: Sequence[Goal], metadata: Metadata, rng: random.Random) -> list[str]:
    """The words for the goals without the way there, from where the agent stands or from beside another thing."""
    meant = {kind for goal in goals for kind in (goal.target, goal.place)}
    elsewhere = [kind for kind in eyes.far(metadata) if kind not in meant]
    steps = [[rng.choice(_STEPS) for _ in range(rng.randint(0, 2))] for _ in range(2)]
    if elsewhere and rng.random() < 0.5:
        steps[0] = [eyes.language.say(Command(eyes.going, rng.choice(elsewhere)))]
    return [*steps[0], *(eyes.language.say(command_for(goal)) for goal in goals), *steps[1]]


def _spoken(texts: Sequence[str]) -> Script:
    """Says these words one after the other, and then done."""
    left = iter(texts)
    return lambda metadata: next(left, "done")


def _trying(eyes: Eyes, goal: Goal, metadata: Metadata) -> Script:
    """Brings a goal about; where it holds already, goes there and says the words all the same."""
    if goal not in eyes.holding(metadata):
        return _Planner(eyes, [goal])
    commands = [Command(eyes.going, goal.place or goal.target), command_for(goal)]
    return _spoken([eyes.language.say(command) for command in commands])


def _another_object(eyes: Eyes, goal: Goal, metadata: Metadata, rng: random.Random) -> Goal:
    """The same verb with another object of the scene, for which it is still to be done if there is one; the same goal
    where there is no other."""
    others = [other for other in eyes.goals(goal.verb, metadata) if other.target != goal.target]
    return rng.choice(_undone(others, eyes, metadata) or others or [goal])


def _another_verb(eyes: Eyes, goal: Goal, metadata: Metadata, rng: random.Random) -> Goal:
    """Another verb with the same object where it has one, else with any object; one that is still to be done first.

    What was to be taken is not put somewhere: it would have been taken first, and then that undone.
    """
    others = [
        other
        for verb in eyes.verbs
        for other in eyes.goals(verb, metadata)
        if verb != goal.verb and not (verb == "put" and goal.verb in _PUT_AWAY and other.target == goal.target)
    ]
    same = [other for other in others if other.target == goal.target]
    return rng.choice(_undone(same, eyes, metadata) or same or _undone(others, eyes, metadata) or others or [goal])


def _undone(goals: Sequence[Goal], eyes: Eyes, metadata: Metadata) -> list[Goal]:
    holding = eyes.holding(metadata)
    return [goal for goal in goals if goal not in holding]
