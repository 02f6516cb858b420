"""What a compute node sees, printed as one JSON line; doctor runs it by srun, on the host or inside the image.

    python -m selu_hpc.engines.probe FOLDER TOKEN [--torch]

Only the standard library: it must run where nothing else does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 30.0
IMPORT_S = 120.0
TORCH = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available(), sep='\\n')"


def probe(folder: Path, token: str, *, torch: bool) -> dict[str, object]:
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
        "tmp_free_gb": round(shutil.disk_usage("/tmp").free / 2**30, 1),
    }


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
    sys.stdout.write(json.dumps(probe(Path(sys.argv[1]), sys.argv[2], torch="--torch" in sys.argv)) + "\n")
