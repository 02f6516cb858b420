"""Damage is found and named; what refuses to be written leaves what was acknowledged."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from store_episodes import SIZE, make_episode

from selu_hpc.errors import CorruptShardError, RunFolderError
from selu_hpc.records import Episode, View
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.store import roots
from selu_hpc.store.adopt import adopt
from selu_hpc.store.lines import LineReader, LineWriter
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter

NAMES = (
    "zarr.json", "frames/zarr.json", "frames/c.0.0.0.0.0.0", "frames/c.5.0.0.0.0.0", "episodes/zarr.json",
    "episodes/c.0.0",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, episodes: list[Episode]) -> Path:
    with EpisodeWriter(tmp_path / "e.zarr", **SIZE) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    return tmp_path / "e.zarr"


def test_damage_in_a_runs_shard_is_told_with_the_command_that_helps_in_a_sealed_round_too(
    tmp_path: Path, store: Path
) -> None:
    shard = RunDir(tmp_path / "a run").shard(2, Stage.ROLLOUT, 7)
    shard.path.mkdir(parents=True)
    store = store.rename(shard.episodes)
    (store / "zarr.json").unlink()
    command = f"python -m selu_hpc.explain --run '{tmp_path}/a run' r02/rollout/7"
    with pytest.raises(CorruptShardError, match=re.escape(f"`{command}` says what to type to have it made anew")):
        EpisodeReader(store)


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_anywhere_is_found_on_open(store: Path, name: str) -> None:
    whole = (store / name).read_bytes()
    for bit in np.random.default_rng(0).integers(0, len(whole) * 8, 25):
        flip(store / name, int(bit))
        if name != "zarr.json":
            with pytest.raises(CorruptShardError, match=name.rsplit("/", 1)[-1]):
                EpisodeReader(store)
        elif not _says_the_same(whole, (store / name).read_bytes()):
            with pytest.raises(CorruptShardError):
                EpisodeReader(store)
        (store / name).write_bytes(whole)
    assert len(EpisodeReader(store)) == 23


@pytest.mark.parametrize("name", ["zarr.json", "c.0.0"])
def test_damaged_time_stamps_which_no_digest_holds_cost_nothing_else(
    store: Path, episodes: list[Episode], caplog, name: str
) -> None:
    flip(store / "timestamps_s" / name, 9)
    assert roots.is_whole(store)
    with EpisodeReader(store) as reader:
        assert reader.episode(0) == episodes[0]
        assert reader.episode(0).timestamps_s == ()
    assert "its episodes have no time stamps" in caplog.text
    with EpisodeWriter(store, **SIZE) as writer:
        writer.rewind(1)
        writer.append(episodes[1])
        writer.finish()
    assert EpisodeReader(store).episode(1).timestamps_s == episodes[1].timestamps_s


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_or_missing_file_is_found_on_open(store: Path, name: str) -> None:
    whole = (store / name).read_bytes()
    for length in (0, len(whole) // 2, len(whole) - 1):
        (store / name).write_bytes(whole[:length])
        with pytest.raises(CorruptShardError):
            EpisodeReader(store)
    (store / name).unlink()
    with pytest.raises(CorruptShardError):
        EpisodeReader(store)


def test_without_the_check_on_open_a_flipped_bit_never_becomes_a_wrong_frame(
    store: Path, episodes: list[Episode]
) -> None:
    file = store / "frames/c.1.0.0.0.0.0"
    whole = file.read_bytes()
    found: list[str] = []
    for bit in np.random.default_rng(1).integers(0, len(whole) * 8, 40):
        flip(file, int(bit))
        reader = EpisodeReader(store, verify=False)
        for index in range(4, 8):
            for t, v in np.ndindex(episodes[index].num_steps + 1, 2):
                try:
                    frame = reader.frame(index, t, list(View)[v])
                except CorruptShardError as error:
                    found.append(str(error))
                else:
                    np.testing.assert_array_equal(frame, episodes[index].frames_tvhwc[t, v])
        file.write_bytes(whole)
    assert len(found) >= 40
    assert all(str(file) in error for error in found)


def test_a_damaged_line_store_is_found_on_open(tmp_path: Path) -> None:
    with LineWriter(tmp_path / "l") as writer:
        writer.append({"verdict": True})
        writer.finish()
    flip(tmp_path / "l/records/c.0.0", 77)
    with pytest.raises(CorruptShardError, match=r"c\.0\.0"):
        LineReader(tmp_path / "l")


def test_a_writer_gives_up_damaged_episodes_and_makes_the_same_store(
    store: Path, episodes: list[Episode], tmp_path: Path, files_of
) -> None:
    whole = files_of(store)
    with EpisodeWriter(tmp_path / "b", **SIZE) as writer:
        for episode in episodes[:11]:
            writer.append(episode)
        writer.flush()
    flip(tmp_path / "b/frames/c.1.0.0.0.0.0", 800)
    with warnings_kept() as said, EpisodeWriter(tmp_path / "b", **SIZE) as writer:
        assert 4 <= writer.num_committed < 8
        assert any("made anew" in line for line in said)
        for episode in episodes[writer.num_committed :]:
            writer.append(episode)
        writer.finish()
    assert files_of(tmp_path / "b") == whole


def test_a_store_of_another_kind_or_version_is_refused_and_left_as_it_is(
    store: Path, files_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files_of(store)
    with pytest.raises(RunFolderError, match=r"holds .* in version 1, not .* left as it is"):
        LineWriter(store)
    monkeypatch.setattr(roots, "VERSION", 2)
    for opened in (lambda: EpisodeWriter(store, **SIZE), lambda: EpisodeReader(store)):
        with pytest.raises(RunFolderError, match=r"in version 1, not .* 2;"):
            opened()
    assert files_of(store) == whole


def test_a_damaged_finished_store_is_made_anew_by_its_writer(store: Path, episodes: list[Episode], files_of) -> None:
    whole = files_of(store)
    flip(store / "frames/c.0.0.0.0.0.0", 99)
    with warnings_kept() as said, EpisodeWriter(store, **SIZE) as writer:
        assert writer.num_committed == 0
        assert "crc32c" in said[0]
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    assert files_of(store) == whole


def test_a_torn_or_damaged_commit_log_loses_no_more_than_it_says(tmp_path: Path, episodes: list[Episode]) -> None:
    with EpisodeWriter(tmp_path / "e", **SIZE) as writer:
        for episode in episodes[:6]:
            writer.append(episode)
        writer.flush()
    log = tmp_path / "e/commits.log"
    whole = log.read_bytes()
    log.write_bytes(whole[:-9])
    assert len(EpisodeReader(tmp_path / "e")) == 5
    log.write_bytes(whole.replace(b"e0002", b"e0003"))
    with pytest.raises(CorruptShardError, match="line 3"):
        EpisodeReader(tmp_path / "e")
    with warnings_kept() as said, EpisodeWriter(tmp_path / "e", **SIZE) as writer:
        assert writer.num_committed == 2
        assert "line 3" in said[0]


def test_frames_that_were_not_acknowledged_do_not_exist(tmp_path: Path, episodes: list[Episode]) -> None:
    with EpisodeWriter(tmp_path / "e", **SIZE) as writer:
        for episode in episodes[:6]:
            writer.append(episode)
        assert writer.num_committed == 4
        reader = EpisodeReader(tmp_path / "e")
        assert len(reader) == 4
        with pytest.raises(IndexError):
            reader.frame(4, 0, View.FIRST_PERSON)


def test_two_writers_on_one_store_are_refused(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e", **SIZE), pytest.raises(RunFolderError, match="another process is writing"):
        EpisodeWriter(tmp_path / "e", **SIZE)
    with LineWriter(tmp_path / "l"), pytest.raises(RunFolderError, match="another process is writing"):
        LineWriter(tmp_path / "l")


def test_a_full_disk_is_named_and_keeps_what_was_acknowledged(
    tmp_path: Path, episodes: list[Episode], files_of
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_write_until_full, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert not list((tmp_path / "e").rglob("*.partial"))
    assert len(EpisodeReader(tmp_path / "e")) == 4
    with EpisodeWriter(tmp_path / "e", **SIZE) as writer:
        for episode in episodes[writer.num_committed :]:
            writer.append(episode)
        writer.finish()
    with EpisodeWriter(tmp_path / "whole", **SIZE) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    assert files_of(tmp_path / "e") == files_of(tmp_path / "whole")


def _write_until_full(folder: Path) -> None:
    """A file may grow to what the first shard takes and no further, as on a disk that is full by then."""
    writer = EpisodeWriter(folder / "e", **SIZE)
    for index in range(4):
        writer.append(make_episode(index))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    for index in range(4, 7):
        writer.append(make_episode(index))
    with pytest.raises(RunFolderError, match=r"c\.1\.0.*cannot write.*kept"):
        writer.append(make_episode(7))
    assert writer.num_committed == 4
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    with pytest.raises(RunFolderError, match="cannot write"):
        writer.flush()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot write: Not a directory"):
        EpisodeWriter(tmp_path / "file" / "e", **SIZE)
    with pytest.raises(RunFolderError, match="cannot write: Not a directory"):
        LineWriter(tmp_path / "file" / "l")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write here")
def test_a_read_only_folder_is_named_and_can_still_be_read(
    tmp_path_factory: pytest.TempPathFactory, store: Path
) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from selu_hpc.errors import RunFolderError\n"
        "from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "folder = Path(sys.argv[1])\n"
        "assert len(EpisodeReader(folder)) == 23\n"
        "try:\n"
        "    EpisodeWriter(folder.with_name('new'), num_steps=1, height=8, width=8)\n"
        "except RunFolderError as error:\n"
        "    print(error)\n"
    )
    for folder in (store, *store.parents):
        if folder == Path("/"):
            break
        folder.chmod(folder.stat().st_mode | 0o055)
    for file in store.rglob("*"):
        file.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True)
    assert "cannot write: Permission denied" in done.stdout, done.stderr


def test_an_old_attempts_writer_cannot_harm_the_new_one(tmp_path: Path, episodes: list[Episode], files_of) -> None:
    zombie = EpisodeWriter(tmp_path / "attempt-0/e", **SIZE)
    for episode in episodes[:6]:
        zombie.append(episode)
    zombie.flush()
    assert adopt(tmp_path / "attempt-0/e", tmp_path / "attempt-1/e")
    assert not adopt(tmp_path / "attempt-0/e", tmp_path / "attempt-1/e")
    with EpisodeWriter(tmp_path / "attempt-1/e", **SIZE) as writer:
        assert writer.num_committed == 6
        for index in range(6, 23):
            zombie.append(make_episode(100 + index))
            zombie.flush()
            writer.append(episodes[index])
            writer.flush()
        digest = writer.finish()
    zombie.finish()
    shutil.rmtree(tmp_path / "attempt-0")
    reader = EpisodeReader(tmp_path / "attempt-1/e")
    assert [reader.episode(i) for i in range(len(reader))] == episodes
    assert digest == EpisodeWriter(tmp_path / "attempt-1/e", **SIZE).finish()
    assert adopt(tmp_path / "attempt-1/e", tmp_path / "attempt-2/e")
    assert files_of(tmp_path / "attempt-1/e") == files_of(tmp_path / "attempt-2/e")


def test_there_is_nothing_to_adopt_where_nothing_was_begun(tmp_path: Path) -> None:
    assert not adopt(tmp_path / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def _says_the_same(first: bytes, second: bytes) -> bool:
    import json

    try:
        return bool(json.loads(first) == json.loads(second))
    except ValueError:
        return False


class warnings_kept:  # noqa: N801 - reads as a phrase
    """The warnings that were logged meanwhile."""

    def __enter__(self) -> list[str]:
        said: list[str] = []
        self._handler = logging.Handler(logging.WARNING)
        self._handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("selu_hpc").addHandler(self._handler)
        return said

    def __exit__(self, *_: object) -> None:
        logging.getLogger("selu_hpc").removeHandler(self._handler)
