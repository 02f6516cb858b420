"""What goes wrong on a cluster, done on purpose on the real one, and what the run looks like afterwards.

    python tests/faults/slurm.py [--quick] [--only NAME …]        as root, on a machine tests/cluster can use

Every fault is injected into a run of its own; afterwards nothing (or one more `submit`) must bring the run to the same
final bytes as a run nobody disturbed. Prints a table: fault, times injected, shards lost, shards doubled.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slurm"))

import itertools

from harness import SMALL, Lab, copy_with_payload, journal, load_cluster, patience, started

SLOW = "0.7"
LIMIT_S = 900.0


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


def slow(lab: Lab, run: Path, *names: str, pause_s: str = SLOW) -> None:
    for name in names:
        lab.fault(run, f"slow-{name}", pause_s)


# --- faults of one run


def kill_a_task(lab: Lab, run: Path) -> int:
    """kill -9 of a rollout's process."""
    with lab.held(run, "r01-rollout-s0001"):
        lab.submit(run)
        os.kill(process_of(lab, run, "rollout", 1), signal.SIGKILL)
    return 1


def kill_a_batch_script(lab: Lab, run: Path) -> int:
    """kill -9 of the script around a label task: nobody is left to write a record."""
    slow(lab, run, "r01-label-s0002", pause_s="2")
    with lab.held(run, "r01-label-s0002"):
        lab.submit(run)
        os.kill(process_of(lab, run, "label", 2, what="stage.sh"), signal.SIGKILL)
    return 1


def cancel_an_element(lab: Lab, run: Path) -> int:
    """scancel of one rollout element; its label is cancelled by Slurm, both are sent again."""
    slow(lab, run, "r01-rollout-s0000")
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run)
        lab.call("scancel", lab.element(run, "r01-rollout", 0))
    return 1


def cancel_the_finetuning(lab: Lab, run: Path) -> int:
    """scancel of the last fine-tuning, behind which no gate comes: the run's last job sends it again."""
    slow(lab, run, "r01-finetune_actor-s0000")
    with lab.held(run, "r01-finetune_actor-s0000"):
        lab.submit(run)
        lab.call("scancel", lab.element(run, "r01-finetune_actor"))
    return 1


def requeue_an_element(lab: Lab, run: Path) -> int:
    """scontrol requeue of one element, the array's last, whose job id is the whole array's."""
    slow(lab, run, "r01-rollout-s0002")
    with lab.held(run, "r01-rollout-s0002"):
        lab.submit(run)
        lab.call("scontrol", "requeue", lab.element(run, "r01-rollout", 2))
    return 1


def kill_submit_everywhere(lab: Lab, run: Path) -> int:
    """submit killed at its first journal line, then a new one at its second, and so on, in one run folder.

    Every other time just after the line and not before it, so that a job may or may not be with Slurm already.
    """
    for place in range(1, 60):
        done = lab.python(
            "-c", KILLED_SUBMIT, str(place), "before" if place % 2 else "after",
            "--run", str(run), "--rounds", "1", "--engine", "slurm",
            *(word for setting in SMALL for word in ("--set", setting)), check=False,
        )  # fmt: skip
        if done.returncode != 77:
            assert done.returncode == 0, done.stderr
            return place - 1
    raise AssertionError("submit does not get ahead")


KILLED_SUBMIT = """
import os, sys, threading
from selu_hpc.rounds.journal import Journal
place, moment = int(sys.argv[1]), sys.argv[2]
write, count, lock = Journal._write, 0, threading.Lock()
def killed(self, lines, *, sync):
    global count
    with lock:
        for number, line in enumerate(lines):
            count += 1
            if count == place:  # a block of lines may be cut in its middle
                write(self, lines[: number + (moment == "after")], sync=sync)
                os._exit(77)
        write(self, lines, sync=sync)
Journal._write = killed
from selu_hpc.submit import main
sys.exit(main(sys.argv[3:]))
"""


def lying_sbatch(lab: Lab, run: Path) -> int:
    """sbatch that says "Socket timed out" after Slurm accepted the job, every time."""
    return _with_sbatch(lab, run, 'real "$@" >/dev/null; said=1')


def failing_sbatch(lab: Lab, run: Path) -> int:
    """sbatch that fails without having reached Slurm, the first three times it is called."""
    return _with_sbatch(lab, run, 'if (( count % 2 && count < 6 )); then said=1; else real "$@"; exit; fi')


def slow_sbatch(lab: Lab, run: Path) -> int:
    """sbatch whose job is accepted only after it has failed, and was sent again: two copies, one must go."""
    return _with_sbatch(lab, run, 'if (( count == 3 )); then (sleep 25; real "$@") >/dev/null 2>&1 & fi; '
                        'if (( count == 3 )); then said=1; else real "$@"; exit; fi', again=True)  # fmt: skip


