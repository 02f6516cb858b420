"""Slurm's answers, read: rows as the real commands printed them; why shards failed."""

import pytest

from selu_hpc.engines.slurm.attempts import MAX_STOPS, Attempt, count_failures, known_causes
from selu_hpc.engines.slurm.calls import Calls, clean_environment
from selu_hpc.engines.slurm.discover import choose, discover_site, read_gpus, read_minutes, read_partitions, with_limits
from selu_hpc.engines.slurm.ledger import Entry, Ledger
from selu_hpc.engines.slurm.limits import ask_limits
from selu_hpc.engines.slurm.scheduler import TRANSIENT, Slurm, SubmitLimitError, takes_no_more
from selu_hpc.engines.slurm.state import Cause, QueueRow, causes, read_sacct, read_squeue
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import After, Key
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

SQUEUE = """\
12|0-2,7%4|12_[0-2,7%4]|PENDING|2026-11-21T08:26:19|selu-1a-r01-rollout-g0c0|Dependency||afterok:9(unfulfilled)
12|5|12_5|RUNNING|2026-11-21T08:26:19|selu-1a-r01-rollout-g0c0|None|c2|(null)
13|N/A|13|PENDING|2026-11-21T08:26:19|selu-1a-r01-gate-g0c0|DependencyNeverSatisfied||afterok:9(failed)
14|3|14_3|PENDING|2026-11-21T08:26:19|selu-1a-r01-label-g0c0|launch failed requeued held|c1|(null)
15|1|15_1|TIMEOUT|2026-11-21T08:26:19|selu-1a-r01-label-g0c0|TimeLimit|c1|(null)
16|N/A|16|PENDING|2026-11-21T08:26:19|selu-1a-close-g0c0|JobHeldUser||(null)
"""
SACCT = """\
9_0|selu-1a-r01-rollout-g0c0|COMPLETED|0:0|2026|2026|2026|c1||1G
9_0.batch|batch|COMPLETED|0:0|2026|2026|2026|c1|12200K|
9_1|selu-1a-r01-rollout-g0c0|FAILED|137:0|2026|2026|2026|c1||1G
9_1.batch|batch|FAILED|137:0|2026|2026|2026|c1|12200K|
9_1.0|python|CANCELLED by 0|0:9|2026|2026|2026|c1|1127676K|
9_2|selu-1a-r01-rollout-g0c0|TIMEOUT|0:0|2026|2026|2026|c1||1G
9_3|selu-1a-r01-rollout-g0c0|CANCELLED by 1002|0:0|2026|None|2026|None assigned||1G
9_[4-5]|selu-1a-r01-rollout-g0c0|CANCELLED by 1002|0:0|2026|None|2026|None assigned||1G
9_6|selu-1a-r01-rollout-g0c0|OUT_OF_MEMORY|0:125|2026|2026|2026|c1||1G
"""
KEY = Key(1, Stage.ROLLOUT)


def test_squeue_rows_waiting_elements_come_together():
    rows = read_squeue(SQUEUE)
    assert [row.indices for row in rows] == [(0, 1, 2, 7), (5,), (0,), (3,), (1,), (0,)]
    assert [row.will_run for row in rows] == [True, True, False, False, False, True]
    assert [row.is_stuck for row in rows] == [False, False, True, True, False, False]
    assert [row.is_held for row in rows] == [False] * 5 + [True]


def row(state, reason):
    return QueueRow("9", (0,), state, "2026", "selu-1a-r01-gate-g0c0", reason, "", "")


UNFIT = (
    *("BadConstraints", "QOSMaxWallDurationPerJobLimit", "AssocMaxWallDurationPerJobLimit", "QOSMaxMemoryPerJob"),
    *("AssocMaxCpuPerJobLimit", "QOSMaxCpuPerNode", "MaxMemPerLimit", "PartitionTimeLimit", "PartitionNodeLimit"),
)
KEPT = (
    *("JobHoldMaxRequeue", "launch failed requeued held", "launch_failure_limit_exceeded_requeued_held"),
    *("user_env_retrieval_failed_requeued_held", "job_requeued_in_held_state", "job requeued in held state"),
)


