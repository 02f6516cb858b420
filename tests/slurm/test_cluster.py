"""The test cluster's own ways, without Slurm."""

import os
import signal
import subprocess
import sys

from harness import REPO

START = """
import gc, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import cluster
cluster.STATE = Path(sys.argv[2])
for name in ("log", "pids"):
    (cluster.STATE / name).mkdir()
cluster.start("sleep", ["sleep", "600"])
del sys.modules["cluster"], cluster
gc.collect()
"""


def test_a_daemon_outlives_its_starter_without_a_warning(tmp_path):
    """pytest ends with code 1 where all tests passed but a Popen was forgotten while its process ran."""
    line = [sys.executable, "-W", "error", "-c", START, str(REPO / "tests" / "cluster"), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    os.kill(int((tmp_path / "pids" / "sleep").read_text()), signal.SIGKILL)
    assert (done.returncode, done.stderr) == (0, "")
