"""Every reason that explain knows: recognised from its traces, worded plainly, with the retry a gate decides on."""

import json
import re
import socket
import time

import pytest
from faked_slurm import BEGUN, attempted, finish, row, submitted

from selu_hpc.engines.attempts import count_failures, known_causes, read_attempts
from selu_hpc.engines.slurm.ledger import Ledger, match
from selu_hpc.engines.slurm.reconcile import Situation, decide
from selu_hpc.engines.slurm.state import read_sacct
from selu_hpc.engines.why.explaining import explain
from selu_hpc.engines.why.facts import CHECKOUT
from selu_hpc.engines.why.words import How, pending_words
from selu_hpc.recipes import to_yaml
from selu_hpc.rounds.copying import code_digest
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

PLACE = "r01/rollout/1"
ERROR = "2026-01-01 00:00:09.000 ERROR   r01/rollout/1 selu_hpc.stages.entry: {}\n"


class Slurm:
    """A rollout job of two shards with its gate behind it; shard 1 is the one that is asked about."""

    def __init__(self, job, squeue):
        self.job, self.squeue = job, squeue
        job.journal.append("started", engine="slurm")
        self.rollout = submitted(job, "r01-rollout", "7")
        self.gate = submitted(job, "r01-gate", "9", "0", waits=[("afterany", self.rollout)])
        job.journal.append("released", names=[self.rollout, self.gate])
        finish(job, "r00/testset", "r00/evaluate")
        self.queue()

    def queue(self, *rows, gate=True):
        waits = [row("9", None, "PENDING", self.gate, "Dependency")] if gate else []
        self.squeue.says(*waits, *rows)

    def attempt(self, number=0, *, log="", slurm_log="", job="7_1", name="", **record):
        attempted(self.job, PLACE, number, name=name or self.rollout, job=job, log=log, slurm_log=slurm_log, **record)

    def accounts(self, state, *steps, element="7_1", name=""):
        self.squeue.accounts(f"{element}|{name or self.rollout}|{state}|0:0|2026|2026|2026|c1||4G", *steps)

    def explain(self, what=PLACE):
        return explain(self.job.run, what, self.squeue.calls)

    @property
    def last(self):
        return self.explain().shard.tries[-1]

    @property
    def retry(self):
        return self.explain().shard.retry


@pytest.fixture
def slurm(job, squeue):
    return Slurm(job, squeue)


# --- how attempts end


def test_out_of_memory_is_known_from_the_record_and_asks_for_twice_as_much(slurm):
    slurm.attempt(code=137, ended=BEGUN + 9, oom=True)
    assert slurm.last.how is How.OOM
    assert slurm.retry.asks.mem_gb == 8


def test_out_of_memory_is_known_from_a_step_above_its_memory(slurm):
    slurm.attempt(code=137, ended=BEGUN + 9)
    slurm.accounts("FAILED", "7_1.0|python|CANCELLED by 0|0:9|2026|2026|2026|c1|4300000K|")
    assert slurm.last.how is How.OOM
    assert slurm.last.peak_gb == pytest.approx(4.1, abs=0.01)


def test_gpu_memory_is_told_apart_for_more_of_the_nodes_memory_does_not_help(slurm):
    slurm.attempt(code=1, ended=BEGUN + 9, oom=True, log=ERROR.format("torch.OutOfMemoryError: CUDA out of memory."))
    assert slurm.last.how is How.GPU_OOM
    assert "model.batch_size" in slurm.explain().shard.do


def test_a_time_limit_is_known_from_accounting_and_asks_for_twice_as_much(slurm):
    slurm.attempt()
    slurm.accounts("TIMEOUT")
    assert slurm.last.how is How.TIMEOUT
    assert slurm.retry.asks.timeout_min == 120


def test_more_time_ends_at_the_partitions_limit(slurm):
    site = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu", "max_timeout_min": 90}}})
    (slurm.job.run.jobs / "site.yaml").write_text(to_yaml(site))
    slurm.attempt()
    slurm.accounts("TIMEOUT")
    assert slurm.retry.asks.timeout_min == 90


