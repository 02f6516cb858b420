"""A stage that is a process of its own, warned by a signal: it asks to be started again, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import entry

START = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import entry
entry.LAST_S = 0.5
entry.MODULES[Stage.ROLLOUT] = "a_stage"
entry.main([Stage.ROLLOUT])
"""
STAGES = {
    "waits": "time.sleep(60)",
    "takes every error for a small one": "while True:\n        with suppress(Exception):\n            time.sleep(60)",
    "never comes to an end": "try:\n        time.sleep(60)\n    finally:\n        time.sleep(60)",
    "waits for a thread": "with ThreadPoolExecutor() as pool:\n        pool.submit(time.sleep, 60).result()",
}


@pytest.fixture
def started(tmp_path, small_run):
    """`started(body)`: a rollout of the small run that says "at work", then does what the body says."""

    def start(body):
        (tmp_path / "a_stage.py").write_text(
            "import time\nfrom concurrent.futures import ThreadPoolExecutor\nfrom contextlib import suppress\n"
            f"def run(**_):\n    print('at work', flush=True)\n    {body}\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
        line = [sys.executable, "-c", START, "--run", str(small_run.path), "--round", "1", "--shard", "0"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(line, env=environment, stdout=pipe, stderr=pipe, text=True)
        assert process.stdout.readline() == "at work\n"
        return process

    return start


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
@pytest.mark.parametrize("body", STAGES.values(), ids=STAGES)
def test_a_warned_stage_ends_with_the_wish_to_be_started_again(started, small_run, body, number):
    with started(body) as process:
        process.send_signal(number)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)  # Slurm's second word, which must not turn it into a failure
        assert process.wait(30) == entry.EXIT_REQUEUE
    said = small_run.shard(1, Stage.ROLLOUT, 0).log(0).read_text()
    if body == STAGES["waits"]:
        assert f"stopped by {number.name}: what is flushed stays" in said


@pytest.mark.parametrize("body", STAGES.values(), ids=STAGES)
def test_ctrl_c_stops_a_stage_with_a_line_in_its_log_and_asks_for_no_other_start(started, small_run, body):
    with started(body) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == entry.EXIT_STOPPED
        assert "Traceback" not in process.stderr.read()
    if body == STAGES["waits"]:
        said = small_run.shard(1, Stage.ROLLOUT, 0).log(0).read_text()
        assert "stopped by SIGINT: what is flushed stays" in said