@pytest.mark.parametrize("reason", [*UNFIT, *KEPT])
def test_what_slurm_never_starts_is_stuck_and_not_on_its_way(reason):
    one = row("PENDING", reason)
    assert (one.will_run, one.is_stuck, one.is_unfit) == (False, True, reason in UNFIT)


@pytest.mark.parametrize("reason", [*UNFIT, *KEPT])
def test_of_several_partitions_what_one_does_not_allow_may_start_in_another(reason):
    """Slurm looks at them one by one and says what is true of the last."""
    (one,) = read_squeue(f"9|N/A|9|PENDING|2026|selu-1a-r01-gate-g0c0|{reason}||(null)|a,b")
    of_all = reason in KEPT or reason.startswith(("Assoc", "BadConstraints"))
    assert (one.will_run, one.is_stuck, one.fits_elsewhere) == (not of_all, of_all, not of_all)


@pytest.mark.parametrize(
    "reason",
    ["QOSMaxJobsPerUserLimit", "QOSMaxCpuPerUserLimit", "AssocGrpCpuLimit", "QOSGrpNodeLimit", "AssocMaxJobsLimit"],
)
def test_what_waits_for_others_of_its_account_to_end_is_on_its_way(reason):
    assert (row("PENDING", reason).will_run, row("PENDING", reason).is_stuck) == (True, False)


@pytest.mark.parametrize("state", ["EXPEDITING", "POWER_UP_NODE", "UPDATE_DB", "REQUEUED", "A_STATE_OF_TOMORROW"])
def test_a_state_that_nobody_has_heard_of_is_on_its_way(state):
    assert (row(state, "None").will_run, row(state, "None").is_stuck) == (True, False)


@pytest.mark.parametrize("state", ["REQUEUE_HOLD", "SPECIAL_EXIT", "LAUNCH_FAILED", "RECONFIG_FAIL"])
def test_what_slurm_keeps_for_a_person_is_stuck(state):
    assert (row(state, "None").will_run, row(state, "None").is_stuck) == (False, True)


@pytest.mark.parametrize("reason", ["None", "launch failed requeued held", "PartitionTimeLimit"])
def test_what_has_ended_is_neither(reason):
    assert (row("CANCELLED", reason).will_run, row("CANCELLED", reason).is_stuck) == (False, False)


def test_a_job_whose_reservation_was_deleted_waits_for_a_person():
    (row,) = read_squeue("9|N/A|9|RESV_DEL_HOLD|2026|selu-1a-r01-gate-g0c0|Reservation||")
    assert (row.will_run, row.is_stuck) == (False, True)


def test_why_elements_ended_by_accounting_and_a_step_above_its_memory_is_out_of_memory():
    found = causes(read_sacct(SACCT), job_id="9", name="selu-1a-r01-rollout-g0c0")
    cancelled = dict.fromkeys((3, 4, 5), Cause.CANCELLED)
    assert found == {1: Cause.OOM, 2: Cause.TIMEOUT, 6: Cause.OOM} | cancelled


def test_a_reused_job_id_is_told_by_its_name():
    assert causes(read_sacct(SACCT), job_id="9", name="selu-1a-r02-label-g0c0") == {}


def attempt(name="job", code=1, node="c1", restart_of="9_0", seconds=5.0, **more):
    value = {"name": name, "job": restart_of, "node": node, "begun": 100.0}
    if code is not None:
        value |= {"code": code, "ended": 100.0 + seconds}
    return Attempt.from_json(value | more)


@pytest.fixture
def ledger():
    made = Ledger(epoch=2)
    for name, epoch, waits in (("old", 1, ()), ("job", 2, ()), ("again", 2, ())):
        made.entries[name] = Entry(
            name=name, label="r01-rollout", key=KEY, shards=(0,), offset=0, generation=0, epoch=epoch, waits=waits,
            job_id="9",
        )  # fmt: skip
    return made


