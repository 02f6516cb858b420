"""A site profile from what Slurm says: partitions, their limits, GPUs and the user's account. No guess is hidden.

Used by submit without --site and by `python -m selu_hpc.doctor --write-site`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from selu_hpc.engines.slurm.calls import user_name
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import EngineError
from selu_hpc.site import Site, SitePartition


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """One partition as sinfo tells it."""

    name: str
    is_default: bool
    is_up: bool
    max_timeout_min: int
    max_mem_gb: int
    num_nodes: int
    gres: str
    gpus: int
    preemptible: bool
    priority: int


def read_partitions(sinfo: str, preempt_type: str) -> list[PartitionFacts]:
    """Facts from lines `name|up|limit|nodes|gres|memory|mode|tier`, one for each kind of node a partition has."""
    found: dict[str, PartitionFacts] = {}
    for line in filter(None, (line.strip() for line in sinfo.splitlines())):
        name, up, limit, nodes, gres, memory, mode, tier = (part.strip() for part in line.split("|"))
        kind, gpus = read_gpus(gres)
        facts = PartitionFacts(
            name=name.rstrip("*"),
            is_default=name.endswith("*"),
            is_up=up == "up",
            max_timeout_min=read_minutes(limit),
            max_mem_gb=read_gb(memory),
            num_nodes=int(nodes),
            gres=kind,
            gpus=gpus,
            preemptible=preempt_type != "preempt/none" and mode.upper() not in ("OFF", ""),
            priority=int(tier or 0),
        )
        before = found.get(facts.name, facts)
        largest_gb = max(facts.max_mem_gb, before.max_mem_gb)
        found[facts.name] = replace(facts if facts.gpus > before.gpus else before, max_mem_gb=largest_gb)
    return list(found.values())


def read_gb(megabytes: str) -> int:
    """Whole GB, as jobs ask for them: `24105` → 23; 0 where it is no number."""
    found = re.match(r"\d+", megabytes)
    return int(found[0]) // 1024 if found else 0


def read_gpus(gres: str) -> tuple[str, int]:
    """The gres to ask for and how many a node has: `gpu:2080ti:4(S:0-1)` → ("gpu:2080ti", 4); ("", 0) for none.

    Of several types the one with most counts. Parts of GPUs (MIG: `gpu:1g.10gb:7`) are types like any other.
    """
    bare = re.sub(r"\([^)]*\)", "", gres)  # sockets and "(null)" in which there may be commas
    found = (re.fullmatch(r"(gpu(?::[^:]+)?):(\d+)", one.strip().replace(":no_consume", "")) for one in bare.split(","))
    return max(((one[1], int(one[2])) for one in found if one), key=lambda one: one[1], default=("", 0))


def read_minutes(limit: str) -> int:
    """`1-00:00:00` → 1440; 0 for infinite."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if not match:
        return 0
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes


def choose(partitions: list[PartitionFacts]) -> dict[Literal["cpu", "gpu", "preempt"], PartitionFacts]:
    """The default partition for CPU work, the lowest tier for preemption, and for GPUs the one with most on a node.

    Where the default is down and all that is up is preempted, CPU work waits for the default: what is chosen is the
    run's for good. Of several as good for GPUs, the one with the longest time, the most nodes and the highest tier: a
    partition for debugging is often of a high tier, small and short. GPU work that may be preempted asks for that
    partition itself.
    """
    up = [one for one in partitions if one.is_up] or partitions
    if not up:
        raise EngineError("sinfo lists no partition for this user; ask the site, or write a profile by hand")
    plain = [one for one in up if not one.gpus] or up
    away = [one for one in partitions if one.is_default and not one.is_up]
    highest = max(one.priority for one in (*up, *away))
    lower = [one for one in up if one.preemptible and one.priority < highest]
    kept_up = [one for one in plain if one not in lower or one.is_default]
    found: dict[Literal["cpu", "gpu", "preempt"], PartitionFacts] = {
        "cpu": max(kept_up or away or plain, key=lambda one: (one.is_default, one.priority, one.num_nodes))
    }
    with_gpus = [one for one in up if one.gpus]
    if kept := [one for one in with_gpus if one not in lower] or with_gpus:
        found["gpu"] = max(kept, key=_serves_gpu_work)
    if lower:
        found["preempt"] = min(lower, key=lambda one: one.priority)
    return found


def _serves_gpu_work(one: PartitionFacts) -> tuple[float, ...]:
    return one.gpus, one.max_timeout_min or math.inf, one.num_nodes, one.priority


def discover_site(slurm: Slurm) -> Site:
    """Ask Slurm; raises EngineError where it says too little."""
    slurm.require_here()
    config = slurm.config()
    listed = slurm.text("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%D|%G|%m")
    if not listed:
        raise EngineError("sinfo gave no partitions; run this on a login node, or give a profile with --site")
    modes = _modes(slurm)
    facts = read_partitions(
        "\n".join(_with_mode(line, modes) for line in listed.splitlines()), config.get("PreemptType", "preempt/none")
    )
    return Site(
        name=config.get("ClusterName", "cluster"),
        partitions={role: _partition(one) for role, one in choose(facts).items()},
        account=_account(slurm, config),
    )


def _modes(slurm: Slurm) -> dict[str, str]:
    shown = slurm.text("scontrol", "--oneliner", "show", "partition") or ""
    pairs = re.findall(r"PartitionName=(\S+).*?PriorityTier=(\d+).*?PreemptMode=(\S+)", shown)
    return {name: f"{mode}|{tier}" for name, tier, mode in pairs}


def _with_mode(line: str, modes: dict[str, str]) -> str:
    name = line.partition("|")[0].strip().rstrip("*")
    return "|".join([*line.split("|")[:6], modes.get(name, "|0")])


def _partition(facts: PartitionFacts) -> SitePartition:
    return SitePartition(
        name=facts.name,
        gpus_per_node=facts.gpus,
        gres=facts.gres or "gpu",
        max_timeout_min=facts.max_timeout_min,
        max_mem_gb=facts.max_mem_gb,
    )


def with_limits(site: Site, slurm: Slurm) -> Site:
    """The profile with the largest node's memory and the partition's longest time where it does not say; as it is
    where Slurm does not either.

    Of several partitions (`a,b`) the shortest time counts: a job within it may run in any of them. A profile may name
    one that sinfo does not show unasked (Hidden).
    """
    memory, minutes = dict[str, int](), dict[str, int]()
    for line in (slurm.text("sinfo", "--noheader", "--all", "--exact", "--format=%R|%m|%l") or "").splitlines():
        name, megabytes, limit = (part.strip() for part in f"{line}||".split("|")[:3])
        memory[name] = max(memory.get(name, 0), read_gb(megabytes))
        minutes[name] = read_minutes(limit)
    partitions = {
        role: one.but(
            max_mem_gb=one.max_mem_gb or max(memory.get(name, 0) for name in one.name.split(",")),
            max_timeout_min=one.max_timeout_min
            or min(filter(None, (minutes.get(name, 0) for name in one.name.split(","))), default=0),
        )
        for role, one in site.partitions.items()
    }
    return site.but(partitions=partitions)


def _account(slurm: Slurm, config: dict[str, str]) -> str:
    """The user's default account where the site enforces one; empty lets Slurm take the default."""
    if "associations" not in config.get("AccountingStorageEnforce", ""):
        return ""
    shown = slurm.text("sacctmgr", "--noheader", "--parsable2", "show", "user", user_name(), "format=DefaultAccount")
    return (shown or "").strip()
