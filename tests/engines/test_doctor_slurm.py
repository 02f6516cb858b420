"""Doctor asks Slurm: its controller, partitions, limits, and whether it would take each kind of job."""

import re

import pytest
from shell_slurm import ANSWERS, SITE, SITE_WITH_QOS, config, one, scontrol

from selu_hpc.engines.checks import slurm as checks
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.slurm import (
    check_accounting,
    check_controller,
    check_limits,
    check_munge,
    check_partitions,
    check_requests,
)
from selu_hpc.engines.slurm.scheduler import Slurm


def test_without_slurm_and_without_its_controller(tools):
    tools(srun=None)
    assert one(check_controller(Slurm())) == (Grade.PROBLEM, "not installed: srun")
    tools(srun="exit 0", scontrol="echo 'Slurmctld(primary) at head is DOWN'")
    grade, answer = one(check_controller(Slurm()))
    assert grade is Grade.PROBLEM
    assert "the controller does not answer" in answer


def test_a_refused_credential_is_a_problem_and_no_accounting_is_not(tools):
    tools(squeue="echo 'Protocol authentication error' >&2; exit 1", sacct=None)
    assert one(check_munge(Slurm()))[0] is Grade.PROBLEM
    assert one(check_accounting(Slurm())) == (Grade.WARNING, "sacct does not answer")


@pytest.mark.parametrize(
    ("squeue", "grade", "said"),
    [
        (
            "echo 'slurm_load_jobs error: Invalid authentication credential' >&2; exit 1",
            Grade.PROBLEM,
            "our credential: ",
        ),
        ("echo 'Munge encode failed: Failed to access munged' >&2; exit 1", Grade.PROBLEM, "our credential: Munge"),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", Grade.WARNING, "not answer: "),
        ("exec sleep 60", Grade.WARNING, "squeue timed out after 0 s"),
        ("echo 'error: no such option' >&2; exit 1", Grade.PROBLEM, "squeue fails: error: no such option"),
        (None, Grade.PROBLEM, "No such file or directory: 'squeue'"),
    ],
)
def test_only_a_refused_credential_is_called_one(tools, monkeypatch, squeue, grade, said):
    monkeypatch.setattr(checks, "ANSWER_S", 0.3)
    tools(squeue=squeue)
    found = check_munge(Slurm())
    assert one(found)[0] is grade
    assert said in found.answer


def test_a_hidden_partition_that_a_profile_names_is_found(tools):
    shown = f"case \"$*\" in *--all*) {ANSWERS['sinfo']};; *) echo 'cpu|up|1-00:00:00|2|(null)|64000';; esac"
    tools(sinfo=shown)
    found = list(check_partitions(SITE, config("resources.finetune.partition=gpu"), Slurm()))
    assert [finding.check for finding in found] == ["partition cpu", "partition gpu"]
    assert {one(finding)[0] for finding in found} == {Grade.OK}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["resources.rollout.partition=preempt"], "the site profile has none"),
        (["resources.rollout.partition=gpu", "resources.rollout.timeout_min=241"], "rollout asks for 241 min of 240"),
        (["resources.finetune.partition=gpu", "resources.finetune.gpus=8"], "asks for 8 GPUs of 4 a node"),
        (["resources.finetune.mem_gb=187"], "finetune_actor asks for 187 GB of 186 on a node"),
    ],
)
def test_what_no_partition_gives_is_a_problem(tools, settings, said):
    found = [one(finding) for finding in check_partitions(SITE, config(*settings), Slurm())]
    assert [answer for grade, answer in found if grade is Grade.PROBLEM and said in answer]


@pytest.mark.parametrize(("name", "said"), [("nosuch", "'nosuch' is not one of cpu, gpu, old"), ("old", "old is down")])
def test_a_partition_that_is_not_there_or_down_is_a_problem(tools, name, said):
    site = SITE.but(partitions={"cpu": SITE.partitions["cpu"].but(name=name)})
    assert [one(finding) for finding in check_partitions(site, config(), Slurm())] == [(Grade.PROBLEM, said)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu,gpu", (Grade.OK, "cpu,gpu, 240 min, 0 GPUs a node")),
        ("cpu,old", (Grade.OK, "cpu,old, 1440 min, 0 GPUs a node")),
        ("cpu,nosuch", (Grade.PROBLEM, "'nosuch' is not one of cpu, gpu, old")),
        ("old,old", (Grade.PROBLEM, "old is down")),
    ],
)
def test_several_partitions_in_one_are_looked_at_one_by_one(tools, name, expected):
    site = SITE.but(partitions={"cpu": SITE.partitions["cpu"].but(name=name, max_timeout_min=0)})
    assert [one(finding) for finding in check_partitions(site, config(), Slurm())] == [expected]