def test_more_memory_ends_at_the_largest_nodes(slurm):
    site = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu", "max_mem_gb": 6}}})
    (slurm.job.run.jobs / "site.yaml").write_text(to_yaml(site))
    slurm.attempt(code=137, ended=BEGUN + 9, oom=True)
    assert slurm.retry.asks.mem_gb == 6


def test_a_job_that_asks_for_what_no_node_has_is_named_with_what_to_lower(slurm):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "BadConstraints"))
    trouble = [line for line in slurm.explain("").trouble if slurm.rollout in line]
    assert "1 tasks ask for more than a node has or one job may have; lower resources.*" in trouble[0]
    assert "lower resources.*" in pending_words("BadConstraints").do


def test_a_retry_that_grew_past_what_one_job_may_have_is_named_and_not_told_to_grow_again(slurm):
    slurm.attempt()
    slurm.accounts("TIMEOUT")
    again = submitted(slurm.job, "r01-rollout", "8", generation=1, minutes=120)
    slurm.queue(row("8", 1, "PENDING", again, "QOSMaxWallDurationPerJobLimit"))
    told = slurm.explain()
    assert any(again in line and "QOSMaxWallDurationPerJobLimit" in line for line in told.trouble)
    assert "lower resources.*.timeout_min" in told.shard.do
    assert told.next.startswith("python -m selu_hpc.submit")
    assert "timeout_min=" not in told.next


def test_what_one_of_its_partitions_does_not_allow_is_no_reason_to_do_anything(slurm):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "PartitionTimeLimit") + "|a,b")
    told = slurm.explain()
    assert "PartitionTimeLimit: that is true of one of its partitions, it may start in another" in told.shard.reason
    assert told.shard.do == "wait"
    assert not told.trouble


def test_a_preempted_attempt_is_no_failure_and_the_next_one_waits_in_the_queue(slurm):
    slurm.attempt(code=75, ended=BEGUN + 9, requeued=True, signal="TERM")
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "BeginTime"))
    told = slurm.explain().shard
    assert told.tries[-1].how is How.PREEMPTED
    assert not told.tries[-1].is_failure
    assert "requeued and may not start before a moment Slurm chose" in told.reason
    assert "attempt 0: preempted, Slurm took it from its node for another job" in told.reason
    assert told.retry.words == "yes: job 7 is in the queue for it, with 4 GB and 60 minutes"


def test_one_that_saved_before_its_time_was_over_is_requeued(slurm):
    slurm.attempt(code=75, ended=BEGUN + 9, requeued=True, signal="USR2")
    assert slurm.last.sentence.startswith("requeued, its time was nearly over")


def test_one_that_slurm_took_from_its_node_and_started_again_is_requeued(slurm):
    slurm.attempt(0)
    slurm.attempt(1)
    slurm.queue(row("7", 1, "RUNNING", slurm.rollout, node="c2"))
    assert [one.how for one in slurm.explain().shard.tries] == [How.REQUEUED, How.RUNNING]


def test_a_node_failure_is_no_fault_of_the_task(slurm):
    slurm.attempt()
    slurm.accounts("NODE_FAIL")
    assert slurm.last.sentence == ("node failure, its node went down or lost contact, which is no fault of the task")
    assert slurm.retry.will


def test_a_run_that_a_person_cancelled_is_told_by_the_journal(slurm):
    slurm.attempt(code=143, ended=time.time(), state="CANCELLED")
    slurm.job.journal.append("cancelled", name=slurm.rollout, job="7", why="cancel was asked for")
    slurm.queue(gate=False)
    assert slurm.last.sentence == "cancelled, a person stopped the run with selu_hpc.cancel"
    assert slurm.explain().next.startswith("python -m selu_hpc.submit --run ")


