"""What a stage really sees: the line that jobs use, run by the real Apptainer as a user without rights."""

import json
import os
from pathlib import Path

import pytest
from real_image import MAKER, NEEDED, built, cluster, images, run

from selu_hpc.containers.launch import exec_line, outside_environment, passed_environment
from selu_hpc.containers.mounts import hub_mounts

pytestmark = NEEDED
LOOK = """
import json, os, pathlib, socket
import selu_hpc

def may_write(folder):
    try:
        pathlib.Path(folder, "mark").write_text("from inside")
        return True
    except OSError:
        return False

print(json.dumps({
    "interfaces": [name for _, name in socket.if_nameindex()],
    "home": os.environ["HOME"],
    "tmp": os.listdir("/tmp"),
    "home_files": os.listdir(os.environ["HOME"]),
    "environment": {k: v for k, v in os.environ.items() if k.startswith(("SLURM_", "SECRET", "CUDA_", "PYTHONPATH"))},
    "seen": [path for path in PATHS if os.path.exists(path)],
    "may_write": [folder for folder in FOLDERS if may_write(folder)],
    "code": selu_hpc.__file__,
    "marked": getattr(selu_hpc, "MARKED", False),
}))
"""


@pytest.fixture
def folders(shared):
    names = ("private/home", "private/tmp", "cache", 'run, "odd"', "data", "elsewhere")
    for name in names:
        run("mkdir", "-p", str(shared / name))
    return {name.partition(",")[0]: shared / name for name in names}


def look(folders, paths=(), writing=(), environment=None, **words):
    code = LOOK.replace("PATHS", repr([str(p) for p in paths])).replace("FOLDERS", repr([str(p) for p in writing]))
    line = exec_line(
        ["python", "-c", code],
        image=built(),
        run=folders["run"],
        private=folders["private/tmp"].parent,
        cache=folders["cache"],
        **words,
    )
    return json.loads(run(*line, **(environment or {})))


def test_a_stage_sees_its_run_and_what_the_site_names_and_nothing_else_of_the_host(folders):
    home = Path(cluster.pwd.getpwnam(MAKER).pw_dir)
    paths = [folders["run"], "/mnt/data", folders["elsewhere"], home / ".bashrc", "/work"]
    may = [folders["run"], "/mnt/data", "/tmp", "/opt/selu_hpc", "/usr", "/var/cache/selu_hpc"]
    seen = look(folders, paths, may, mounts=[f"{folders['data']}:/mnt/data"], network=False)
    assert seen["seen"] == [str(folders["run"]), "/mnt/data"]
    assert seen["may_write"] == [str(folders["run"]), "/mnt/data", "/tmp", "/var/cache/selu_hpc"]
    assert (folders["run"] / "mark").read_text() == "from inside"
    assert (folders["private/tmp"] / "mark").exists()
    assert (seen["home"], seen["home_files"]) == ("/home/selu", [])
    assert set(seen["tmp"]) <= {cluster.STATE.name}, "the run folder of this test lies below /tmp"
    assert seen["code"] == "/opt/selu_hpc/selu_hpc/__init__.py"


def test_a_stage_without_need_of_the_network_has_loopback_only(folders):
    assert look(folders, network=False)["interfaces"] == ["lo"]


def test_of_the_environment_only_what_must_pass_passes(folders, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "CUDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    outside = {**passed_environment(), "SECRET": "of the user", "PYTHONPATH": "/home/of/the/user"}
    assert look(folders, environment=outside)["environment"] == {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}


def test_what_passes_arrives_word_for_word_and_no_shell_evaluates_it(folders, monkeypatch):
    words = f"/the lab's/x$(touch '{folders['run']}/pwned')/`id`/$HOME/hub$5 \\"
    monkeypatch.setenv("SLURM_SUBMIT_DIR", words)
    passed = {name: value for name, value in passed_environment().items() if name.endswith("SLURM_SUBMIT_DIR")}
    assert look(folders, environment=passed)["environment"]["SLURM_SUBMIT_DIR"] == words
    assert not (folders["run"] / "pwned").exists()


def test_what_a_shell_or_module_sends_into_every_image_does_not_arrive(folders, monkeypatch):
    monkeypatch.setenv("APPTAINERENV_PYTHONPATH", "/evil")
    monkeypatch.setenv("SINGULARITYENV_SECRET", "of the user")
    (folders["data"] / "more").write_text("SECRET_TOO=1\n")
    monkeypatch.setenv("APPTAINER_ENV_FILE", str(folders["data"] / "more"))
    sent = ("APPTAINER", "SINGULARITY")
    environment = {name: value for name, value in outside_environment().items() if name.startswith(sent)}
    inside = look(folders, environment=environment)["environment"]
    assert {name for name in inside if not name.startswith(("SLURM_", "CUDA_"))} == set()


def test_a_mount_to_read_only_and_the_hub_cache_can_be_read_and_not_written(folders):
    data, hub = folders["data"], folders["elsewhere"]
    seen = look(
        folders,
        [data, f"{data}:ro", hub],
        [data, hub],
        mounts=[f"{data}:{data}:ro"],
        hub=hub_mounts({"HF_HOME": str(hub)}, run=folders["run"], mounts=()),
    )
    assert seen["seen"] == [str(data), str(hub)]
    assert seen["may_write"] == []


def test_a_working_copy_is_what_runs(folders, shared):
    for name in ("selu_hpc", "configs"):
        run("mkdir", "-p", str(shared / "copy" / name))
    (shared / "copy" / "selu_hpc" / "__init__.py").write_text("MARKED = True\n")
    assert look(folders, working_copy=shared / "copy")["marked"] is True


def test_the_images_own_test_passes():
    assert "its test passed" in images(built().parent, "test", str(built()), user=MAKER)