def test_another_cluster_that_the_shell_names_is_a_problem(tools, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "lab")
    assert one(check_controller(Slurm()))[0] is Grade.OK
    monkeypatch.setenv("SLURM_CLUSTERS", "b")
    assert one(check_controller(Slurm())) == (
        Grade.PROBLEM,
        "SLURM_CLUSTERS=b names another cluster than the one that answers here",
    )


def test_an_account_that_takes_no_job_is_a_problem(tools):
    tools(scontrol=scontrol(0))
    site = SITE.but(account="lab")
    told = "no job is taken (MaxSubmitJobs=0 of account lab)"
    assert one(check_limits(site, config(), Slurm())) == (Grade.PROBLEM, told)


def test_each_kind_of_job_is_shown_to_slurm_as_a_run_would_send_it(tools, tmp_path):
    tools(sbatch=f'cat >> {tmp_path}/scripts; echo "$*" >> {tmp_path}/words', cat=None)
    (tmp_path / "tools" / "cat").symlink_to("/bin/cat")
    (found,) = check_requests(SITE_WITH_QOS, config("resources.label.cpus=3"), Slurm())
    assert one(found)[0] is Grade.OK
    words, scripts = ((tmp_path / name).read_text() for name in ("words", "scripts"))
    assert set(words.splitlines()) == {"--test-only"}
    for line in ("--cpus-per-task=3", "--qos=long", "--constraint=intel", "--reservation=lab", "--partition=cpu"):
        assert f"#SBATCH {line}\n" in scripts
    assert scripts.count("--cpus-per-task=3") == 1


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("allocation failure: Requested node configuration is not available", Grade.PROBLEM),
        ("allocation failure: Invalid qos specification", Grade.PROBLEM),
        ("allocation failure: Required node not available (down, drained or reserved)", Grade.WARNING),
        ("allocation failure: Unable to contact slurm controller (connect failure)", Grade.WARNING),
    ],
)
def test_a_job_that_slurm_would_never_start_is_a_problem_and_one_that_must_wait_is_not(tools, said, grade):
    tools(sbatch=f"echo '{said}' >&2; exit 1")
    found = list(check_requests(SITE, config(), Slurm()))
    assert {one(finding) for finding in found} == {(grade, said)}
    assert any("finetune_actor, finetune_critic" in finding.check for finding in found)


def test_a_run_above_the_submit_limit_is_a_warning_and_a_round_above_it_a_problem(tools):
    tools(scontrol=scontrol(60))
    large = ("rollout.num_shards=20", "rounds=5")
    assert one(check_limits(SITE, config(*large), Slurm()))[0] is Grade.WARNING
    tools(scontrol=scontrol(30))
    grade, answer = one(check_limits(SITE, config(*large), Slurm()))
    assert grade is Grade.PROBLEM
    told = re.fullmatch(
        r"arrays of 1000, 30 jobs in the queue \(account lab\); rounds 0 and 1 are (\d+) at once", answer
    )
    assert told
    # what submit finds out when it comes to it: just enough is enough, one less is refused
    tools(scontrol=scontrol(told[1]))
    assert one(check_limits(SITE, config(*large), Slurm()))[0] is Grade.WARNING
    tools(scontrol=scontrol(int(told[1]) - 1))
    assert one(check_limits(SITE, config(*large), Slurm()))[0] is Grade.PROBLEM


def test_a_profile_without_a_time_limit_is_checked_against_the_partitions(tools):
    tools()
    silent = SITE.but(partitions={role: one.but(max_timeout_min=0) for role, one in SITE.partitions.items()})
    found = {
        name.check: one(name)
        for name in check_partitions(silent, config("resources.finetune.timeout_min=1500"), Slurm())
    }
    assert found["partition cpu"] == (Grade.PROBLEM, "finetune_actor asks for 1500 min of 1440")
