"""Faults of the whole cluster: daemons and nodes that go away and come back, preemption. One at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness import SMALL, Lab, journal, patience, started
from victims import LIMIT_S, kill_everything_on, slow


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
        kill_everything_on(run, node)
    for _ in patience(120, f"{node} being called down"):
        if "down" in lab.call("sinfo", "-h", "-n", node, "-o", "%t").stdout:
            break
    lab.cluster.start_node(node)
    lab.wait_done(run, LIMIT_S)
    assert any(attempt["restart"] for attempt in started(run)["01/rollout/shard-0000"]), "not lost with its node"
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
    "slurmctld restarted": controller_restart,
    "slurmdbd down": accounting_down,
    "node drained": node_drained,
    "slurmd down and back": node_down,
    "preemption": preemption,
    "a node that fails everything": broken_node,
}