def test_a_job_that_a_person_cancelled_with_scancel_is_told_by_slurm(slurm):
    slurm.accounts("CANCELLED by 1002")
    assert slurm.last.number is None
    assert slurm.last.sentence == "cancelled, a person cancelled its job with scancel"


def test_a_job_cancelled_since_what_it_waited_for_failed_is_no_persons_doing(slurm):
    label = submitted(slurm.job, "r01-label", "8", waits=[("aftercorr", slurm.rollout)])
    slurm.accounts("CANCELLED by 0", element="8_1", name=label)
    told = slurm.explain("r01/label/1").shard
    assert told.tries[-1].how is How.DEPENDENCY
    assert [(need.on, need.met) for need in told.needs] == [("r01/rollout/1", False)]


def test_an_error_is_told_by_its_last_line(slurm):
    slurm.attempt(code=1, ended=BEGUN + 9, log=ERROR.format("ModelError: no adapter in /x; run the finetune stage"))
    assert slurm.last.said == "ModelError: no adapter in /x; run the finetune stage"
    assert slurm.last.how is How.FAILED


def test_a_kill_from_outside_is_told_apart_from_an_error(slurm):
    slurm.attempt(code=137, ended=BEGUN + 9)
    assert slurm.last.how is How.KILLED


def test_one_that_was_told_to_end_while_slurm_is_silent_is_not_called_a_failure_of_its_own(slurm):
    slurm.attempt(code=143, ended=BEGUN + 9)
    assert slurm.last.sentence == "killed, somebody or Slurm told it to end (SIGTERM), exit code 143"


def test_an_attempt_that_ended_before_the_run_was_cancelled_was_not_cancelled_with_it(slurm):
    slurm.attempt(code=143, ended=BEGUN + 9, state="CANCELLED")
    slurm.job.journal.append("cancelled", name=slurm.rollout, job="7", why="cancel was asked for")
    assert slurm.last.sentence == "cancelled, a person cancelled its job with scancel"


def test_a_full_disk_is_recognised(slurm):
    slurm.attempt(code=1, ended=BEGUN + 9, log=ERROR.format("OSError: [Errno 28] No space left on device"))
    assert slurm.last.how is How.DISK


def test_an_exit_of_0_without_a_marker_is_no_success(slurm):
    slurm.attempt(code=0, ended=BEGUN + 9)
    told = slurm.explain().shard
    assert told.tries[-1].how is How.UNMARKED
    assert "so it has not succeeded" in told.reason
    assert "mend what" not in slurm.explain().next


def test_an_attempt_that_nobody_saw_end_vanished(slurm):
    slurm.attempt()
    assert slurm.last.how is How.VANISHED
    assert slurm.last.ended is None


def test_while_the_queue_is_silent_an_attempt_without_an_end_is_not_said_to_be_gone(slurm):
    slurm.attempt()
    slurm.squeue.fails("slurm_load_jobs error: Unable to contact slurm controller")
    assert slurm.last.how is How.UNSEEN
    assert not slurm.last.is_failure


def test_a_job_that_was_submitted_by_hand_may_still_be_at_work(job, squeue):
    attempted(job, PLACE, 0, name="rollout", job="40_1")
    told = explain(job.run, PLACE, squeue.calls).shard
    assert told.tries[0].sentence.endswith("its job 40_1 was submitted by hand, squeue may have it")
    assert told.retry.words == "not by itself: nothing that the journal knows of is at work"


def test_a_job_that_is_nowhere_and_left_nothing_vanished_too(slurm):
    assert slurm.last.number is None
    assert slurm.last.note == "its job is not in the queue, began no attempt, and accounting knows no end of it"


def test_a_gate_that_sent_shards_again_has_not_failed(slurm):
    attempted(slurm.job, "r01/gate/0", 0, name=slurm.gate, job="9", ended=BEGUN + 9, code=0)
    slurm.queue(gate=False)
    told = slurm.explain("r01/gate/0").shard
    assert told.tries[-1].how is How.SENT_AGAIN


