"""What a job's batch script runs: the command of each stage, its environment, and the line they make. Pure."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from selu_hpc.config import RunConfig
from selu_hpc.engines.slurm.sbatch import JobSpec, check_site, sbatch_text, stage_line
from selu_hpc.processes import calm
from selu_hpc.recipes import load_settings
from selu_hpc.rounds.plan import Key, Plan
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.site import Site

GATE = "selu_hpc.engines.slurm.gate_job"


def commands(plan: Plan, run: RunDir, site: Site) -> dict[Key | None, tuple[str, ...]]:
    """What a job runs in place of its stage's own entry: gates that retry, and the run's last look."""
    gate = (python_of(site), "-u", "-m", GATE, "--run", str(run.path))
    found: dict[Key | None, tuple[str, ...]] = {stage.key: () for stage in plan}
    for stage in plan:
        if stage.key.stage is Stage.GATE:
            found[stage.key] = (*gate, "--round", str(stage.key.round_id))
    return found | {None: (*gate, "--close")}


def python_of(site: Site) -> str:
    """The login environment's python, which also starts what runs in the image."""
    return site.python or sys.executable


def environment(spec: JobSpec, run: RunDir, config: RunConfig, site: Site, *, umask: int) -> dict[str, str]:
    """What a job exports before its line; everything else is the login environment's."""
    found = {
        "PYTHONPATH": str(run.code),
        "PYTHONNOUSERSITE": "1",
        **calm(config.model.threads_per_process),
        "SELU_UMASK": f"{umask:04o}",
        "SELU_OFFSET": str(spec.offset),
        "SELU_RANKS": str(spec.num_ranks),
        "SELU_PYTHON": python_of(site),
    }
    if site.scratch:
        found["SELU_SCRATCH"] = site.scratch
    if not spec.resources.gpus:
        found["DS_ACCELERATOR"] = "cpu"
    return found


def script(spec: JobSpec, run: RunDir, config: RunConfig, site: Site, *, umask: int) -> str:
    """The batch script of a job."""
    if spec.key is None:
        line = shlex.join(spec.command)
    else:
        line = stage_line(spec, run=str(run.path), wrapper=str(run.code / "slurm" / "stage.sh"))
    return sbatch_text(spec, site, line=line, environment=environment(spec, run, config, site, umask=umask))


def site_file(run: RunDir) -> Path:
    return run.jobs / "site.yaml"


def saved_site(run: RunDir) -> Site:
    """The site profile a run was submitted with; its jobs read it there."""
    return check_site(load_settings(Site, site_file(run)))


def script_file(run: RunDir, name: str) -> Path:
    return run.jobs / f"{name}.sh"
