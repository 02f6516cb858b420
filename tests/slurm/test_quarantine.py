"""Which nodes a run keeps away from, and what speaks for or against one."""

import pytest

from selu_hpc.engines.slurm.attempts import Attempt
from selu_hpc.engines.slurm.ledger import Entry, Ledger
from selu_hpc.engines.slurm.quarantine import Start, by_pool, failing_nodes, pools_of, starts, suspects
from selu_hpc.engines.slurm.state import QueueRow, read_sacct
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

KEY = Key(1, Stage.ROLLOUT)
POOLS = {KEY: "cpu", Key(1, Stage.FINETUNE_ACTOR): "gpu"}


def attempt(code=1, node="c1", *, name="job", seconds=5.0, **more):
    value = {"name": name, "job": "9_0", "node": node, "begun": 100.0, "code": code, "ended": 100.0 + seconds}
    return Attempt.from_json(value | more)


def start(shard, node, what, pool="cpu"):
    return Start(place=(KEY, shard), pool=pool, node=node, succeeded=what == "good", failed_fast=what == "bad")


BAD_C1 = [start(0, "c1", "bad"), start(1, "c1", "bad")]


def test_a_node_is_named_when_two_shards_fail_fast_on_it_and_others_succeed_elsewhere():
    found = failing_nodes([*BAD_C1, start(2, "c2", "good")])
    assert found == {
        ("cpu", "c1"): "2 tasks failed on it within 60 s and none succeeded, elsewhere in partition cpu they do"
    }


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(BAD_C1, id="nothing succeeds anywhere"),
        pytest.param([*BAD_C1, start(2, "c1", "good")], id="it succeeds there too"),
        pytest.param([start(0, "c1", "bad")] * 3 + [start(2, "c2", "good")], id="one shard fails again and again"),
        pytest.param([start(0, "c1", "slow"), start(1, "c1", "slow"), start(2, "c2", "good")], id="not at once"),
        pytest.param([*BAD_C1, start(2, "c2", "good", pool="gpu with 8 GPUs")], id="success in another pool only"),
    ],
)
def test_otherwise_it_is_not_the_node(made):
    assert failing_nodes(made) == {}


def test_the_last_node_of_a_pool_is_never_excluded():
    excluded = {("cpu", "c2"): "it was the first"}
    assert failing_nodes([*BAD_C1, start(2, "c2", "good")], excluded) == {}
    assert set(failing_nodes([*BAD_C1, start(2, "c3", "good")], excluded)) == {("cpu", "c1")}


def test_a_node_is_excluded_from_the_pool_it_failed_in():
    excluded = {("cpu", "c2"): "", ("gpu", "g1"): "", ("cpu", "c1"): ""}
    assert by_pool(excluded) == {"cpu": ("c1", "c2"), "gpu": ("g1",)}


@pytest.mark.parametrize(
    ("fast", "how"),
    [
        (True, {}),
        (True, {"code": 73}),
        (False, {"seconds": 600.0}),
        (False, {"oom": True}),
        (False, {"code": 75, "requeued": True}),
        (False, {"code": 75, "signal": "TERM", "state": ""}),  # cancelled, or preempted without a grace time
        (False, {"code": 143, "signal": "TERM", "state": ""}),
    ],
)
def test_what_was_told_to_end_did_not_fail_by_itself(fast, how):
    assert attempt(**how).failed_fast is fast


@pytest.fixture
def ledger():
    made = Ledger(epoch=2)
    for name, epoch, job_id in (("old", 1, "9"), ("job", 2, "12")):
        made.entries[name] = Entry(
            name=name, label="r01-rollout", key=KEY, shards=(4, 5, 6), offset=4, generation=0, epoch=epoch, waits=(),
            job_id=job_id,
        )  # fmt: skip
    return made


def test_starts_count_since_the_last_submit_only(ledger):
    made = {(KEY, 4): [attempt(name="old"), attempt(name="job"), attempt(name="by hand")]}
    assert [one.node for one in starts(made, ledger, POOLS, [], [])] == ["c1"]


def test_a_start_that_could_leave_no_record_is_known_by_what_slurm_says(ledger):
    attempts = {(KEY, shard): [] for shard in (4, 5)} | {(KEY, 6): [attempt()]}
    rows = [
        QueueRow("12", (0,), "FAILED", "", "job", "NonZeroExitCode", "c9", ""),
        QueueRow("12", (2,), "FAILED", "", "job", "NonZeroExitCode", "c1", ""),  # its record says it already
        QueueRow("11", (0,), "FAILED", "", "job", "NonZeroExitCode", "c8", ""),  # another job of that name
        QueueRow("9", (0,), "FAILED", "", "old", "NonZeroExitCode", "c7", ""),
        QueueRow("12", (1,), "CANCELLED", "", "job", "None", "c6", ""),
    ]
    accounted = read_sacct("12_1|job|FAILED|127:0|2026|2026|2026|c9||1G\n12_1.batch|batch|FAILED|1:0|||2026|c9|1K|\n")
    found = starts(attempts, ledger, POOLS, rows, accounted)
    assert [(one.place[1], one.node, one.failed_fast) for one in found] == [
        (6, "c1", True),
        (4, "c9", True),
        (5, "c9", True),
    ]
    assert set(failing_nodes([*found, start(0, "c2", "good")])) == {("cpu", "c9")}


def test_a_persons_submit_excludes_no_node_any_more():
    nodes = {"event": "quarantined", "pool": "cpu", "node": "c1", "why": "tasks fail on it"}
    ledger = Ledger.read([{"event": "started"}, nodes])
    assert set(ledger.quarantined) == {("cpu", "c1")}
    assert not ledger.lifted
    ledger = Ledger.read([{"event": "started"}, nodes, {"event": "started"}, {"event": "started"}])
    assert ledger.quarantined == {}
    assert ledger.lifted, "jobs that wait since then keep away from it until they are told"
    assert not Ledger.read([nodes, {"event": "started"}, {"event": "readmitted"}]).lifted


def test_stages_are_looked_at_that_were_sent_and_are_not_finished(ledger):
    plan = make_plan(load_recipe("selu", ["rounds=1", "rollout.num_shards=2"]))
    site = Site.of({"name": "lab", "partitions": {"cpu": {"name": "standard"}}})
    assert suspects(ledger, {KEY: [1], Key(1, Stage.LABEL): [0]}, plan, site) == [(KEY, 0), (KEY, 1)]
    assert suspects(ledger, {Key(1, Stage.LABEL): [0]}, plan, site) == []


def test_where_one_partition_has_them_all_nodes_with_gpus_are_told_from_others():
    plan = make_plan(load_recipe("selu", ["rounds=1", "resources.finetune.partition=gpu", "resources.finetune.gpus=8"]))
    partitions = {"cpu": {"name": "main"}, "gpu": {"name": "main", "gpus_per_node": 8}}
    pools = pools_of(plan, Site.of({"name": "lab", "partitions": partitions}))
    assert pools[KEY] == pools[None] == "main"
    assert pools[Key(1, Stage.FINETUNE_ACTOR)] == "main with 8 GPUs"
