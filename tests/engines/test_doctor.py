"""Doctor's questions against a Slurm of shell scripts: every bad answer is one, and comes with what to do."""

import json
import re
import time

import pytest

from selu_hpc import doctor
from selu_hpc.engines.checks import folder, nodes
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.folder import check_folder
from selu_hpc.engines.checks.image import check_apptainer, check_image
from selu_hpc.engines.checks.named import check_named, require_named
from selu_hpc.engines.checks.nodes import check_nodes
from selu_hpc.engines.checks.slurm import (
    check_accounting,
    check_controller,
    check_limits,
    check_munge,
    check_partitions,
    check_requests,
)
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import ConfigError
from selu_hpc.recipes import load_recipe
from selu_hpc.site import Site

CONFIG = """Configuration data as of now
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lab
MaxArraySize            = 1001
SLURM_VERSION           = 22.05.8
"""
PARTITIONS = (
    "cpu|up|1-00:00:00|2|(null)|64000\ncpu|up|1-00:00:00|1|(null)|191000\n"
    "gpu|up|4:00:00|1|gpu:a100:4|515000\nold|down|infinite|9|(null)|8000\n"
)
MEMORY = "cpu|64000|1-00:00:00\ncpu|191000|1-00:00:00\ngpu|515000|4:00:00\nold|8000|infinite\n"


def scontrol(limit):
    """A controller that answers, and that knows a limit of the user who asks."""
    association = f"Account=lab UserName=$(id -un)(1001) GrpSubmitJobs=N(0) MaxSubmitJobs={limit}(3) MaxWallPJ="
    return (
        "case $1 in ping) echo 'Slurmctld(primary) at head is UP';; "
        f"--oneliner) echo \"ClusterName=lab {association}\";; *) printf '%s' '{CONFIG}';; esac"
    )


