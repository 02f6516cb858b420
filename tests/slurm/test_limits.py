"""How much Slurm takes of this user, read from what it says, and how many rounds and how much growth that allows."""

import getpass
import os
from dataclasses import replace

import pytest

from selu_hpc.engines.slurm.calls import submit_limits, user_name
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.limits import Association, Limits, ask_limits, read_associations, rounds_that_fit
from selu_hpc.engines.slurm.reconcile import Failures, Situation
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import EngineError
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

SITE = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu"}}})
CONFIG = {"ClusterName": "lab", "MaxJobCount": "10000"}
WITH_ACCOUNTS = {
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageEnforce": "associations,limits",
}


class Answers(Slurm):
    """A Slurm that says this of the user's associations."""

    def text(self, *command, timeout_s=30.0):
        assert command == submit_limits(user_name())
        return self.said


def ask(config, said="", site=SITE):
    slurm = Answers(_config=config)
    slurm.said = said.replace("UserName=ann", f"UserName={user_name()}")
    return ask_limits(site, slurm)


def line(account="lab", *, user="ann", partition="", default="No", jobs="", group="N(0)", minutes=""):
    """As `scontrol --oneliner show assoc_mgr` of 22.05 and later prints it."""
    return (
        f"ClusterName=lab Account={account} UserName={user}(1001) Partition={partition} Priority=0 ID=9 "
        f"SharesRaw/Norm/Level/Factor=1/0.00/1/0.00 ParentAccount= Lft=1620 DefAssoc={default} GrpJobs=N(0) "
        f"GrpJobsAccrue=N(0) GrpSubmitJobs={group} GrpWall=N(0.00) GrpTRES=cpu=N(0) MaxJobs= MaxJobsAccrue= "
        f"MaxSubmitJobs={jobs} MaxWallPJ={minutes} MaxTRESPJ= MaxTRESPN= MaxTRESMinsPJ= MinPrioThresh= \n"
    )


def read(text, *, account="", partitions=("cpu",)):
    found = read_associations(text, user="ann", account=account, partitions=partitions)
    return [(str(one), one.max_submit_jobs, one.max_timeout_min) for one in found]


def situation(*settings):
    plan = make_plan(load_recipe("selu", ["rounds=5", "evaluate.num_shards=1", *settings]))
    due = {stage.key: list(range(stage.num_shards)) for stage in plan}
    return Situation(plan=plan, due=due, ledger=Ledger(run_id="1a2b3c4d", epoch=1), live={}, failures={}, site=SITE,
                     max_retries=2, max_array_size=1000, last_round=5)  # fmt: skip


def test_a_tenth_of_the_clusters_job_count_is_left_to_others_and_the_profile_knows_better():
    found = ask(CONFIG)
    assert (found.max_submit_jobs, found.source) == (9000, "MaxJobCount=10000 of the whole cluster, less 1000")
    assert ask(CONFIG, site=SITE.but(max_submit_jobs=9500)).max_submit_jobs == 9500
    assert ask(CONFIG, site=SITE.but(max_submit_jobs=20000)).max_submit_jobs == 9999, "Slurm refuses what reaches it"
    assert ask(CONFIG | WITH_ACCOUNTS, line(default="Yes", jobs="500(3)")).source == "account lab"
    assert ask({"ClusterName": "lab"}) == Limits(cluster="lab")


def test_accounting_is_not_asked_for_what_the_profile_says(monkeypatch):
    monkeypatch.setattr(Answers, "text", lambda *_, **__: pytest.fail("asked"))
    config = CONFIG | WITH_ACCOUNTS | {"AccountingStorageEnforce": "none"}
    assert ask(config, site=SITE.but(max_submit_jobs=500)).max_submit_jobs == 500


def test_of_arrays_of_a_thousand_whole_rounds_go_up_to_the_clusters_job_count_and_gates_send_the_rest():
    now = situation("rollout.num_shards=1000")
    assert now.plan.num_tasks > 10000
    fits, made = rounds_that_fit(now, ask(CONFIG), num_queued=0)
    assert fits.last_round == 4
    assert 8000 < sum(spec.num_tasks for spec in made.submit) <= 9000
    later, made = rounds_that_fit(now, ask(CONFIG), num_queued=6000)
    assert later.last_round == 1


