"""Play back a run's episodes: `python -m selu_hpc.replay --run RUN` writes RUN/report/replay.html.

One page without a network: both cameras, the actor's words, and every question the critic was asked. What the
simulator knew of success is read and shown with --truth only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from selu_hpc.errors import RunFolderError, SeluError
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.terminal import enter, positive
from selu_hpc.viz.choice import Kind


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selu_hpc.replay",
        description="Write a page that plays back a run's episodes with everything the critic said of them.",
        epilog="example: python -m selu_hpc.replay --run runs/first --round 1 --show relabelled",
    )
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--round", type=int, metavar="N", help="the round (default: the newest that is labelled)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--episode", action="append", default=[], metavar="ID", help="this episode; may be repeated")
    which.add_argument("--show", choices=[*map(str, Kind)], default=str(Kind.ALL), help="episodes of one kind only")
    parser.add_argument("--limit", type=positive, default=24, metavar="N", help="at most so many (default: 24)")
    parser.add_argument("--truth", action="store_true", help="also read and show what the simulator knew")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: RUN/report/replay.html)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.show == Kind.WRONG and not options.truth:
        parser.error("--show wrong needs --truth: only the simulator knows which verdicts are wrong")
    from selu_hpc.viz.replay import make_replay

    try:
        made = make_replay(
            RunDir(options.run.absolute()),
            round_id=round_of(options.episode) if options.round is None else options.round,
            ids=options.episode,
            show=Kind(options.show),
            limit=options.limit,
            with_truth=options.truth,
            out=options.out and options.out.absolute(),
        )
    except SeluError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{made}\n")
    return 0


def round_of(episodes: Sequence[str]) -> int | None:
    """The round that the names say, as r03-s0000-e0007 says 3; None where they say none."""
    found = sorted({int(match[1]) for name in episodes if (match := re.match(r"r(\d{1,9})-", name))})
    if len(found) > 1:
        raise RunFolderError(f"a page shows one round, the episodes are of {', '.join(map(str, found))}; make one each")
    return found[0] if found else None


if __name__ == "__main__":
    enter(main)