ANSWERS = {
    "sbatch": "echo slurm 22.05.8",
    "squeue": "exit 0",
    "sacct": "exit 0",
    "srun": "exit 0",
    "scancel": "exit 0",
    "sinfo": f"case \"$*\" in *%R?%m*) printf '%s' '{MEMORY}';; *) printf '%s' '{PARTITIONS}';; esac",
    "scontrol": scontrol(500),
    "quota": "echo Disk quotas for user: none",
}
SITE = Site.of(
    {
        "name": "lab",
        "partitions": {
            "cpu": {"name": "cpu", "max_timeout_min": 1440},
            "gpu": {"name": "gpu", "max_timeout_min": 240, "gpus_per_node": 4, "gres": "gpu:a100"},
        },
    }
)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Slurm's commands as scripts; `tools(scontrol="exit 1")` lets one answer otherwise, `None` takes it away."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def says(**answers):
        for name, text in answers.items():
            (folder / name).unlink(missing_ok=True)
            if text is not None:
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)

    says(**ANSWERS)
    for name in ("sh", "sleep", "id"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return says


def config(*settings):
    return load_recipe("selu", settings)


def one(finding):
    """A finding's grade and answer; what is not ok says what to do."""
    assert finding.answer
    assert (finding.grade is Grade.OK) == (not finding.fix)
    return finding.grade, finding.answer


def test_a_healthy_cluster_gets_ok_everywhere(tools, tmp_path):
    slurm = Slurm()
    asked = [check_controller(slurm), check_munge(slurm), check_accounting(slurm)]
    asked += [*check_partitions(SITE, config(), slurm), check_limits(SITE, config(), slurm)]
    asked += check_folder(tmp_path / "runs")
    assert {finding.check: one(finding)[0] for finding in asked} == dict.fromkeys(
        ("slurm", "munge", "accounting", "partition cpu", "limits", "run folder", "file locks", "space", "quota"),
        Grade.OK,
    )
    assert list((tmp_path / "runs").iterdir()) == []


def test_without_slurm_and_without_its_controller(tools):
    tools(srun=None)
    assert one(check_controller(Slurm())) == (Grade.PROBLEM, "not installed: srun")
    tools(srun="exit 0", scontrol="echo 'Slurmctld(primary) at head is DOWN'")
    grade, answer = one(check_controller(Slurm()))
    assert grade is Grade.PROBLEM
    assert "the controller does not answer" in answer


def test_without_any_slurm_a_submission_works_on_this_machine(tools, tmp_path, capsys):
    tools(sbatch=None, squeue=None, scontrol=None, srun=None, scancel=None)
    words = ["--folder", str(tmp_path / "runs" / "mine")]
    assert doctor.main(words) == 0
    assert not (tmp_path / "runs").exists(), "asking leaves nothing behind"
    assert capsys.readouterr().out.endswith("a submission would work\n")
    assert one(check_controller(Slurm())) == (Grade.WARNING, "no Slurm here")
    assert doctor.main([*words, "--set", "image=/nosuch.sif"]) == 1
    assert "No such file" in capsys.readouterr().out
    site = tmp_path / "lab.yaml"
    site.write_text("name: lab\npartitions: {cpu: {name: cpu}}\n")
    assert doctor.main([*words, "--site", str(site)]) == 1
    assert "1 problem: a submission would fail" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model.base=/nonexist"], "'/nonexist': no such folder"),
        (["model.base=lab/uncached"], "'lab/uncached': neither a folder nor in the hub cache"),
        (["model.base=EMPTY"], "lacks config.json or *.safetensors"),
        (["env.backend=xvfb", "env.unity_commit=x", "env.unity_releases=/nonexist"], "thor-Linux64-x is not an exec"),
        (["env.simulator=virtualhome", "env.backend=xvfb", "env.unity_releases=EMPTY"], "has 0 files like *.x86_64"),
    ],
)
def test_what_submit_refuses_here_is_a_problem_and_where_jobs_run_elsewhere_a_warning(
    tools, tmp_path, capsys, monkeypatch, settings, said
):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    settings = [one.replace("EMPTY", str(tmp_path / "empty")) for one in settings]
    tools(sbatch=None, squeue=None, scontrol=None, srun=None, scancel=None)
    words = ["--folder", str(tmp_path / "runs"), "--json", *(f"--set={one}" for one in settings)]
    assert doctor.main(words) == 1
    problems = [one for one in json.loads(capsys.readouterr().out) if one["grade"] == "problem"]
    assert len(problems) == 1
    assert said in problems[0]["answer"]
    with pytest.raises(ConfigError, match=re.escape(said)):
        require_named(config(*settings))
    [on_nodes] = check_named(config(*settings), here=False)
    assert one(on_nodes)[0] is Grade.WARNING
    assert on_nodes.answer.endswith("on this machine; jobs need it on their nodes")


