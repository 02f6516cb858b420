"""Doctor's command: what it says on a healthy cluster and without one, of what a config names, of a site profile."""

import json
import re

import pytest
from shell_slurm import ANSWERS, SITE, config, one

from selu_hpc import doctor
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.folder import check_folder
from selu_hpc.engines.checks.image import check_apptainer, check_image
from selu_hpc.engines.checks.named import check_named, require_named
from selu_hpc.engines.checks.slurm import (
    check_accounting,
    check_controller,
    check_limits,
    check_munge,
    check_partitions,
)
from selu_hpc.engines.slurm.scheduler import Slurm
from selu_hpc.errors import ConfigError


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
        (["model.base=EMPTY"], "lacks config.json and *.safetensors"),
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


def test_an_image_that_is_not_the_one_asked_for_is_a_problem(tmp_path):
    image = tmp_path / "selu.sif"
    image.write_bytes(b"another")
    (found,) = check_image(config(f"image={image}@sha256:{'0' * 64}"), SITE)
    assert one(found)[0] is Grade.PROBLEM
    assert one(next(iter(check_image(config(f"image={tmp_path / 'none.sif'}"), SITE))))[0] is Grade.PROBLEM
    assert [one(finding)[0] for finding in check_image(config(), SITE)] == [Grade.OK]


def test_a_missing_apptainer_matters_only_where_an_image_is_used_on_this_machine(tools):
    here = SITE.but(partitions={})
    assert one(check_apptainer(here, needed=True))[0] is Grade.PROBLEM
    assert one(check_apptainer(here, needed=False))[0] is Grade.WARNING


def test_an_apptainer_that_only_the_nodes_have_is_no_problem_and_the_modules_that_bring_it_are_named(tools):
    assert one(check_apptainer(SITE, needed=True))[0] is Grade.WARNING
    assert one(check_apptainer(SITE.but(trusted_keys=("A" * 40,)), needed=True))[0] is Grade.PROBLEM
    found = check_apptainer(SITE.but(modules=("apptainer/1.4", "cuda")), needed=True)
    assert one(found)[0] is Grade.WARNING
    assert "jobs load apptainer/1.4, cuda first; a test job (without --no-jobs) says" in found.fix


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
