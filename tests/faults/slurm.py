"""What goes wrong on a cluster, done on purpose on the real one, and what the run looks like afterwards.

    python tests/faults/slurm.py [--quick] [--only NAME …]        as root, where tests/cluster/cluster.py is up

Every fault is injected into a run of its own; afterwards nothing (or one more `submit`) must bring the run to the same
final bytes as a run nobody disturbed. Prints a table: fault, times injected, shards lost, shards doubled.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slurm"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import of_files
import of_jobs
import of_submission
import of_the_cluster
from harness import SMALL, Lab, copy_with_payload, load_cluster, started
from victims import LIMIT_S, whole_lines

FAULTS = {**of_jobs.FAULTS, **of_files.FAULTS, **of_submission.FAULTS}
OF_THE_CLUSTER = of_the_cluster.FAULTS
LONG = {"time limit, deaf", "slurmd down and back"}
OTHER_SHAPE = {"a node that fails everything": ("rollout.num_shards=6",)}


@dataclass
class Outcome:
    fault: str
    injected: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    trouble: str = ""

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.trouble) and self.injected > 0


def doubled(run: Path) -> int:
    """Shards that two attempts finished, or worked on at the same time; broken ones may be made again."""
    again = {event["shard"] for event in whole_lines(run) if event["event"] == "corrupt"}
    count = 0
    for place, attempts in started(run).items():
        number, stage, shard = place.split("/")
        if f"r{number}-{stage}-s{shard[6:]}" in again or stage == "gate":
            continue
        good = [a for a in attempts if a.get("code") == 0]
        spans = sorted((a["begun"], a.get("ended", a["begun"])) for a in attempts)
        overlap = any(first[1] > second[0] for first, second in itertools.pairwise(spans))
        count += len(good) > 1 or overlap
    return count


def inject(lab: Lab, name: str, reference: Callable[[str], dict[str, str]]) -> Outcome:
    """One fault in a run of its own, and what came of it."""
    run = lab.home / ("".join(letter if letter.isalnum() else "-" for letter in name) + f"-{os.getpid()}")
    outcome, begun = Outcome(name), time.monotonic()
    try:
        outcome.injected = {**FAULTS, **OF_THE_CLUSTER}[name](lab, run)
        found = lab.wait_done(run, LIMIT_S, also_held=True)
        if found != reference(name) or lab.queue(run):
            lab.resubmit(run)
            found = lab.wait_done(run, LIMIT_S)
        expected = reference(name)
        outcome.lost = sum(found.get(place) != content for place, content in expected.items())
        outcome.doubled = doubled(run)
    except Exception as error:  # the table shows every fault, whatever became of one
        outcome.trouble = f"{error}\n{traceback.format_exc(limit=-3)}"
    outcome.seconds = time.monotonic() - begun
    print(
        f"{outcome.fault}: {'ok' if outcome.ok else 'FAILED'} in {outcome.seconds:.0f} s", file=sys.stderr, flush=True
    )
    return outcome


class References:
    """Runs nobody disturbed, one per shape, made when first asked for."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.made, self.lock = lab, {}, threading.Lock()

    def __call__(self, name: str) -> dict[str, str]:
        extra = OTHER_SHAPE.get(name, ())
        with self.lock:
            if extra not in self.made:
                run = self.lab.home / f"reference-{len(self.made)}-{os.getpid()}"
                self.lab.submit(run, settings=(*SMALL, *extra))
                self.made[extra] = self.lab.wait_done(run, LIMIT_S)
                assert len(self.made[extra]) >= 12
            return self.made[extra]


def run_all(names: list[str], *, lab: Lab, at_once: int = 5) -> list[Outcome]:
    reference = References(lab)
    alone = [name for name in names if name in OF_THE_CLUSTER]
    together = [name for name in names if name not in OF_THE_CLUSTER]
    if together:
        reference(together[0])
    with ThreadPoolExecutor(at_once) as pool:
        outcomes = list(pool.map(lambda name: inject(lab, name, reference), together))
    return outcomes + [inject(lab, name, reference) for name in alone]


def table(outcomes: list[Outcome]) -> str:
    lines = [f"{'fault':<38} {'injected':>8} {'lost':>5} {'doubled':>8} {'seconds':>8}"]
    for one in outcomes:
        verdict = "" if one.ok else "  FAILED"
        lines.append(f"{one.fault:<38} {one.injected:>8} {one.lost:>5} {one.doubled:>8} {one.seconds:>8.0f}{verdict}")
    return "\n".join(lines)


def prepare() -> Lab:
    cluster = load_cluster()
    try:
        cluster.require_up()
    except cluster.ClusterError as error:
        sys.exit(f"error: {error}")
    home = cluster.STATE / "shared"
    code = home / f"code-faults-{os.getpid()}"
    copy_with_payload(code)
    return Lab(cluster, home, code)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Inject faults into runs on the test cluster, as root, and print a table; "
        "`python tests/cluster/cluster.py up` brings it up."
    )
    parser.add_argument("--quick", action="store_true", help="leave out what waits for Slurm's own minutes")
    parser.add_argument("--only", nargs="+", choices=[*FAULTS, *OF_THE_CLUSTER], metavar="FAULT")
    options = parser.parse_args()
    names = options.only or [n for n in (*FAULTS, *OF_THE_CLUSTER) if not (options.quick and n in LONG)]
    outcomes = run_all(names, lab=prepare())
    for one in outcomes:
        if one.trouble:
            print(f"--- {one.fault}\n{one.trouble}", file=sys.stderr)
    print(table(outcomes))
    return 0 if all(one.ok for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
