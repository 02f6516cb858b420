import os
import socket
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch

from selu_hpc.errors import TrainingError
from selu_hpc.train import ranks, spawn
from selu_hpc.train.ranks import Place, find_place, meet
from selu_hpc.train.spawn import run_ranks

MEET = """
import os, sys
from pathlib import Path
from selu_hpc.train.ranks import find_place, meet
with meet(find_place(os.environ), meeting_file=Path(sys.argv[1]), timeout_s=240) as team:
    print(team.total(1, team.rank), team.gather(team.rank), team.place.launcher, team.local_index, team.num_local)
"""

LEAKED = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
STEP = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "5"}


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ({}, Place(0, 1, 0, "alone")),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Place(3, 8, 1, "torchrun")),
        ({"SLURM_PROCID": "9", "SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "1"}, Place(9, 16, 1, "srun")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "4"}, Place(0, 1, 0, "alone")),
        (LEAKED | STEP, Place(5, 8, 5, "srun")),
        (LEAKED | STEP | {"SELU_PARENT_STORE": "here:1"}, Place(0, 1, 0, "spawned")),
        (LEAKED | STEP | {"TORCHELASTIC_RUN_ID": "none"}, Place(0, 1, 0, "torchrun")),
        (LEAKED | STEP | {"SLURM_STEP_NUM_TASKS": "1"}, Place(0, 1, 0, "torchrun")),
    ],
)
def test_the_launchers_environment_says_who_we_are(env, place):
    """The fourth is a batch script's own process: eight tasks are allocated, but srun started none of them. The next
    has a RANK that nobody put there for it."""
    assert find_place(env) == place


def test_an_environment_that_makes_no_sense_is_an_error_with_a_way_out():
    with pytest.raises(TrainingError, match="start the stage by srun, torchrun or alone"):
        find_place({"RANK": "first", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(("seen", "device"), [(1, "0"), (8, "3")])
def test_deepspeed_is_told_the_gpu_also_where_each_task_sees_only_its_own(monkeypatch, tmp_path, seen, device):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(ranks, "_group", lambda *_, **__: nullcontext())
    monkeypatch.setattr(ranks, "_hosts", lambda place: ["here"] * place.world)
    monkeypatch.setenv("LOCAL_RANK", "as it was")
    with meet(Place(3, 8, 3, "srun"), meeting_file=tmp_path / "m") as team:
        assert (os.environ["LOCAL_RANK"], os.environ["RANK"], team.local_index) == (device, "3", 3)
        assert chosen == [team.device] == [torch.device("cuda", int(device))]
    assert os.environ["LOCAL_RANK"] == "as it was"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_port_in_use_is_said_with_what_to_do(monkeypatch, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        wanted = rf"127\.0\.0\.1:{port} is in use by another process; unset MASTER_PORT"
        with (
            pytest.raises(TrainingError, match=wanted),
            meet(Place(0, 2, 0, "torchrun"), meeting_file=tmp_path / "m", timeout_s=5),
        ):
            pass


def start(tmp_path, **env):
    command = [sys.executable, "-W", "ignore", "-c", MEET, str(tmp_path / "meeting.json")]
    environment = {**os.environ, **env}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_srun_ranks_meet_by_a_file_and_an_earlier_attempts_file_does_not_mislead(tmp_path):
    (tmp_path / "meeting.json").write_text('{"key": "7-0-0", "host": "nowhere", "port": 1}')
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_RESTART_COUNT": "1", "SLURM_STEP_NUM_TASKS": "2"}
    ranks = [start(tmp_path, SLURM_PROCID=str(n), SLURM_LOCALID=str(n), **slurm) for n in (1, 0)]
    said = sorted(rank.communicate(timeout=240)[0].strip() for rank in ranks)
    assert said == ["[2.0, 1.0] [0, 1] srun 0 2", "[2.0, 1.0] [0, 1] srun 1 2"]
    assert not (tmp_path / "meeting.json").exists()


def test_ranks_started_here_meet_without_anyone_choosing_a_port(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", MEET, str(tmp_path / "meeting.json")]
    assert run_ranks(command, num_ranks=2, logs=tmp_path / "logs", requeue_code=75) == 0
    assert "[2.0, 1.0] [0, 1] spawned 1 2" in (tmp_path / "logs" / "rank-1.txt").read_text()


def ranks_that(tmp_path, body, num_ranks=2):
    command = [sys.executable, "-c", f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{body}"]
    return run_ranks(command, num_ranks=num_ranks, logs=tmp_path, requeue_code=75)


def test_a_rank_that_fails_ends_the_others_and_its_last_words_are_told(tmp_path):
    body = "if rank: print('out of luck', file=sys.stderr); sys.exit(3)\ntime.sleep(600)"
    with pytest.raises(TrainingError, match=r"rank 1 of 2 ended with code 3; .*rank-1\.txt ends with:\nout of luck"):
        ranks_that(tmp_path, body.replace("if rank: ", "if rank:\n  ").replace("; sys", "\n  sys"))


def test_a_killed_rank_is_named_as_the_cause_though_others_fail_first(tmp_path, monkeypatch):
    monkeypatch.setattr(spawn, "GRACE_S", 120.0)  # on a busy machine the second rank may start late
    body = "if rank == 0: sys.exit(1)\nos.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(TrainingError, match=r"rank 1 of 2 was killed by SIGKILL; out of memory\?"):
        ranks_that(tmp_path, body)


def test_ranks_that_all_ask_to_be_requeued_are_no_failure(tmp_path):
    assert ranks_that(tmp_path, "sys.exit(75)") == 75