def count(ledger, attempts, **more):
    found = count_failures(ledger, KEY, 0, attempts, **more)
    return found.count, found.num_oom, found.num_timeout


def test_failures_count_since_the_last_submit_only(ledger):
    assert count(ledger, [attempt("old"), attempt("job")], alive=["again"]) == (1, 0, 0)


def test_a_requeued_or_preempted_start_is_no_failure(ledger):
    went_on = [attempt(code=75, requeued=True), attempt(code=None), attempt(code=1)]
    assert count(ledger, went_on, alive=["again"]) == (1, 0, 0)


@pytest.mark.parametrize("slurms", [{}, {"job": Cause.PREEMPTED}, {"job": Cause.FAILED}])
def test_who_saved_its_work_and_was_not_started_again_has_not_failed(ledger, slurms):
    """Cancelled to make room, or slurmctld was away when asked to requeue; to sacct 75 is a code like any other."""
    assert count(ledger, [attempt(code=75, told="TERM")], alive=["again"], known=slurms) == (0, 0, 0)


def test_who_was_killed_to_make_room_before_it_could_save_has_not_failed(ledger):
    assert count(ledger, [attempt(code=None)], alive=["again"], known={"job": Cause.PREEMPTED}) == (0, 0, 0)


@pytest.mark.parametrize(
    ("record", "slurms", "timeouts"),
    [({"state": "TIMEOUT"}, {}, 1), ({}, {"job": Cause.TIMEOUT}, 1), ({}, {"job": Cause.CANCELLED}, 0)],
)
def test_who_saved_its_work_but_was_out_of_time_or_cancelled_has(ledger, record, slurms, timeouts):
    assert count(ledger, [attempt(code=75, **record)], alive=["again"], known=slurms) == (1, 0, timeouts)


def test_a_shard_that_is_stopped_for_ever_is_not_sent_for_ever(ledger):
    stops = [attempt(code=75, restart_of=f"{job}_0") for job in range(MAX_STOPS + 3)]
    assert count(ledger, stops, alive=["again"]) == (3, 0, 0)


def test_squeue_alone_tells_for_some_minutes_who_was_cancelled_and_who_made_room(ledger):
    rows = read_squeue("9|0|9_0|PREEMPTED|2026|job|None|c1|\n9|0|9_0|CANCELLED|2026|again|None|c1|")
    found = known_causes(ledger, ["job", "again"], rows, [])
    assert found == {"job": {0: Cause.PREEMPTED}, "again": {0: Cause.CANCELLED}}


def test_a_job_that_asked_for_what_no_node_has_is_a_failure_though_it_waited_for_another(ledger):
    waits = (type("W", (), {"after": After.CORR})(),)
    ledger.entries["job"].waits = ledger.entries["again"].waits = waits
    ledger.entries["again"].unfit = {0}
    assert count(ledger, []) == (1, 0, 0)


def test_a_job_that_vanished_without_a_trace_is_a_failure_unless_it_still_waited_for_another(ledger):
    assert count(ledger, []) == (2, 0, 0)
    ledger.entries["again"].waits = (type("W", (), {"after": After.CORR})(),)
    assert count(ledger, []) == (1, 0, 0)


def test_memory_and_time_are_known_from_the_record_else_from_slurm(ledger):
    assert count(ledger, [attempt(oom=True), attempt("again", state="TIMEOUT")]) == (2, 1, 1)
    known = {"job": Cause.OOM, "again": Cause.TIMEOUT}
    assert count(ledger, [attempt(code=137), attempt("again", code=None)], known=known) == (2, 1, 1)


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Transport endpoint is not connected",
        'sbatch: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory',
        "sbatch: error: Batch job submission failed: Protocol authentication error",
        "slurm_load_jobs error: Slurm backup controller in standby mode",
    ],
)
def test_what_may_pass_is_asked_again(said):
    assert TRANSIENT.search(said)


