"""From a place in the pool to the environment its configuration asks for.

Owns that choice alone; adding a simulator adds one line here.
"""

from __future__ import annotations

from selu_hpc.config import Backend, EnvConfig, Simulator
from selu_hpc.envs.base import Environment
from selu_hpc.envs.gpu import visible_cuda_indices
from selu_hpc.envs.launch import Launch
from selu_hpc.envs.watch import watch
from selu_hpc.envs.worker import Place


def make_environment(place: Place) -> Environment:
    """An environment with a simulator process of its own, watched."""
    if place.config.simulator is Simulator.VIRTUALHOME:
        from selu_hpc.envs.virtualhome.process import virtualhome_environment

        return virtualhome_environment(place.config, place.home, place.number, place.executable, place.on_death)
    return thor_environment(place)


def thor_environment(place: Place) -> Environment:
    from selu_hpc.envs.thor.client import ThorClient
    from selu_hpc.envs.thor.environment import ThorEnvironment

    launch = Launch(place.config, place.home, place.executable, _gpu(place.config, place.number))
    client = ThorClient(launch)
    watch(client, place.on_death)
    return ThorEnvironment(client)


def _gpu(config: EnvConfig, number: int) -> int | None:
    """Slots take the job's GPUs in turn."""
    visible = visible_cuda_indices() if config.backend is Backend.CLOUD_RENDERING else []
    if not visible:
        return None
    return visible[number % len(visible)]
