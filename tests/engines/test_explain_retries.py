"""Whether explain says that there will be another attempt, and with what: the one that a gate decides on."""

import pytest
from faked_slurm import BEGUN, ERROR, PLACE, attempted, row, submitted

from selu_hpc.engines.slurm.attempts import count_failures, known_causes, read_attempts
from selu_hpc.engines.slurm.ledger import Ledger, match
from selu_hpc.engines.slurm.reconcile import Situation, decide
from selu_hpc.engines.slurm.state import read_sacct
from selu_hpc.engines.why.explaining import explain
from selu_hpc.recipes import to_yaml
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.plan import Key
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site


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


def test_what_slurm_never_starts_is_lowered_before_it_is_sent_again(slurm):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "PartitionTimeLimit"))
    told = slurm.explain()
    assert told.next.startswith("lower resources.*.timeout_min, then python -m selu_hpc.submit")


def test_an_error_that_blames_what_the_run_is_is_not_mended_in_it(job, squeue):
    job.journal.append("started", engine="local", pid=1)
    attempted(job, PLACE, 0, log=ERROR.format("TaskError: no task fits; raise env.horizon"))
    job.journal.append("ended", shard="r01-rollout-s0001", attempt=0, code=1, seconds=2.0)
    job.journal.append("gave_up", shard="r01-rollout-s0001", attempts=3, code=1)
    told = explain(job.run, PLACE, squeue.calls)
    assert told.next.startswith("env.horizon: part of what this run is")
    assert told.next.endswith("with `--set env.horizon=…` and another --run")


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