def test_what_is_there_is_named_with_its_place(tmp_path, monkeypatch):
    cached = tmp_path / "hub" / "models--lab--base" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (cached / name).touch()
    (tmp_path / "hub" / "models--lab--base" / "refs").mkdir()
    (tmp_path / "hub" / "models--lab--base" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for base in ("lab/base", str(cached)):
        [found] = check_named(config(f"model.base={base}"), here=True)
        assert one(found) == (Grade.OK, str(cached))
    monkeypatch.chdir(cached.parent)
    with pytest.raises(ConfigError, match=f"is another folder in another folder; write {cached}"):
        require_named(config("model.base=abc"))
    assert list(check_named(config(), here=True)) == []
    assert list(check_named(config("model.base=lab/served", "model.server_url=http://gpu01:8000"), here=True)) == []


@pytest.mark.parametrize("scontrol", ["exit 0", None])
def test_a_profile_that_does_not_exist_is_told_though_slurm_is_away(tools, tmp_path, capsys, scontrol):
    tools(scontrol=scontrol)
    assert doctor.main(["--folder", str(tmp_path / "runs"), "--site", "nope"]) == 2
    assert "no site profile 'nope'; there are " in capsys.readouterr().err


def test_a_refused_credential_is_a_problem_and_no_accounting_is_not(tools):
    tools(squeue="echo 'Protocol authentication error' >&2; exit 1", sacct=None)
    assert one(check_munge(Slurm()))[0] is Grade.PROBLEM
    assert one(check_accounting(Slurm())) == (Grade.WARNING, "sacct does not answer")


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


SITE_WITH_QOS = SITE.but(
    partitions={"cpu": SITE.partitions["cpu"].but(qos="long", constraint="intel")},
    sbatch_flags={"reservation": "lab"},
)


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


def test_the_test_job_asks_as_a_run_does_with_its_modules_and_without_what_the_shell_set(tools, tmp_path, monkeypatch):
    site = SITE_WITH_QOS.but(account="lab", modules=("python/3.11",))
    tools(srun=f'printf "%s\\n" "$@" > {tmp_path}/asked; env > {tmp_path}/environment; exit 1')
    (tmp_path / "tools" / "env").symlink_to("/usr/bin/env")
    monkeypatch.setattr(nodes, "DELAY_S", 0.0)
    for name in ("SLURM_QOS", "SRUN_EXPORT_ENV", "PYTHONPATH"):
        monkeypatch.setenv(name, "leaks")
    (found,) = check_nodes(site, config(), tmp_path, patience_s=60)
    assert one(found)[0] is Grade.PROBLEM
    asked = (tmp_path / "asked").read_text().splitlines()
    wanted = {"--partition=cpu", "--account=lab", "--qos=long", "--constraint=intel", "--reservation=lab", "--mem=1GB"}
    assert wanted <= set(asked)
    assert "module load python/3.11" in asked
    assert "leaks" not in (tmp_path / "environment").read_text()


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


def test_a_folder_that_can_not_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    (found,) = check_folder(tmp_path / "file" / "runs")
    assert one(found)[0] is Grade.PROBLEM


def test_a_quota_that_does_not_answer_or_is_full_somewhere_is_a_warning(tools, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "QUOTA_S", 0.3)
    for quota, said in (("exec sleep 60", "timed out"), ("echo /home 100M* 90M 100M", "/home 100M*")):
        tools(quota=quota)
        found = next(finding for finding in check_folder(tmp_path) if finding.check == "quota")
        grade, answer = one(found)
        assert (grade, said in answer) == (Grade.WARNING, True)


def test_where_lfs_knows_nothing_of_the_folder_the_other_quota_is_asked(tools, tmp_path):
    tools(lfs="echo not a Lustre filesystem >&2; exit 22", quota="echo /home 100M* 90M 100M; exit 1")
    found = {finding.check: one(finding) for finding in check_folder(tmp_path)}
    assert found["quota"] == (Grade.WARNING, "/home 100M* 90M 100M")
    tools(quota="echo no rights >&2; exit 1")
    found = {finding.check: one(finding) for finding in check_folder(tmp_path)}
    assert found["quota"] == (Grade.WARNING, "`quota -s`: no rights")


def test_a_full_quota_of_the_folder_itself_is_a_problem(tools, tmp_path):
    tools(lfs="echo /home 100M* 90M 100M")
    found = {finding.check: one(finding)[0] for finding in check_folder(tmp_path)}
    assert found["quota"] is Grade.PROBLEM


def test_an_image_that_is_not_the_one_asked_for_is_a_problem(tmp_path):
    image = tmp_path / "selu.sif"
    image.write_bytes(b"another")
    (found,) = check_image(config(f"image={image}@sha256:{'0' * 64}"), SITE)
    assert one(found)[0] is Grade.PROBLEM
    assert one(next(iter(check_image(config(f"image={tmp_path / 'none.sif'}"), SITE))))[0] is Grade.PROBLEM
    assert [one(finding)[0] for finding in check_image(config(), SITE)] == [Grade.OK]


def test_a_missing_apptainer_matters_only_where_an_image_is_used(tools):
    assert one(check_apptainer(SITE, needed=True))[0] is Grade.PROBLEM
    assert one(check_apptainer(SITE, needed=False))[0] is Grade.WARNING


def seen(**changes):
    there = {"host": "c1", "time": time.time(), "python": "3.11", "seen_s": 0.1, "gpus": [], "vulkan": []}
    return there | {"cuda_visible_devices": None} | changes


@pytest.mark.parametrize(
    ("changes", "back", "gpus", "expected"),
    [
        ({}, True, 0, {"node of cpu": Grade.OK}),
        ({"seen_s": None}, True, 0, {"node of cpu": Grade.PROBLEM}),
        ({}, False, 0, {"node of cpu": Grade.PROBLEM}),
        ({"seen_s": 25.0}, True, 0, {"node of cpu": Grade.WARNING}),
        ({"time": time.time() - 3600}, True, 0, {"node of cpu": Grade.OK, "clocks": Grade.WARNING}),
        ({"cuda_visible_devices": "0"}, True, 8, {"node of cpu": Grade.OK, "gpus": Grade.PROBLEM}),
        ({"cuda_visible_devices": "0,1"}, True, 2, {"node of cpu": Grade.OK, "gpus": Grade.WARNING}),
        (
            {"cuda_visible_devices": "0,1", "gpus": ["A100", "A100"], "vulkan": ["deviceName = A100"]},
            True, 2, {"node of cpu": Grade.OK, "gpus": Grade.OK},
        ),
        (
            {"cuda_visible_devices": "0", "gpus": ["A100"], "torch": ["2.13.0+cu130", "13.0", "True"]},
            True, 1, {"node of cpu": Grade.OK, "gpus": Grade.OK, "torch, node of cpu": Grade.OK},
        ),
        (
            {"cuda_visible_devices": "0", "gpus": ["A100"], "torch": ["2.13.0+cpu", "None", "False"]},
            True, 1, {"node of cpu": Grade.OK, "gpus": Grade.OK, "torch, node of cpu": Grade.PROBLEM},
        ),
        (
            {"cuda_visible_devices": "0", "gpus": ["A100"], "torch": []},
            True, 1, {"node of cpu": Grade.OK, "gpus": Grade.OK, "torch, node of cpu": Grade.PROBLEM},
        ),
    ],
)  # fmt: skip
def test_what_a_node_sees_is_judged(changes, back, gpus, expected):
    found = nodes._judge("node of cpu", seen(**changes), back, gpus, config())
    assert {finding.check: one(finding)[0] for finding in found} == expected


def test_the_exit_code_says_whether_a_submission_would_work(tools, tmp_path, capsys):
    words = ["--folder", str(tmp_path / "runs"), "--no-jobs", "--json"]
    site = tmp_path / "lab.yaml"
    site.write_text("name: lab\npartitions: {cpu: {name: cpu}}\n")
    assert doctor.main([*words, "--site", str(site)]) == 0
    assert {one["grade"] for one in json.loads(capsys.readouterr().out)} <= {"ok", "warning"}
    site.write_text("name: lab\npartitions: {cpu: {name: old}}\n")
    assert doctor.main([*words, "--site", str(site)]) == 1
    capsys.readouterr()


def test_a_written_profile_is_what_slurm_says_and_a_name_with_a_newline_is_refused(tools, tmp_path, capsys):
    assert doctor.main(["--write-site", str(tmp_path / "lab.yaml")]) == 0
    assert "cpu=cpu, gpu=gpu" in capsys.readouterr().out
    tools(scontrol=ANSWERS["scontrol"].replace("= lab", "= $(touch pwned)"))
    assert doctor.main(["--write-site", str(tmp_path / "odd.yaml")]) == 0
    from selu_hpc.recipes import load_site

    assert load_site(str(tmp_path / "odd.yaml")).name == "$(touch pwned)"
    assert not list(tmp_path.rglob("pwned"))


def test_a_profile_that_somebody_may_have_edited_is_not_written_over(tools, tmp_path, capsys):
    file = tmp_path / "lab.yaml"
    file.write_text("modules: [apptainer/1.3]\n")
    assert doctor.main(["--write-site", str(file)]) == 2
    assert file.read_text() == "modules: [apptainer/1.3]\n"
    assert doctor.main(["--write-site", str(file / "below")]) == 2
    told = capsys.readouterr().err
    assert f"{file}: is there already" in told
    assert f"{file / 'below'}: cannot be written: " in told


def test_a_test_jobs_answer_is_found_among_what_a_site_prints():
    answer = {"seen_s": 0.1, "host": "c1"}
    assert nodes._last_object(f"welcome to the lab\n{json.dumps(answer)}\n[epilog] done\n17\n") == answer
    assert nodes._last_object("") is None
    assert nodes._last_object('{"epilog": 1}\n') is None
