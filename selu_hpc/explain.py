"""Why is a run where it is? `python -m selu_hpc.explain --run RUN [WHAT]`.

Names what holds the run up, why, and what to type next; of a stage its needs, shards and jobs; of a shard its attempts.
Reads only. `status` says how far a run is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.why.explaining import Explanation, explain
from selu_hpc.engines.why.text import as_text
from selu_hpc.errors import SeluError
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.terminal import enter


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.explain",
        description="Say why a run, a stage, a shard or a job is where it is, and what to type next.",
        epilog="example: python -m selu_hpc.explain --run runs/selu-thor-s0-1a2b3c4d5e6f r02/label/3",
    )
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "what",
        nargs="?",
        default="",
        metavar="WHAT",
        help="a stage (r02/label), a shard (r02/label/3) or a Slurm job (12345, 12345_3); default: what holds it up",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    run = RunDir(options.run.absolute())
    try:
        run.require()
        told = explain(run, options.what, Calls())
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(as_json(told), indent=1) + "\n" if options.json else as_text(told))
    return 0


def as_json(told: Explanation) -> dict[str, Any]:
    """Everything the text says, and what it leaves out to be short; times are seconds since 1970."""
    found: dict[str, Any] = {"run": str(told.run.path), "engine": told.engine, "what": told.what}
    found |= {"next": told.next, "trouble": told.trouble}
    if told.shard:
        return found | {"shard": _shard(asdict(told.shard))}
    stages = [asdict(stage) | {"headline": stage.headline} for stage in told.stages]
    return found | {"stages": [stage | {"shards": [_shard(one) for one in stage["shards"]]} for stage in stages]}


def _shard(value: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in value.items() if name != "facts"}


if __name__ == "__main__":
    enter(main)
