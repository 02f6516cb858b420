"""From a message to a call: which actions there are, which arguments they take, and THOR's words when they don't fit.

An action is a function whose first parameters are the world and the agent; the others, with annotations and defaults,
are its arguments. Owns names, conversion and errors of arguments. Does not own what actions do (actions/).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
MAX_NUMBER = 1e6
_LONGEST = 300
ALWAYS_ALLOWED = frozenset(
    {
        "action", "agentId", "sequenceId", "renderImage", "renderDepthImage", "renderInstanceSegmentation",
        "renderSemanticSegmentation", "renderNormalsImage", "renderFlowImage", "renderObjectImage", "renderClassImage",
        "visibilityDistance", "physicsSimulationParams", "snapToGrid", "fastActionEmit", "simplifyPhysics",
    }
)  # fmt: skip


class ActionError(Exception):
    """An action that fails. code: THOR's error code where it has one; the client raises ValueError for some."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Vector3:
    """An argument that is {"x": …, "y": …, "z": …}; what was not given is None."""

    x: float | None = None
    y: float | None = None
    z: float | None = None

    def filled(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """With defaults for what was not given."""
        return (x if self.x is None else self.x, y if self.y is None else self.y, z if self.z is None else self.z)


@dataclass(frozen=True, slots=True)
class Action:
    """One action. query: changes nothing, may be answered with a patch. lenient: takes arguments it does not know."""

    name: str
    function: Function
    parameters: dict[str, inspect.Parameter]
    query: bool
    lenient: bool


ACTIONS: dict[str, Action] = {}


def action(*names: str, query: bool = False, lenient: bool = False) -> Callable[[Function], Function]:
    """Register a function under these names, or under its own name in THOR's spelling."""

    def register(function: Function) -> Function:
        parameters = dict(list(inspect.signature(function).parameters.items())[2:])
        spelled = names or ("".join(word.capitalize() for word in function.__name__.split("_")),)
        for name in spelled:
            ACTIONS[name] = Action(name, function, parameters, query, lenient)
        return function

    return register


def bound(found: Action, message: dict[str, Any]) -> dict[str, Any]:
    """The arguments a message gives to an action, converted."""
    unknown = [key for key in message if key not in found.parameters and key not in ALWAYS_ALLOWED]
    if unknown and not found.lenient:
        raise ActionError(
            f"action: {found.name} has an invalid argument: {_short(unknown[0])} (unexpected argument). "
            f"Expected one of: {', '.join(found.parameters) or 'none'}",
            "InvalidArgument",
        )
    missing = [
        n for n, p in found.parameters.items() if p.default is inspect.Parameter.empty and message.get(n) is None
    ]
    if missing:
        raise ActionError(
            f"action: {found.name} is missing the following arguments: {','.join(missing)}", "MissingArguments"
        )
    return {
        name: convert(found.name, name, message[name], parameter.annotation)
        for name, parameter in found.parameters.items()
        if message.get(name) is not None
    }


def convert(action_name: str, name: str, value: Any, kind: str) -> Any:
    """One argument as what its annotation asks for."""
    text = kind
    if text == "Any":
        return value
    if "Vector3" in text:
        return _vector(action_name, name, value)
    if "list" in text:
        if isinstance(value, list | tuple):
            return _items(action_name, name, list(value), text)
        raise _wrong(action_name, name, "List")
    if "dict" in text:
        if isinstance(value, dict):
            return value
        raise _wrong(action_name, name, "Dictionary")
    if "float" in text:
        return _number(action_name, name, value)
    if "int" in text:
        return int(_number(action_name, name, value))
    if "bool" in text:
        if isinstance(value, bool):
            return value
        if value in (0, 1, "true", "false", "True", "False"):
            return value in (1, "true", "True")
        raise _wrong(action_name, name, "System.Boolean")
    if isinstance(value, str):
        return value
    raise _wrong(action_name, name, "System.String")


def _items(action_name: str, name: str, value: list[Any], text: str) -> list[Any]:
    if "list[float" in text:
        return [_number(action_name, name, item) for item in value]
    if "list[str" in text and not all(isinstance(item, str) for item in value):
        raise _wrong(action_name, name, "List<String>")
    if "list[dict" in text and not all(isinstance(item, dict) for item in value):
        raise _wrong(action_name, name, "List<Dictionary>")
    return value


def _vector(action_name: str, name: str, value: Any) -> Vector3:
    if isinstance(value, Vector3):
        return value
    if not isinstance(value, dict):
        raise ActionError(f"{action_name}: {name} must be an object with x, y and z", "UnhandledException")
    parts = {}
    for axis in "xyz":
        if value.get(axis) is not None:
            parts[axis] = _number(action_name, name, value[axis])
    return Vector3(**parts)


def _number(action_name: str, name: str, value: Any) -> float:
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            raise _wrong(action_name, name, "System.Single") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(action_name, name, "System.Single")
    if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > MAX_NUMBER:
        raise _wrong(action_name, name, "a finite System.Single")
    return float(value)


def _wrong(action_name: str, name: str, wanted: str) -> ActionError:
    return ActionError(
        f"action: {action_name} has an invalid argument: {name}. Cannot convert to: {wanted}", "InvalidArgument"
    )


def _short(text: object) -> str:
    written = str(text)
    return written if len(written) <= _LONGEST else written[:_LONGEST] + "…"
