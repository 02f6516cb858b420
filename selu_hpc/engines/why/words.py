"""What Slurm's words and an attempt's end mean, a sentence each, and what to do about it. Pure; no facts of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    """How an attempt ended, or that it has not."""

    RUNNING = "running"
    DONE = "done"
    SENT_AGAIN = "sent missing shards again"
    REQUEUED = "requeued"
    PREEMPTED = "preempted"
    STOPPED = "stopped"
    OOM = "out of memory"
    GPU_OOM = "out of GPU memory"
    TIMEOUT = "time limit"
    NODE = "node failure"
    CANCELLED = "cancelled"
    DEPENDENCY = "dependency failed"
    QUORUM = "quorum missed"
    CORRUPT = "broken shard"
    DISK = "disk full"
    KILLED = "killed"
    FAILED = "failed"
    UNMARKED = "no marker"
    VANISHED = "vanished"
    UNSEEN = "end unknown"


@dataclass(frozen=True, slots=True)
class Words:
    """A fact in one sentence, and what to do about it; nothing to do is said too."""

    means: str
    do: str


ENDS = {
    How.RUNNING: Words("it is at work", "wait"),
    How.DONE: Words("it finished", "nothing"),
    How.SENT_AGAIN: Words("it sent missing shards again and left the decision to the gate behind it", "wait"),
    How.REQUEUED: Words("it saved its work and Slurm put it back into the queue, which is no failure", "wait"),
    How.PREEMPTED: Words(
        "Slurm took it from its node for another job, or a person requeued it; it is in the queue again", "wait"
    ),
    How.STOPPED: Words("a signal stopped it with its work saved, which is no failure", "submit goes on from it"),
    How.OOM: Words("it took more memory than its job had", "give it more memory"),
    How.GPU_OOM: Words(
        "the GPU's memory was too small; more of the node's memory does not help",
        "make model.batch_size or finetune.micro_batch smaller, or use a larger GPU",
    ),
    How.TIMEOUT: Words("it was not done when its time was over; what it had flushed stays", "give it more time"),
    How.NODE: Words("its node went down or lost contact, which is no fault of the task", "let it run on another node"),
    How.CANCELLED: Words("somebody cancelled its job", "submit again when that is wanted"),
    How.DEPENDENCY: Words("Slurm cancelled it because what it waits for had failed", "mend what it waits for"),
    How.QUORUM: Words("fewer shards are whole than retry.quorum asks for", "mend the missing ones, or lower it"),
    How.CORRUPT: Words("a shard's files are not what its marker says", "have that shard made anew"),
    How.DISK: Words("the disk is full or the quota used up", "make room, then submit"),
    How.KILLED: Words(
        "something outside ended it", "look for what or who did (the node's memory, a person), then submit"
    ),
    How.FAILED: Words("it ended with an error", "mend the cause its log names"),
    How.UNMARKED: Words("it ended well but left no marker, so it has not succeeded", "look at the file system"),
    How.VANISHED: Words("nobody wrote down its end: it was killed with whoever watched it", "submit goes on from it"),
    How.UNSEEN: Words("no end of it is written down, and it may still be at work", "ask where squeue answers"),
}

PENDING = {
    "Priority": Words("jobs of higher priority are served first", "wait"),
    "Resources": Words("it is next in line and waits for nodes to become free", "wait"),
    "None": Words("Slurm has not looked at it yet", "wait a minute"),
    "Dependency": Words("it waits for other jobs", "look at what it waits for"),
    "DependencyNeverSatisfied": Words("what it waits for has failed and never comes", "submit cancels and resends it"),
    "JobHeldUser": Words("it is on hold", "release it"),
    "JobHeldAdmin": Words("an administrator put it on hold", "ask the cluster's administrators"),
    "BeginTime": Words("it was requeued and may not start before a moment Slurm chose, mostly two minutes", "wait"),
    "JobArrayTaskLimit": Words("as many tasks of its array run as array_throttle allows", "wait"),
    "QOSMaxSubmitJobPerUserLimit": Words(
        "you have as many jobs in the queue as your QOS allows", "wait, or submit fewer rounds (chain=rolling)"
    ),
    "ReqNodeNotAvail": Words(
        "nodes it could run on are down, drained or reserved, often for a maintenance its time limit reaches into",
        "see `sinfo -R` and `scontrol show reservation`; ask for less time or wait",
    ),
    "PartitionTimeLimit": Words(
        "it asks for more time than its partition allows, and Slurm never starts it",
        "lower resources.*.timeout_min, then submit",
    ),
    "PartitionNodeLimit": Words(
        "its partition gives no job one node alone, and Slurm never starts it",
        "choose another partition in the site profile, then submit",
    ),
    "MaxMemPerLimit": Words(
        "it asks for more memory than the cluster lets one job have, and Slurm never starts it",
        "lower resources.*.mem_gb, then submit",
    ),
    "PartitionDown": Words("its partition takes no jobs to nodes now", "wait or ask the administrators"),
    "PartitionInactive": Words("its partition is switched off", "choose another partition in the site profile"),
    "NodeDown": Words("a node it needs is down", "wait, or see `sinfo -R`"),
    "BadConstraints": Words(
        "no node of its partition has what it asks for, and Slurm never looks at it again",
        "lower resources.* of its stage or correct the site profile (`sinfo -Ne -o '%P %c %m %G'`), then submit",
    ),
    "JobHoldMaxRequeue": Words("Slurm requeued it as often as the cluster allows and keeps it", "submit resends it"),
    "Licenses": Words("it waits for a licence", "wait"),
    "Reservation": Words("it waits for its reservation to begin", "wait"),
    "launch failed requeued held": Words("Slurm could not start it on a node and keeps it", "submit resends it"),
    "job requeued in held state": Words("it was requeued and is kept on hold", "submit cancels and resends it"),
}
"""Reasons of squeue; families of them are below."""
ONE_PARTITION = Words("that is true of one of its partitions, it may start in another", "wait")
FAMILIES = (
    ("Assoc", Words("your account has used up what the cluster allows it at once or in all", "wait, or ask for more")),
    ("QOS", Words("your QOS allows no more at once or in all", "wait, or choose another qos in the site profile")),
    ("Max", Words("you have reached a limit of the cluster", "wait until some of your jobs have ended")),
    ("Nodes required for job are DOWN", PENDING["ReqNodeNotAvail"]),
)


def pending_words(reason: str) -> Words:
    """`(ReqNodeNotAvail, UnavailableNodes:c1)` → what it means."""
    name = reason.strip("()").partition(",")[0]
    if name in PENDING:
        return PENDING[name]
    if kept := re.search(r"(requeued held|in held state)$", name.replace("_", " ")):
        return PENDING["launch failed requeued held" if kept[1] == "requeued held" else "job requeued in held state"]
    if one_job := re.match(r"(Assoc|QOS)Max(Wall)?\w*Per(Job|Node)", name):
        whose, setting = "account" if one_job[1] == "Assoc" else "QOS", ".timeout_min" if one_job[2] else ""
        return Words(
            f"it asks for more than your {whose} allows one job, perhaps as a retry, and Slurm never starts it",
            f"lower resources.*{setting} or choose another qos or account in the site profile, then submit",
        )
    family = next((words for start, words in FAMILIES if name.startswith(start)), None)
    return family or Words(f"Slurm's reason is {name or 'not given'}", "see `scontrol show job` and Slurm's manual")
