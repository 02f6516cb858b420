"""Write a run's report: `python -m selu_hpc.report --run RUN`.

The plots need matplotlib, so the command draws in a process of its own when called from a login node's `submit`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.errors import SeluError
from selu_hpc.rounds.rundir import RunDir


def write_report(run: RunDir) -> Path:
    """Make report/index.html of a run in a separate process and return its path."""
    subprocess.run([sys.executable, "-m", "selu_hpc.report", "--run", str(run.path)], check=True, stdout=sys.stderr)
    return run.report / "index.html"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.report", description="Write the report of a run.")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    from selu_hpc.viz.report import make_report

    try:
        sys.stdout.write(f"{make_report(RunDir(options.run.absolute()))}\n")
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