QUORUM = "MissingShardError: round 1: 1 of 2 shards are whole, retry.quorum asks for 100%; the chain stops here:\nr01 …"


def test_a_missed_quorum_names_the_share_that_is_there(slurm):
    log = ERROR.format(QUORUM)
    attempted(slurm.job, "r01/gate/0", 0, name=slurm.gate, job="9", ended=BEGUN + 9, code=1, log=log)
    slurm.queue(gate=False)
    told = slurm.explain("r01/gate/0").shard
    assert told.tries[-1].how is How.QUORUM
    assert told.reason.endswith("retry.quorum asks for 100%; the chain stops here")
    assert told.do == "mend the missing ones, or lower it to what is there (--set retry.quorum=0.5)"


# --- whether there will be another attempt


def test_a_shard_that_failed_too_often_is_not_retried_and_submit_asks_for_more_memory(slurm):
    for number in range(3):
        name = submitted(slurm.job, "r01-rollout", str(20 + number), "1", generation=number, mem_gb=4 * 2**number)
        slurm.attempt(number, name=name, job=str(20 + number), code=137, ended=BEGUN + 9, oom=True)
    slurm.job.journal.append("gave_up", key="r01/rollout", shard=1, why="failed 3 times")
    slurm.queue(gate=False)
    told = slurm.explain()
    assert told.shard.retry.words == "no: given up, failed 3 times"
    assert told.next.endswith(" --set resources.rollout.mem_gb=32"), "submit counts anew and begins with the config's"


def test_without_a_gate_in_the_queue_the_runs_last_job_sends_it_again(slurm):
    close = submitted(slurm.job, "close", "12", "0", waits=[("afterany", slurm.gate)])
    slurm.attempt(code=1, ended=BEGUN + 9)
    slurm.queue(row("12", None, "PENDING", close, "Dependency"), gate=False)
    assert slurm.retry.words.startswith("yes: the run's last job, 12, when its turn comes, sends it again")


def test_where_jobs_may_not_submit_nobody_sends_it_again(slurm):
    site = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}, "resubmit_inside_jobs": False})
    (slurm.job.run.jobs / "site.yaml").write_text(to_yaml(site))
    slurm.attempt(code=1, ended=BEGUN + 9)
    assert slurm.retry.will is False
    assert "--run" in slurm.explain().next


@pytest.mark.parametrize(
    ("record", "slurm_says"),
    [({"oom": True, "code": 137}, "FAILED"), ({}, "TIMEOUT"), ({"code": 1}, "FAILED"), ({}, "NODE_FAIL")],
)
def test_the_retry_it_tells_is_the_one_that_a_gate_decides_on(slurm, record, slurm_says):
    slurm.attempt(ended=BEGUN + 9, **record)
    slurm.accounts(slurm_says)
    told = slurm.retry
    decided = decided_by_a_gate(slurm, slurm_says)
    assert (decided.mem_gb, decided.timeout_min) == (told.asks.mem_gb, told.asks.timeout_min)


def decided_by_a_gate(slurm, slurm_says):
    job, key = slurm.job, Key(1, Stage.ROLLOUT)
    ledger = Ledger.read(job.journal)
    rows = read_sacct(f"7_1|{slurm.rollout}|{slurm_says}|0:0|2026|2026|2026|c1||4G")
    known = {name: one[1] for name, one in known_causes(ledger, [slurm.rollout], [], rows).items()}
    failures = count_failures(ledger, key, 1, read_attempts(job.run, key, 1), known=known)
    now = Situation(
        plan=job.plan, due=job.due(), ledger=ledger, live=match(ledger, []).live,
        failures={(key, 1): failures}, site=Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}}),
        max_retries=job.config.retry.max_retries, max_array_size=100, last_round=2,
    )  # fmt: skip
    return next(spec.resources for spec in decide(now).submit if spec.key == key and 1 in spec.shards)


