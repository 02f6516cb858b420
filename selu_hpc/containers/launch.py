"""Starts one stage inside the run's image, on the host's side of the wall.

    python -m selu_hpc.containers.launch --run RUN --stage rollout --round 1 --shard 3 [--attempt 0]

Checks that the image is the one the run began with, gives the task a /tmp and a HOME of its own, binds the run
folder and what the site names, and passes the environment that must pass. Runs on the host's python, without torch.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.digest import note, noted, require_digest, short, unchanged
from selu_hpc.containers.mounts import Mount, hub_mounts, require_code_uncovered
from selu_hpc.containers.node import make_room, node_folder, used_now
from selu_hpc.containers.pinned import Pinned, read_pinned
from selu_hpc.containers.trust import require_trusted
from selu_hpc.containers.unpacked import unpacked
from selu_hpc.containers.watched import run_watched
from selu_hpc.errors import ImageError, SeluError
from selu_hpc.logs import set_up_logging
from selu_hpc.processes import die_with_parent
from selu_hpc.rounds.lock import wait_for_lock
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.stages.entry import EXIT_FAILED, MODULES, run_stage

logger = logging.getLogger(__name__)

PASSED = (
    "SLURM_",
    "SUBMITIT_",
    "SELU_",
    "MASTER_",
    "OMP_",
    "HF_",
    "NCCL_",
    "CUDA_VISIBLE_DEVICES",
    "RANK",
    "WORLD_SIZE",
)
PASSED_ALSO = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "DS_ACCELERATOR", "DISPLAY")
_LAID_IN = ("ENV_", "_ENV", "_OVERLAY", "_SCRATCH", "_WORKDIR")
SENT_IN = tuple(f"{prefix}{rest}" for prefix in ("APPTAINER", "SINGULARITY") for rest in _LAID_IN)
"""Beginnings of variables by which Apptainer lays something into an image that --cleanenv does not keep out."""
CACHE = "/var/cache/selu_hpc"
DRIVER = Path("/dev/nvidiactl")
KEPT = {"NUMBA_CACHE_DIR": f"{CACHE}/numba", "SELU_FEATURE_CACHE": f"{CACHE}/features"}
"""What tasks of one user and one image on one node share: compiled code, and features of frames (both by content)."""


def exec_line(
    command: Sequence[str],
    *,
    image: Path,
    run: Path,
    private: Path,
    cache: Path,
    apptainer: str = "apptainer",
    mounts: Sequence[str] = (),
    hub: Sequence[Mount] = (),
    gpus: bool = False,
    network: bool = True,
    working_copy: Path | None = None,
) -> list[str]:
    """The `apptainer exec …` that runs a command with the bind contract; pure."""
    # Without --no-eval a shell in the image would evaluate what is passed: a `$(…)` in a folder's name would run there.
    line = [apptainer, "exec", "--cleanenv", "--no-eval", "--no-mount", "tmp,cwd,hostfs"]
    line += ["--home", f"{private / 'home'}:/home/selu", "--pwd", "/opt/selu_hpc"]
    binds = [Mount(str(private / "tmp"), "/tmp"), Mount(str(private / "tmp"), "/var/tmp"), Mount(str(cache), CACHE)]
    binds += [Mount(str(run), str(run)), *(Mount.parse(mount) for mount in mounts)]
    binds += hub
    if working_copy:
        binds += [Mount(str(working_copy / part), f"/opt/selu_hpc/{part}") for part in ("selu_hpc", "configs")]
    for mount in binds:
        line += mount.words
    if gpus:
        line.append("--nv")
    if not network:
        line += ["--net", "--network", "none"]
    return [*line, str(image), *command]


def passed_environment() -> dict[str, str]:
    """What crosses the wall, in the form apptainer wants: APPTAINERENV_NAME."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED) or name in PASSED_ALSO}
    return {f"APPTAINERENV_{name}": value for name, value in {**passed, **KEPT}.items()}


def outside_environment() -> dict[str, str]:
    """The environment of `apptainer exec`: what crosses the wall is what we pass, and nothing a shell or module set."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(SENT_IN)}
    return {**ours, **passed_environment()}


def shared_cache(digest: str, *, private: Path) -> Path:
    """The folder behind CACHE; of one image only, since compiled code belongs to one set of sources.

    The first task of an image on a node removes what no task of another image used for long. Where others could write
    the folder, the task has one of its own.
    """
    with _told_by_node():
        place = node_folder("selu-cache")
        folder = place / short(digest).removeprefix("sha256:") if place else private / "cache"
        if place and not folder.is_dir():
            with wait_for_lock(place / ".lock", purpose="making room for an image's cache"):
                make_room(place)
        for inside in KEPT.values():
            (folder / Path(inside).name).mkdir(parents=True, exist_ok=True)
    used_now(folder)
    return folder


@contextmanager
def private_folder(scratch: str = "") -> Iterator[Path]:
    """A folder for this task's /tmp and HOME on node-local disk, gone afterwards."""
    with ExitStack() as made:
        with _told_by_node():
            folder = Path(tempfile.mkdtemp(prefix="selu-task-", dir=scratch or None))
            made.callback(shutil.rmtree, folder, ignore_errors=True)
            for name in ("home", "tmp"):
                (folder / name).mkdir(mode=0o700)
        yield folder


