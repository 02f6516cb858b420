"""The questions doctor asks of a cluster, one function each: an answer and, where it is a bad one, what to do.

Owns no printing. A check that can't be made says why; it is a problem only where a submission would fail for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from selu_hpc.config import Resources, RunConfig
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import digest_of, short
from selu_hpc.containers.launch import exec_line
from selu_hpc.containers.mounts import hub_folders, require_shown
from selu_hpc.containers.pinned import locate
from selu_hpc.containers.trust import require_trusted
from selu_hpc.engines.calls import clean_environment
from selu_hpc.engines.discover import with_memory
from selu_hpc.engines.launch import python_of
from selu_hpc.engines.limits import ask_limits
from selu_hpc.engines.sbatch import JobSpec, sbatch_text, setup_lines, srun_words
from selu_hpc.engines.scheduler import TRANSIENT, Slurm
from selu_hpc.errors import ConfigError, SeluError
from selu_hpc.rounds.plan import StagePlan, make_plan
from selu_hpc.rounds.provenance import SOURCE, named_paths
from selu_hpc.site import Site

FREE_GB = 5.0
FREE_INODES = 20_000
SKEW_S = 5.0
DELAY_S = 10.0
QUOTA_S = 30.0


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer; `fix` is empty where nothing is to be done."""

    check: str
    grade: Grade
    answer: str
    fix: str = ""


def ok(check: str, answer: str) -> Finding:
    return Finding(check, Grade.OK, answer)


def warn(check: str, answer: str, fix: str) -> Finding:
    return Finding(check, Grade.WARNING, answer, fix)


def bad(check: str, answer: str, fix: str) -> Finding:
    return Finding(check, Grade.PROBLEM, answer, fix)


def check_controller(slurm: Slurm) -> Finding:
    missing = [tool for tool in ("sbatch", "squeue", "scontrol", "scancel", "srun") if not shutil.which(tool)]
    if "sbatch" in missing:
        fix = "none needed: submit runs everything on this machine; for a cluster run this on a login node"
        return warn("slurm", "no Slurm here", fix)
    if missing:
        return bad("slurm", f"not installed: {', '.join(missing)}", "run this on a login node, or use --engine local")
    version = (slurm.text("sbatch", "--version") or "?").strip()
    ping = (slurm.text("scontrol", "ping") or "").strip()
    if "UP" not in ping:
        return bad("slurm", f"{version}, the controller does not answer", "wait, or ask the site: `scontrol ping`")
    return ok("slurm", f"{version}, {ping.splitlines()[0]}")


def check_munge(slurm: Slurm) -> Finding:
    """Slurm's own answer to a signed question; `munge` itself may not be on a user's path."""
    said = slurm.text("squeue", "--noheader", "--me", "--format=%i")
    if said is None:
        fix = "ask the site to start munged on this host and to compare its clock and key"
        return bad("munge", "the controller refuses our credential", fix)
    return ok("munge", "the controller accepts our credential")


def check_accounting(slurm: Slurm) -> Finding:
    said = slurm.text("sacct", "--noheader", "--parsable2", "--format=JobID", "--starttime=now-1hour")
    if said is None:
        return warn("accounting", "sacct does not answer", "none needed: markers and the queue are enough; why a task "
                    "ended is then read from its own record")  # fmt: skip
    return ok("accounting", "sacct answers")