def test_the_local_engine_at_work_retries_at_once(job, squeue):
    job.journal.append("started", engine="local", pid=1)
    attempted(job, PLACE, 0, log=ERROR.format("SimulatorError: no answer for 60 s"))
    job.journal.append("ended", shard="r01-rollout-s0001", attempt=0, code=1, seconds=2.0)
    with hold_lock(job.run.lock_file, purpose="a local run"):
        told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.reason.endswith("it said: SimulatorError: no answer for 60 s")
    assert told.shard.retry.words == "yes: the local run that is at work starts it when it is due"
    assert told.next.startswith("wait: a local run is at work in the run")
    assert told.shard.tries[0].ended - told.shard.tries[0].begun == pytest.approx(2.0)


def test_what_the_local_engine_gave_up_stays_so_until_the_next_submit(job, squeue):
    job.journal.append("started", engine="local", pid=1)
    attempted(job, PLACE, 0, log=ERROR.format("SimulatorError: no answer for 60 s"))
    job.journal.append("ended", shard="r01-rollout-s0001", attempt=0, code=-9, seconds=2.0)
    job.journal.append("gave_up", shard="r01-rollout-s0001", attempts=3, code=-9)
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.tries[0].sentence == "killed, killed by SIGKILL, perhaps out of memory"
    assert told.shard.retry.words == "no: failed 3 times, which is more than retry.max_retries allows"
    job.journal.append("started", engine="local", pid=2)
    assert explain(job.run, PLACE, squeue.calls).shard.retry.words == "not by itself: no local run is at work"


# --- in the queue


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("Priority", "jobs of higher priority are served first"),
        ("Resources", "it is next in line and waits for nodes to become free"),
        ("QOSMaxSubmitJobPerUserLimit", "you have as many jobs in the queue as your QOS allows"),
        ("QOSMaxCpuPerUserLimit", "your QOS allows no more at once or in all"),
        ("AssocGrpCPUMinutesLimit", "your account has used up what the cluster allows it at once or in all"),
        ("ReqNodeNotAvail, UnavailableNodes:c1", "nodes it could run on are down, drained or reserved"),
        ("JobHeldAdmin", "an administrator put it on hold"),
        ("JobArrayTaskLimit", "as many tasks of its array run as array_throttle allows"),
        ("PartitionTimeLimit", "it asks for more time than its partition allows"),
        ("QOSMaxWallDurationPerJobLimit", "it asks for more than your QOS allows one job, perhaps as a retry"),
        ("AssocMaxMemPerJob", "it asks for more than your account allows one job, perhaps as a retry"),
        ("MaxMemPerLimit", "it asks for more memory than the cluster lets one job have"),
        ("user_env_retrieval_failed_requeued_held", "Slurm could not start it on a node and keeps it"),
        ("job_requeued_in_held_state", "it was requeued and is kept on hold"),
        ("Unheard-of", "Slurm's reason is Unheard-of"),
    ],
)
def test_a_pending_reason_is_put_into_words(slurm, reason, means):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, reason))
    told = slurm.explain().shard
    assert told.reason.startswith(f"job 7 is pending, {reason}: {means}")
    assert told.do


def test_every_pending_reason_says_what_to_do():
    for reason in ("(Priority)", "None", "AssocMaxJobsLimit", "MaxJobsPerAccount", "", "launch_failed_requeued_held"):
        assert pending_words(reason).means
        assert pending_words(reason).do


def test_a_dependency_names_the_job_and_the_stage_it_waits_for(slurm):
    told = slurm.explain("r01/gate/0").shard
    assert told.reason == ("job 9 is pending, Dependency: it waits for other jobs (afterany on job 7, r01/rollout)")


