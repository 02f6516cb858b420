"""The THOR environment without the watch over its process: as if the client always saw a death first."""

from __future__ import annotations

import dataclasses

from selu_hpc.envs.base import Environment
from selu_hpc.envs.make import make_environment
from selu_hpc.envs.worker import Place


def make(place: Place) -> Environment:
    return make_environment(dataclasses.replace(place, on_death=lambda how: None))
