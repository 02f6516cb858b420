"""Walk a scene by words and look at the frames.

    python -m selu_hpc.envs.play --scene FloorPlan3
    python -m selu_hpc.envs.play --scene FloorPlan3 --actions "go to the fridge; open the fridge; done" --frames out

Reads actions from the keyboard, or from --actions; writes `NN-first.png` and `NN-third.png` after each. Owns the
command; the environment behind it is the pool's, with the same processes as in a rollout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import ValidationError
from PIL import Image

from selu_hpc.config import Backend, EnvConfig, Simulator, World
from selu_hpc.envs.base import NoSuchSceneError, Observation
from selu_hpc.envs.goals import make_task, verbs_of
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.splits import train_scenes
from selu_hpc.envs.tasks import feasible_goals
from selu_hpc.errors import ConfigError, SeluError, SimulatorError
from selu_hpc.logs import set_up_logging
from selu_hpc.records import Task, derive_seed
from selu_hpc.terminal import count, enter, seconds

MAX_RESTARTS = 1
"""Somebody waits for the answer: a build that does not start is tried once more, and no oftener."""
_SCENES = {Simulator.THOR: "FloorPlan1 … FloorPlan430", Simulator.VIRTUALHOME: "home0 … home49"}
_FIRST = {Simulator.THOR: "FloorPlan3", Simulator.VIRTUALHOME: "home0"}
_HOMES = frozenset(f"home{number}" for number in range(50))
_HELP = {
    Simulator.THOR: "move ahead · turn left · look down · go to the fridge · open the fridge · pick up the apple · "
    "drop · done",
    Simulator.VIRTUALHOME: "move ahead · turn left · walk to the fridge · open the fridge · grab the apple · "
    "put the apple on the kitchen table · sit on the sofa · stand up · switch on the tv · done",
}


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    set_up_logging("WARNING")
    try:
        _walk(options)
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.envs.play", description="Walk a scene by words.")
    parser.add_argument("--scene", default="", help=f"one of the simulator's (default: {' or '.join(_FIRST.values())})")
    parser.add_argument("--simulator", choices=[*map(str, Simulator)], default=str(Simulator.THOR))
    parser.add_argument("--backend", choices=[*map(str, Backend)], default=str(Backend.STAND_IN))
    parser.add_argument("--world", choices=[*map(str, World)], default=str(World.KNOWN))
    parser.add_argument("--size", type=int, default=300, help="width and height of the frames (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the task and the start (default: %(default)s)")
    parser.add_argument("--verb", default="", help="the task's type; any when left out")
    parser.add_argument("--actions", default="", help="actions to do, with ; between them, instead of the keyboard")
    parser.add_argument(
        "--frames", type=Path, default=Path("frames"), help="folder the frames are written to (default: ./%(default)s)"
    )
    parser.add_argument("--unity-commit", default="", help="a Unity build's commit")
    parser.add_argument("--unity-releases", default="", help="the folder of fetched Unity builds")
    parser.add_argument(
        "--start-timeout",
        type=seconds,
        metavar="SECONDS",
        default=EnvConfig().start_timeout_s,
        help="how long a simulator may take to start (default: %(default)g)",
    )
    parser.add_argument(
        "--vulkan-devices",
        type=count,
        nargs="+",
        metavar="NUMBER",
        default=[],
        help="Vulkan's device number of each CUDA device; the AI2-THOR client asks vulkaninfo when left out",
    )
    return parser


def _walk(options: argparse.Namespace) -> None:
    config = _config(options)
    task = _task(config, options.scene or _FIRST.get(config.simulator) or train_scenes(config)[0], options.seed)
    try:
        options.frames.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--frames {options.frames}: {error.strerror}; choose a folder that you may write") from error
    with EnvironmentPool(config, 1) as pool:
        seen = pool.reset(0, task, options.seed)
        _tell(f"{task.scene}: {task.instruction}. {seen.text}  [{_write(seen, options.frames, 0)}]")
        for number, text in enumerate(_said(options.actions, config.simulator), start=1):
            result = pool.step({0: text})[0]
            where = _write(result.observation, options.frames, number)
            outcome = "ok" if result.ok else f"failed: {result.error}"
            _tell(f"{result.parsed or text[:60]!r}: {outcome}. {result.observation.text}  [{where}]")
            if result.said_done:
                break
        _tell(f"task done: {pool.truth(0, 'play').success}")


def _config(options: argparse.Namespace) -> EnvConfig:
    try:
        return EnvConfig.of(
            {
                "simulator": options.simulator,
                "backend": options.backend,
                "world": options.world,
                "verbs": [options.verb] if options.verb else [],
                "width": options.size,
                "height": options.size,
                "unity_commit": options.unity_commit,
                "unity_releases": options.unity_releases,
                "start_timeout_s": options.start_timeout,
                "vulkan_devices": options.vulkan_devices,
                "max_restarts": MAX_RESTARTS,
            }
        )
    except ValidationError as error:  # of what is typed only the size has bounds
        bounds = str(error).partition(" - at ")[0].removeprefix("Expected ").replace("`int`", "a whole number")
        raise ConfigError(f"--size {options.size}: allowed: {bounds}") from error


def _task(config: EnvConfig, scene: str, seed: int) -> Task:
    verbs = verbs_of(config)
    try:
        if config.simulator is Simulator.VIRTUALHOME and scene not in _HOMES:
            raise ValueError(scene)
        goals = [goal for verb in verbs for goal in feasible_goals(config, scene, verb)]
    except (ValueError, NoSuchSceneError) as error:
        more = f" ({error})" if isinstance(error, NoSuchSceneError) else ""  # else it is no name of a scene at all
        raise ConfigError(
            f"--scene {scene}: {config.simulator} has {_SCENES.get(config.simulator, 'others')}{more}"
        ) from error
    if not goals:
        raise SimulatorError(f"{scene} has no task of {', '.join(verbs)}; choose another --scene or --verb")
    goal = goals[derive_seed("play", seed) % len(goals)]
    return make_task(scene, (goal,), simulator=config.simulator)


def _said(actions: str, simulator: Simulator) -> Iterator[str]:
    if actions:
        yield from (text.strip() for text in actions.split(";") if text.strip())
        return
    _tell(f"say what to do ({_HELP.get(simulator, 'as the actor would')}); an empty line ends")
    for line in sys.stdin:
        if not line.strip():
            return
        yield line.strip()


def _write(seen: Observation, folder: Path, number: int) -> str:
    for view, frame in (("first", seen.first_person), ("third", seen.third_person)):
        Image.fromarray(frame).save(folder / f"{number:02d}-{view}.png")
    return str(folder / f"{number:02d}-*.png")


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's answer


if __name__ == "__main__":
    enter(main)
