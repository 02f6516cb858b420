"""Commands of Slurm's that are started before it is known what to tell them."""

import subprocess
import sys
import time

import pytest

from selu_hpc.engines.slurm.calls import Calls, TooSlowError


def test_a_command_started_ahead_goes_on_with_what_it_is_told(tmp_path):
    command = ("sh", "-c", f"echo started >> {tmp_path}/starts; cat; exit 3")
    calls = Calls()
    calls.ahead(*command)
    calls.ahead(*command)
    done = calls.call(command, timeout_s=60, told=b"a script")
    assert (done.returncode, done.stdout) == (3, "a script")
    assert (tmp_path / "starts").read_text() == "started\n"


def test_a_command_that_ends_without_listening_is_told_nothing_and_its_answer_counts():
    done = Calls().call(("sh", "-c", "exec <&-; echo refused >&2; exit 1"), timeout_s=60, told=b"a script" * 100_000)
    assert (done.returncode, done.stderr) == (1, "refused\n")


def test_a_command_whose_starter_is_killed_is_told_nothing(tmp_path):
    starter = f"""
import os
from selu_hpc.engines.slurm.calls import Calls
calls = Calls()
calls.ahead("sh", "-c", "cat > {tmp_path}/partial; mv {tmp_path}/partial {tmp_path}/told")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", starter], check=False).returncode == -9
    told = tmp_path / "told"
    for _ in range(600):
        if told.exists():
            break
        time.sleep(0.1)
    assert told.read_bytes() == b""


def test_several_started_ahead_serve_as_many_calls_and_the_rest_is_ended(tmp_path):
    command = ("sh", "-c", f"echo started >> {tmp_path}/starts; cat")
    calls = Calls()
    calls.ahead(*command, count=2)
    calls.ahead(*command, count=3)
    said = [calls.call(command, timeout_s=60, told=word).stdout for word in (b"one", b"two")]
    calls.forget()
    assert said == ["one", "two"]
    assert calls.call(command, timeout_s=60, told=b"three").stdout == "three"
    assert (tmp_path / "starts").read_text().count("started") <= 4


def test_a_command_that_takes_too_long_is_ended_and_what_it_said_is_told():
    waits = ("sh", "-c", "echo Slurm temporarily unable to accept job, sleeping and retrying >&2; exec sleep 60")
    with pytest.raises(TooSlowError, match="sh timed out after 1 s; it had said: Slurm temporarily unable to accept"):
        Calls().call(waits, timeout_s=1.0)