def check_partitions(site: Site, config: RunConfig, slurm: Slurm) -> Iterator[Finding]:
    """Every partition the plan asks for is there, up, long enough and has the GPUs."""
    listed = slurm.text("sinfo", "--noheader", "--format=%R|%a|%l|%D|%G") or ""
    known = {line.split("|")[0].strip(): line.split("|") for line in listed.splitlines() if "|" in line}
    site = with_memory(site, slurm)
    stages = list(make_plan(config))
    for role in sorted({stage.resources.partition for stage in stages}):
        partition = site.partitions.get(role)
        name = f"partition {role}"
        if partition is None:
            yield bad(name, "the site profile has none", f"add partitions.{role} to the profile")
        elif partition.name not in known:
            answer = f"{partition.name!r} is not one of {', '.join(known) or 'none'}"
            yield bad(name, answer, "correct the profile, or make one: python -m selu_hpc.doctor --write-site FILE")
        elif known[partition.name][1].strip() != "up":
            yield bad(name, f"{partition.name} is {known[partition.name][1].strip()}", "wait, or choose another")
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
    answer = f"arrays of {limits.max_array_size}, " + (
        f"{limits.max_submit_jobs} jobs in the queue" if limits.max_submit_jobs else "no submit limit known"
    )
    largest_round = max(
        sum(stage.num_shards for stage in plan if stage.key.round_id == round_id) for round_id in (0, 1)
    )
    if limits.max_submit_jobs and largest_round >= limits.max_submit_jobs:
        fix = "fewer rollout.num_shards with more episodes_per_shard"
        return bad("limits", f"{answer}; a round has {largest_round} tasks", fix)
    if limits.max_submit_jobs and plan.num_tasks > limits.max_submit_jobs:
        return warn("limits", f"{answer}; the run has {plan.num_tasks} tasks", "none needed: gates submit later rounds")
    return ok("limits", answer)


def check_folder(folder: Path) -> Iterator[Finding]:
    """Write, rename, link (the run's lock), advisory lock, free space and inodes where runs will lie."""
    name = "run folder"
    trial = folder / f".selu-doctor-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.mkdir()
    except OSError as error:
        yield bad(name, f"{folder}: {error.strerror}", "choose a folder you may write with --folder")
        return
    try:
        yield _operations(trial)
        yield _lock(trial)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    yield _space(folder)
    yield _quota(folder)


