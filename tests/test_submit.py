"""The one command as a user runs it: dry runs, budgets, unkind folders, and a whole small run."""

import getpass
import json
import os
import subprocess
import sys

import pytest

from selu_hpc import cancel, report
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.lock import hold_lock
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage
from selu_hpc.selftest import TINY
from selu_hpc.submit import ask_ahead, build_parser

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which needs root")


def submit(*words, check=True):
    line = [sys.executable, "-m", "selu_hpc.submit", "--engine=local", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def tiny(run, *words, **options):
    return submit("--run", str(run), *(f"--set={setting}" for setting in TINY), *words, **options)


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of its own; `small_disk(size)` mounts or remounts it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        again = ["remount,"] if folder.is_mount() else [""]
        words = ["mount", "-t", "tmpfs", "-o", again[0] + options, "tmpfs", str(folder)]
        subprocess.run(words, check=True)
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_dry_run_starts_nothing_and_shows_the_worst_case(tmp_path):
    done = submit("--rounds=2", "--dry-run", "--run", str(tmp_path / "run"))
    assert "r02/finetune_critic" in done.stdout
    assert "core-hours" in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_folder_can_be_made_for_the_templates_and_nothing_is_started(tmp_path):
    done = submit("--rounds=2", "--prepare", "--run", str(tmp_path / "run"))
    assert done.stdout == f"{tmp_path / 'run'}\n"
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"config.yaml", "provenance.json", "journal.jsonl"}
    assert "2 rounds" in submit("--rounds=1", "--dry-run", "--run", str(tmp_path / "run")).stderr


def test_a_prepared_folder_says_in_which_image_its_stages_run(tmp_path):
    (tmp_path / "lab.sif").write_bytes(b"image")
    image = f"--set=image={tmp_path / 'lab.sif'}"
    submit("--prepare", image, "--run", str(tmp_path / "run"))
    pinned = json.loads((tmp_path / "run" / "image.json").read_text())
    assert pinned["path"] == str(tmp_path / "lab.sif")
    refused = submit("--prepare", "--set=image=/nope.sif", "--run", str(tmp_path / "other"), check=False)
    assert refused.returncode == 1
    assert not (tmp_path / "other").exists()


def test_a_plan_above_the_budget_is_refused_before_anything_is_made(tmp_path):
    gpus = ["--set=resources.finetune={gpus: 8, timeout_min: 240}", "--budget-gpu-hours=100"]
    done = submit("--rounds=5", *gpus, "--run", str(tmp_path / "run"), check=False)
    assert done.returncode == 2
    assert "worst case is 2240.0 GPU-hours, the budget 100.0" in done.stderr
    assert not (tmp_path / "run").exists()


