"""Print what runs have measured, as a table like the paper's.

    python -m selu_hpc.evaluate --table                      the summaries in docs/results and the runs in runs/
    python -m selu_hpc.evaluate --table RUN RUN docs/results --by-type
    python -m selu_hpc.evaluate --summary RUN                the run as one line of JSON, as docs/results keeps it

What cannot be read is named and left out, and the command then ends with 1. Reads results only; making them is the
evaluation stage's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from selu_hpc.errors import RunFolderError, SeluError
from selu_hpc.summaries import check
from selu_hpc.terminal import enter

DEFAULT = (Path("docs/results"), Path("runs"))
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading a file of any content may end with."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m selu_hpc.evaluate", description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", action="store_true", help="a table over all runs found")
    what.add_argument("--summary", action="store_true", help="each run as one line of JSON")
    parser.add_argument(
        "--by-type", action="store_true", help="with --table: add both by task type, the critic by way of failing"
    )
    where = "run folders, summaries, or folders of either (default: docs/results and runs, where they are)"
    parser.add_argument("paths", nargs="*", type=Path, help=where)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.by_type and options.summary:
        parser.error("--by-type adds to --table; a summary has every episode in it")
    paths = options.paths or [path for path in DEFAULT if path.is_dir()]
    left_out: list[SeluError] = []
    found = [summary for path in paths for summary in read_summaries(path, left_out.append)]
    if not found and not left_out:
        looked = ", ".join(str(path) for path in paths) or " and ".join(str(path) for path in DEFAULT)
        left_out.append(RunFolderError(
            f"no evaluated run in {looked}; make one with `python -m selu_hpc.submit`, or give the path of a run folder"
        ))  # fmt: skip
    sys.stderr.write("".join(f"error: {_harmless(error)}\n" for error in left_out))
    if options.by_type and found and all(map(_is_game, found)):
        sys.stderr.write("--by-type adds nothing here: card games have no task types\n")
    if options.table:
        sys.stderr.write("".join(f"note: {note}\n" for note in _notes(found)))
    text = show(found, options.summary, options.by_type) if found else ""
    sys.stdout.write(_aligned(text) if options.table and sys.stdout.isatty() else text)
    return 1 if left_out else 0


def show(found: Sequence[dict[str, Any]], as_json: bool, by_type: bool) -> str:
    """The text the command prints of these summaries."""
    if as_json:
        return "".join(json.dumps(summary, sort_keys=True) + "\n" for summary in found)
    from selu_hpc.rl4vlm.summary import markdown as games_markdown
    from selu_hpc.selu.leads import leads_markdown, make_leads
    from selu_hpc.selu.rows import make_rows
    from selu_hpc.selu.table import by_type_markdown, by_way_markdown, markdown
    from selu_hpc.summaries import without_copies

    learned = [one for one in found if not _is_game(one)]
    rows = make_rows(learned)
    played = without_copies(one for one in found if _is_game(one))
    parts = [markdown(rows)] if rows else []
    parts += [leads_markdown(leads)] if (leads := make_leads(learned)) else []
    parts += [text for row in rows if by_type for text in (by_type_markdown(row), by_way_markdown(row)) if text]
    return "\n".join([*parts, *([games_markdown(played)] if played else [])])


def _notes(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a reader of the table would wonder at."""
    from selu_hpc.selu.alike import notes
    from selu_hpc.summaries import without_copies

    yield from notes(without_copies(one for one in found if not _is_game(one)))


def _aligned(text: str) -> str:
    from selu_hpc.selu.table import aligned

    return aligned(text)


def _is_game(summary: dict[str, Any]) -> bool:
    from selu_hpc.rl4vlm.summary import is_game

    return is_game(summary)


def read_summaries(path: Path, complain: Callable[[SeluError], None] | None = None) -> Iterator[dict[str, Any]]:
    """The summaries at a path: a run folder, a summary's file, or a folder of either.

    complain: told of each that cannot be read, and the others follow; without it the first one is raised.
    """
    for entry in _entries(path):
        try:
            yield from _of_run(entry) if entry.is_dir() else [_read(entry)]
        except SeluError as error:
            if complain is None:
                raise
            complain(error)


def _entries(path: Path) -> list[Path]:
    if path.is_dir() and not _is_run(path):
        return [entry for entry in sorted(path.iterdir()) if entry.suffix == ".json" or _is_run(entry)]
    return [path]


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def _of_run(path: Path) -> Iterator[dict[str, Any]]:
    from selu_hpc.recipes import load_run
    from selu_hpc.rl4vlm import summary as games
    from selu_hpc.rounds.rundir import MARKER, RunDir, Stage
    from selu_hpc.selu.summary import summarise

    config = load_run(path)
    run, of_its_kind = RunDir(path), games.summarise if config.plays_games else summarise
    try:
        summary = of_its_kind(run, config)
        found = [check(summary)] if summary is not None else []
    except BROKEN as error:
        raise RunFolderError(f"{path}: its results are not what a run writes ({_told(error)})") from error
    later = (run.stage(round_id, Stage.EVALUATE) for round_id in range(1, config.rounds + 1))
    if not found and any(any(stage.glob(f"shard-*/{MARKER}")) for stage in later):
        raise RunFolderError(
            f"{path}: its base is not evaluated yet (r00/{Stage.EVALUATE}), so there is nothing to compare with; "
            f"`{run.command('status')}` says how far it is"
        )
    yield from found


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise RunFolderError(f"{file}: no such run or summary")
    try:
        return check(json.loads(file.read_bytes()))
    except BROKEN as error:
        what = f"it says no {error}" if isinstance(error, KeyError) else _told(error)
        raise RunFolderError(f"{file}: not a run's summary ({what})") from error


def _harmless(error: SeluError) -> str:
    """Its lines, none of which gives a terminal orders; a path may be of several."""
    from selu_hpc.viz.plain import plain

    return "\n".join(plain(line) for line in str(error).split("\n"))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    enter(main)