@pytest.mark.parametrize(
    "said",
    [
        "QOSMaxSubmitJobPerUserLimit",
        "AssocMaxSubmitJobLimit",
        "Job violates accounting/QOS policy (job submit limit)",
        "Slurm temporarily unable to accept job, sleeping and retrying\nsbatch: error: Batch job submission failed: "
        "Resource temporarily unavailable",
        "Slurm job queue full, sleeping and retrying",
    ],
)
def test_submit_limits_are_known_by_what_sbatch_says(said):
    assert takes_no_more(f"sbatch: error: {said}")


@pytest.mark.parametrize("then", ["exit 1", "exec sleep 60"])
def test_a_queue_at_its_job_count_is_a_submit_limit_and_not_a_silent_controller(tmp_path, monkeypatch, then):
    monkeypatch.setattr("selu_hpc.engines.slurm.scheduler.SBATCH_S", 0.5)
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\necho 'Slurm temporarily unable to accept job' >&2\n{then}\n")
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "job.sh").write_text("#!/bin/bash\n")
    slurm = Slurm(calls=Calls(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"}))
    with pytest.raises(SubmitLimitError, match="temporarily unable to accept job"):
        slurm.sbatch(tmp_path / "job.sh", arguments=[])


@pytest.mark.parametrize("reason", ["QOSMaxWallDurationPerJobLimit", "AssocMaxMemPerJob", "QOSMinGRES"])
def test_a_job_that_asks_for_more_than_its_qos_allows_is_no_submit_limit(reason, tmp_path):
    said = (
        f"sbatch: error: {reason}\nsbatch: error: Batch job submission failed: "
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    )
    assert not takes_no_more(said)
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "job.sh").write_text("#!/bin/bash\n")
    slurm = Slurm(calls=Calls(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"}))
    with pytest.raises(EngineError, match=rf"{reason} is about what one job asks for: lower resources") as refused:
        slurm.sbatch(tmp_path / "job.sh", arguments=[])
    assert not isinstance(refused.value, SubmitLimitError)


def test_what_another_job_or_shell_set_neither_leaks_into_ours_nor_changes_an_answer():
    leaking = {"SQUEUE_PARTITION": "gpu", "SACCT_FORMAT": "x", "SINFO_PARTITION": "x", "SCANCEL_STATE": "x"}
    leaking |= {
        "SCONTROL_ALL": "1",
        "SRUN_EXPORT_ENV": "NONE",
        "SALLOC_QOS": "x",
        "SLURM_CPU_BIND": "x",
        "SBATCH_PARTITION": "x",
        "PYTHONPATH": "x",
        "SELU_OFFSET": "3",
    }
    leaking |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "29500"}
    leaking |= {"TORCHELASTIC_RUN_ID": "none", "SELU_PARENT_STORE": "x:1"}
    kept = {"SLURM_CONF": "/etc/slurm.conf", "HOME": "/h", "PATH": "/bin", "RANKED": "1", "MASTER_KEY": "x"}
    kept |= {"SELU_CLUSTER": "x", "SELU_FEATURE_CACHE": "/local", "SELU_FEATURE_CACHE_GB": "64"}
    cleaned = clean_environment(leaking | kept)
    assert cleaned.items() >= kept.items()
    assert not leaking.keys() & cleaned.keys()


def test_a_login_nodes_token_goes_with_calls_from_there_and_is_dropped_in_jobs():
    token = {"SLURM_JWT": "a.b.c"}
    assert clean_environment(token).items() >= token.items()
    assert "SLURM_JWT" not in clean_environment(token | {"SLURMD_NODENAME": "c1"})


def test_partitions_are_chosen_from_what_sinfo_says():
    listed = (
        "cpu*|up|1-00:00:00|3|(null)|191000|REQUEUE|10\ncpu*|up|1-00:00:00|1|(null)|1031000|REQUEUE|10\n"
        "gpu|up|2-00:00:00|1|gpu:a100:8(S:0-1)|515000|REQUEUE|10\n"
        "scavenge|up|4:00:00|3|(null)|191000|REQUEUE|1\nbroken|down|infinite|1|gpu:h100:16|0|OFF|99\n"
    )
    chosen = choose(read_partitions(listed, "preempt/partition_prio"))
    assert {role: one.name for role, one in chosen.items()} == {"cpu": "cpu", "gpu": "gpu", "preempt": "scavenge"}
    assert (chosen["gpu"].gres, chosen["gpu"].gpus) == ("gpu:a100", 8)
    assert {role: one.max_mem_gb for role, one in chosen.items()} == {"cpu": 1006, "gpu": 502, "preempt": 186}
    assert set(choose(read_partitions(listed, "preempt/none"))) == {"cpu", "gpu"}
    with pytest.raises(EngineError, match="sinfo lists no partition"):
        choose([])


@pytest.mark.parametrize(("state", "expected"), [("up", "cpu"), ("down", "cpu"), ("inact", "cpu")])
def test_cpu_work_waits_for_a_default_that_is_down_where_else_it_is_preempted(state, expected):
    listed = f"cpu*|{state}|1-00:00:00|3|(null)|191000|OFF|10\nscavenge|up|4:00:00|3|(null)|191000|REQUEUE|1\n"
    assert choose(read_partitions(listed, "preempt/partition_prio"))["cpu"].name == expected
    assert choose(read_partitions(f"{listed}long|up|2:00:00|1|(null)|191000|OFF|9\n", "preempt/partition_prio"))[
        "cpu"
    ].name == ("cpu" if state == "up" else "long")


def test_gpu_work_is_not_sent_where_it_is_preempted_if_another_partition_has_gpus():
    listed = "cpu*|up|1-00:00:00|3|(null)|191000|OFF|10\n{}scavenge|up|infinite|40|gpu:a100:8|515000|REQUEUE|1\n"
    own = listed.format("gpu|up|2-00:00:00|20|gpu:a100:8|515000|OFF|10\n")
    for lines, expected in ((own, "gpu"), (listed.format(""), "scavenge")):
        chosen = choose(read_partitions(lines, "preempt/partition_prio"))
        assert (chosen["gpu"].name, chosen["preempt"].name) == (expected, "scavenge")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("debug|up|30:00|1|gpu:a100:2|515000|OFF|99", "gpu"),
        ("debug|up|30:00|9|gpu:a100:4|515000|OFF|99", "gpu"),
        ("long|up|infinite|1|gpu:a100:4|515000|OFF|1", "long"),
        ("small|up|2-00:00:00|1|gpu:a100:4|515000|OFF|99", "gpu"),
        ("urgent|up|2-00:00:00|2|gpu:a100:4|515000|OFF|99", "urgent"),
        ("dense|up|30:00|1|gpu:a100:8|515000|OFF|1", "dense"),
    ],
)
def test_a_partition_for_debugging_is_not_taken_for_the_one_that_serves_gpu_work(other, expected):
    listed = f"cpu*|up|1-00:00:00|3|(null)|191000|OFF|10\ngpu|up|2-00:00:00|2|gpu:a100:4|515000|OFF|10\n{other}\n"
    assert choose(read_partitions(listed, "preempt/none"))["gpu"].name == expected


