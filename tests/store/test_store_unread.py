"""Storage that does not give its bytes for a moment is no damage: nothing acknowledged is given up for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from store_episodes import SIZE

from selu_hpc.errors import RunFolderError, UnreadableShardError
from selu_hpc.records import Episode
from selu_hpc.store import commits, roots
from selu_hpc.store.lines import LineReader, LineWriter
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter


@pytest.fixture
def begun(tmp_path: Path, episodes: list[Episode]) -> Path:
    """A store that was not finished."""
    with EpisodeWriter(tmp_path / "e.zarr", **SIZE) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.flush()
    return tmp_path / "e.zarr"


@pytest.fixture
def away(monkeypatch):
    """`away("frames/zarr.json")`: reading that file fails with an error of the storage, until `away()`."""
    lost: list[str] = []
    read_bytes, pread, opened = Path.read_bytes, os.pread, Path.open

    def fail(path: object) -> None:
        if any(str(path).endswith(name) for name in lost):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def reading(path: Path) -> bytes:
        fail(path)
        return read_bytes(path)

    def opening(path: Path, *args, **options):
        if args in ((), ("rb",)):
            fail(path)
        return opened(path, *args, **options)

    def preading(descriptor: int, size: int, offset: int) -> bytes:
        fail(Path(f"/proc/self/fd/{descriptor}").readlink())
        return pread(descriptor, size, offset)

    monkeypatch.setattr(Path, "read_bytes", reading)
    monkeypatch.setattr(Path, "open", opening)
    monkeypatch.setattr(os, "pread", preading)
    return lambda *names: lost.__setitem__(slice(None), names)


@pytest.mark.parametrize("name", ["frames/zarr.json", "frames/c.0.0.0.0.0.0", "frames/c.5.0.0.0.0.0", "commits.log"])
def test_a_writer_goes_on_where_it_was_once_its_storage_is_back(begun: Path, away, episodes, name: str) -> None:
    away(name)
    with pytest.raises(UnreadableShardError if name != "commits.log" else Exception, match="Input/output error"):
        EpisodeWriter(begun, **SIZE)
    away()
    with EpisodeWriter(begun, **SIZE) as writer:
        assert writer.num_committed == len(episodes)


@pytest.mark.parametrize("name", ["e.zarr/zarr.json", "frames/c.0.0.0.0.0.0", "episodes/c.0.0"])
def test_a_finished_store_that_cannot_be_read_is_neither_removed_nor_called_damaged(
    begun: Path, away, episodes: list[Episode], name: str
) -> None:
    with EpisodeWriter(begun, **SIZE) as writer:
        content = writer.finish()
    away(name)
    for use in (roots.is_whole, EpisodeReader, lambda folder: EpisodeWriter(folder, **SIZE)):
        with pytest.raises(UnreadableShardError, match="cannot be read: Input/output error; when its storage is well"):
            use(begun)
    away()
    with EpisodeWriter(begun, **SIZE) as writer:
        assert writer.finish() == content


@pytest.mark.parametrize("kind", ["episodes", "lines"])
def test_a_store_whose_writer_ends_between_two_looks_is_there(begun: Path, tmp_path: Path, monkeypatch, kind) -> None:
    writer = EpisodeWriter(begun, **SIZE) if kind == "episodes" else LineWriter(tmp_path / "l.zarr")
    if isinstance(writer, LineWriter):
        writer.append({"one": 1})
        writer.flush()
    looked = []

    def look(folder: Path) -> bool:
        finished = roots.is_finished(folder)
        if not looked:
            looked.append(finished)
            writer.finish()
        return finished

    monkeypatch.setattr(commits, "is_finished", look)
    reader = EpisodeReader(begun) if kind == "episodes" else LineReader(tmp_path / "l.zarr")
    assert looked == [False]
    assert len(reader) == writer.num_committed


@pytest.mark.parametrize("name", ["e.zarr/zarr.json", "frames/c.0.0.0.0.0.0"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_storage_that_does_not_say_whether_a_file_is_there_has_not_lost_it(
    begun: Path, monkeypatch, name: str, code: int
) -> None:
    with EpisodeWriter(begun, **SIZE) as writer:
        writer.finish()
    stat, opened = Path.stat, Path.open

    def lost(real):
        def does(path: Path, *args, **options):
            if str(path).endswith(name):
                raise OSError(code, os.strerror(code))
            return real(path, *args, **options)

        return does

    with monkeypatch.context() as away:
        away.setattr(Path, "stat", lost(stat))
        away.setattr(Path, "open", lost(opened))
        for use in (roots.is_whole, EpisodeReader, lambda folder: EpisodeWriter(folder, **SIZE)):
            if use is EpisodeReader and not name.endswith("zarr.json"):
                continue  # it reads frames when they are asked for
            with pytest.raises(UnreadableShardError, match="cannot be read"):
                use(begun)
    assert roots.is_whole(begun)


def test_a_disk_that_is_full_when_a_store_is_begun_is_told_as_full(tmp_path: Path, monkeypatch) -> None:
    mkdir = Path.mkdir

    def full(path: Path, *args, **options):
        if path.name == "frames":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(RunFolderError, match="cannot write: No space left on device"):
        EpisodeWriter(tmp_path / "e.zarr", **SIZE)
