"""The short form of tests/faults/local.py."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_run_killed_at_random_moments_ends_in_the_same_bytes():
    script = Path(__file__).with_name("local.py")
    done = subprocess.run([sys.executable, str(script), "--kills=5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
