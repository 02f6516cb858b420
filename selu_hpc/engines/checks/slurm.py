"""Slurm itself: whether it answers, takes our credential, and has partitions and nodes for what a run asks for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

from selu_hpc.config import RunConfig
from selu_hpc.engines.checks.finding import Finding, bad, ok, warn
from selu_hpc.engines.slurm.calls import TooSlowError
from selu_hpc.engines.slurm.discover import with_limits
from selu_hpc.engines.slurm.limits import ask_limits
from selu_hpc.engines.slurm.sbatch import JobSpec, sbatch_text
from selu_hpc.engines.slurm.scheduler import TRANSIENT, Slurm
from selu_hpc.rounds.plan import StagePlan, make_plan
from selu_hpc.site import Site

REFUSED = re.compile(r"munge|authenticat|credential|\bauth\b", re.IGNORECASE)
ANSWER_S = 30.0


def check_controller(slurm: Slurm) -> Finding:
    missing = [tool for tool in ("sbatch", "squeue", "scontrol", "scancel", "srun") if not shutil.which(tool)]
    if "sbatch" in missing:
        fix = "none needed: submit runs everything on this machine; for a cluster run this on a login node"
        return warn("slurm", "no Slurm here", fix)
    if missing:
        return bad("slurm", f"not installed: {', '.join(missing)}", "run this on a login node, or use --engine local")
    version = (slurm.text("sbatch", "--version") or "").strip()
    ping = (slurm.text("scontrol", "ping") or "").strip()
    if "UP" not in ping:
        answer = ", ".join(filter(None, (version, "the controller does not answer")))
        return bad("slurm", answer, "see what `scontrol ping` says: wait, ask the site, or use --engine local")
    if elsewhere := slurm.elsewhere():
        answer = f"{elsewhere} names another cluster than the one that answers here"
        return bad("slurm", answer, "run this on a login node of that cluster, or unset it")
    return ok("slurm", ", ".join(filter(None, (version, ping.splitlines()[0]))))


def check_munge(slurm: Slurm) -> Finding:
    """Slurm's own answer to a signed question; `munge` itself may not be on a user's path."""
    try:
        done = slurm.calls.call(("squeue", "--noheader", "--me", "--format=%i"), timeout_s=ANSWER_S)
        code, said = done.returncode, done.stderr.strip().rpartition("\n")[2]
    except (TooSlowError, OSError) as error:
        code, said = 1, str(error)
    if not code:
        return ok("munge", "the controller accepts our credential")
    if REFUSED.search(said):
        fix = "ask the site to start munged on this host and to compare its clock and key"
        return bad("munge", f"the controller refuses our credential: {said}", fix)
    if TRANSIENT.search(said):
        return warn("munge", f"squeue does not answer: {said}", "wait, then ask again: the controller may be busy")
    return bad("munge", f"squeue fails: {said or f'exit status {code}'}", "mend that: submit and gates ask squeue")


def check_accounting(slurm: Slurm) -> Finding:
    said = slurm.text("sacct", "--noheader", "--parsable2", "--format=JobID", "--starttime=now-1hour")
    if said is None:
        return warn("accounting", "sacct does not answer", "none needed: markers and the queue are enough; why a task "
                    "ended is then read from its own record")  # fmt: skip
    return ok("accounting", "sacct answers")


def check_partitions(site: Site, config: RunConfig, slurm: Slurm) -> Iterator[Finding]:
    """Every partition the plan asks for is there, up, long enough and has the GPUs."""
    listed = slurm.text("sinfo", "--noheader", "--all", "--format=%R|%a|%l|%D|%G") or ""
    known = {line.split("|")[0].strip(): line.split("|") for line in listed.splitlines() if "|" in line}
    site = with_limits(site, slurm)
    stages = list(make_plan(config))
    for role in sorted({stage.resources.partition for stage in stages}):
        partition = site.partitions.get(role)
        name = f"partition {role}"
        if partition is None:
            yield bad(name, "the site profile has none", f"add partitions.{role} to the profile")
        elif missing := [one for one in partition.name.split(",") if one not in known]:
            answer = f"{', '.join(map(repr, missing))} is not one of {', '.join(known) or 'none'}"
            yield bad(name, answer, "correct the profile, or make one: python -m selu_hpc.doctor --write-site FILE")
        elif "up" not in (states := {one: known[one][1].strip() for one in partition.name.split(",")}).values():
            answer = ", ".join(f"{one} is {state}" for one, state in states.items())
            yield bad(name, answer, "wait, or choose another")
        else:
            yield _fits(name, [stage for stage in stages if stage.resources.partition == role], site)


def _fits(name: str, stages: list[StagePlan], site: Site) -> Finding:
    partition = site.partitions[stages[0].resources.partition]
    longest = max(stages, key=lambda stage: stage.resources.timeout_min)
    widest = max(stages, key=lambda stage: stage.resources.gpus)
    if partition.max_timeout_min and longest.resources.timeout_min > partition.max_timeout_min:
        answer = f"{longest.key.stage} asks for {longest.resources.timeout_min} min of {partition.max_timeout_min}"
        return bad(name, answer, "lower resources.*.timeout_min; stages go on from where they were")
    if widest.resources.gpus > partition.gpus_per_node:
        answer = f"{widest.key.stage} asks for {widest.resources.gpus} GPUs of {partition.gpus_per_node} a node"
        return bad(name, answer, "lower resources.*.gpus or correct partitions.*.gpus_per_node")
    largest = max(stages, key=lambda stage: stage.resources.mem_gb)
    if partition.max_mem_gb and largest.resources.mem_gb > partition.max_mem_gb:
        answer = f"{largest.key.stage} asks for {largest.resources.mem_gb} GB of {partition.max_mem_gb} on a node"
        return bad(name, answer, "lower resources.*.mem_gb or choose another partition")
    limit = f"{partition.max_timeout_min} min" if partition.max_timeout_min else "no time limit"
    return ok(name, f"{partition.name}, {limit}, {partition.gpus_per_node} GPUs a node")


def check_requests(site: Site, config: RunConfig, slurm: Slurm) -> Iterator[Finding]:
    """Slurm has nodes for what every stage asks for; a run's jobs are sent on hold, and taken whatever they ask for."""
    stages: dict[str, list[str]] = {}
    for stage in make_plan(config):
        if stage.resources.partition in site.partitions:
            names = stages.setdefault(_request(stage, site), [])
            names += [] if stage.key.stage in names else [str(stage.key.stage)]
    refused = False
    for script, names in stages.items():
        taken, said = slurm.would_take(script)
        if not taken:
            refused = True
            yield _refusal(f"job of {', '.join(names)}", (said.splitlines() or ["no reason given"])[-1])
    if not refused:
        yield ok("jobs", f"Slurm has nodes for what they ask for ({len(stages)} kinds)")