def test_only_associations_of_the_profiles_partitions_count():
    said = line(jobs="5000(3)") + line(partition="debug", jobs="2(0)") + line(user="bob", jobs="1(0)")
    assert read(said, account="lab") == [("account lab", 5000, None)]
    assert read(said, account="lab", partitions=("cpu", "debug"))[1] == ("account lab, partition debug", 2, None)


def test_without_an_account_the_default_ones_associations_count_where_it_is_known():
    said = (
        line("old", jobs="100(0)") + line(default="Yes", jobs="", group="700(0)") + line(partition="cpu", jobs="90(0)")
    )
    assert read(said) == [("account lab", 700, None), ("account lab, partition cpu", 90, None)]
    assert read(said, account="old") == [("account old", 100, None)]


def test_an_account_that_is_closed_is_no_limit_of_another():
    said = line(jobs="5000(3)") + line("old", jobs="0(0)")
    assert read(said) == [("account lab", 5000, None)]
    assert read(said, account="lab") == [("account lab", 5000, None)]


def test_ones_own_account_that_is_closed_is_named_and_not_taken_for_one_without_a_limit():
    limits = ask(CONFIG | WITH_ACCOUNTS, line(default="Yes", jobs="0(0)"))
    with pytest.raises(EngineError, match=r"no job is taken \(MaxSubmitJobs=0 of account lab\): name another account"):
        rounds_that_fit(situation(), limits, num_queued=0)
    assert not rounds_that_fit(situation(), limits, num_queued=1)[1].submit


def test_a_round_that_is_too_large_names_whose_limit_it_is():
    limits = ask(CONFIG | WITH_ACCOUNTS, line(default="Yes", partition="cpu", jobs="5(0)"))
    with pytest.raises(EngineError, match=r"Slurm takes 5 of this user \(account lab, partition cpu\): make rollout"):
        rounds_that_fit(situation(), limits, num_queued=0)


def grown_min(limits, site):
    """The minutes a first rollout asks for that ran out of its 60 once."""
    now = situation("resources.rollout.timeout_min=60")
    key = Key(1, Stage.ROLLOUT)
    now = replace(now, site=site, failures={(key, 0): Failures(1, 0, 1)})
    _, made = rounds_that_fit(now, limits, num_queued=0)
    return next(spec.resources.timeout_min for spec in made.submit if spec.key == key and 0 in spec.shards)


@pytest.mark.parametrize(
    ("said", "partition", "minutes"),
    [
        (line(default="Yes", minutes="90"), {}, 90),
        (line(default="Yes", minutes="90"), {"max_timeout_min": 80}, 80),
        (line(default="Yes", minutes="90"), {"qos": "long"}, 120),
        (line(default="Yes", minutes="90") + line(partition="cpu", minutes="100"), {}, 100),
        (line(default="Yes", minutes="30"), {}, 60),
        (line(default="Yes"), {}, 120),
    ],
)
def test_a_retry_does_not_grow_past_what_an_association_gives_one_job(said, partition, minutes):
    site = SITE.but(partitions={"cpu": SITE.partitions["cpu"].but(**partition)})
    assert grown_min(ask(CONFIG | WITH_ACCOUNTS, said), site) == minutes


def test_what_accounting_does_not_enforce_bounds_no_growth():
    limits = ask(
        CONFIG | WITH_ACCOUNTS | {"AccountingStorageEnforce": "associations"}, line(default="Yes", minutes="90")
    )
    assert limits.associations == ()
    mine = Association(account="lab", partition="", is_default=True, max_submit_jobs=None, max_timeout_min=90)
    assert ask(CONFIG | WITH_ACCOUNTS, line(default="Yes", minutes="90")).associations == (mine,)


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 4242"), OSError("No username set")])
def test_a_user_whom_no_list_names_is_asked_about_by_number(monkeypatch, error):
    def unknown():
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert user_name() == str(os.getuid())
    assert ask(CONFIG | WITH_ACCOUNTS).max_submit_jobs == 9000
