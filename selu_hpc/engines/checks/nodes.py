"""A node of each partition, from within a test job: our files, its clock, its GPUs, on the host and in the image.

The job has the environment of a run's, without what a user's own site-packages bring. Whether torch can use the GPUs,
and whether a stage can be imported, is looked at where it computes: in the image, if the run has one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from selu_hpc.config import RunConfig
from selu_hpc.containers.launch import exec_line
from selu_hpc.containers.mounts import require_code_uncovered
from selu_hpc.containers.pinned import locate
from selu_hpc.engines.checks.finding import Finding, bad, ok, warn
from selu_hpc.engines.probe import SLOW
from selu_hpc.engines.slurm.calls import clean_environment
from selu_hpc.engines.slurm.launch import GATE, environment, python_of
from selu_hpc.engines.slurm.sbatch import JobSpec, setup_lines, srun_words
from selu_hpc.errors import ImageError
from selu_hpc.models.device import visible_gpus
from selu_hpc.resources import Resources
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.provenance import SOURCE
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.site import Site
from selu_hpc.stages.entry import MODULES

SKEW_S = 5.0
DELAY_S = 10.0
FREE_GB, UNPACKED_GB = 1.0, 2.5
"""Of scratch: for a task's own /tmp, and for an image that is unpacked."""
STARTS_IMAGE = "selu_hpc.containers.launch"
COMPUTES = ("torch", "transformers", "peft", "numpy", "zarr")
"""What no stage does without; loaded by it and not here."""


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
    computes = in_image == (config.image != "none")
    look = ["-m", "selu_hpc.engines.probe", str(folder), token, *(["--torch"] if gpus and computes else [])]
    look += [] if in_image else ["--scratch"]
    look += ["--import", *_imports(config, role, computes=computes)]
    line = _inside(site, config, folder, private, gpus, look) if in_image else [python_of(site), *look]
    process = subprocess.Popen(
        _test_job(f"selu{token}", site, config, folder, line, role=role, gpus=gpus),
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
    seen = last_object(said)
    if seen is None:
        answer = f"the test job ended well and did not say what it saw, but {said.strip()[-80:]!r}"
        yield bad(name, answer, "look what modules, prologs and epilogs of that partition print or replace")
        return
    yield from judge_node(name, seen, seen_after, gpus, config)
    if not in_image:
        yield judge_scratch(name, seen, site, config)
        yield from judge_binds(name, seen, config)


def _imports(config: RunConfig, role: str, *, computes: bool) -> Sequence[str]:
    """What jobs on these nodes begin with: stages, or on the host of an image what starts it, and gates."""
    stages = {stage.key.stage for stage in make_plan(config) if stage.resources.partition == role}
    gate = [GATE] if Stage.GATE in stages and (not computes or config.image == "none") else []
    if not computes:
        return [*gate, STARTS_IMAGE]
    return [*gate, *sorted({MODULES[stage] for stage in stages - {Stage.GATE}}), *COMPUTES]


def last_object(said: str) -> dict[str, Any] | None:
    """What the probe printed; a site's prolog or epilog may print lines around it."""
    for line in reversed(said.splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "seen_s" in found:
                return found
    return None


def _test_job(
    name: str, site: Site, config: RunConfig, folder: Path, line: list[str], *, role: Any, gpus: int
) -> list[str]:
    """A small job that differs from a run's in its size only: options, modules and environment are made as there."""
    small = Resources(partition=role, gpus=gpus, mem_gb=4 if gpus else 1, timeout_min=5)  # torch for CUDA is large
    spec = JobSpec(name=name, label="a test job", key=None, shards=(0,), resources=small, command=())
    exported = environment(spec, RunDir(folder), config, site, umask=0o022) | {"PYTHONPATH": str(SOURCE)}
    shell = "\n".join([*setup_lines(site, exported), 'exec "$@"'])
    return ["srun", *srun_words(spec, site), "bash", "-c", shell, "-", *line]


def _inside(site: Site, config: RunConfig, folder: Path, private: Path, gpus: int, look: list[str]) -> list[str]:
    """The probe with the bind contract of a stage, and what crosses the wall there."""
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
    names = ("CUDA_VISIBLE_DEVICES", "SLURMD_NODENAME", "OMP_NUM_THREADS", "DS_ACCELERATOR")
    passed = "; ".join(f'[ -z "${{{name}+x}}" ] || export APPTAINERENV_{name}="${name}"' for name in names)
    return ["sh", "-c", f'{passed}; exec "$@"', "-", *line]


def _seen(file: Path) -> bool:
    deadline = time.monotonic() + DELAY_S
    while time.monotonic() < deadline:
        os.listdir(file.parent)  # noqa: PTH208 - makes a network file system look again
        if file.exists():
            return True
        time.sleep(0.1)
    return False


def judge_node(name: str, seen: dict[str, Any], back: bool, gpus: int, config: RunConfig) -> Iterator[Finding]:
    """What the probe saw there, as findings; `back`: whether this host saw the node's file in its turn."""
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
    if error := seen.get("import_error"):
        in_image = name.startswith("image")
        fix = "build the image anew" if in_image else "install the package for that python: jobs don't see ~/.local"
        if is_slow := error.startswith(SLOW):
            fix = (
                "set `unpack_image: true`"
                if in_image
                else "put that python's packages on storage the node reads faster"
            )
        yield (warn if is_slow else bad)(f"packages, {name}", f"{seen['host']}: {error}", fix)
    if gpus:
        yield _gpus(seen, gpus, config)
        if seen.get("torch") is not None:
            yield _torch(name, seen["host"], seen["torch"])


def judge_scratch(name: str, seen: dict[str, Any], site: Site, config: RunConfig) -> Finding:
    """Where a task's own /tmp is made, and what a node's tasks share of an image."""
    told, name = seen["scratch"], name.replace("node", "scratch")
    where = f"{seen['host']}: {told['place']}"
    whole_path = "name node-local disk by `scratch:` in the profile, by its whole path"
    if told["error"]:
        return bad(name, f"{where}: {told['error']}", whole_path)
    needed_gb = FREE_GB + (UNPACKED_GB if site.unpack_image and config.image != "none" else 0)
    if told["free_gb"] < needed_gb:
        return warn(name, f"{where}: {told['free_gb']} GB free of {needed_gb} that tasks may fill", whole_path)
    if told["tmp_of_the_job"] and not site.scratch and config.image != "none":
        answer = f"{where}: each job has a /tmp of its own, so each task reads the whole image to check it"
        return warn(name, answer, f"{whole_path}: what was found of an image is kept there")
    return ok(name, f"{where}: {told['free_gb']:.0f} GB free")


def judge_binds(name: str, seen: dict[str, Any], config: RunConfig) -> Iterator[Finding]:
    """What modules or shells there bind into every image, where a stage would refuse to start for it."""
    try:
        require_code_uncovered(seen["binds"] if config.image != "none" else {})
    except ImageError as error:
        fix = "unset it where jobs get their environment (~/.bashrc, a module), or ask the site to bind less"
        yield bad(name.replace("node", "binds"), f"{seen['host']}: {error}", fix)


def _torch(name: str, host: str, told: list[str]) -> Finding:
    """What a stage would refuse there after its job had waited for GPUs (`models.device.require_gpu`)."""
    if len(told) != 3:
        return bad(f"torch, {name}", f"{host}: torch cannot be imported", "install the package there, or use an image")
    version, made_for, usable = told
    if usable == "True":
        return ok(f"torch, {name}", f"{host}: torch {version} uses its GPUs")
    what = "is built without CUDA" if made_for == "None" else f"(CUDA {made_for}) cannot use the GPUs"
    fix = (
        "build the image with `--variant cuda`, or install torch for CUDA; where it is, mend the driver (`nvidia-smi`)"
    )
    return bad(f"torch, {name}", f"{host}: torch {version} {what}", fix)


def _gpus(seen: dict[str, Any], gpus: int, config: RunConfig) -> Finding:
    visible = len(visible_gpus(seen["cuda_visible_devices"] or ""))
    if visible != gpus:
        answer = f"{seen['host']}: asked for {gpus}, CUDA_VISIBLE_DEVICES names {visible}"
        return bad("gpus", answer, "correct partitions.*.gres in the profile")
    if not seen["gpus"]:
        return warn("gpus", f"{seen['host']}: {gpus} handed out, nvidia-smi shows none", "load the driver's module")
    vulkan = f"Vulkan: {len(seen['vulkan'])} devices" if seen["vulkan"] else "no vulkaninfo on the node"
    return ok("gpus", f"{seen['host']}: {gpus} × {seen['gpus'][0]}; {vulkan}")
