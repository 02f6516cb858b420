"""From a stage, its shards and a site profile to the text of a batch script. Pure: no file, no command.

Owns which sbatch options are ours, how names from a profile are checked and quoted, how shards become array indices,
and what a job asks for after its shards ran out of memory or time.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selu_hpc.containers.mounts import Mount
from selu_hpc.errors import ConfigError
from selu_hpc.rounds.plan import After, Key, Plan
from selu_hpc.rounds.rundir import Stage

if TYPE_CHECKING:  # status reads waits and arrays and must not load the settings
    from selu_hpc.resources import Resources
    from selu_hpc.site import Site, SitePartition

WARNING_S = 90
"""How long before the time limit the batch script is told, so that a stage can save."""

OWNED = {
    "array": "the shards", "begin": "the scheduler", "chdir": "the run folder", "clusters": "one cluster per run",
    "comment": "the run's id", "cpus-per-task": "resources.*.cpus", "dependency": "the plan",
    "error": "the run folder", "export": "a login environment", "export-file": "a login environment",
    "gpus": "resources.*.gpus", "gpus-per-node": "resources.*.gpus", "gpus-per-task": "resources.*.gpus",
    "gres": "partitions.*.gres", "hold": "exactly-once submission", "input": "the run folder",
    "job-name": "the run's id", "kill-on-invalid-dep": "the plan", "mem": "resources.*.mem_gb",
    "mem-per-cpu": "resources.*.mem_gb", "mem-per-gpu": "resources.*.mem_gb", "no-requeue": "the wrapper",
    "nodes": "one node per task", "ntasks": "finetune.num_ranks", "ntasks-per-node": "finetune.num_ranks",
    "open-mode": "the run folder", "output": "the run folder", "parsable": "submission", "partition": "partitions",
    "requeue": "the wrapper", "signal": "the wrapper", "test-only": "submission", "time": "resources.*.timeout_min",
    "uid": "nobody", "wait": "submission", "wrap": "the stage line", "account": "the profile's account",
    "constraint": "partitions.*.constraint", "qos": "partitions.*.qos", "exclude": "node quarantine",
}  # fmt: skip
"""sbatch options a site profile may not set, and what sets them instead."""

SBATCH_ONLY = ("batch", "get-user-env", "ignore-pbs")
"""Options of sbatch that srun does not know."""

OPTION = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Wait:
    """One dependency of a job on other jobs, by their names: `Wait(After.OK, ("selu-…-gate-g0c0",))`."""

    after: After
    names: tuple[str, ...]

    def resolve(self, ids: dict[str, str]) -> str:
        return ":".join((str(self.after), *(ids[name] for name in self.names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One sbatch call: shards of one stage that wait for the same and ask for the same.

    label: "r01-rollout"; also the close job's "close".  offset: shard = offset + array index.
    excluded: nodes on which tasks of this run fail fast.
    """

    name: str
    label: str
    key: Key | None
    shards: tuple[int, ...]
    resources: Resources
    command: tuple[str, ...]
    num_ranks: int = 1
    offset: int = 0
    is_array: bool = False
    waits: tuple[Wait, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def indices(self) -> tuple[int, ...]:
        return tuple(shard - self.offset for shard in self.shards)

    @property
    def num_tasks(self) -> int:
        return len(self.shards)

    def dependency(self, ids: dict[str, str]) -> str:
        return ",".join(wait.resolve(ids) for wait in self.waits)


def check_site(site: Site) -> Site:
    """Refuse names that no scheduler has and options that this project sets itself."""
    problems = []
    for what, text in (*_names(site), *_others(site)):
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            problems.append(f"{what}: {text!r} holds a control character or a newline; no name has one")
    for what, text in _names(site):
        if "\\" in text:
            problems.append(
                f"{what}: {text!r} holds a backslash, which sbatch reads in a way of its own; no name has one"
            )
    problems += _mount_problems(site)
    if site.scratch and ("$" in site.scratch or not site.scratch.startswith("/")):
        problems.append(
            f"scratch: {site.scratch!r} is taken word for word, no variable is filled in and no ~; write a whole path, "
            "and leave it out where Slurm sets SLURM_TMPDIR: that is used then"
        )
    for option, value in site.sbatch_flags.items():
        if not OPTION.fullmatch(option):
            problems.append(f"sbatch_flags.{option}: write the long name of an sbatch option, without dashes in front")
        elif owned := _owned(option):
            what = f"is {owned}, which is set by" if owned != option else "is set by"
            problems.append(f"sbatch_flags.{option}: {what} {OWNED[owned]}; remove it from the profile")
        elif value is False:
            problems.append(f"sbatch_flags.{option}: leave an option out instead of giving false")
    if problems:
        raise ConfigError(f"site profile {site.name!r}:\n" + "\n".join(problems))
    return site


def _owned(option: str) -> str:
    """The option of ours that sbatch would take this for: it takes any beginning that fits one option only."""
    return option if option in OWNED else next((one for one in OWNED if one.startswith(option)), "")


def _names(site: Site) -> Iterable[tuple[str, str]]:
    """What stands in #SBATCH lines, which sbatch takes apart by rules that are not quite the shell's."""
    yield "account", site.account
    for role, partition in site.partitions.items():
        for name in ("name", "gres", "constraint", "qos"):
            yield f"partitions.{role}.{name}", getattr(partition, name)
    yield from ((f"sbatch_flags.{option}", str(value)) for option, value in site.sbatch_flags.items())


def _others(site: Site) -> Iterable[tuple[str, str]]:
    yield from ((one, getattr(site, one)) for one in ("name", "python", "scratch", "apptainer"))
    for several in ("modules", "mounts", "trusted_keys"):
        yield from ((f"{several}[{i}]", text) for i, text in enumerate(getattr(site, several)))


def _mount_problems(site: Site) -> Iterable[str]:
    for i, text in enumerate(site.mounts):
        try:
            Mount.parse(text)
        except ConfigError as error:
            yield f"mounts[{i}]: {error}"


def escalate(resources: Resources, *, num_oom: int, num_timeout: int, partition: SitePartition | None) -> Resources:
    """Twice the memory for every time a shard ran out of it, twice the time for every time it ran out of that."""
    memory, minutes = grown(
        resources.mem_gb,
        resources.timeout_min,
        num_oom=num_oom,
        num_timeout=num_timeout,
        limit_gb=partition.max_mem_gb if partition else 0,
        limit_min=partition.max_timeout_min if partition else 0,
    )
    return resources.but(mem_gb=memory, timeout_min=minutes)


def grown(
    mem_gb: int, timeout_min: int, *, num_oom: int, num_timeout: int, limit_gb: int, limit_min: int
) -> tuple[int, int]:
    """What `escalate` makes of memory and time, in plain numbers; a limit of 0 is none."""
    return _doubled(mem_gb, num_oom, limit_gb), _doubled(timeout_min, num_timeout, limit_min)


def _doubled(asked: int, times: int, limit: int) -> int:
    more = asked << times
    return max(asked, min(more, limit)) if limit else more


def chunks(shards: Sequence[int], max_array_size: int) -> dict[int, list[int]]:
    """Shards by the offset that brings their index below Slurm's MaxArraySize; the offset depends on the shard only.

    So shard i has the same index in every array it is ever part of, which is what aftercorr compares.
    """
    size = max(1, max_array_size)
    if shards and max(shards) // size == (least := min(shards) // size):
        return {least * size: list(shards)}
    found: dict[int, list[int]] = {}
    for shard in shards:
        found.setdefault(shard // size * size, []).append(shard)
    return found


def array_text(indices: Iterable[int]) -> str:
    """`0-2,5` for 0, 1, 2, 5."""
    parts: list[str] = []
    ordered = sorted(set(indices))
    if len(ordered) > 1 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]}-{ordered[-1]}"  # nearly every array, and they are long
    start = 0
    while start < len(ordered):
        end = start
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        parts.append(str(ordered[start]) if start == end else f"{ordered[start]}-{ordered[end]}")
        start = end + 1
    return ",".join(parts)