def _with_sbatch(lab: Lab, run: Path, body: str, *, again: bool = False) -> int:
    tools = lab.home / f"tools-{run.name}"
    tools.mkdir()
    shutil.chown(tools, lab.user, lab.user)
    real = shutil.which("sbatch")
    (tools / "sbatch").write_text(
        f'#!/bin/bash\nreal() {{ {real} "$@"; }}\n'
        f"[[ $1 == --version ]] && exec {real} --version\n"
        f"exec 9>> {tools}/lock; flock 9; echo >> {tools}/count; count=$(wc -l < {tools}/count); exec 9>&-; said=0\n"
        f"{body}\n"
        'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2\nexit 1\n'
    )
    (tools / "sbatch").chmod(0o755)
    mine = Lab(lab.cluster, lab.home, lab.code, lab.user, extra_path=tools)
    mine.submit(run)
    count = len((tools / "count").read_text().splitlines())
    if again:
        time.sleep(15)
        lab.resubmit(run)
        return 1
    return count


def two_submits_at_once(lab: Lab, run: Path) -> int:
    """The same submit in two shells: one is told that the other is at work, or finds everything done."""
    with ThreadPoolExecutor(2) as pool:
        codes = [one.returncode for one in pool.map(lambda _: lab.submit(run, check=False), range(2))]
    assert 0 in codes
    assert len([e for e in journal(run) if e["event"] == "submitted"]) == 9
    return 1


def lost_before_the_end(lab: Lab, run: Path) -> int:
    """The journal's last lines are lost and one is torn (a full disk): submit finds the jobs by their names."""
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run)
        file = run / "journal.jsonl"
        lines = file.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if b'"submitted"' not in line or b"rollout" not in line]
        file.write_bytes(b"".join(kept) + b'{"time": 1, "event": "subm')
        lab.resubmit(run)
    assert any(event["event"] == "adopted" for event in whole_lines(run))
    return 1


def time_limit(lab: Lab, run: Path) -> int:
    """A rollout that needs more than its minute, warned by USR2: it saves, is requeued and goes on."""
    slow(lab, run, "r01-rollout-s0001", pause_s="9")
    lab.submit(run, settings=(*SMALL, "resources.rollout.timeout_min=1"))
    return 1


def deaf_time_limit(lab: Lab, run: Path) -> int:
    """A rollout that hears no warning and is killed at its limit: it gets twice the time."""
    slow(lab, run, "r01-rollout-s0001", pause_s="14")
    lab.fault(run, "deaf-r01-rollout-s0001", "")
    lab.submit(run, settings=(*SMALL, "resources.rollout.timeout_min=1"))
    return 1


def out_of_memory(lab: Lab, run: Path) -> int:
    """A label task above its memory: killed by Slurm, sent again with twice as much."""
    lab.fault(run, "hog-r01-label-s0000", "1300")
    lab.submit(run)
    return 1


def truncated_shard(lab: Lab, run: Path) -> int:
    """A finished rollout's file loses its end before the gate looks at it."""
    shard = run / "rounds" / "01" / "rollout" / "shard-0000"
    with lab.held(run, "r01-label-s0002"):
        lab.submit(run)
        for _ in patience(LIMIT_S, "the first rollout"):
            if (shard / "done.json").exists():
                break
        with (shard / "lines.jsonl").open("r+b") as file:
            file.truncate(100)
    return 1


def failing_shard(lab: Lab, run: Path) -> int:
    """A rollout that raises twice; only that shard and its label are sent again."""
    lab.fault(run, "fail-r01-rollout-s0001", "2")
    lab.submit(run)
    return 2


# --- faults of the whole cluster


def preemption(lab: Lab, run: Path) -> int:
    """A job of a higher partition takes a rollout's node; it saves, is requeued and goes on from its last line."""
    slow(lab, run, *(f"r01-rollout-s{shard:04d}" for shard in range(3)), pause_s="2")
    lab.submit(run, settings=(*SMALL, "resources.rollout.partition=preempt", "resources.rollout.cpus=8"))
    element = lab.element(run, "r01-rollout", 0)
    node = lab.call("squeue", "--noheader", f"--jobs={element}", "--format=%N").stdout.strip()
    time.sleep(2)
    wish = ["--partition=cpu", f"--nodelist={node}", "--ntasks=1", "--cpus-per-task=8", "--mem=200M"]
    job = lab.call("sbatch", "--parsable", "-J", "bully", *wish, "--wrap", "sleep 3").stdout.strip()
    for _ in patience(LIMIT_S, "the bully"):
        if job not in lab.call("squeue", "--noheader", "--format=%A").stdout.split():
            break
    assert any(a.get("requeued") or a["restart"] for attempts in started(run).values() for a in attempts)
    return 1


def node_down(lab: Lab, run: Path) -> int:
    """A node loses power under a rollout and comes back later."""
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run, settings=(*SMALL, "resources.rollout.cpus=8"))
        element = lab.element(run, "r01-rollout", 0)
        node = lab.call("squeue", "--noheader", f"--jobs={element}", "--format=%N").stdout.strip()
        lab.cluster.stop_node(node)
        kill_everything_on(lab, run, node)
    for _ in patience(120, f"{node} being called down"):
        if "down" in lab.call("sinfo", "-h", "-n", node, "-o", "%t").stdout:
            break
    lab.cluster.start_node(node)
    return 1


