"""The last line every benchmark prints: one JSON object, `ok` computed from its ratios and targets alone.

`targets` say what a ratio must be: ">=1.6", "<=0.5" or "==1".
"""

from __future__ import annotations

import json
import operator
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

_COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq}


def report(
    name: str, *, measures: Mapping[str, Any], ratios: Mapping[str, float], targets: Mapping[str, str]
) -> dict[str, Any]:
    """Print the result as the last line and return it; exit with `exit_code(result)`."""
    result = {
        "name": name,
        "commit": commit(),
        "machine": machine(),
        "measures": dict(measures),
        "ratios": {key: round(value, 3) for key, value in ratios.items()},
        "targets": dict(targets),
    }
    result["ok"] = is_ok(result["ratios"], targets)
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return result


def run(main: Callable[[], int | None]) -> NoReturn:
    """End the process with a benchmark's exit code; what is wrong with its arguments is one line."""
    from selu_hpc.errors import SeluError  # not before a benchmark has said which checkout it measures

    try:
        sys.exit(main() or 0)
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def is_ok(ratios: Mapping[str, float], targets: Mapping[str, str]) -> bool:
    """Whether every target has a ratio and the ratio meets it."""
    return all(key in ratios and _COMPARE[text[:2]](ratios[key], float(text[2:])) for key, text in targets.items())


def exit_code(result: Mapping[str, Any]) -> int:
    return 0 if result["ok"] else 1


def commit() -> str:
    """The code's commit, with "+" when the tree differs from it; "unknown" outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_gb, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