def test_slurm_asked_for_where_there_is_none_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))  # noqa: PTH120
    line = [sys.executable, "-m", "selu_hpc.submit", "--engine=slurm", "--run", str(tmp_path / "run")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no sbatch on this machine; run this on a login node, or use --engine local" in done.stderr


@pytest.fixture
def login_node(tmp_path, monkeypatch):
    """A Slurm of scripts that answers and takes nothing."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, does in (
        ("sbatch", "exit 1"),
        ("scontrol", "echo 'ClusterName = lab'; echo 'SLURM_VERSION = 22.05.8'"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def test_a_shell_that_names_another_cluster_is_refused_before_anything_is_made(login_node, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "b")
    done = submit("--engine=slurm", "--run", str(tmp_path / "run"), check=False)
    assert done.returncode == 1
    assert "SLURM_CLUSTERS=b names another cluster than the one that answers here" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_user_whom_the_machine_does_not_know_may_submit(login_node, monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr(getpass, "getuser", unknown)
    calls = ask_ahead(build_parser().parse_args(["--run", "run"]))
    calls.forget()


def test_a_dry_run_and_the_budget_look_at_the_plan_that_would_run(tmp_path):
    run, _ = open_run(tmp_path / "run", load_recipe("selu", ["resources.finetune={gpus: 8, timeout_min: 240}"]))
    done = submit("--rounds=1", "--dry-run", "--budget-gpu-hours=200", "--run", str(run.path), check=False)
    assert "the run has 5 rounds; rounds can only be raised" in done.stderr
    assert "r05/gate" in done.stdout
    assert (done.returncode, "worst case is 2240.0 GPU-hours" in done.stderr) == (2, True)


def test_the_config_printed_of_a_folder_is_the_one_that_would_run_there(tmp_path):
    run, _ = open_run(tmp_path / "run", load_recipe("zero_shot"))
    kept = submit("--rounds=1", "--print-config", "--run", str(run.path))
    assert "recipe: zero_shot" in kept.stdout
    assert f"rounds: {load_recipe('zero_shot').rounds}" in kept.stdout
    none = submit("--print-config", "--run", str(tmp_path / "typo"))
    assert none.stdout.startswith(f"# {tmp_path}/typo holds no run yet\n# signature ")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("damage", ["a: [", "retry: {}"])
def test_a_config_that_was_damaged_comes_back_by_what_every_command_says(tmp_path, damage):
    run = tmp_path / "run"
    submit("--prepare", "--seed=3", "--set", "env.horizon=7", "--rounds", "2", "--run", str(run))
    whole = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(damage)
    told = set()
    unreadable = [["submit", "--engine=local"], ["report"], ["stages.gate", "--round=1"]] if damage == "a: [" else []
    for command, *words in [["explain"], *unreadable]:
        line = [sys.executable, "-m", f"selu_hpc.{command}", "--run", str(run), *words]
        error = subprocess.run(line, capture_output=True, text=True, check=False).stderr
        assert "Traceback" not in error
        told.add(error.splitlines()[-1])
    [advice] = told
    assert advice.startswith("restore it from a copy, or write it anew: `python -m selu_hpc.submit ")
    command = advice.partition("`")[2].removesuffix("`").replace("python", sys.executable, 1)
    subprocess.run(["bash", "-c", command], check=True)
    config = (run / "config.yaml").read_text()
    assert "".join(line for line in config.splitlines(keepends=True) if not line.startswith("#")) == whole


@pytest.mark.parametrize("words", [["--dry-run"], ["--prepare"]])
def test_a_run_below_another_is_refused(tmp_path, words):
    run, _ = open_run(tmp_path / "run", load_recipe("selu"))
    done = submit(*words, "--run", str(run.path / "x" / "y"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{run.path}/x/y: lies in another run, {run.path}; choose a folder outside with --run" in done.stderr
    assert not (run.path / "x").exists()


def test_a_dry_run_refuses_the_folders_that_a_run_would_refuse(tmp_path):
    run, _ = open_run(tmp_path / "run", load_recipe("selu"))
    run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    for folder, why in (
        (run.path, "belongs to another config"),
        (tmp_path / "foreign", "holds thesis.tex but no config.yaml"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "run", "Not a directory"),
    ):
        done = submit("--seed=3", "--dry-run", "--run", str(folder), check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["nan", "-1", "many"])
def test_a_budget_that_is_no_number_of_hours_is_refused(text):
    done = submit("--dry-run", f"--budget-gpu-hours={text}", check=False)
    assert done.returncode == 2
    assert "argument --budget-gpu-hours: " in done.stderr


def test_a_submit_that_is_refused_changes_nothing(tmp_path):
    run, _ = open_run(tmp_path / "run", load_recipe("selu"))
    with hold_lock(run.lock_file, purpose="a local run"):
        before = {path.name: path.read_bytes() for path in run.path.iterdir()}
        done = submit("--rounds=7", "--run", str(run.path), check=False)
        assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    assert done.returncode == 1
    assert "a local run is at work in it" in done.stderr
    assert f"(Ctrl-C there, or `kill {os.getpid()}`)" in done.stderr


@pytest.mark.parametrize("words", [["--dry-run"], ["--print-config"]])
def test_a_profile_that_a_submission_would_refuse_is_refused_by_a_dry_run(tmp_path, words):
    (site := tmp_path / "mine.yaml").write_text("name: mine\npartitions: {cpu: {name: cpu}}\nscratch: /scratch/$USER\n")
    done = submit(*words, "--engine=slurm", "--site", str(site), "--run", str(tmp_path / "run"), check=False)
    told = "scratch: '/scratch/$USER' is taken word for word" in done.stderr
    assert (done.returncode, told) == ((2, True) if words == ["--dry-run"] else (0, False)), done.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("resources.testset.mem_gb=100000", "asks for 100000 GB on a node, the largest of partition cpu has 64"),
        ("resources.rollout.timeout_min=5000", "r01/rollout asks for 5000 minutes, partition cpu allows 600"),
        ("resources.finetune.gpus=16", "asks for 16 GPUs on a node, partition cpu has 0"),
    ],
)
def test_a_dry_run_with_a_profile_refuses_what_no_partition_of_it_has(tmp_path, setting, told):
    (site := tmp_path / "mine.yaml").write_text(
        "name: mine\npartitions: {cpu: {name: cpu, max_mem_gb: 64, max_timeout_min: 600}}\n"
    )
    words = ("--dry-run", "--engine=slurm", "--site", str(site), "--run", str(tmp_path / "run"))
    assert submit(*words).returncode == 0
    done = submit(*words, "--set", setting, check=False)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_recipe_that_is_not_there_is_told_by_what_was_meant():
    assert "no recipe 'sleu'; did you mean selu? there are " in submit("--dry-run", "--recipe=sleu", check=False).stderr
    said = submit("--dry-run", "--recipe=/nope/x.yaml", check=False).stderr
    assert "no recipe '/nope/x.yaml': no such file; give one in .yaml or .yml" in said


@pytest.fixture
def silent_slurm(tmp_path, monkeypatch):
    """Slurm's commands without a controller behind them."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sbatch", "scontrol", "squeue"):
        (tools / name).write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


@pytest.mark.usefixtures("silent_slurm")
def test_a_slurm_that_is_silent_does_not_send_the_work_to_the_login_node(tmp_path):
    done = submit("--engine=auto", "--run", str(tmp_path / "run"), check=False)
    assert done.returncode == 1
    assert "controller does not answer; try again when it does, or use --engine local" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_site_that_there_is_no_profile_of_is_refused_by_every_engine_and_a_dry_run(tmp_path):
    for word in ("--engine=auto", "--engine=local", "--dry-run"):
        done = submit("--site=nope", word, "--run", str(tmp_path / "run"), check=False)
        assert done.returncode == 2
        assert "no site profile 'nope'; there are " in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_site_asked_for_where_there_is_no_slurm_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))  # noqa: PTH120
    done = submit("--engine=auto", "--site=test_cluster", "--run", str(tmp_path / "run"), check=False)
    assert done.returncode == 1
    assert "no sbatch on this machine; run this on a login node, or use --engine local" in done.stderr


