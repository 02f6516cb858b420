"""The GPUs of this machine, lent to one shard of the local engine each; Slurm lends its own.

Owns which are free. Which stage wants how many is its `resources`, what a process does with them is torch's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from selu_hpc.models.device import visible_gpus

PATIENCE_S = 20.0


class Gpus:
    """`taken = Gpus(("0", "1")).take(1)`; each is lent to one shard at a time."""

    def __init__(self, names: Sequence[str]) -> None:
        self.count = len(names)
        self._free = list(names)

    def take(self, wanted: int) -> tuple[str, ...] | None:
        """So many, or all that the machine has if those are fewer; None while others still have them."""
        wanted = min(wanted, self.count)
        if wanted > len(self._free):
            return None
        taken, self._free = self._free[:wanted], self._free[wanted:]
        return tuple(taken)

    def give_back(self, names: Sequence[str]) -> None:
        self._free = sorted([*self._free, *names], key=lambda name: (len(name), name))


def find_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES leaves of them, else what the driver counts; torch would hold memory on each."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return visible_gpus(visible)
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(asked.stdout.split()) if asked.returncode == 0 else ()
