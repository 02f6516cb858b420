"""A run that has lost its config.yaml is told how to have it back, and is taken for no stranger's folder."""

import json
import subprocess
import sys

import pytest

from selu_hpc import status
from selu_hpc.errors import RunFolderError
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import RunDir, Stage

ADVICE = "restore it from a copy, or write it anew: `python -m selu_hpc.submit --seed=3 --print-config > "


@pytest.fixture
def lost(unkind_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/code/selu_hpc/submit.py", "--seed=3", "--run", "x"])
    run, _ = open_run(unkind_path / "run", load_recipe("selu", ["seed=3"]))
    run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    run.config_file.unlink()
    return run


def test_a_run_without_its_config_is_told_how_to_have_it_back(lost, capsys):
    with pytest.raises(RunFolderError) as told:
        open_run(lost.path, load_recipe("selu"))
    assert str(told.value).startswith(f"{lost.path}: its config.yaml is gone\n{ADVICE}")
    assert status.main(["--run", str(lost.path)]) == 1
    assert ADVICE in capsys.readouterr().err


def test_what_is_said_of_a_lost_config_brings_it_back(lost):
    with pytest.raises(RunFolderError) as told:
        lost.require()
    command = str(told.value).partition("`")[2].rpartition("`")[0].replace("python", sys.executable, 1)
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    lost.require()
    open_run(lost.path, load_recipe("selu", ["seed=3"]))


def test_a_folder_that_was_no_run_is_told_so(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="not a run folder"):
        RunDir(tmp_path).require()
    with pytest.raises(RunFolderError, match="not a run folder"):
        open_run(tmp_path, load_recipe("selu"))


def test_a_submit_that_died_before_it_wrote_the_config_is_done_again(tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps({}))
    run, _ = open_run(tmp_path, load_recipe("selu"))
    run.require()