def read_array_text(text: str) -> list[int]:
    """The indices of `0-2,5%4`; steps (`0-8:2`) too."""
    found: list[int] = []
    for part in filter(None, text.partition("%")[0].strip("[]").split(",")):
        span, _, step = part.partition(":")
        first, dash, last = span.partition("-")
        found += range(int(first), int(last if dash else first) + 1, int(step or 1))
    return found


def held(jobs: Path) -> tuple[str, ...]:
    r"""What sbatch is told of every job of a run besides its script; the same for all, so that any may start before it.

    The log is jobs/NAME.log. Signs of the folder's name are doubled; in a path with a backslash % means nothing to
    Slurm, so there the jobs of a run share one log.
    """
    folder = str(jobs)
    folder = folder.replace("\\", "\\\\") if "\\" in folder else folder.replace("%", "%%")
    return ("--hold", f"--chdir={jobs}", f"--output={folder}/%x.log")


def stage_line(spec: JobSpec, *, run: str, wrapper: str) -> str:
    """`bash stage.sh RUN ROUND STAGE`, quoted for a shell: the line the templates in slurm/ run too."""
    assert spec.key
    words = ["bash", wrapper, run, str(spec.key.round_id), str(spec.key.stage)]
    return shlex.join([*words, "--", *spec.command] if spec.command else words)


def sbatch_text(spec: JobSpec, site: Site, *, line: str, environment: dict[str, str]) -> str:
    """The whole batch script of a job. Dependencies, hold and folders are sbatch's arguments, not part of the text."""
    options = {**parameters(spec, site), **_ours(spec, site), **site.sbatch_flags}
    asked = [_flag(name, value) for name, value in sorted(options.items())]
    setup, command = setup_lines(site, environment), f"exec {line}"
    return "\n".join(["#!/bin/bash", *asked, "", "# setup", *setup, "", "# command", command, ""])


