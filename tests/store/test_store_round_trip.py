"""What is written is what is read, for any episode and codec, and the bytes depend on the content alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_episodes import HEIGHT, SIZE, WIDTH, make_episode, make_frames

from selu_hpc.errors import ConfigError, CorruptShardError, RunFolderError
from selu_hpc.records import Action, Episode, FrameRef, View
from selu_hpc.store.frames import FrameSource
from selu_hpc.store.lines import LineReader, LineWriter
from selu_hpc.store.pictures import Lossless
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter


def write(
    folder: Path, episodes: list[Episode], *, codec: str = "lossless", flush_after: frozenset[int] = frozenset()
) -> str:
    with EpisodeWriter(folder, codec=codec, **SIZE) as writer:
        for index, episode in enumerate(episodes):
            writer.append(episode)
            if index in flush_after:
                writer.flush()
        return writer.finish()


def test_every_episode_and_every_single_frame_reads_as_it_was_written(tmp_path: Path, episodes: list[Episode]) -> None:
    write(tmp_path / "e.zarr", episodes)
    reader = EpisodeReader(tmp_path / "e.zarr")
    assert len(reader) == len(episodes)
    for index, episode in enumerate(episodes):
        found = reader.episode(index)
        assert found == episode
        assert found.timestamps_s == episode.timestamps_s
        assert reader.meta(index) == json.loads(json.dumps(episode.meta_json()))
        np.testing.assert_array_equal(found.frames_tvhwc, episode.frames_tvhwc)
        for t, v in np.ndindex(episode.num_steps + 1, 2):
            np.testing.assert_array_equal(reader.frame(index, t, list(View)[v]), episode.frames_tvhwc[t, v])


@given(height=st.integers(1, 20), width=st.integers(1, 20), num_frames=st.integers(1, 6), seed=st.integers(0, 999))
def test_lossless_coding_gives_back_any_frames(height: int, width: int, num_frames: int, seed: int) -> None:
    frames = make_frames(seed, num_frames, height=height, width=width)
    codec = Lossless(height, width)
    rows, facts = codec.encode(frames)
    for t, v in np.ndindex(num_frames, 2):
        found = codec.decode_one(lambda base, v=v: rows[base, v], facts, t, v)
        np.testing.assert_array_equal(found, frames[t, v])
    np.testing.assert_array_equal(codec.decode(rows.copy(), facts), frames)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 6), max_size=10),
    flushes=st.frozensets(st.integers(0, 9)),
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3),
)
def test_the_bytes_do_not_depend_on_when_the_writer_flushed(
    tmp_path_factory: pytest.TempPathFactory, files_of, lengths: list[int], flushes: frozenset[int], texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    episodes = [make_episode(index, num_steps=length) for index, length in enumerate(lengths)]
    episodes = [
        replace(e, actions=tuple(replace(a, text=texts[i % len(texts)]) for i, a in enumerate(e.actions)))
        for e in episodes
    ]
    first = write(folder / "a", episodes, flush_after=flushes)
    second = write(folder / "b", [replace(e, timestamps_s=(0.5,)) for e in episodes])
    assert first == second
    assert files_of(folder / "a") == files_of(folder / "b")
    reader = EpisodeReader(folder / "a")
    assert [reader.episode(i) for i in range(len(reader))] == episodes


def test_other_frames_give_another_digest(tmp_path: Path) -> None:
    episode = make_episode(3)
    frames = episode.frames_tvhwc.copy()
    frames[1, 1, 5, 5, 2] ^= 1
    other = replace(episode, frames_tvhwc=frames)
    assert write(tmp_path / "a", [episode]) != write(tmp_path / "b", [other])


def test_jpeg_is_close_and_takes_a_fraction(tmp_path: Path) -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack([y * 9, x * 9, y + x], axis=-1).astype(np.uint8)
    frames = np.broadcast_to(smooth, (7, 2, HEIGHT, WIDTH, 3)).copy()
    episode = replace(make_episode(6), frames_tvhwc=frames)
    write(tmp_path / "e.zarr", [episode], codec="jpeg")
    reader = EpisodeReader(tmp_path / "e.zarr")
    found = reader.frames(0)
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).max() <= 6
    np.testing.assert_array_equal(reader.frame(0, 3, View.THIRD_PERSON), found[3, 1])


def test_noise_fits_a_jpeg_row(tmp_path: Path) -> None:
    write(tmp_path / "e.zarr", [make_episode(6)], codec="jpeg")
    assert EpisodeReader(tmp_path / "e.zarr").frames(0).shape == (7, 2, HEIGHT, WIDTH, 3)


def test_a_shard_of_64_episodes_takes_at_most_24_files(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e.zarr", num_steps=1, height=8, width=8) as writer:
        for index in range(64):
            frames = np.full((2, 2, 8, 8, 3), index, np.uint8)
            writer.append(replace(make_episode(index, num_steps=1), frames_tvhwc=frames))
        writer.finish()
    assert sum(path.is_file() for path in (tmp_path / "e.zarr").rglob("*")) == 10


@pytest.mark.parametrize("name", ["with space", "quo'te\"s", "ünïcode-日本", "new\nline", "-dash", "a%20b", "c:\\d"])
def test_any_folder_name_works(tmp_path: Path, name: str) -> None:
    write(tmp_path / name / "e.zarr", [make_episode(4)])
    assert EpisodeReader(tmp_path / name / "e.zarr").episode(0) == make_episode(4)
    source = FrameSource(tmp_path)
    ref = FrameRef(store=f"{name}/e.zarr", episode=0, step=2, view=View.FIRST_PERSON)
    np.testing.assert_array_equal(source.read(ref), make_episode(4).frames_tvhwc[2, 0])


def test_frames_an_episode_does_not_have_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "e.zarr", [make_episode(2)])
    reader = EpisodeReader(tmp_path / "e.zarr")
    for index, step in ((0, 3), (0, -1), (1, 0), (-1, 0)):
        with pytest.raises(IndexError):
            reader.frame(index, step, View.FIRST_PERSON)


def test_episodes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e.zarr", **SIZE) as writer:
        too_long = make_episode(1, num_steps=7)
        with pytest.raises(ValueError, match="takes up to 6"):
            writer.append(too_long)
        with pytest.raises(ValueError, match="expected uint8"):
            writer.append(replace(make_episode(3), actions=(Action(text="a", parsed="a", ok=True),)))
        assert writer.finish()
    assert len(EpisodeReader(tmp_path / "e.zarr")) == 0


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jpeg, lossless"):
        EpisodeWriter(tmp_path / "e.zarr", codec="gif", **SIZE)


def test_a_store_is_not_continued_with_other_settings(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "e.zarr", **SIZE) as writer:
        writer.append(make_episode(1))
        writer.flush()
    with pytest.raises(RunFolderError, match="begun with lossless 20x24, 6 steps"):
        EpisodeWriter(tmp_path / "e.zarr", **{**SIZE, "num_steps": 9})


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    for reader in (EpisodeReader, LineReader):
        with pytest.raises(CorruptShardError, match="no store here"):
            reader(tmp_path)


def test_lines_are_kept_and_resumed(tmp_path: Path, files_of) -> None:
    records = [{"i": i, "text": "ä\n" * i} for i in range(7)]
    with LineWriter(tmp_path / "a") as writer:
        for record in records:
            writer.append(record)
        digest = writer.finish()
        assert writer.finish() == digest
    with LineWriter(tmp_path / "b") as writer:
        for record in records[:3]:
            writer.append(record)
            writer.flush()
        writer.append(records[3])
    with LineWriter(tmp_path / "b") as writer:
        assert writer.num_committed == 3
        for record in records[3:]:
            writer.append(record)
        assert writer.finish() == digest
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert LineReader(tmp_path / "a").records == records


def test_finished_stores_can_be_taken_back_to_an_earlier_record(
    tmp_path: Path, episodes: list[Episode], files_of
) -> None:
    whole = write(tmp_path / "a", episodes)
    before = files_of(tmp_path / "a")
    with EpisodeWriter(tmp_path / "a", **SIZE) as writer:
        assert writer.num_committed == len(episodes)
        writer.rewind(9)
        assert writer.num_committed == 9
        for episode in episodes[9:]:
            writer.append(episode)
        assert writer.finish() == whole
    assert files_of(tmp_path / "a") == before
    with LineWriter(tmp_path / "l") as lines:
        lines.append({"i": 0})
        lines.append({"i": 1})
        lines.finish()
        lines.rewind(1)
        assert lines.num_committed == 1
        assert LineReader(tmp_path / "l").records == [{"i": 0}]


def test_a_frame_source_keeps_a_bounded_number_of_stores_open(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.zarr", [make_episode(number + 1)])
    source = FrameSource(tmp_path, max_open=2)
    for number in (0, 1, 2, 3, 4, 0):
        ref = FrameRef(store=f"{number}.zarr", episode=0, step=1, view=View.THIRD_PERSON)
        np.testing.assert_array_equal(source.read(ref), make_episode(number + 1).frames_tvhwc[1, 1])
        assert source.num_open <= 2
