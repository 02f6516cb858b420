"""The actions by which clients test the channel and the dispatch of arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selu_hpc.sim.thor.agent import Agent
from selu_hpc.sim.thor.arguments import ActionError, action

if TYPE_CHECKING:
    from selu_hpc.sim.thor.world import World


@action("TestFastEmit", query=True)
def fast_emit(world: World, agent: Agent, rvalue: str) -> str:
    return rvalue


@action("TestActionReflectParam", lenient=True)
def reflect(world: World, agent: Agent, rvalue: str) -> str:
    return rvalue


@action("TestActionDispatchNoop", lenient=True)
def noop(
    world: World,
    agent: Agent,
    param1: bool | None = None,
    param2: bool | None = None,
    param6: str | None = None,
    param10: Any = None,
    param11: Any = None,
) -> str:
    if param6 is not None:
        raise ActionError(
            "action: TestActionDispatchNoop is missing the following arguments: param7", "MissingArguments"
        )
    if param10 is not None:
        return "param10 param11/default " + str(param11)
    given = [name for name, value in (("param1", param1), ("param2", param2)) if value is not None]
    return " ".join(given) or "emptyargs"


@action("TestActionDispatchNoop2")
def noop2(world: World, agent: Agent, param3: bool, param4: str = "foo") -> str:
    return f"param3 param4/default {param4}"


@action("TestActionDispatchNoopServerAction", lenient=True)
def server_action(world: World, agent: Agent) -> str:
    return "serveraction"


@action("TestActionDispatchNoopAllDefault")
def all_default(world: World, agent: Agent, param12: float = 0.0, param13: float = 0.0, param14: str = "") -> str:
    return "alldefault"


@action("TestActionDispatchNoopAllDefault2")
def all_default2(
    world: World, agent: Agent, param12: float | None = None, param13: float = 0.0, param14: str = ""
) -> str:
    return "alldefault" if param12 is None else "somedefault"


@action("TestActionDispatchSAAmbig")
def ambiguous(world: World, agent: Agent) -> None:
    raise ActionError(
        "Ambiguous action: TestActionDispatchSAAmbig "
        "Mixing a ServerAction method with overloaded methods is not permitted",
        "AmbiguousAction",
    )


@action("TestActionDispatchSAAmbig2")
def ambiguous2(world: World, agent: Agent) -> None:
    raise ActionError(
        "Ambiguous action: TestActionDispatchSAAmbig2 Signature match found in the same class", "AmbiguousAction"
    )


@action("TestActionDispatchFindAmbiguous")
def find_ambiguous(world: World, agent: Agent, typeName: str = "") -> list[str]:
    return ["TestActionDispatchSAAmbig", "TestActionDispatchSAAmbig2", "ProcessControlCommand"]


@action("TestActionDispatchFindConflicts")
def find_conflicts(world: World, agent: Agent, typeName: str = "") -> dict[str, list[str]]:
    return {"TestActionDispatchConflict": ["param22"]}