def controller_restart(lab: Lab, run: Path) -> int:
    """slurmctld is stopped while rollouts run, is away for some seconds and comes back."""
    slow(lab, run, "r01-rollout-s0000")
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run)
        lab.element(run, "r01-rollout", 0)
        lab.cluster.stop("slurmctld")
    time.sleep(4)
    lab.cluster.start("slurmctld", ["slurmctld", "-D"])
    return 1


def accounting_down(lab: Lab, run: Path) -> int:
    """slurmdbd is away while a shard fails and is retried: markers and the queue are enough."""
    lab.fault(run, "fail-r01-rollout-s0001", "1")
    slow(lab, run, "r01-rollout-s0000")
    lab.cluster.stop("slurmdbd", hard=True)
    try:
        lab.submit(run)
        lab.wait_done(run, LIMIT_S)
    finally:
        lab.cluster.start("slurmdbd", ["slurmdbd", "-D"])
    return 1


def node_drained(lab: Lab, run: Path) -> int:
    """A node is drained under a rollout and resumed: its task ends there, others go elsewhere."""
    slow(lab, run, "r01-rollout-s0000")
    root = lab.cluster.output
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run)
        element = lab.element(run, "r01-rollout", 0)
        node = lab.call("squeue", "--noheader", f"--jobs={element}", "--format=%N").stdout.strip()
        root(["scontrol", "update", f"nodename={node}", "state=drain", "reason=test"])
    lab.wait_done(run, LIMIT_S)
    root(["scontrol", "update", f"nodename={node}", "state=resume"])
    return 1


def broken_node(lab: Lab, run: Path) -> int:
    """A node on which everything fails at once: it is named and excluded, the run goes on elsewhere."""
    lab.fault(run, "bad-node", "c1")
    lab.submit(run, settings=(*SMALL, "rollout.num_shards=6", "retry.max_retries=3", "resources.rollout.cpus=4"))
    lab.wait_done(run, LIMIT_S)
    nodes = [event["node"] for event in journal(run) if event["event"] == "quarantined"]
    assert nodes == ["c1"], f"quarantined {nodes}"
    return 1


FAULTS: dict[str, Callable[[Lab, Path], int]] = {
    "time limit, warned": time_limit,
    "time limit, deaf": deaf_time_limit,
    "kill -9 of a task": kill_a_task,
    "kill -9 of a batch script": kill_a_batch_script,
    "scancel of an element": cancel_an_element,
    "scancel of a fine-tuning": cancel_the_finetuning,
    "scontrol requeue": requeue_an_element,
    "a shard that fails twice": failing_shard,
    "submit killed at every journal line": kill_submit_everywhere,
    "sbatch errs after acceptance": lying_sbatch,
    "sbatch errs before acceptance": failing_sbatch,
    "sbatch accepted after the retry": slow_sbatch,
    "two submits at once": two_submits_at_once,
    "journal loses lines": lost_before_the_end,
    "out of memory": out_of_memory,
    "shard truncated before the gate": truncated_shard,
}
OF_THE_CLUSTER: dict[str, Callable[[Lab, Path], int]] = {
    "slurmctld restarted": controller_restart,
    "slurmdbd down": accounting_down,
    "node drained": node_drained,
    "slurmd down and back": node_down,
    "preemption": preemption,
    "a node that fails everything": broken_node,
}
LONG = {"time limit, deaf", "slurmd down and back"}
OTHER_SHAPE = {"a node that fails everything": ("rollout.num_shards=6",)}


def process_of(lab: Lab, run: Path, stage: str, shard: int, *, what: str = "") -> int:
    """The process id of a stage's task, once it works."""
    folder = run / "rounds" / "01" / stage / f"shard-{shard:04d}"
    wanted = what or f"selu_hpc.stages.{stage}"
    for _ in patience(300, f"{stage} {shard} at work", context=lambda: lab.describe(run)):
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or not (folder / "lines.jsonl").exists():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            ours = str(run).encode() in words and any(wanted.encode() in word for word in words)
            index = f"SLURM_ARRAY_TASK_ID={shard}".encode() in environment
            if ours and index and b"srun" not in words[0] and (what or b"python" in words[0]):
                return int(entry.name)
    raise AssertionError


def kill_everything_on(lab: Lab, run: Path, node: str) -> None:
    """What a power cut does to a node's processes; step daemons included."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            of_node = f"SLURMD_NODENAME={node}\0".encode() in environment
            daemon = b"slurmstepd" in command and f"-N{node}".encode() in environment + command
            if (of_node and str(run).encode() in environment + command) or daemon:
                try:
                    os.kill(int(entry.name), signal.SIGKILL)
                except ProcessLookupError:
                    continue


def whole_lines(run: Path) -> list[dict]:
    import json

    found = []
    for line in (run / "journal.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


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
    cluster.up()
    home = cluster.STATE / "shared"
    code = home / f"code-faults-{os.getpid()}"
    copy_with_payload(code)
    return Lab(cluster, home, code)


def main() -> int:
    parser = argparse.ArgumentParser(description="Inject faults into runs on the real Slurm and print a table.")
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
