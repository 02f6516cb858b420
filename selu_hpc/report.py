"""Write a run's report: `python -m selu_hpc.report --run RUN`.

The plots need matplotlib, so the command draws in a process of its own when called from a login node's `submit`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.errors import RunFolderError, SeluError
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.terminal import REFUSED, enter


def write_report(run: RunDir) -> Path:
    """Make report/index.html of a finished run in a separate process and return its path."""
    line = [sys.executable, "-m", "selu_hpc.report", "--run", str(run.path)]
    done = subprocess.run(line, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        why = done.stderr.strip().removeprefix("error: ") or f"exit code {done.returncode}"
        raise RunFolderError(
            f"all work is done; the report could not be written: {why}\nto write it again: {run.command('report')}"
        )
    sys.stderr.write(done.stderr)
    return run.report / "index.html"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.report", description="Write the report of a run.")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: RUN/report/index.html)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    try:
        made = make(RunDir(options.run.absolute()), options.out and options.out.absolute())
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{made}\n")
    return 0


def make(run: RunDir, out: Path | None) -> Path:
    """The page in this process; a file system that refuses is named."""
    from selu_hpc.viz.report import make_report

    if out and out.is_dir():
        raise RunFolderError(f"{out}: is a folder; name a file with --out")
    try:
        return make_report(run, out)
    except OSError as error:
        advice = f"; {REFUSED[error.errno]}" if error.errno in REFUSED else ""
        raise RunFolderError(f"{error.filename or run.path}: no report: {error.strerror or error}{advice}") from error


if __name__ == "__main__":
    enter(main)
