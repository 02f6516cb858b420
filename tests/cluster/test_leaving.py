"""What the test cluster leaves behind, and who may not start it by the way; nothing is started here."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """cluster.py with a folder of its own in which nothing is up, and users whom every machine has."""
    monkeypatch.setenv("SELU_CLUSTER", str(tmp_path / "cluster"))
    spec = importlib.util.spec_from_file_location("cluster", ROOT / "tests" / "cluster" / "cluster.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "USERS", ("daemon", "bin"))
    return module


def acl(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not shutil.which("setfacl"), reason="no setfacl on this machine")
@pytest.mark.parametrize("others", ["", "u:nobody:rx"])
def test_the_rights_it_gave_go_with_their_mask_and_those_of_others_stay(cluster, tmp_path, others):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    try:
        acl("setfacl", "-m", others or "u::rwx", str(folder))
    except subprocess.CalledProcessError:
        pytest.skip("this file system has no access control lists")
    before = acl("getfacl", "--omit-header", "--absolute-names", str(folder))
    for user in cluster.USERS:
        acl("setfacl", "-m", f"u:{user}:x", str(folder))
    cluster.let_nobody_in(str(folder))
    assert acl("getfacl", "--omit-header", "--absolute-names", str(folder)) == before


def test_a_daemon_that_it_does_not_have_is_refused_with_those_it_has(cluster, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cluster.py", "stop-daemon", "foo"])
    with pytest.raises(SystemExit) as ended:
        cluster.main()
    assert ended.value.code == 2
    assert "slurmctld, slurmdbd, c1, c2, c3, g1" in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize("script", ["benchmarks/chain.py", "tests/faults/slurm.py"])
def test_what_runs_on_it_brings_no_cluster_up_by_itself(tmp_path, script):
    environment = {**os.environ, "SELU_CLUSTER": str(tmp_path / "cluster"), "SELU_CLUSTER_PORT": "1"}
    line = [sys.executable, str(ROOT / script)]
    done = subprocess.run([*line, "--quick"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert "python tests/cluster/cluster.py up" in done.stderr or os.geteuid() != 0
    assert not (tmp_path / "cluster").exists()
    told = subprocess.run([*line, "--help"], capture_output=True, text=True, check=True, env=environment).stdout
    assert "cluster.py up" in " ".join(told.split())
