"""What is submitted, re-pointed and cancelled in which situation: a fake queue, no Slurm."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selu_hpc.engines.slurm.ledger import Entry, Ledger, Live, match
from selu_hpc.engines.slurm.limits import Limits, rounds_that_fit
from selu_hpc.engines.slurm.reconcile import Decision, Failures, Situation, decide
from selu_hpc.engines.slurm.state import QueueRow
from selu_hpc.errors import EngineError
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import After, Key, Plan, make_plan
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

SITE = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}})


@dataclass
class FakeCluster:
    """Slurm and the run folder in memory: takes decisions, lets shards end, forgets ended jobs."""

    plan: Plan
    num_shards: int = 3
    done: set = field(default_factory=set)
    ledger: Ledger = field(default_factory=lambda: Ledger(run_id="1a2b3c4d", epoch=1))
    live: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)
    ran: list = field(default_factory=list)
    max_array_size: int = 1000
    site: Site = SITE

    def due(self):
        found = {}
        for stage in self.plan:
            for shard in range(stage.num_shards):
                if (stage.key, shard) not in self.done:
                    found.setdefault(stage.key, []).append(shard)
        return found

    def situation(self, last_round=9) -> Situation:
        return Situation(
            plan=self.plan,
            due=self.due(),
            ledger=self.ledger,
            live=self.live,
            failures=self.failures,
            site=self.site,
            max_retries=2,
            max_array_size=self.max_array_size,
            last_round=last_round,
        )

    def advance(self, last_round=9) -> Decision:
        made = decide(self.situation(last_round))
        for name, shards in made.cancel.items():
            self.end(name, shards)
        for spec in made.submit:
            entry = Entry(
                name=spec.name, label=spec.label, key=spec.key, shards=spec.shards, offset=spec.offset,
                generation=int(spec.name.rpartition("-g")[2].partition("c")[0]), epoch=1, waits=spec.waits,
                job_id=str(1000 + len(self.ledger.entries)), released=True,
            )  # fmt: skip
            assert spec.name not in self.ledger.entries, "a name is used once"
            self.ledger.entries[spec.name] = entry
            self.live[spec.name] = Live(entry, waiting=set(spec.shards))
        for name, waits in made.rewire.items():
            self.live[name].entry.waits = waits
        for place in made.gave_up:
            self.ledger.gave_up[place] = made.gave_up[place]
        return made

    def end(self, name, shards=None, *, success=False):
        live = self.live[name]
        for shard in set(shards if shards is not None else live.alive):
            live.waiting.discard(shard)
            live.running.discard(shard)
            live.stuck.discard(shard)
            if live.entry.key:
                place = (live.entry.key, shard)
                if success:
                    self.done.add(place)
        if not live.alive:
            del self.live[name]

    def fail(self, name, shard, **kinds):
        place = (self.live[name].entry.key, shard)
        before = self.failures.get(place, Failures())
        self.failures[place] = Failures(
            before.count + 1, before.num_oom + kinds.get("oom", 0), before.num_timeout + kinds.get("timeout", 0)
        )
        self.end(name, [shard])

    def name(self, label):
        return next(name for name in sorted(self.live, reverse=True) if f"-{label}-g" in name)


def plan_of(**changes) -> Plan:
    chosen = {"rounds": 2, "rollout.num_shards": 3, "evaluate.num_shards": 2} | changes
    return make_plan(load_recipe("selu", [f"{key}={value}" for key, value in chosen.items()]))


@pytest.fixture
def cluster():
    return FakeCluster(plan_of())


def waits(made_or_cluster, label):
    jobs = made_or_cluster.submit if isinstance(made_or_cluster, Decision) else []
    spec = next(spec for spec in jobs if spec.label == label)
    return {f"{wait.after}:{'+'.join(n.split('-', 2)[2] for n in wait.names)}" for wait in spec.waits}


def test_a_fresh_run_is_one_array_a_stage_wired_as_the_picture_says(cluster):
    made = cluster.advance()
    assert [spec.label for spec in made.submit] == [
        "r00-testset", "r00-evaluate",
        "r01-rollout", "r01-label", "r01-gate", "r01-finetune_actor", "r01-finetune_critic", "r01-evaluate",
        "r02-rollout", "r02-label", "r02-gate", "r02-finetune_actor", "r02-finetune_critic", "r02-evaluate",
        "close",
    ]  # fmt: skip
    assert waits(made, "r01-label") == {"aftercorr:r01-rollout-g0c0"}
    assert waits(made, "r01-gate") == {"afterany:r01-label-g0c0"}
    assert waits(made, "r02-rollout") == {"afterok:r01-finetune_actor-g0c0"}
    assert waits(made, "r02-label") == {"aftercorr:r02-rollout-g0c0", "afterok:r01-finetune_critic-g0c0"}


def test_the_same_decision_twice_submits_nothing(cluster):
    cluster.advance()
    assert cluster.advance().is_empty


def test_a_failed_shard_is_sent_alone_and_what_followed_the_gate_is_re_pointed(cluster):
    cluster.advance()
    rollout, label, gate = (cluster.name(f"r01-{stage}") for stage in ("rollout", "label", "gate"))
    cluster.end(rollout, [0, 2], success=True)
    cluster.fail(rollout, 1)
    cluster.end(label, [0, 2], success=True)
    cluster.end(label, [1])
    cluster.end(gate)  # it is this gate that decides: no longer on its way
    made = cluster.advance()
    assert [(spec.label, spec.shards) for spec in made.submit] == [
        ("r01-rollout", (1,)), ("r01-label", (1,)), ("r01-gate", (0,)),
    ]  # fmt: skip
    assert waits(made, "r01-label") == {"aftercorr:r01-rollout-g1c0"}
    assert {name.split("-", 2)[2] for name in made.rewire} == {
        "r01-finetune_actor-g0c0", "r01-finetune_critic-g0c0", "close-g0c0",
    }  # fmt: skip
    assert cluster.advance().is_empty


def test_after_too_many_failures_the_shard_is_given_up_and_its_label_never_sent(cluster):
    cluster.advance()
    for _ in range(3):
        cluster.fail(cluster.name("r01-rollout"), 1)
        for label in ("r01-label", "r01-gate"):
            if any(f"-{label}-g" in name for name in cluster.live):
                cluster.end(cluster.name(label), [1] if label == "r01-label" else None)
        made = cluster.advance()
    assert made.gave_up == {(Key(1, Stage.ROLLOUT), 1): "failed 3 times"}
    assert (Key(1, Stage.LABEL), 1) in made.impossible
    assert not any(spec.key == Key(1, Stage.LABEL) for spec in made.submit)
    assert any(f"-{'r01-gate'}-g" in name for name in cluster.live), "the gate still decides over the quorum"


def test_when_a_gate_stops_the_chain_nothing_is_left_pending(cluster):
    cluster.advance()
    for label in ("r01-rollout", "r01-label", "r01-gate"):
        cluster.end(cluster.name(label))
    cluster.ledger.gave_up[Key(1, Stage.GATE), 0] = "below the quorum"
    for shard in range(3):
        cluster.ledger.gave_up[Key(1, Stage.ROLLOUT), shard] = "failed"
    made = cluster.advance()
    assert [spec.label for spec in made.submit] == []
    assert {live.entry.label for live in cluster.live.values()} <= {"r00-testset", "r00-evaluate", "close"}


def test_more_memory_after_oom_and_more_time_after_timeout_each_for_its_shard(cluster):
    cluster.advance()
    name = cluster.name("r01-rollout")
    cluster.fail(name, 0, oom=1)
    cluster.fail(name, 1, timeout=1)
    cluster.fail(name, 2)
    made = cluster.advance()
    asked = {spec.shards: (spec.resources.mem_gb, spec.resources.timeout_min) for spec in made.submit
             if spec.label == "r01-rollout"}  # fmt: skip
    assert asked[0,] == (8, 60)
    assert asked[1,] == (4, 120)
    assert asked[2,] == (4, 60)


def test_finished_stages_are_no_dependency(cluster):
    for stage in cluster.plan:
        if stage.key.round_id < 2 and stage.key.stage is not Stage.EVALUATE:
            cluster.done |= {(stage.key, shard) for shard in range(stage.num_shards)}
    made = cluster.advance()
    assert waits(made, "r02-rollout") == set()
    assert waits(made, "r01-evaluate") == set()


def test_a_label_waits_for_the_array_its_rollout_is_in(cluster):
    cluster.done.add((Key(1, Stage.ROLLOUT), 0))
    made = cluster.advance()
    labels = [spec for spec in made.submit if spec.label == "r01-label"]
    assert {(spec.shards, bool(spec.waits)) for spec in labels} == {((0,), False), ((1, 2), True)}


def test_chunks_keep_labels_beside_their_rollouts():
    cluster = FakeCluster(plan_of(**{"rollout.num_shards": 25}), max_array_size=10)
    made = cluster.advance()
    rollouts = {spec.name: spec for spec in made.submit if spec.label == "r01-rollout"}
    assert [spec.indices for spec in rollouts.values()] == [tuple(range(10)), tuple(range(10)), tuple(range(5))]
    for spec in made.submit:
        if spec.label == "r01-label":
            upstream = rollouts[spec.waits[0].names[0]]
            assert (upstream.offset, upstream.indices) == (spec.offset, spec.indices)


def test_what_waits_for_ever_is_cancelled_and_sent_again(cluster):
    cluster.advance()
    name = cluster.name("r01-finetune_actor")
    cluster.live[name].stuck, cluster.live[name].waiting = {0}, set()
    made = cluster.advance()
    assert made.cancel == {name: {0}}
    assert "r01-finetune_actor" in [spec.label for spec in made.submit]


def test_rolling_sends_one_round_at_a_time(cluster):
    assert {spec.key.round_id for spec in cluster.advance(last_round=1).submit if spec.key} == {0, 1}
    assert {spec.key.round_id for spec in cluster.advance(last_round=2).submit if spec.key} == {2}


def test_submit_limits_cut_at_whole_rounds(cluster):
    now, made = rounds_that_fit(cluster.situation(2), Limits(max_submit_jobs=20), num_queued=0)
    assert now.last_round == 1
    assert sum(spec.num_tasks for spec in made.submit) <= 20
    assert "r01-evaluate" in [spec.label for spec in made.submit]
    with pytest.raises(EngineError, match=r"make rollout\.num_shards smaller"):
        rounds_that_fit(cluster.situation(2), Limits(max_submit_jobs=5), num_queued=0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_fails_and_whoever_comes_every_shard_is_made_and_never_by_two_jobs_at_once(data):
    """A random life: shards run when Slurm would let them, fail or vanish, jobs are cancelled, people submit again."""
    cluster = FakeCluster(plan_of())
    cluster.advance()
    for _ in range(400):
        if not cluster.due():
            break
        seen = [(live.entry.key, s) for live in cluster.live.values() if live.entry.key for s in live.alive]
        assert len(seen) == len(set(seen)), "a shard is covered once"
        startable = [
            (n, s) for n, live in cluster.live.items() for s in sorted(live.waiting) if ready(cluster, live, s)
        ]
        name, shard = data.draw(st.sampled_from(startable)) if startable else ("", 0)
        outcome = data.draw(st.sampled_from(["good"] * 6 + ["vanish", "cancel"]))
        if not name:
            cluster.advance()
            continue
        live = cluster.live[name]
        if live.entry.key is None or outcome == "vanish":
            cluster.end(name, [shard])
        elif outcome == "cancel":
            cluster.end(name)
        else:
            cluster.end(name, [shard], success=True)
        kill_on_invalid_dependency(cluster)
        if outcome != "good" or data.draw(st.integers(0, 9)) == 0:
            cluster.advance()
    assert not cluster.due()


def ready(cluster, live, shard) -> bool:
    """Slurm's view: every job it waits for has ended (for this shard), and well where that is asked."""
    for wait in live.entry.waits:
        for name in wait.names:
            alive = cluster.live[name].alive if name in cluster.live else set()
            if (shard in alive) if wait.after is After.CORR else alive:
                return False
    return True


