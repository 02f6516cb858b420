"""What a script does to a home's graph: read from VirtualHome's script lines, executed by VirtualHome's own executor.

Owns reading script lines and calling the package. Does not own rules (the package's) or poses (places.py).
Unity's own steps and turns have no rule in the package: they are told apart here and change no node and no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from selu_hpc.sim.virtualhome.graph import Graph, in_order
from selu_hpc.sim.virtualhome.package import evolving_graph

MOVES = frozenset({"TURNLEFT", "TURNRIGHT", "WALKFORWARD", "WALKBACKWARD"})
IDLE = frozenset({"NO_ACTION", "IDLE", "WAIT"})
_SAME = {"PUT": "PUTBACK", "WALKTOWARDS": "WALK", "WALKTO": "WALK", "PICKUP": "GRAB", "STAND": "STANDUP"}
"""Unity's words for what the package calls otherwise."""
_LINE = re.compile(r"^\s*<char(\d+)>\s*\[(\w+)\]\s*(.*)$", re.DOTALL)
_LONGEST_LINE = 2000


class ScriptError(ValueError):
    """A line that cannot be read."""


@dataclass(frozen=True, slots=True)
class Step:
    """One character's action in one line of a script."""

    character: int
    action: str
    rest: str

    @property
    def text(self) -> str:
        """The line as the package reads it."""
        return f"[{self.action}] {self.rest}".strip()


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was executed. objects: ids it was about.  graph: what the package's executor yielded."""

    step: Step
    objects: tuple[int, ...]
    graph: Graph


def read_script(lines: Sequence[Any]) -> list[list[Step]]:
    """Every line's steps; several characters act in one line separated by "|"."""
    script = []
    for line in lines:
        if not isinstance(line, str) or len(line) > _LONGEST_LINE:
            raise ScriptError("a script line must be a short text")
        steps = []
        for part in line.split("|"):
            found = _LINE.match(part)
            if found is None:
                raise ScriptError(f"cannot read {part.strip()[:80]!r}; write <char0> [Walk] <chair> (1)")
            action = found[2].upper()
            steps.append(Step(int(found[1]), _SAME.get(action, action), found[3].strip()))
        script.append(steps)
    return script


class Execution:
    """One script on one graph: yields what was done, and keeps why a character failed.

    The package is handed the graph when a step first needs it, which turning and stepping do not.
    """

    def __init__(self, graph: Graph, num_characters: int, *, find_solution: bool) -> None:
        self._environment, self._scripts, self._execution = evolving_graph()
        self._characters = num_characters
        self._find = find_solution
        self._waiting: Graph | None = graph
        self.errors: dict[int, str] = {}

    def replace(self, graph: Graph) -> None:
        """Go on from another graph, after a step that the package has no rule for."""
        self._waiting = graph

    def _start(self) -> None:
        if self._waiting is None:
            return
        known = self._environment.EnvironmentGraph(self._waiting)
        self._state = self._environment.EnvironmentState(known, {}, instance_selection=not self._find)
        self._executors = [self._execution.ScriptExecutor(known, {}, index) for index in range(self._characters)]
        self._waiting = None

    def run(self, script: Sequence[Sequence[Step]]) -> Iterator[Done]:
        """Execute line by line; a character that failed does nothing more."""
        for number, line in enumerate(script):
            for step in line:
                if step.character >= self._characters:
                    self.errors.setdefault(step.character, f"there is no character {step.character}")
                if step.character in self.errors or step.action in IDLE:
                    continue
                if step.action in MOVES:
                    yield Done(step, (), {})
                else:
                    done = self._one(step, number)
                    if done is not None:
                        yield done

    def _one(self, step: Step, number: int) -> Done | None:
        self._start()
        executor = self._executors[step.character]
        executor.info = self._execution.ExecutionInfo()
        if step.action == "FIND" and self._must_walk(step):
            step = Step(step.character, "WALK", step.rest)
        try:
            line = self._scripts.parse_script_line(step.text, number)
            self._check_objects(line)
            script = self._scripts.Script([line])
            ok, state = executor.execute_one_step(script, self._state)
        except Exception as error:
            # The package raises AssertionError, AttributeError and its own errors on scripts it cannot execute.
            self.errors[step.character] = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return None
        if not ok:
            self.errors[step.character] = executor.info.get_error_string() or f"{step.text} has no effect here"
            return None
        self._state = state
        ids = [self._meant(parameter) for parameter in line.parameters]
        return Done(step, tuple(i for i in ids if i is not None), in_order(state.to_dict()))

    def _must_walk(self, step: Step) -> bool:
        """Whether [Find] means to walk there first; the package's own way to that raises TypeError in 2.3.0."""
        try:
            script = self._scripts.Script([self._scripts.parse_script_line(step.text, 0)])
            return not self._executors[step.character].check_one_step(script, self._state)
        except TypeError:
            return True
        except Exception:
            return False  # whatever else is wrong is told when the step is executed

    def _check_objects(self, line: Any) -> None:
        if self._find:
            return
        for parameter in line.parameters:
            if self._state.get_node(parameter.instance) is None:
                raise ScriptError(f"{parameter} is not in this home")

    def _meant(self, parameter: Any) -> int | None:
        if not self._find:
            return int(parameter.instance)
        return self._state.get_script_node(parameter.name, parameter.instance)  # type: ignore[no-any-return]