def test_a_dependency_that_never_comes_is_told_and_submit_mends_it(slurm):
    label = submitted(slurm.job, "r01-label", "8", waits=[("aftercorr", slurm.rollout)])
    slurm.queue(row("8", 1, "PENDING", label, "DependencyNeverSatisfied"), gate=False)
    told = slurm.explain("r01/label/1")
    assert told.shard.reason == (
        "job 8 is pending, DependencyNeverSatisfied: what it waits for has failed and never comes "
        "(aftercorr on job 7, r01/rollout)"
    )
    assert told.trouble[0].startswith(f"job 8 ({label}): 1 tasks wait for what can't come any more")
    assert told.next.startswith("python -m selu_hpc.submit")


def test_a_job_that_a_person_put_on_hold_is_released_by_scontrol(slurm):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "JobHeldUser"))
    told = slurm.explain()
    assert "a person put it on hold" in told.shard.reason
    assert told.next == "scontrol release 7"


def test_a_job_that_was_never_released_is_released_by_submit(slurm):
    label = submitted(slurm.job, "r01-label", "8")
    slurm.queue(row("8", 1, "PENDING", label, "JobHeldUser"))
    told = slurm.explain("r01/label/1")
    assert told.shard.reason == "job 8 is pending, JobHeldUser: whoever submitted it ended before the release"
    assert told.next.startswith("python -m selu_hpc.submit")


# --- of the run as a whole


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


# --- broken shards


@pytest.fixture
def truncated(job):
    """Rollout 1 is finished but a byte short; its label is there; the gate has not been."""
    job.journal.append("started", engine="local", pid=1)
    finish(job, "r00/testset", "r00/evaluate", "r01/rollout", "r01/label")
    place = job.run.shard(1, Stage.ROLLOUT, 1)
    (place.path / "lines.jsonl").write_text("whole\n")
    place.write_marker(content="x", names=["lines.jsonl"], summary={"attempt": 0})
    (place.path / "lines.jsonl").write_text("whole")
    return place


def test_a_truncated_shard_of_a_sealed_round_is_put_aside_with_its_label(job, squeue, truncated):
    finish(job, "r01/gate")
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.state == "broken"
    assert "lines.jsonl has 5 bytes" in told.shard.reason
    aside, label, submit = (
        told.next.split(" && (cd ")[0],
        told.next.split(" && (cd ")[1],
        told.next.rpartition(") && ")[2],
    )
    assert aside.endswith("mkdir broken-1 && mv lines.jsonl done.json broken-1)")
    assert label.partition(") && ")[0].endswith("mkdir broken-1 && mv done.json broken-1")
    assert submit.startswith("python -m selu_hpc.submit")


def test_a_shard_of_the_right_size_with_wrong_bytes_is_broken_too(job, squeue, truncated):
    (truncated.path / "lines.jsonl").write_text("whale\n")
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.state == "broken"
    assert "its marker says 6 bytes, hash " in told.shard.reason
    assert "explain" not in told.shard.reason


def test_a_stage_that_failed_names_the_broken_shards_it_reads(job, squeue, truncated):
    attempted(job, "r01/gate/0", 0, log=ERROR.format(QUORUM))
    job.journal.append("ended", shard="r01-gate-s0000", attempt=0, code=1, seconds=1.0)
    told = explain(job.run, "", squeue.calls)
    assert told.stages[0].stage == "r01/gate"
    assert ("r01/rollout/1", "lines.jsonl has 5 bytes, its marker says 6") in [
        (group.shards, group.reason) for group in told.stages[0].groups
    ]
    assert told.next.startswith("python -m selu_hpc.submit")


@pytest.mark.parametrize("engine", ["local", "slurm"])
def test_before_the_gate_submit_puts_broken_shards_aside_itself(job, squeue, truncated, engine):
    job.journal.append("started", engine=engine)
    assert explain(job.run, PLACE, squeue.calls).next.startswith("python -m selu_hpc.submit")


def test_a_marker_that_is_none_is_a_broken_shard(job, squeue, truncated):
    truncated.marker_file.write_text("{")
    told = explain(job.run, PLACE, squeue.calls)
    assert told.shard.state == "broken"
    assert "not a marker" in told.shard.reason
