"""The GPU benchmarks run where there is no GPU, at tiny size, and end with one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetune", "rollout"])
def test_a_gpu_benchmark_runs_at_tiny_size_on_the_cpu(name):
    line = [sys.executable, str(FOLDER / f"{name}.py"), "--shape", "tiny", "--quick"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=800)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["name"] == f"gpu/{name}", done.stderr[-2000:]
    assert told["measures"]["device"] == "cpu"
    assert set(told["targets"]) <= set(told["ratios"])