def _request(stage: StagePlan, site: Site) -> str:
    """The batch script of one of the stage's tasks, with everything a run's has and nothing to do."""
    spec = JobSpec(
        name="selu-doctor",
        label=str(stage.key.stage),
        key=stage.key,
        shards=(0,),
        resources=stage.resources,
        command=(),
        num_ranks=stage.num_ranks,
    )
    return sbatch_text(spec, site, line="true", environment={})


def _refusal(name: str, said: str) -> Finding:
    if TRANSIENT.search(said) or "not available (down" in said:
        return warn(name, said, "wait until nodes are back (`sinfo -R`), or ask again")
    return bad(
        name, said, "lower resources.* of the stage, or correct the profile: qos, constraint, gres, sbatch_flags"
    )


def check_limits(site: Site, config: RunConfig, slurm: Slurm) -> Finding:
    limits, plan = ask_limits(site, slurm), make_plan(config)
    if limits.is_closed:
        return bad("limits", limits.words, "name another account in the site profile, or ask the administrators")
    answer = f"arrays of {limits.max_array_size}, {limits.words}"
    at_once = 1 + sum(stage.num_shards for stage in plan if stage.key.round_id <= 1)  # and the job that closes the run
    if limits.max_submit_jobs and at_once > limits.max_submit_jobs:
        fix = "fewer rollout.num_shards with more episodes_per_shard"
        return bad("limits", f"{answer}; rounds 0 and 1 are {at_once} at once", fix)
    if limits.max_submit_jobs and plan.num_tasks > limits.max_submit_jobs:
        return warn("limits", f"{answer}; the run has {plan.num_tasks} tasks", "none needed: gates submit later rounds")
    return ok("limits", answer)
