"""What a compute node sees, printed as one JSON line; doctor runs it by srun, on the host or inside the image.

    python -m selu_hpc.engines.probe FOLDER TOKEN [--torch] [--scratch] [--import NAME …]

Only the standard library: it must run where nothing else does. Of this project's modules named, each is imported, in a
process of its own; of others only where they would be found, since some take long.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PATIENCE_S = 30.0
IMPORT_S = 120.0
SLOW = "importing them took more than"
BINDS = re.compile("(APPTAINER|SINGULARITY)_(BIND|BINDPATH|MOUNT)")
"""What containers/mounts.py names, which is not to be imported here."""
TORCH = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available(), sep='\\n')"
IMPORT = """
import importlib, importlib.util, sys
for name in sys.argv[1:]:
    if name.startswith("selu_hpc"):
        importlib.import_module(name)
    elif importlib.util.find_spec(name) is None:
        sys.exit(f"no package {name!r} for {sys.executable}")
"""


def probe(
    folder: Path, token: str, *, torch: bool, scratch: bool = False, imports: Sequence[str] = ()
) -> dict[str, object]:
    """Wait for the login node's file, leave one of our own, look at the clock and the devices; on request as torch."""
    begun = time.time()
    seen_s = _wait_for(folder / f"{token}.login")
    answer = folder / f".{token}.{os.getpid()}.partial"
    answer.write_text(json.dumps({"host": socket.gethostname(), "time": time.time()}))
    answer.rename(folder / f"{token}.node")
    return {
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "time": begun,
        "python": sys.version.split()[0],
        "seen_s": seen_s,
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "torch": _lines([sys.executable, "-c", TORCH], patience_s=IMPORT_S) if torch else None,
        "gpus": _lines(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]),
        "vulkan": [line for line in _lines(["vulkaninfo", "--summary"]) if "deviceName" in line],
        "scratch": _scratch() if scratch else None,
        "import_error": _import(imports),
        "binds": {name: value for name, value in os.environ.items() if BINDS.fullmatch(name) and value},
    }


def _scratch() -> dict[str, object]:
    """The folder of a task, made where slurm/stage.sh makes it."""
    place = os.environ.get("SELU_SCRATCH") or os.environ.get("SLURM_TMPDIR") or "/tmp"
    try:
        Path(tempfile.mkdtemp(prefix="selu-doctor-", dir=place)).rmdir()
        free_gb, error = round(shutil.disk_usage(place).free / 2**30, 1), ""
    except OSError as refusal:
        free_gb, error = 0.0, str(refusal.strerror or refusal)
    return {"place": place, "error": error, "free_gb": free_gb, "tmp_of_the_job": _has_own_tmp()}


def _has_own_tmp() -> bool:
    """Whether what is seen at /tmp is a folder named by this job: job_container/tmpfs and its likes bind it there."""
    job = os.environ.get("SLURM_JOB_ID", "none")
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    return any(at == "/tmp" and job in re.split(r"\D+", root) for _, _, _, root, at, *_ in mounts)


def _import(names: Sequence[str]) -> str:
    """Why one of them can't be imported, or nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, *names], capture_output=True, text=True, timeout=IMPORT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{SLOW} {IMPORT_S:g} s"
    except OSError as error:
        return str(error)
    return (done.stderr.strip() or f"exit status {done.returncode}").rpartition("\n")[2] if done.returncode else ""


def _wait_for(file: Path) -> float | None:
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        os.listdir(file.parent)  # noqa: PTH208 - makes a network file system look again
        if file.exists():
            return round(time.monotonic() - begun, 2)
        time.sleep(0.2)
    return None


def _lines(command: list[str], *, patience_s: float = 20.0) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


if __name__ == "__main__":
    _, where, which, *rest = sys.argv
    named = rest[rest.index("--import") + 1 :] if "--import" in rest else []
    seen = probe(Path(where), which, torch="--torch" in rest, scratch="--scratch" in rest, imports=named)
    sys.stdout.write(json.dumps(seen) + "\n")
