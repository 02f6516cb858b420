"""What explain says of the run as a whole: who is silent, who holds the lock, what code runs, which nodes are out."""

import json
import re
import socket

from selu_hpc.engines.why.explaining import explain
from selu_hpc.engines.why.facts import CHECKOUT
from selu_hpc.engines.why.words import How
from selu_hpc.rounds.copying import code_digest
from selu_hpc.rounds.lock import hold_lock


def test_silence_of_the_queue_is_stated_and_nothing_is_guessed(slurm):
    slurm.squeue.fails("slurm_load_jobs error: Unable to contact slurm controller")
    told = slurm.explain()
    assert "Slurm's queue is not known: slurm_load_jobs error: Unable to contact slurm controller" in told.trouble
    assert told.shard.reason == "it has not begun, and whether it is in the queue is not known"
    assert told.shard.retry.will is None
    assert told.next == "ask again on a login node where squeue answers"


def test_a_queue_that_fails_without_a_word_is_silence_too(slurm):
    slurm.squeue.tool.write_text("#!/bin/sh\nexit 3\n")
    assert "Slurm's queue is not known: squeue ended with 3" in slurm.explain().trouble


def test_silence_of_accounting_is_stated_and_the_cause_is_not_guessed(slurm):
    slurm.attempt()
    told = slurm.explain()
    assert told.trouble == ["Slurm's accounting is not known: Slurm accounting storage is disabled"]
    assert told.shard.tries[-1].how is How.VANISHED


def test_a_lock_of_another_host_is_told_with_its_last_touch(job, squeue):
    owner = {"host": "login2", "pid": 77, "born": "1", "purpose": "a submit"}
    job.run.lock_file.write_text(json.dumps(owner))
    told = explain(job.run, "", squeue.calls)
    assert re.fullmatch(
        r"a submit holds the run's lock: process 77 on login2, another host, so only its touch says that it lives "
        r"\(last \d+ s ago; after 60 s the next command takes the lock over\)",
        told.trouble[0],
    )
    assert told.next.startswith("wait: a submit is at work in the run")


def test_a_lock_of_this_host_is_told_by_its_process(job, squeue):
    with hold_lock(job.run.lock_file, purpose="a local run"):
        told = explain(job.run, "", squeue.calls)
    assert told.trouble[0].startswith("a local run holds the run's lock: process ")
    assert told.trouble[0].endswith(socket.gethostname())


def test_another_code_than_the_runs_is_told_and_the_command_takes_the_runs_own(slurm):
    slurm.job.run.code.mkdir()
    slurm.job.journal.append("code", digest="0123456789abcdef", commit=None)
    slurm.queue(gate=False)
    told = slurm.explain()
    mismatch = next(line for line in told.trouble if line.startswith("code mismatch"))
    assert "the run's jobs run code 0123456789abcdef" in mismatch
    assert told.next.startswith("PYTHONSAFEPATH=1 PYTHONPATH=")
    slurm.job.journal.append("code", digest=code_digest(str(CHECKOUT)), commit=None)
    assert not [line for line in slurm.explain().trouble if "code mismatch" in line]


def test_an_excluded_node_is_named(slurm):
    slurm.job.journal.append("quarantined", node="c1", why="2 tasks failed on it")
    assert "node c1 is excluded for this run: 2 tasks failed on it" in slurm.explain().trouble
