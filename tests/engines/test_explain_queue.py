"""Why a job waits in the queue, as explain tells it, and what ends the wait."""

import pytest
from faked_slurm import row, submitted

from selu_hpc.engines.why.words import pending_words


def test_a_job_that_asks_for_what_no_node_has_is_named_with_what_to_lower(slurm):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "BadConstraints"))
    trouble = [line for line in slurm.explain("").trouble if slurm.rollout in line]
    assert "1 tasks ask for more than a node has or one job may have; lower resources.*" in trouble[0]
    assert "lower resources.*" in pending_words("BadConstraints").do


def test_what_one_of_its_partitions_does_not_allow_is_no_reason_to_do_anything(slurm):
    slurm.queue(row("7", 1, "PENDING", slurm.rollout, "PartitionTimeLimit") + "|a,b")
    told = slurm.explain()
    assert "PartitionTimeLimit: that is true of one of its partitions, it may start in another" in told.shard.reason
    assert told.shard.do == "wait"
    assert not told.trouble


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