@needs_root
def test_a_read_only_folder_is_named_with_the_reason(small_disk):
    small_disk("size=1m")
    done = tiny(small_disk("ro") / "run", check=False)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert "choose another with --run" in done.stderr
    assert "Traceback" not in done.stderr


@needs_root
def test_a_run_that_one_may_only_read_is_refused_by_submit_and_cancel_and_its_report_goes_elsewhere(
    small_disk, tmp_path, capsys
):
    run, _ = open_run(small_disk("size=1m") / "run", load_recipe("selu", TINY))
    small_disk("ro")
    done = submit("--run", str(run.path), check=False)
    assert done.returncode == 1
    assert f"error: {run.path}: a local run must write in it: Read-only file system; ask its owner" in done.stderr
    assert cancel.main(["--run", str(run.path)]) == 1
    assert f"{run.path}: a cancel must write in it: Read-only file system" in capsys.readouterr().err
    assert report.main(["--run", str(run.path)]) == 1
    assert "say --out FILE" in capsys.readouterr().err
    assert report.main(["--run", str(run.path), "--out", str(tmp_path / "page.html")]) == 0


@pytest.mark.slow
def test_a_whole_small_run_on_an_unkind_path_and_the_same_command_again(unkind_path):
    run = unkind_path / "run"
    first = tiny(run)
    assert first.stdout == f"report: {run}/report/index.html\n"
    assert (run / "report" / "index.html").stat().st_size > 10_000
    before = len(list(Journal(run / "journal.jsonl")))
    assert tiny(run).stdout == first.stdout
    added = list(Journal(run / "journal.jsonl"))[before:]
    assert [event["event"] for event in added] == ["started", "finished"]
    assert json.loads((run / "provenance.json").read_text())["packages"]["torch"]


@needs_root
@pytest.mark.slow
def test_a_disk_that_fills_up_is_named_and_with_room_the_run_goes_on(small_disk):
    folder = small_disk("size=300k")
    done = tiny(folder / "run", check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    small_disk("size=500m")
    assert "report: " in tiny(folder / "run").stdout


def test_a_base_that_is_nowhere_here_is_refused_before_a_folder_is_bound_to_it(tmp_path):
    done = tiny(tmp_path / "run", "--set=model.base=/nonexist", check=False)
    assert (done.returncode, "model.base '/nonexist': no such folder" in done.stderr) == (2, True), done.stderr
    done = tiny(tmp_path / "run", "--set=model.base=lab/no-such-model", check=False)
    assert (done.returncode, "neither a folder nor in the hub cache; on a machine" in done.stderr) == (2, True)
    assert not (tmp_path / "run").exists()
