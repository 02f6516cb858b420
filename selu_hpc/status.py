"""How far is a run? `python -m selu_hpc.status --run RUN`.

Counts shards per round and stage from the markers in the run folder, asks Slurm's queue once if something is open, and
says what to do next. Reads only; several people may ask at once.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selu_hpc.engines.overview import Overview, StageState, Verdict, counted, fresh_report, look, submit_again
from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.table import Column, text_table
from selu_hpc.errors import SeluError
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.terminal import enter
from selu_hpc.viz.plain import plain

NUMBERS = ("shards", "done", "running", "pending", "failed", "open")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.status",
        description="Say how far a run is: finished, running, pending, failed and open shards of every stage.",
        epilog="example: python -m selu_hpc.status --run runs/selu-thor-s0-1a2b3c4d5e6f",
    )
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(argv)
    run = RunDir(options.run.absolute())
    try:
        run.require()
        found = look(run, Calls())
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(as_json(found), indent=1) + "\n" if options.json else as_text(found))
    return 0


def as_json(found: Overview) -> dict[str, Any]:
    """Numbers of the queue are null where Slurm did not answer."""
    stages = []
    for state in found.stages:
        numbers = {name: value for name, value in asdict(state).items() if name not in ("key", "num_shards")}
        if found.answer:
            numbers |= {"running": None, "pending": None, "open": None}
        numbers |= {"shards": state.num_shards, "share": round(state.share, 4)}
        stages.append({"round": state.key.round_id, "stage": str(state.key.stage), **numbers})
    return {
        "run": str(found.run.path),
        "engine": found.engine,
        "verdict": str(found.verdict),
        "stages": stages,
        "trouble": found.trouble + ([found.answer] if found.answer else []),
        "next": next_step(found),
    }


def as_text(found: Overview) -> str:
    columns = [Column("stage"), *(Column(name, right=True) for name in NUMBERS), Column("%", right=True)]
    rows = [[str(state.key), *_cells(state, found), _percent(state)] for state in found.stages]
    lines = [
        f"{state.key}: its round was sealed without {state.left_out} of "
        f"{counted(state.num_shards, 'shard')} (retry.quorum)"
        for state in found.stages
        if state.left_out
    ]
    lines += [f"! {line}" for line in found.trouble]
    lines += [f"! {found.answer}"] if found.answer else []
    lines.append(f"{found.verdict}: {next_step(found)}")
    title = plain(str(found.run.path)) + (f", engine {found.engine}" if found.engine else "")
    return text_table(columns, rows, title=title, caption="\n".join(lines))


def _percent(state: StageState) -> str:
    """Rounded down: what is nearly done is not done."""
    whole = state.done + state.left_out == state.num_shards
    return "100%" if whole else f"{min(99, math.floor(100 * state.share + 1e-9))}%"


def _cells(state: StageState, found: Overview) -> list[str]:
    """Nothing is printed for a zero: what is left stands out."""
    numbers = {name: getattr(state, name) for name in NUMBERS[1:]}
    shown = {name: str(value) if value else "" for name, value in numbers.items()}
    if found.answer and state.done + state.left_out < state.num_shards:
        shown |= dict.fromkeys(("running", "pending", "open"), "?")
    return [str(state.num_shards), *shown.values()]


def next_step(found: Overview) -> str:
    to_go = f"{counted(found.num_open, 'shard')} to go"
    match found.verdict:
        case Verdict.FINISHED:
            report = fresh_report(found.run)
            return f"report: {report}" if report else f"write the report: {found.run.command('report')}"
        case Verdict.RUNNING if found.local:
            return f"{to_go}; a local run is at work on {'it' if found.num_open == 1 else 'them'}"
        case Verdict.RUNNING:
            return f"{to_go}; {found.run.command('cancel')} stops its Slurm jobs"
        case Verdict.STOPPED:
            again = submit_again(found.run, found.engine)
            return f"{to_go} and nothing on its way; go on: {again}"
        case Verdict.UNKNOWN:
            return f"{to_go}; ask again on a login node where squeue answers"


if __name__ == "__main__":
    enter(main)