def _operations(trial: Path) -> Finding:
    try:
        (trial / "a").write_bytes(b"x" * 4096)
        descriptor = os.open(trial / "a", os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        (trial / "a").rename(trial / "b")
        os.link(trial / "b", trial / "c")
    except OSError as error:
        fix = "runs need a file system with rename and hard links that all nodes share (NFS, Lustre, GPFS)"
        return bad("run folder", f"write, fsync, rename, link: {error.strerror}", fix)
    return ok("run folder", f"{trial.parent}: write, fsync, rename and link work")


def _lock(trial: Path) -> Finding:
    try:
        with (trial / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return warn("file locks", f"flock: {error.strerror}", "none needed: the run's lock is a hard link")
    return ok("file locks", "flock works; the run's lock is a hard link and needs none")


def _space(folder: Path) -> Finding:
    space = os.statvfs(folder)
    free_gb = space.f_bavail * space.f_frsize / 2**30
    inodes = space.f_favail if space.f_files else FREE_INODES * 1000
    answer = f"{free_gb:.0f} GB and {inodes} inodes free"
    if free_gb < FREE_GB or inodes < FREE_INODES:
        return bad("space", answer, f"a run needs at least {FREE_GB:.0f} GB and {FREE_INODES} inodes: choose elsewhere")
    return ok("space", answer)


def _quota(folder: Path) -> Finding:
    for command in (["lfs", "quota", "-h", str(folder)], ["quota", "-s"]):
        if shutil.which(command[0]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=QUOTA_S, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                return warn("quota", f"`{' '.join(command)}`: {error}"[:160], "ask for it by hand: it may be used up")
            said = " ".join(done.stdout.split())
            if command[0] == "lfs" and done.returncode:  # a Lustre client, and the folder is on something else
                continue
            if done.returncode and not said:
                why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
                return warn("quota", f"`{' '.join(command)}`: {why}"[:160], "ask for it by hand: it may be used up")
            if "*" in said and command[0] == "lfs":
                return bad("quota", said[:160], "free some space, or choose a folder with another quota")
            if "*" in said:  # of all file systems, this folder's or not
                return warn("quota", said[:160], f"if {folder} is on that one, free some space or choose another")
            return ok("quota", said[:160] or "none set")
    return ok("quota", "no quota command here; free space is what counts")


def check_image(config: RunConfig, site: Site) -> Iterator[Finding]:
    """Digest and signature of the image, and what this Apptainer can do."""
    if config.image == "none":
        yield ok("image", "none: stages run on the host's python")
        return
    path, expected = locate(config.image)
    try:
        found = digest_of(path)
        if expected and expected != found:
            fix = "pull it by digest: python -m selu_hpc.images pull"
            yield bad("image", f"is {short(found)}, the recipe asks for {short(expected)}", fix)
            return
        apptainer = Apptainer(site.apptainer)
        yield ok("image", f"{path.name} {short(found)}")
        require_trusted(path, site.trusted_keys, apptainer=apptainer)
        yield ok("signature", f"by one of {len(site.trusted_keys)} trusted keys" if site.trusted_keys else "none asked")
        yield check_mounts(config, site)
    except (OSError, SeluError) as error:
        yield bad("image", str(error), "build or pull it: python -m selu_hpc.images --help")


def check_mounts(config: RunConfig, site: Site) -> Finding:
    """Whether stages will see, in the image, the base and the Unity builds that the recipe names."""
    paths, base = named_paths(config), config.model.base
    try:
        require_shown(paths, run=None, mounts=site.mounts)
    except ConfigError as error:
        return bad("mounts", str(error), "correct `mounts:` in the profile")
    is_hub_id = paths["model.base"] and not Path(base).is_absolute()
    if is_hub_id and not hub_folders(os.environ):
        fix = "set HF_HOME to a folder that the nodes see, where jobs get their environment (~/.bashrc, a module)"
        return warn("mounts", f"{base} comes from the hub cache, and HF_HOME names no folder here", fix)
    return ok("mounts", f"{', '.join(site.mounts) or 'none'}; what the recipe names is seen in the image")


def check_apptainer(site: Site, *, needed: bool) -> Finding:
    if shutil.which(site.apptainer) is None:
        fix = "load the site's module (modules: in the profile), or set `apptainer:` to its path"
        grade = Grade.PROBLEM if needed else Grade.WARNING
        return Finding("apptainer", grade, f"no {site.apptainer} on this machine", fix if needed else "none needed: "
                       "the recipe has no image")  # fmt: skip
    version = ".".join(str(part) for part in Apptainer(site.apptainer).version)
    return ok(
        "apptainer", f"{version}; user namespaces {'on' if _user_namespaces() else 'off: images need setuid mode'}"
    )


def _user_namespaces() -> bool:
    done = subprocess.run(["unshare", "--user", "true"], capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def check_nodes(site: Site, config: RunConfig, folder: Path, *, patience_s: float) -> Iterator[Finding]:
    """A one-task job per partition: does the node see our files, how late, how its clock stands, its GPUs."""
    asked: dict[str, int] = {}
    for stage in make_plan(config):
        asks = stage.resources
        asked[asks.partition] = max(asked.get(asks.partition, 0), asks.gpus)
    for role, gpus in sorted(asked.items()):
        for in_image in (False, True) if config.image != "none" else (False,):
            if role in site.partitions:
                yield from _probe(site, config, folder, role=role, gpus=gpus, patience_s=patience_s, in_image=in_image)


def _probe(
    site: Site, config: RunConfig, folder: Path, *, role: Any, gpus: int, patience_s: float, in_image: bool
) -> Iterator[Finding]:
    name, partition = f"image on {role}" if in_image else f"node of {role}", site.partitions[role]
    token = f".selu-doctor-{uuid.uuid4().hex[:8]}"
    private = folder / f"{token}.private"
    look = ["-m", "selu_hpc.engines.probe", str(folder), token]
    line = _inside(site, config, folder, private, gpus, look) if in_image else [python_of(site), *look]
    process = subprocess.Popen(
        _test_job(f"selu{token}", site, line, role=role, gpus=gpus),
        env=clean_environment(os.environ), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        (folder / f"{token}.login").write_text("")
        said, error = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        answer = f"a test job in {partition.name} did not start and end within {patience_s:.0f} s"
        yield warn(name, answer, "the partition is busy; try again with --patience 600, or --no-jobs")
        return
    finally:
        seen_after = _seen(folder / f"{token}.node")
        shutil.rmtree(private, ignore_errors=True)
        for file in folder.glob(f"{token}.*"):
            file.unlink(missing_ok=True)
    if process.returncode:
        answer = f"the test job failed: {(error.strip().splitlines() or ['no message'])[-1]}"
        fix = "the node must see this folder, this checkout and this python at the same paths"
        yield bad(name, answer, "on such a node, `python -m selu_hpc.images test` says more" if in_image else fix)
        return
    seen = _last_object(said)
    if seen is None:
        answer = f"the test job ended well and did not say what it saw, but {said.strip()[-80:]!r}"
        yield bad(name, answer, "look what modules, prologs and epilogs of that partition print or replace")
        return
    yield from _judge(name, seen, seen_after, gpus, config)


def _last_object(said: str) -> dict[str, Any] | None:
    """What the probe printed; a site's prolog or epilog may print lines around it."""
    for line in reversed(said.splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "seen_s" in found:
                return found
    return None


def _test_job(name: str, site: Site, line: list[str], *, role: Any, gpus: int) -> list[str]:
    """A small job that differs from a run's in its size only: options, modules and environment are made as there."""
    small = Resources(partition=role, gpus=gpus, mem_gb=1, timeout_min=5)
    spec = JobSpec(name=name, label="a test job", key=None, shards=(0,), resources=small, command=())
    shell = "\n".join([*setup_lines(site, {"PYTHONPATH": str(SOURCE)}), 'exec "$@"'])
    return ["srun", *srun_words(spec, site), "bash", "-c", shell, "-", *line]


def _inside(site: Site, config: RunConfig, folder: Path, private: Path, gpus: int, look: list[str]) -> list[str]:
    """The probe with the bind contract of a stage; the node's name and GPUs cross the wall as they do there."""
    for part in ("home", "tmp", "cache"):
        (private / part).mkdir(parents=True)
    line = exec_line(
        ["python", *look],
        image=locate(config.image)[0],
        run=folder,
        private=private,
        cache=private / "cache",
        apptainer=site.apptainer,
        mounts=site.mounts,
        gpus=bool(gpus),
    )
    passed = " ".join(f'APPTAINERENV_{name}="${name}"' for name in ("CUDA_VISIBLE_DEVICES", "SLURMD_NODENAME"))
    return ["sh", "-c", f'export {passed}; exec "$@"', "-", *line]


def _seen(file: Path) -> bool:
    deadline = time.monotonic() + DELAY_S
    while time.monotonic() < deadline:
        os.listdir(file.parent)  # noqa: PTH208 - makes a network file system look again
        if file.exists():
            return True
        time.sleep(0.1)
    return False


def _judge(name: str, seen: dict[str, Any], back: bool, gpus: int, config: RunConfig) -> Iterator[Finding]:
    skew_s = abs(time.time() - seen["time"])
    late = seen["seen_s"]
    if late is None or not back:
        which = "the node does not see the login node's files" if late is None else "we do not see the node's files"
        yield bad(name, f"{seen['host']}: {which}", "put runs on a file system that all nodes share")
    elif late > DELAY_S:
        yield warn(name, f"{seen['host']}: files appear after {late:.0f} s", "none needed: gates wait for markers")
    else:
        yield ok(name, f"{seen['host']}: sees the run folder after {late:.1f} s, python {seen['python']}")
    if skew_s > SKEW_S + DELAY_S + (late or 0):
        yield warn("clocks", f"{seen['host']} and this host differ by {skew_s:.0f} s", "ask the site to run NTP: the "
                   "lock of a dead submit is told by its age")  # fmt: skip
    if gpus:
        yield _gpus(seen, gpus, config)


def _gpus(seen: dict[str, Any], gpus: int, config: RunConfig) -> Finding:
    visible = len(re.findall(r"[^,]+", seen["cuda_visible_devices"] or ""))
    if visible != gpus:
        answer = f"{seen['host']}: asked for {gpus}, CUDA_VISIBLE_DEVICES names {visible}"
        return bad("gpus", answer, "correct partitions.*.gres in the profile")
    if not seen["gpus"]:
        return warn("gpus", f"{seen['host']}: {gpus} handed out, nvidia-smi shows none", "load the driver's module")
    vulkan = f"Vulkan: {len(seen['vulkan'])} devices" if seen["vulkan"] else "no vulkaninfo on the node"
    return ok("gpus", f"{seen['host']}: {gpus} × {seen['gpus'][0]}; {vulkan}")
