"""Doctor's test job where a run's would die: packages that are not there, scratch that is not there or full."""

import json
import subprocess
import sys
import time

import pytest
from shell_slurm import SITE, config, one

from selu_hpc.containers.mounts import BINDS
from selu_hpc.engines import probe
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.nodes import check_nodes, judge_binds, judge_node, judge_scratch

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
SLURMD_NODENAME=c1 exec "$@"
"""
OTHER_PYTHON = """#!/bin/bash
env > "{folder}/environment"
exec "{folder}/bare/bin/python" "$@"
"""


@pytest.fixture
def node(tmp_path, monkeypatch):
    """`node(python=…, scratch=…)` → what doctor says of a node that is this machine."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "srun").write_text(SRUN)
    (tools / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (tmp_path / "runs").mkdir()

    def look(**settings):
        found = list(check_nodes(SITE.but(**settings), config(), tmp_path / "runs", patience_s=60))
        assert list((tmp_path / "runs").iterdir()) == [], "doctor leaves nothing behind"
        return {finding.check: finding for finding in found}

    return look


def test_a_node_on_which_a_stage_would_start_gets_ok(node, tmp_path):
    found = node(scratch=str(tmp_path))
    assert {name: one(finding)[0] for name, finding in found.items()} == {
        "node of cpu": Grade.OK,
        "scratch of cpu": Grade.OK,
    }
    assert str(tmp_path) in found["scratch of cpu"].answer


def test_the_test_job_has_a_runs_environment_and_packages_that_are_not_there_are_a_problem(node, tmp_path):
    python = tmp_path / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    python.write_text(OTHER_PYTHON.format(folder=tmp_path))
    python.chmod(0o755)
    found = node(python=str(python), scratch=str(tmp_path))
    grade, answer = one(found["packages, node of cpu"])
    assert grade is Grade.PROBLEM
    assert answer.startswith("c1: ModuleNotFoundError: No module named ")
    there = (tmp_path / "environment").read_text().splitlines()
    for line in ("PYTHONNOUSERSITE=1", f"SELU_SCRATCH={tmp_path}", "OMP_NUM_THREADS=1", "DS_ACCELERATOR=cpu"):
        assert line in there


def test_scratch_that_is_not_there_on_a_node_is_a_problem_before_a_run_finds_out(node, tmp_path):
    grade, answer = one(node(scratch=str(tmp_path / "nowhere"))["scratch of cpu"])
    assert (grade, answer) == (Grade.PROBLEM, f"c1: {tmp_path}/nowhere: No such file or directory")


def test_a_package_that_is_not_there_is_told_without_loading_those_that_are(capfd):
    assert probe._import(["json", "selu_hpc.engines.probe", "torch"]) == ""
    assert probe._import(["torch", "no_such_package"]).startswith("no package 'no_such_package' for ")


def scratch(**changes):
    told = {"place": "/tmp", "error": "", "free_gb": 50.0, "tmp_of_the_job": False}
    return {"host": "c1", "scratch": told | changes}


@pytest.mark.parametrize(
    ("told", "site", "settings", "grade"),
    [
        ({}, {}, [], Grade.OK),
        ({"free_gb": 0.5}, {}, [], Grade.WARNING),
        ({"free_gb": 2.0}, {}, ["image=/i.sif"], Grade.OK),
        ({"free_gb": 2.0}, {"unpack_image": True}, ["image=/i.sif"], Grade.WARNING),
        ({"free_gb": 2.0}, {"unpack_image": True}, [], Grade.OK),
        ({"tmp_of_the_job": True}, {}, [], Grade.OK),
        ({"tmp_of_the_job": True}, {}, ["image=/i.sif"], Grade.WARNING),
        ({"tmp_of_the_job": True}, {"scratch": "/local"}, ["image=/i.sif"], Grade.OK),
        ({"error": "Permission denied"}, {}, [], Grade.PROBLEM),
    ],
)
def test_scratch_is_judged_by_what_tasks_put_there(told, site, settings, grade):
    found = judge_scratch("node of cpu", scratch(**told), SITE.but(**site), config(*settings))
    assert (found.check, one(found)[0]) == ("scratch of cpu", grade)


@pytest.mark.parametrize(
    ("root", "own"), [("/mnt/jobs/77/.77", True), ("/", False), ("/var/tmp", False), ("/jobs/177", False)]
)
def test_a_tmp_of_the_jobs_own_is_told_by_what_is_mounted_there(monkeypatch, root, own):
    shown = f"30 1 8:1 / / rw - ext4 /dev/sda rw\n91 30 8:1 {root} /tmp rw - ext4 /dev/sda rw\n"
    monkeypatch.setattr(probe.Path, "read_text", lambda *_, **__: shown)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert probe._has_own_tmp() is own


@pytest.mark.parametrize("visible", ["NoDevFiles", "-1", ""])
def test_what_slurm_writes_for_no_gpu_is_none(visible):
    seen = {"host": "c1", "time": 0.0, "python": "3.11", "seen_s": 0.1, "gpus": [], "vulkan": []}
    found = judge_node("node of gpu", seen | {"cuda_visible_devices": visible}, True, 1, config())
    gpus = next(finding for finding in found if finding.check == "gpus")
    assert one(gpus) == (Grade.PROBLEM, "c1: asked for 1, CUDA_VISIBLE_DEVICES names 0")


def test_the_probe_says_what_it_saw_in_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "t.login").touch()
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    seen = json.loads(json.dumps(probe.probe(tmp_path, "t", torch=False, scratch=True, imports=["json"])))
    assert (seen["scratch"]["place"], seen["scratch"]["error"], seen["import_error"]) == (str(tmp_path), "", "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.login", "t.node"]


def binds(tmp_path, monkeypatch, **variables):
    """What the probe says of a job's environment that has these."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "t.login").touch()
    return probe.probe(tmp_path, "t", torch=False)


@pytest.mark.parametrize("name", BINDS)
def test_a_module_that_lays_something_over_the_images_code_is_a_problem_before_every_stage_refuses(
    name, tmp_path, monkeypatch
):
    seen = binds(tmp_path, monkeypatch, **{name: "/scratch,/opt"})
    (found,) = judge_binds("node of cpu", seen, config("image=/i.sif"))
    grade, answer = one(found)
    assert (found.check, grade) == ("binds of cpu", Grade.PROBLEM)
    assert f"{name}=/scratch,/opt lays /opt over the image's own code" in answer
    assert list(judge_binds("node of cpu", seen, config())) == [], "without an image there is nothing to cover"


def test_what_a_module_binds_elsewhere_is_no_problem(tmp_path, monkeypatch):
    seen = binds(tmp_path, monkeypatch, APPTAINER_BIND="/scratch,/data:/mnt", APPTAINER_TMPDIR="/opt")
    assert seen["binds"] == {"APPTAINER_BIND": "/scratch,/data:/mnt"}
    assert list(judge_binds("node of cpu", seen, config("image=/i.sif"))) == []


def test_packages_that_are_slow_to_come_are_not_called_missing(monkeypatch):
    monkeypatch.setattr(probe, "IMPORT_S", 0.01)
    seen = {"host": "c1", "seen_s": 0.1, "time": time.time(), "python": "3.11", "import_error": probe._import(["json"])}
    found = {one.check: one for one in judge_node("node of cpu", seen, back=True, gpus=0, config=config())}
    grade, answer = one(found["packages, node of cpu"])
    assert (grade, answer) == (Grade.WARNING, "c1: importing them took more than 0.01 s")