@contextmanager
def _told_by_node() -> Iterator[None]:
    """What a node's disk refuses, with the way out."""
    try:
        yield
    except OSError as error:
        raise ImageError(
            f"{error.filename or 'the temporary folder'}: no folder for a task on {os.uname().nodename}: "
            f"{error.strerror or error}; make room there, or name node-local disk by `scratch:` in the site profile"
        ) from error


def stage_command(stage: Stage, *, run: Path, round_id: int, shard: int, attempt: int | None) -> list[str]:
    """The one line every engine and template runs, inside or outside an image."""
    command = ["python", "-m", MODULES[stage], "--run", str(run), "--round", str(round_id), "--shard", str(shard)]
    if attempt is not None:
        command += ["--attempt", str(attempt)]
    if stage in (Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC):
        command += ["--role", stage.value.removeprefix("finetune_")]
    return command


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run one shard of one stage inside the run's image.")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--stage", type=Stage, choices=list(Stage), required=True, help="what to run in its image")
    parser.add_argument("--round", type=int, required=True, dest="round_id", help="the round, 0 is the base model")
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    parser.add_argument("--shard", type=int, default=index, help="the shard (default: the array task's index)")
    parser.add_argument("--attempt", type=int, help="attempt number (default: the next free one)")
    options = parser.parse_args(argv)
    die_with_parent(signal.SIGTERM)  # which is passed on, so that the stage saves and the private folder goes
    set_up_logging()
    try:
        return launch(
            options.stage,
            RunDir(options.run.absolute()),
            round_id=options.round_id,
            shard=options.shard,
            attempt=options.attempt,
        )
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILED


def launch(stage: Stage, run: RunDir, *, round_id: int, shard: int, attempt: int | None) -> int:
    """Run the stage in the image its run began with; returns the stage's exit code."""
    pinned = read_pinned(run)
    if stage is Stage.GATE:
        return run_stage(stage, run=str(run.path), round_id=round_id, shard=shard, attempt=attempt)
    if pinned is None:
        raise ImageError(f"{run.path}: this run has no image; start its stages without containers.launch")
    if pinned.scratch and not os.environ.get("SELU_SCRATCH"):
        os.environ["SELU_SCRATCH"] = pinned.scratch  # a template's job, or the local engine, has not been told of it
    image = _checked(pinned, apptainer=Apptainer(pinned.apptainer))
    for name, value in require_code_uncovered(os.environ).items():
        logger.info("%s=%s is bound into the image too", name, value)
    network = pinned.network or not may_cut_network(pinned)
    command = stage_command(stage, run=run.path, round_id=round_id, shard=shard, attempt=attempt)
    with private_folder(pinned.scratch) as private:
        line = exec_line(
            command,
            image=image,
            run=run.path,
            private=private,
            cache=shared_cache(pinned.digest, private=private),
            apptainer=pinned.apptainer,
            mounts=pinned.mounts,
            hub=hub_mounts(os.environ, run=run.path, mounts=pinned.mounts),
            gpus=has_gpus(pinned),
            network=network,
            working_copy=pinned.working_copy,
        )
        return run_watched(line, environment=outside_environment(), private=private)


def _checked(pinned: Pinned, *, apptainer: Apptainer) -> Path:
    """What to start from, known to be the run's image: one and the same file from the first look to the last."""
    with unchanged(pinned.path):
        require_digest(pinned.path, pinned.digest, or_else=", or submit with `--accept-image` to go on with this one")
        require_trusted(pinned.path, pinned.trusted_keys, apptainer=apptainer)
        return unpacked(pinned.path, pinned.digest, apptainer=apptainer) if pinned.unpack else pinned.path


def has_gpus(pinned: Pinned) -> bool:
    """Lend the driver: where Slurm gave GPUs; without Slurm, where there are some and the image is for CUDA."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return True
    if "SLURM_JOB_ID" in os.environ or not DRIVER.exists():
        return False
    if (variant := noted(pinned.path, "variant")) is None:
        with unchanged(pinned.path) as looked_at:
            variant = Apptainer(pinned.apptainer).labels(pinned.path).get("selu_hpc.variant", "")
        note(pinned.path, "variant", variant, looked_at)
    return variant == "cuda"


def may_cut_network(pinned: Pinned) -> bool:
    """Ranks started by srun must reach one another, and not every Apptainer lets users make a network of their own."""
    if int(os.environ.get("SELU_RANKS", "1")) > 1:
        return False
    if (known := noted(pinned.path, "may_cut_network")) is None:
        alone = ["exec", "--cleanenv", "--no-eval", "--net", "--network", "none"]
        line = [pinned.apptainer, *alone, str(pinned.path), "true"]
        with unchanged(pinned.path) as looked_at:
            try:
                tried = subprocess.run(line, capture_output=True, timeout=60, check=False)
                known = "yes" if tried.returncode == 0 else "no"
            except (OSError, subprocess.TimeoutExpired):
                known = "no"
        note(pinned.path, "may_cut_network", known, looked_at)
    return known == "yes"


if __name__ == "__main__":
    sys.exit(main())
