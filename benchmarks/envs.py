"""Steps per second of the stand-in behind the real `ai2thor.controller.Controller`, beside the protocol's limit.

    python benchmarks/envs.py [--quick]

Sides, in turn, in one run: the stand-in build, and a build that answers every action with the same metadata and black
pictures (`_blank_build.py`). Both views, a scene of about 60 objects, 300x300 and 96x96, one process and two. A ratio
is the median over pairs of neighbouring rounds, so that other work on the machine meets both sides alike. Beside them,
the pool: text actions per second, each one or two calls and both pictures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from _report import exit_code, report

from selu_hpc.config import EnvConfig, World
from selu_hpc.envs.launch import stand_in_command
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.splits import train_scenes
from selu_hpc.envs.tasks import sample_tasks
from selu_hpc.envs.thor.environment import INITIALIZE

TARGETS = {"limit_share_300px": ">=0.6", "limit_share_96px": ">=0.7"}
OBJECTS = 60
ACTIONS = ("RotateRight", "MoveAhead", "LookDown", "RotateLeft", "MoveBack", "LookUp")
SIDES = ("stand_in", "blank")
WARM_UP = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ends within 50 seconds")
    quick = parser.parse_args().quick
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        measures, ratios = measure(rounds=4 if quick else 20, steps=40 if quick else 100)
    return exit_code(report("envs", measures=measures, ratios=ratios, targets=TARGETS))


def measure(*, rounds: int, steps: int) -> tuple[dict[str, object], dict[str, float]]:
    scene, objects = crowded_scene()
    measures: dict[str, object] = {"scene": scene, "objects": objects}
    ratios: dict[str, float] = {}
    for size in (300, 96):
        sides = {side: [Player(side, scene, size) for _ in range(2)] for side in SIDES}
        for player in (*sides["stand_in"], *sides["blank"]):
            player.ready()
        for processes in (1, 2):
            rates: dict[str, list[float]] = {side: [] for side in SIDES}
            before = {side: sum(p.cpu_s() for p in players[:processes]) for side, players in sides.items()}
            for _ in range(rounds):
                for side, players in sides.items():
                    rates[side].append(rate(players[:processes], steps))
            shares = [ours / limit for ours, limit in zip(rates["stand_in"], rates["blank"], strict=True)]
            spent = {s: sum(p.cpu_s() for p in players[:processes]) - before[s] for s, players in sides.items()}
            measures[f"cpu_share_{size}px_{processes}_processes"] = round(spent["blank"] / spent["stand_in"], 3)
            name = f"{size}px" if processes == 1 else f"{size}px_{processes}_processes"
            for side in SIDES:
                measures[f"{side}_steps_per_s_{name}"] = round(statistics.median(rates[side]), 1)
            ratios[f"limit_share_{name}"] = statistics.median(shares)
        for player in (*sides["stand_in"], *sides["blank"]):
            player.stop()
    for processes in (1, 2):
        measures[f"pool_text_actions_per_s_96px_{processes}_processes"] = round(pool_rate(processes, rounds), 1)
    return measures, ratios


class Player:
    """One Controller and its process, in a client process of its own."""

    def __init__(self, side: str, scene: str, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_client, args=(theirs, side, scene, size), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        assert self._connection.recv() == "ready"

    def cpu_s(self) -> float:
        """CPU seconds of client and build since they started; what a busy machine disturbs less than the clock."""
        client = psutil.Process(self._process.pid)
        return sum(sum(process.cpu_times()[:2]) for process in (client, *client.children(recursive=True)))

    def begin(self, steps: int) -> None:
        self._connection.send(steps)

    def stop(self) -> None:
        self._connection.send(0)
        self._process.join()


def _client(connection: Connection, side: str, scene: str, size: int) -> None:
    from ai2thor.controller import Controller

    blank = [sys.executable, str(Path(__file__).with_name("_blank_build.py")), scene]
    command = blank if side == "blank" else stand_in_command(EnvConfig(world=World.KNOWN))
    controller = Controller(
        local_executable_path=shlex.join(command), x_display="0", width=size, height=size, scene=scene,
        server_timeout=None, **INITIALIZE,
    )  # fmt: skip
    controller.step("AddThirdPartyCamera", position={"x": 0, "y": 2, "z": 0}, rotation={"x": 40, "y": 30, "z": 0})
    steps = WARM_UP
    while steps:
        for number in range(steps):
            event = controller.step(ACTIONS[number % len(ACTIONS)])
        assert event.frame is not None
        assert len(event.third_party_camera_frames) == 1
        connection.send("ready")
        steps = connection.recv()
    controller.stop()


def rate(players: list[Player], steps: int) -> float:
    """Steps per second of all players at once."""
    start = time.perf_counter()
    for player in players:
        player.begin(steps)
    for player in players:
        player.ready()
    return len(players) * steps / (time.perf_counter() - start)


def pool_rate(processes: int, rounds: int) -> float:
    config = EnvConfig(world=World.KNOWN)
    slots = range(4)
    tasks = sample_tasks(config, scenes=train_scenes(config)[:4], count=len(slots), seed=0)
    with EnvironmentPool(config, processes, num_slots=len(slots)) as pool:
        pool.reset_many({slot: (tasks[slot], slot) for slot in slots})
        texts = ("turn left", "move ahead", "turn right", "look down", "look up")
        start = time.perf_counter()
        for number in range(rounds * 2):
            pool.step({slot: texts[number % len(texts)] for slot in slots})
        return rounds * 2 * len(slots) / (time.perf_counter() - start)


def crowded_scene() -> tuple[str, int]:
    """The kitchen with the number of objects nearest to 60."""
    from selu_hpc.sim.thor.world import World as Household

    counts = {f"FloorPlan{n}": len(Household(f"FloorPlan{n}", known=True).objects) for n in range(1, 13)}
    return min(counts.items(), key=lambda item: (abs(item[1] - OBJECTS), item[0]))


if __name__ == "__main__":
    sys.exit(main())
