"""A home small enough to know by heart, its state written into its pictures, and a model that can read them.

`make` is a factory for EnvironmentPool; `ToyModel` is a Generator whose eyes are perfect and whose judgement is as
good as a test asks for. What a picture holds is what a camera would see: no success, no goals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from selu_hpc.config import EnvConfig, Simulator
from selu_hpc.envs.base import Observation, StepResult
from selu_hpc.envs.language import Command
from selu_hpc.envs.words import language_of
from selu_hpc.envs.worker import Place
from selu_hpc.models.vlm import Answer, Request
from selu_hpc.records import FrameHWC, Goal, Task, Truth

SIZE = 32
OPENABLE, BREAKABLE, PORTABLE = ("Fridge", "Cabinet"), ("Mug", "Vase"), ("Apple", "Mug")
VERBS = {"open": OPENABLE, "close": OPENABLE, "break": BREAKABLE, "pick up": PORTABLE}
LANGUAGE = language_of(Simulator.THOR)


def picture(state: dict[str, Any]) -> FrameHWC:
    data = json.dumps(state, sort_keys=True).encode()
    frame = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    frame.reshape(-1)[: len(data) + 1] = [*data, 255]
    return frame


def state_in(frame: FrameHWC) -> dict[str, Any]:
    data = frame.reshape(-1).tobytes()
    return json.loads(data[: data.index(b"\xff")])


class ToyHome:
    """Two things to open, two to break, two to pick up; one must go to a thing before doing anything to it."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}

    def reset(self, task: Task, *, seed: int) -> Observation:
        self.task = task
        self.metadata = {"open": [], "broken": [], "held": "", "near": "", "wall": seed % 97}
        self.metadata["open"] = sorted(goal.target for goal in task.goals if goal.verb == "close")
        self.start = self.holding()
        self.success = [self.succeeded()]
        return self.look()

    def holding(self) -> frozenset[Goal]:
        """The goals that hold."""
        state = self.metadata
        found = [Goal(verb="open" if kind in state["open"] else "close", target=kind) for kind in OPENABLE]
        found += [Goal(verb="break", target=kind) for kind in state["broken"]]
        found += [Goal(verb="pick up", target=state["held"])] if state["held"] else []
        return frozenset(found)

    def succeeded(self) -> bool:
        return all(goal in self.holding() for goal in self.task.goals)

    def look(self) -> Observation:
        frame = picture(self.metadata)
        held = self.metadata["held"]
        text = f"You hold the {LANGUAGE.name(held)}." if held else "You hold nothing."
        return Observation(first_person=frame, third_person=frame.copy(), text=text)

    def step(self, text: str) -> StepResult:
        command = LANGUAGE.read(text)
        ok = command is not None and self.do(command)
        self.success.append(self.succeeded())
        return StepResult(
            observation=self.look(),
            parsed=LANGUAGE.say(command) if command else "",
            ok=ok,
            error="" if ok else "that does not work",
            said_done=bool(command and command.verb == "done"),
        )

    def do(self, command: Command) -> bool:
        state = self.metadata
        if command.verb in ("done", "turn left", "turn right"):
            return True
        if command.verb == "go to":
            state["near"] = command.target
            return True
        if command.target != state["near"] or command.target not in VERBS.get(command.verb, ()):
            return False
        if command.verb in ("open", "close"):
            there = {*state["open"], command.target} if command.verb == "open" else {*state["open"]} - {command.target}
            state["open"] = sorted(there)
        elif command.verb == "break":
            state["broken"] = sorted({*state["broken"], command.target})
        else:
            state["held"] = command.target
        return True

    def truth(self, episode_id: str) -> Truth:
        new = sorted(self.holding() - self.start, key=lambda goal: (goal.verb, goal.target))
        return Truth(episode_id=episode_id, success_after=tuple(self.success), achieved=tuple(new))

    def close(self) -> None:
        pass


def make(place: Place | None) -> ToyHome:
    return ToyHome()


def make_scripted(place: Place | None) -> Any:
    from selu_hpc.stages.scripted import ScriptedEnvironment

    return ScriptedEnvironment(ToyHome(), toy_script)


def toy_script(name: str, task: Task, state: dict[str, Any], *, seed: int) -> Any:
    """As envs.expert's scripts, for the toy home."""
    goal = task.goals[0]
    kinds = VERBS[goal.verb]
    other = kinds[(kinds.index(goal.target) + 1) % len(kinds)]
    target = other if name == "wrong_object" else goal.target
    verb = "go to" if name == "wrong_verb" else goal.verb
    thing = LANGUAGE.name(target)
    plan = [f"go to the {thing}", f"{verb} the {thing}"]
    back = {"open": "close", "close": "open"}.get(verb)
    words = {
        "early_stop": ["done"],
        "random": ["turn left", "turn right"],
        "out_of_reach": plan[1:],
        "undone": [*plan, *([f"{back} the {thing}"] if back else [])],
    }.get(name, plan)
    said = iter(words)
    return lambda state: next(said, "done")


