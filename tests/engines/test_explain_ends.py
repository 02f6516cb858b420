"""How attempts ended, as explain tells it: each end is recognised from its traces and worded plainly."""

import time

import pytest
from faked_slurm import BEGUN, ERROR, PLACE, QUORUM, attempted, row, submitted

from selu_hpc.engines.why.explaining import explain
from selu_hpc.engines.why.words import How


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


def test_a_missed_quorum_names_the_share_that_is_there(slurm):
    log = ERROR.format(QUORUM)
    attempted(slurm.job, "r01/gate/0", 0, name=slurm.gate, job="9", ended=BEGUN + 9, code=1, log=log)
    slurm.queue(gate=False)
    told = slurm.explain("r01/gate/0").shard
    assert told.tries[-1].how is How.QUORUM
    assert told.reason.endswith("retry.quorum asks for 100%; the chain stops here")
    assert told.do == "mend the missing ones, or lower it to what is there (--set retry.quorum=0.5)"
