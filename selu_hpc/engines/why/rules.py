"""The settings a retry depends on, read from the run's own files without msgspec, and what its jobs asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selu_hpc.errors import RunFolderError
from selu_hpc.rounds.rundir import RunDir, Stage

ASKED = re.compile(r"^#SBATCH --(mem|time)=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asked:
    """Memory and time of one task."""

    mem_gb: int
    timeout_min: int


@dataclass(frozen=True, slots=True)
class Rules:
    """config.yaml and jobs/site.yaml as far as retries go.

    asks, limits_gb, limits_min: by the section of `resources`; a limit is its partition's, 0 when there is none.
    resubmits: whether gates may call sbatch.
    """

    max_retries: int
    quorum: float
    asks: Mapping[str, Asked]
    limits_gb: Mapping[str, int]
    limits_min: Mapping[str, int]
    resubmits: bool = True


def section(stage: Stage) -> str:
    """The section of `resources` that is a stage's: both fine-tunings share one."""
    return "finetune" if stage.startswith("finetune") else str(stage)


def read_rules(run: RunDir) -> Rules:
    config, site = _yaml(run.config_file), _yaml(run.jobs / "site.yaml")
    partitions = site.get("partitions", {})
    try:
        asks = config["resources"]
        of = {name: partitions.get(one["partition"], {}) for name, one in asks.items()}
        return Rules(
            max_retries=int(config["retry"]["max_retries"]),
            quorum=float(config["retry"]["quorum"]),
            asks={name: Asked(int(one["mem_gb"]), int(one["timeout_min"])) for name, one in asks.items()},
            limits_gb={name: int(partition.get("max_mem_gb", 0)) for name, partition in of.items()},
            limits_min={name: int(partition.get("max_timeout_min", 0)) for name, partition in of.items()},
            resubmits=bool(site.get("resubmit_inside_jobs", True)),
        )
    except (KeyError, TypeError, ValueError) as error:
        from selu_hpc.recipes import load_run  # what only a damaged run costs

        load_run(run.path)  # where it can't be read at all, that is told as by every other command
        raise RunFolderError(
            f"{run.config_file}: not a run's resolved config ({error!r})\n{run.how_to_restore}"
        ) from error


def read_asked(run: RunDir, name: str) -> Asked | None:
    """What a job asked for, by its batch script."""
    try:
        found = dict(ASKED.findall((run.jobs / f"{name}.sh").read_text(encoding="utf-8", errors="replace")))
        return Asked(int(found["mem"]), int(found["time"]))
    except (OSError, KeyError):
        return None


def _yaml(file: Path) -> dict[str, Any]:
    import yaml  # 25 ms

    try:
        read = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (FileNotFoundError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}