def _flag(name: str, value: object) -> str:
    """A line that sbatch reads as options, in quotes where the value needs them."""
    return f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={shlex.quote(str(value))}"


def setup_lines(site: Site, environment: dict[str, str]) -> list[str]:
    """What a job's shell does before its line: the site's modules, then the environment."""
    loads = [f"module load {shlex.quote(module)}" for module in site.modules]
    return loads + [_export(name, value, keep=bool(site.modules)) for name, value in environment.items()]


def _export(name: str, value: str, *, keep: bool) -> str:
    """A module may bring Python packages by PYTHONPATH; the submitter's own is no more there (calls.py)."""
    behind = "${PYTHONPATH:+:$PYTHONPATH}" if keep and name == "PYTHONPATH" else ""
    return f"export {name}={shlex.quote(value)}{behind}"


def parameters(spec: JobSpec, site: Site) -> dict[str, Any]:
    """What a job asks for, by the names of sbatch's and srun's options."""
    ask = spec.resources
    partition = partition_of(spec, site)
    found: dict[str, Any] = {
        "job-name": spec.name,
        "partition": partition.name,
        "time": ask.timeout_min,
        "nodes": 1,
        "ntasks-per-node": spec.num_ranks,
        "cpus-per-task": ask.cpus,
        "mem": f"{ask.mem_gb}GB",
    }
    optional = {
        "account": site.account,
        "qos": partition.qos,
        "constraint": partition.constraint,
        "gres": f"{partition.gres}:{ask.gpus}" if ask.gpus else "",
        "exclude": ",".join(spec.excluded),
    }
    return found | {name: value for name, value in optional.items() if value}


def srun_words(spec: JobSpec, site: Site) -> list[str]:
    """What the batch script asks for, for an srun without one: `--partition=cpu --qos=long`."""
    asked = parameters(spec, site) | {
        name: value for name, value in site.sbatch_flags.items() if name not in SBATCH_ONLY
    }
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in asked.items()]


def _ours(spec: JobSpec, site: Site) -> dict[str, str | bool]:
    """What sbatch alone is told: how often, after what, and what happens to the job before its end."""
    found: dict[str, str | bool] = {
        "open-mode": "append",
        "output": "/dev/null",
        "requeue": True,
    }
    if spec.key and spec.key.stage is not Stage.GATE:  # gates have nothing to save, and would end by it
        found["signal"] = f"B:USR2@{WARNING_S if spec.resources.timeout_min > 2 * WARNING_S / 60 else 15}"
    if spec.is_array:
        throttle = f"%{site.array_throttle}" if site.array_throttle else ""
        found["array"] = array_text(spec.indices) + throttle
    if site.kill_on_invalid_dep and any(wait.after is not After.ANY for wait in spec.waits):
        found["kill-on-invalid-dep"] = "yes"
    return found


def partition_of(spec: JobSpec, site: Site) -> SitePartition:
    return partition_for(spec.label, spec.resources, spec.num_ranks, site)


def require_served(plan: Plan, site: Site) -> None:
    """Refuse a plan of which a stage asks for what its partition has not."""
    for stage in plan.stages:
        partition_for(str(stage.key), stage.resources, stage.num_ranks, site)


def partition_for(label: str, resources: Resources, num_ranks: int, site: Site) -> SitePartition:
    role = resources.partition
    if role not in site.partitions:
        raise ConfigError(
            f"{label} asks for the {role!r} partition (resources.*.partition), the site profile {site.name!r} "
            f"has {', '.join(site.partitions)}; add it to the profile or ask for another"
        )
    partition = site.partitions[role]
    limit, gpus = partition.max_timeout_min, partition.gpus_per_node
    if limit and resources.timeout_min > limit:
        raise ConfigError(
            f"{label} asks for {resources.timeout_min} minutes, partition {partition.name} allows {limit}; "
            "lower resources.*.timeout_min: stages go on from where they were when the time is over"
        )
    if partition.max_mem_gb and resources.mem_gb > partition.max_mem_gb:
        raise ConfigError(
            f"{label} asks for {resources.mem_gb} GB on a node, the largest of partition {partition.name} "
            f"has {partition.max_mem_gb}; lower resources.*.mem_gb, choose another partition or correct its max_mem_gb"
        )
    if resources.gpus > gpus:
        raise ConfigError(
            f"{label} asks for {resources.gpus} GPUs on a node, partition {partition.name} has {gpus}; "
            "lower resources.*.gpus or choose another partition"
        )
    if 0 < resources.gpus < num_ranks:
        raise ConfigError(
            f"{label} is {num_ranks} ranks (finetune.num_ranks) on {resources.gpus} GPUs "
            "(resources.finetune.gpus); a job has one node and each rank a GPU: lower the one or raise the other"
        )
    return partition