def kill_on_invalid_dependency(cluster) -> None:
    changed = True
    while changed:
        changed = False
        for name, live in list(cluster.live.items()):
            for shard in sorted(live.waiting):
                if name in cluster.live and any(invalid(cluster, wait, shard) for wait in live.entry.waits):
                    cluster.end(name, [shard])
                    changed = True


def invalid(cluster, wait, shard) -> bool:
    if wait.after is After.ANY:
        return False
    for name in wait.names:
        entry = cluster.ledger.entries[name]
        alive = cluster.live[name].alive if name in cluster.live else set()
        for one in [shard] if wait.after is After.CORR else entry.shards:
            if one not in alive and (entry.key, one) not in cluster.done:
                return True
    return False


def row(name, job_id, indices=(0,), state="PENDING", reason="None"):
    return QueueRow(job_id, tuple(indices), state, "2026-01-01T00:00:00", name, reason, "", "(null)")


def entry(name, **changes):
    given = {"label": "r01-rollout", "key": Key(1, Stage.ROLLOUT), "shards": (0, 1), "offset": 0, "generation": 0,
             "epoch": 1, "waits": ()}  # fmt: skip
    return Entry(name=name, **(given | changes))


def test_an_orphan_is_adopted_a_second_copy_and_a_late_one_are_strays():
    ledger = Ledger(entries={
        "orphan": entry("orphan"),
        "known": entry("known", job_id="7"),
        "given up": entry("given up", abandoned=True),
        "never sent": entry("never sent"),
    })  # fmt: skip
    rows = [row("orphan", "12"), row("orphan", "11", reason="JobHeldUser"), row("known", "7", (0, 1)),
            row("known", "9"),
            row("given up", "13", reason="JobHeldUser")]  # fmt: skip
    seen = match(ledger, rows)
    assert seen.adopted == {"orphan": "11"}
    assert seen.lost == ["never sent"]
    assert sorted(seen.strays) == [("given up", "13"), ("known", "9"), ("orphan", "12")]
    assert seen.live["known"].waiting == {0, 1}


def test_an_id_that_belongs_to_somebody_elses_job_now_is_not_ours():
    ledger = Ledger(entries={"ours": entry("ours", job_id="7")})
    assert match(ledger, [row("theirs", "7")]).live == {}


def test_where_slurm_may_not_cancel_the_hopeless_labels_wait_for_all_rollouts_to_end(cluster):
    cluster.site = SITE.but(kill_on_invalid_dep=False)
    made = cluster.advance()
    assert waits(made, "r01-label") == {"afterany:r01-rollout-g0c0"}
    assert waits(made, "r02-label") == {"afterany:r02-rollout-g0c0", "afterok:r01-finetune_critic-g0c0"}
    assert waits(made, "r01-gate") == {"afterany:r01-label-g0c0"}
    assert cluster.advance().is_empty


def test_where_a_round_is_one_shard_its_label_waits_for_the_job():
    made = FakeCluster(plan_of(**{"rollout.num_shards": 1})).advance()
    assert waits(made, "r01-label") == {"afterok:r01-rollout-g0c0"}


def test_nodes_of_another_pool_are_not_excluded():
    now = replace(FakeCluster(plan_of()).situation(), excluded={"another": ("c9",)})
    assert {spec.excluded for spec in decide(now).submit} == {()}
