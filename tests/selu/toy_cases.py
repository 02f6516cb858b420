"""Cases in the toy home whose pictures ToyModel can read."""

from __future__ import annotations

from toy_home import picture

from selu_hpc.config import Simulator
from selu_hpc.envs.goals import make_task
from selu_hpc.records import Goal, Label, Task
from selu_hpc.selu.interview import Case

OPENED, BROKEN = Goal(verb="open", target="Fridge"), Goal(verb="break", target="Vase")
EMPTY = {"open": [], "broken": [], "held": "", "near": "", "wall": 0}


def task(verb: str, target: str) -> Task:
    return make_task("FloorPlan16", (Goal(verb=verb, target=target),), simulator=Simulator.THOR)


def case(asked: Task, number: int = 0, **state: object) -> Case:
    frame = picture({**EMPTY, **state})
    return Case(episode_id=f"r01-s0000-e{number:04d}", task=asked, images=(frame,), seed=number)


def composed(*goals: Goal) -> Task:
    return make_task("FloorPlan16", goals, simulator=Simulator.THOR)


def purposes(label: Label) -> list[str]:
    return [exchange.purpose for exchange in label.exchanges]