@pytest.mark.parametrize(
    ("name", "limits"),
    [("a", (93, 1440)), ("a,b", (187, 1440)), ("b,c", (187, 2880)), ("c", (0, 0)), ("a,none", (93, 1440))],
)
def test_of_several_partitions_the_shortest_time_and_the_largest_node_are_known(name, limits, tmp_path):
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'a|96000|1-00:00:00\nb|192000|2-00:00:00\nc|0|infinite'\n")
    (tmp_path / "sinfo").chmod(0o755)
    slurm = Slurm(calls=Calls(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"}))
    found = with_limits(Site.of({"name": "lab", "partitions": {"cpu": {"name": name}}}), slurm).partitions["cpu"]
    assert (found.max_mem_gb, found.max_timeout_min) == limits


def test_a_hidden_partition_that_a_profile_names_has_its_limits(tmp_path):
    (tmp_path / "sinfo").write_text("#!/bin/sh\ncase \"$*\" in *--all*) echo 'deep|96000|1-00:00:00';; esac\n")
    (tmp_path / "sinfo").chmod(0o755)
    slurm = Slurm(calls=Calls(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"}))
    found = with_limits(Site.of({"name": "lab", "partitions": {"cpu": {"name": "deep"}}}), slurm).partitions["cpu"]
    assert (found.max_mem_gb, found.max_timeout_min) == (93, 1440)


def test_a_shell_that_names_another_cluster_is_told_that_no_call_goes_there(monkeypatch):
    slurm = Slurm(_config={"ClusterName": "lab"})
    for name in ("SLURM_CLUSTERS", "SBATCH_CLUSTERS"):
        monkeypatch.setenv(name, "lab")
        slurm.require_here()
        monkeypatch.setenv(name, "b")
        with pytest.raises(EngineError, match=f"{name}=b names another cluster than the one that answers here"):
            discover_site(slurm)
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("gres", "kind", "gpus"),
    [
        ("gpu:a100:8(S:0-1)", "gpu:a100", 8),
        ("gpu:2080ti:4", "gpu:2080ti", 4),
        ("gpu:4090:8(S:0-1)", "gpu:4090", 8),
        ("gpu:4", "gpu", 4),
        ("gpu:1g.10gb:7", "gpu:1g.10gb", 7),
        ("gpu:3g.20gb:2,gpu:a100:4", "gpu:a100", 4),
        ("gpu:a100:4(S:0,2),gpu:3g.20gb:2(S:1,3),shard:16", "gpu:a100", 4),
        ("gpu:h100:no_consume:4", "gpu:h100", 4),
        ("gpu:no_consume:2", "gpu", 2),
        ("tmpdisk:100,mygpu:4", "", 0),
        ("(null)", "", 0),
    ],
)
def test_gpus_of_every_type_are_read(gres, kind, gpus):
    assert read_gpus(gres) == (kind, gpus)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, 1000),
        ({"MaxArraySize": "4001"}, 4000),
        ({"MaxArraySize": "4001", "SchedulerParameters": "bf_continue,max_array_tasks=500,defer"}, 500),
        ({"MaxArraySize": "101", "SchedulerParameters": "max_array_tasks=500"}, 100),
        ({"MaxArraySize": "4001", "SchedulerParameters": "(null)"}, 4000),
    ],
)
def test_an_array_is_as_large_as_both_of_slurms_limits_allow(config, size):
    site = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}})
    assert ask_limits(site, Slurm(_config=config | {"ClusterName": "lab"})).max_array_size == size


@pytest.mark.parametrize(("text", "minutes"), [("1-00:00:00", 1440), ("4:00:00", 240), ("30:00", 30), ("infinite", 0)])
def test_time_limits_are_read(text, minutes):
    assert read_minutes(text) == minutes


@pytest.mark.parametrize("sacct", [None, "exit 1", "exec sleep 60"])
def test_without_accounting_or_where_it_does_not_answer_nothing_is_known_and_nothing_breaks(
    sacct, tmp_path, monkeypatch
):
    monkeypatch.setattr("selu_hpc.engines.slurm.scheduler.TIMEOUT_S", 0.3)
    if sacct:
        (tmp_path / "sacct").write_text(f"#!/bin/sh\n{sacct}\n")
        (tmp_path / "sacct").chmod(0o755)
    slurm = Slurm(calls=Calls(environment={"PATH": f"{tmp_path}:/none"}))
    assert slurm.sacct(["7", "8"]) == []


def test_the_start_that_counts_is_no_failure_of_its_own(ledger):
    assert count(ledger, [attempt(code=None, restart_of="9")], alive=["9", "again"]) == (0, 0, 0)
