"""A writer that is killed at any moment and started again leaves the bytes of one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from store_episodes import SIZE, make_episode

from selu_hpc.store.commits import LOG, CommitLog
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter

NUM_EPISODES = 30
WRITER = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from store_episodes import SIZE, make_episode
from selu_hpc.store.trajectories import EpisodeWriter
with EpisodeWriter(Path(sys.argv[1]), **SIZE) as writer:
    print(writer.num_committed, flush=True)
    for index in range(writer.num_committed, {NUM_EPISODES}):
        sys.stdin.readline()
        writer.append(make_episode(index))
        if index % 3 == 0:
            writer.flush()
        print(writer.num_committed, flush=True)
    writer.finish()
"""


def run_once(folder: Path, *, kill_after: int, delay_s: float) -> tuple[int, int]:
    """Start a writer, kill it after it has said so many lines; what it began with and what it last acknowledged.

    The writer waits for a line before each episode: it is never ahead by more than one, however late we look.
    """
    command, pipe = [sys.executable, "-c", WRITER, folder], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(int(line))
            with suppress(BrokenPipeError):  # the last line is not waited for
                os.write(process.stdin.fileno(), b"go on\n")
            if len(said) == kill_after:
                time.sleep(delay_s)
                process.send_signal(signal.SIGKILL)
                break
        said += [int(line) for line in process.stdout.read().split("\n")[:-1] if line.isdigit()]
    return said[0], said[-1]


def test_killed_before_the_log_of_a_finished_store_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpisodeWriter(tmp_path / "store", **SIZE) as writer, monkeypatch.context() as patch:
        writer.append(make_episode(0))
        patch.setattr(CommitLog, "remove", lambda log: None)
        digest = writer.finish()
    assert (tmp_path / "store" / LOG).exists()
    with EpisodeWriter(tmp_path / "store", **SIZE) as again:
        assert again.finish() == digest
    assert not (tmp_path / "store" / LOG).exists()


def test_a_resumed_writer_replaces_no_file_that_it_holds_open(tmp_path: Path, whole: Path, files_of) -> None:
    """NFS would keep the old one as .nfsXXXX, which nobody can remove before it is closed."""
    with EpisodeWriter(tmp_path / "store", **SIZE) as writer:
        for index in range(3):
            writer.append(make_episode(index))
        writer.flush()
    kept = tmp_path / "store" / "frames" / ".nfs0000000000000001"
    kept.write_bytes(b"what another process reads still")
    with EpisodeWriter(tmp_path / "store", **SIZE) as again:
        for index in range(again.num_committed, NUM_EPISODES):
            again.append(make_episode(index))
            again.flush()
            held = [str(one.resolve()) for one in Path("/proc/self/fd").iterdir()]
            assert not [name for name in held if str(tmp_path) in name and name.endswith("(deleted)")]
        again.finish()
    kept.unlink()
    assert files_of(tmp_path / "store") == files_of(whole)
    assert EpisodeReader(tmp_path / "store").episode(NUM_EPISODES - 1)


def kill_and_resume(folder: Path, *, seed: int) -> int:
    """Kill writers until one ends; the number of kills."""
    rng = random.Random(seed)
    acknowledged = 0
    for kills in range(20):
        began, last = run_once(folder, kill_after=rng.randint(1, 12), delay_s=rng.random() * 0.004)
        assert began >= acknowledged, "an acknowledged episode was lost"
        acknowledged = last
        if (folder / "zarr.json").exists():
            return kills
    began, _ = run_once(folder, kill_after=-1, delay_s=0)
    assert began >= acknowledged
    return 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "e"
    with EpisodeWriter(folder, **SIZE) as writer:
        for index in range(NUM_EPISODES):
            writer.append(make_episode(index))
        writer.finish()
    return folder


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, whole: Path, seed: int, files_of) -> None:
    kills = kill_and_resume(tmp_path / "e", seed=seed)
    assert kills > 1
    assert files_of(tmp_path / "e") == files_of(whole)
    assert len(EpisodeReader(tmp_path / "e")) == NUM_EPISODES


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_killed_and_resumed_equals_uninterrupted_many_times(tmp_path: Path, whole: Path, seed: int, files_of) -> None:
    kill_and_resume(tmp_path / "e", seed=seed)
    assert files_of(tmp_path / "e") == files_of(whole)
