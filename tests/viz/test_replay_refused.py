"""What is said when a replay page cannot be made: what is not there, what is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pages import page_of
from played_runs import JUDGED, MadeRound, judged, write_labels

from selu_hpc.errors import CorruptShardError, MissingShardError, RunFolderError
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.store.lines import LineWriter
from selu_hpc.viz.choice import Kind
from selu_hpc.viz.replay import make_replay


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_folder_in_the_pages_place_is_named(played, tmp_path):
    with pytest.raises(RunFolderError, match=r"cannot write: is a folder; name another file with --out"):
        make_replay(played, out=tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        make_replay(RunDir(tmp_path))


def test_a_run_that_has_played_nothing_says_how_to_see_how_far_it_is(small_run):
    with pytest.raises(MissingShardError, match=r"no rollout shard is finished yet; `python -m selu_hpc\.status"):
        make_replay(small_run)


def test_an_unknown_round_is_told_the_known_ones(played):
    MadeRound(played, 2).write()
    with pytest.raises(MissingShardError, match="round 7 has no finished rollout shard; these rounds have: 1, 2"):
        make_replay(played, round_id=7)


def test_an_unknown_episode_is_told_the_known_ones(played):
    with pytest.raises(RunFolderError) as error:
        make_replay(played, ids=["r01-s0000-e0000", "r01-s0009-e0000"])
    assert str(error.value) == (
        "there is no episode 'r01-s0009-e0000'; there are r01-s0000-e0000 to r01-s0000-e0005, "
        "r01-s0001-e0000 to r01-s0001-e0005"
    )


def test_a_kind_that_no_episode_is_of_is_told_the_others(small_run):
    MadeRound(small_run, num_shards=1, labelled=()).write()
    with pytest.raises(RunFolderError, match=r"for --show yes: it is not labelled yet.* it has 6 all, 0 yes"):
        make_replay(small_run, show=Kind.YES)
    write_labels(small_run, 1, 0, [judged(f"r01-s0000-e{n:04d}", True, True) for n in range(len(JUDGED))])
    with pytest.raises(RunFolderError, match=r"--show no; it has 6 all, 6 yes, 0 no, 0 corrected, 0 relabelled$"):
        make_replay(small_run, show=Kind.NO)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (Stage.ROLLOUT, "episodes.zarr/frames/c.0.0.0.0.0.0"),
        (Stage.ROLLOUT, "episodes.zarr/episodes"),
        (Stage.LABEL, "labels.zarr/records/c.0.0"),
    ],
)
def test_a_damaged_shard_is_named(played, stage, name):
    file = played.shard(1, stage, 1).path / name
    flip(file / "c.0.0" if file.is_dir() else file)
    with pytest.raises(CorruptShardError) as error:
        make_replay(played)
    assert f"01/{stage}/shard-0001/{name}" in str(error.value)


def test_frames_of_shards_that_are_not_shown_are_not_read(played):
    flip(played.shard(1, Stage.ROLLOUT, 1).path / "episodes.zarr/frames/c.0.0.0.0.0.0")
    page = page_of(played, ids=["r01-s0000-e0002"])
    assert (page.ids, page.data["totals"]["all"]) == (["r01-s0000-e0002"], 12)
    with pytest.raises(CorruptShardError, match=r"shard-0001/episodes\.zarr/frames"):
        page_of(played, ids=["r01-s0001-e0002"])


def test_a_shard_whose_labels_are_of_other_episodes_is_named(played):
    shutil.rmtree(played.shard(1, Stage.LABEL, 1).path)
    write_labels(played, 1, 1, [judged("r01-s0001-e0000", True, True)])
    with pytest.raises(CorruptShardError, match=r"label.shard-0001: nothing is said of episode r01-s0001-e0001"):
        make_replay(played)


def test_records_of_another_version_are_named(played):
    shutil.rmtree(played.shard(1, Stage.LABEL, 0).path)
    place = played.shard(1, Stage.LABEL, 0)
    with LineWriter(place.labels) as writer:
        writer.append({"episode": "r01-s0000-e0000"})
        place.write_marker(content=writer.finish(), names=["labels.zarr"], summary={})
    with pytest.raises(CorruptShardError, match=r"round 1 label: shard 0 (?s:.*) cannot be read \(KeyError"):
        make_replay(played)