class ToyPool:
    """EnvironmentPool's surface over toy homes in this process; `filled` tells how full every step was."""

    def __init__(self, config: EnvConfig, num_processes: int | None = None, *, num_slots: int = 2, factory: str = ""):
        self.num_slots = num_slots
        made = make_scripted if factory.endswith("make_scripted") else make
        self.homes = [made(None) for _ in range(num_slots)]
        self.filled: list[int] = []

    def __enter__(self) -> ToyPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def reset_many(self, episodes: Any) -> dict[int, Observation]:
        self.dawdle()
        return {slot: self.homes[slot].reset(task, seed=seed) for slot, (task, seed) in episodes.items()}

    def step(self, texts: Any) -> dict[int, StepResult]:
        self.dawdle()
        self.filled.append(len(texts))
        return {slot: self.homes[slot].step(text) for slot, text in texts.items()}

    def truth(self, slot: int, episode_id: str) -> Truth:
        return self.homes[slot].truth(episode_id)

    def dawdle(self) -> None:
        pass


class ToyInventory:
    def goals(self, verb: str) -> list[Goal]:
        return [Goal(verb=verb, target=kind) for kind in VERBS.get(verb, ())]

    def possible(self, task: Task) -> bool:
        return True

    def compositions(self) -> list[tuple[Goal, ...]]:
        return []


def look(config: EnvConfig, scene: str) -> ToyInventory:
    return ToyInventory()


class ToyModel:
    """Reads pictures without fail. Verdicts are right unless the prompt's verb is in `misjudged`, where they are no.

    With a state answer told in the prompt, the verdict follows what is told. The actor goes, does and says done; where
    the target is in `mistaken`, it takes the thing named there instead. Every request is kept in `asked`.
    """

    def __init__(self, *, misjudged: Sequence[str] = (), mistaken: dict[str, str] | None = None) -> None:
        self.misjudged = tuple(misjudged)
        self.mistaken = mistaken or {}
        self.asked: list[str] = []
        self.calls: list[int] = []

    def generate(
        self,
        requests: Sequence[Request],
        *,
        adapter: Any,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Answer]:
        self.asked += [request.prompt for request in requests]
        self.calls.append(len(requests))
        return [Answer(self.answer(request), 1, 0.0) for request in requests]

    def logprobs(self, requests: Sequence[Request], answers: Sequence[str], *, adapter: Any) -> list[float]:
        return [0.0 if self.answer(r) == a else -3.0 for r, a in zip(requests, answers, strict=True)]

    def choose(self, requests: Sequence[Request], choices: Sequence[Sequence[str]], *, adapter: Any) -> list[int]:
        said = [self.answer(request) for request in requests]
        return [list(row).index(answer) if answer in row else 0 for answer, row in zip(said, choices, strict=True)]

    def answer(self, request: Request) -> str:
        state = state_in(request.images[-1])
        prompt = request.prompt
        if "Next action?" in prompt:
            return self.act(prompt)
        if prompt.startswith(("Which", "Where")):
            return self.which(prompt, state)
        if prompt.startswith("Is "):
            return "yes" if holds(prompt.partition("?")[0], state) else "no"
        if "What do you see?" in prompt:
            return "a room"
        return self.verdict(prompt, state)

    def verdict(self, prompt: str, state: dict[str, Any]) -> str:
        task = re.match(r"Task: (.*?)\.", prompt)
        assert task is not None
        told = re.search(r"\? (yes|no)\. ", prompt)
        if told:
            return told[1]
        command = LANGUAGE.read(task[1])
        assert command is not None
        if command.verb in self.misjudged:
            return "no"
        return "yes" if Goal(verb=command.verb, target=command.target) in goals_in(state) else "no"

    def which(self, prompt: str, state: dict[str, Any]) -> str:
        verb = {"open": "open", "closed": "close", "broken": "break", "holding": "pick up"}[
            prompt.partition("?")[0].split()[-1]
        ]
        found = sorted(goal.target for goal in goals_in(state) if goal.verb == verb)
        return LANGUAGE.name(found[0]) if found else "none"

    def act(self, prompt: str) -> str:
        task = re.match(r"Task: (.*?)\.", prompt)
        assert task is not None
        command = LANGUAGE.read(task[1])
        assert command is not None
        target = self.mistaken.get(command.target, command.target)
        did = re.search(r"Actions so far: (.*?)\.", prompt)
        assert did is not None
        plan = [f"go to the {LANGUAGE.name(target)}", f"{command.verb} the {LANGUAGE.name(target)}", "done"]
        return plan[0 if did[1] == "none" else min(len(did[1].split(", ")), 2)]


def goals_in(state: dict[str, Any]) -> frozenset[Goal]:
    home = ToyHome()
    home.metadata = state
    return home.holding()


def holds(question: str, state: dict[str, Any]) -> bool:
    words = question.split()
    if "holding" in words:
        verb, name = "pick up", question.partition("holding the ")[2]
    else:
        verb = {"open": "open", "closed": "close", "broken": "break"}.get(words[-1], "none")
        name = " ".join(words[2:-1])
    return Goal(verb=verb, target=LANGUAGE.type_of(name) or "") in goals_in(state)
