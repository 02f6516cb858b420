"""Faults of one run's jobs: killed, cancelled, requeued, out of time or memory, failing."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from harness import SMALL, Lab, patience
from victims import LIMIT_S, ended, process_of, slow


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
    lab.wait_done(run, LIMIT_S)
    assert asked_for(run, "r01-rollout", "time") == ["1", "2"]
    return 1


def no_farther(lab: Lab, run: Path) -> int:
    """A rollout that is warned before each limit and never gets past its first line: it gets twice the time."""
    place = run / "rounds" / "01" / "rollout" / "shard-0001"
    with lab.held(run, "r01-rollout-s0001"):
        lab.submit(run, settings=(*SMALL, "resources.rollout.timeout_min=10"))
        for warned in itertools.count():
            attempt = place / f"attempt-{warned}"
            for _ in patience(LIMIT_S, f"attempt {warned} at work"):
                if (attempt / "progress.json").exists():
                    break
            lab.call("scancel", "--batch", "--signal=USR2", lab.element(run, "r01-rollout", 1))
            if ended(attempt)["state"] == "TIMEOUT":
                break
    assert warned == 3, f"given up after {warned + 1} warnings"
    lab.wait_done(run, LIMIT_S)
    assert asked_for(run, "r01-rollout", "time") == ["10", "20"]
    return warned + 1


def dead_rank(lab: Lab, run: Path) -> int:
    """One of two ranks is killed and the other waits for it: both are ended after a minute and start again."""
    place = run / "rounds" / "01" / "finetune_actor" / "shard-0000"
    lab.fault(run, "rank-dies-r01-finetune_actor-s0000", "")
    with lab.held(run, "r01-finetune_actor-s0000"):
        lab.submit(run, settings=(*SMALL, "finetune.num_ranks=2"))
        record = ended(place / "attempt-0")
    assert 55 < record["ended"] - record["begun"] < 180, record
    return 1


def out_of_memory(lab: Lab, run: Path) -> int:
    """A label task above its memory: killed by Slurm, sent again with twice as much."""
    lab.fault(run, "hog-r01-label-s0000", "1300")
    lab.submit(run)
    lab.wait_done(run, LIMIT_S)
    assert asked_for(run, "r01-label", "mem") == ["1GB", "2GB"]
    return 1


def asked_for(run: Path, label: str, option: str) -> list[str]:
    """What a stage's batch scripts asked for, in the order they were sent."""
    scripts = sorted((run / "jobs").glob(f"selu-*-{label}-g*.sh"))
    return [found for file in scripts for found in re.findall(rf"^#SBATCH --{option}=(\S+)$", file.read_text(), re.M)]


def failing_shard(lab: Lab, run: Path) -> int:
    """A rollout that raises twice; only that shard and its label are sent again."""
    lab.fault(run, "fail-r01-rollout-s0001", "2")
    lab.submit(run)
    return 2


FAULTS: dict[str, Callable[[Lab, Path], int]] = {
    "time limit, warned": time_limit,
    "time limit, deaf": deaf_time_limit,
    "kill -9 of a task": kill_a_task,
    "kill -9 of a batch script": kill_a_batch_script,
    "scancel of an element": cancel_an_element,
    "scancel of a fine-tuning": cancel_the_finetuning,
    "scontrol requeue": requeue_an_element,
    "a shard that fails twice": failing_shard,
    "out of memory": out_of_memory,
    "warned again and again, no farther": no_farther,
    "a rank dies alone": dead_rank,
}
