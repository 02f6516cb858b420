"""The run folder: markers, provenance, and folders that are not ours."""

import errno
import json
import math
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from selu_hpc.errors import CorruptShardError, MissingShardError, RunFolderError
from selu_hpc.recipes import load_recipe, load_run
from selu_hpc.rounds import provenance, rundir
from selu_hpc.rounds.gate import needed_by
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.provenance import code_state, open_run
from selu_hpc.rounds.rundir import Stage, shard_of


@pytest.fixture
def shard(small_run):
    shard = small_run.shard(1, Stage.ROLLOUT, 3)
    (shard.episodes / "c").mkdir(parents=True)
    (shard.episodes / "c" / "0").write_bytes(b"frames")
    (shard.episodes / "zarr.json").write_text("{}")
    shard.write_marker(content="abc", names=["episodes.zarr"], summary={"episodes": 1})
    return shard


def test_what_a_marker_speaks_of_is_durable_before_it(small_run, monkeypatch):
    shard = small_run.shard(1, Stage.FINETUNE_ACTOR)
    (shard.path / "adapter").mkdir(parents=True)
    (shard.path / "adapter" / "weights").write_bytes(b"weights")
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda at: (synced.append(Path(f"/proc/self/fd/{at}").readlink().name), fsync(at)))
    shard.write_marker(content="abc", names=["adapter"], summary={})
    marker = next(at for at, name in enumerate(synced) if name.startswith(".done.json"))
    assert set(synced[:marker]) == {"weights", "adapter", shard.path.name}


def test_a_marked_shard_passes_its_check(shard):
    marker = shard.check()
    assert set(marker.files) == {"episodes.zarr/c/0", "episodes.zarr/zarr.json"}
    assert (marker.content, marker.summary) == ("abc", {"episodes": 1})


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_bytes(b"framez"), lambda f: f.write_bytes(b"fr"), lambda f: f.unlink()]
)
def test_a_damaged_file_is_named_with_what_to_do(shard, damage):
    damage(shard.episodes / "c" / "0")
    explain = shard.run.command("explain", "r01/rollout/3")
    with pytest.raises(CorruptShardError, match=rf"(?s)shard 3: .*episodes.zarr/c/0.*{re.escape(explain)}"):
        shard.check()


def test_a_check_of_a_few_entries_leaves_the_others_alone(shard):
    (shard.path / "tensorboard").mkdir()
    (shard.path / "tensorboard" / "events").write_bytes(b"curve")
    shard.write_marker(content="abc", names=["episodes.zarr", "tensorboard"], summary={})
    (shard.path / "tensorboard" / "events").unlink()
    shard.check("episodes.zarr")
    with pytest.raises(CorruptShardError, match="events is missing"):
        shard.check("episodes.zarr", "tensorboard")


def test_a_file_that_can_not_be_read_is_a_damaged_one(shard, monkeypatch):
    def unreadable(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(rundir, "_fingerprint", unreadable)
    with pytest.raises(CorruptShardError, match=r"episodes\.zarr/c/0 cannot be read: Input/output error; "):
        shard.check()


@pytest.mark.parametrize("total", [7, 25, 100])
def test_a_quorum_that_is_a_share_of_the_shards_asks_for_that_many(total):
    assert all(needed_by(math.floor(100 * n / total) / 100, total) <= n for n in range(1, total + 1))
    assert (needed_by(0.56, 25), needed_by(0.5, 25), needed_by(1.0, total)) == (14, 13, total)


def test_however_small_the_quorum_a_round_of_no_shard_is_not_sealed():
    assert [needed_by(quorum, 2) for quorum in (1e-10, 0.01)] == [1, 1]


def test_a_shard_without_marker_is_missing_and_says_where_to_look(small_run):
    with pytest.raises(MissingShardError, match=r"(?s)round 1 label: shard 7 has no marker in .*label/shard-0007"):
        small_run.shard(1, Stage.LABEL, 7).require_marker()


def test_a_torn_marker_is_corrupt_not_missing(shard):
    shard.marker_file.write_text('{"content": "ab')
    with pytest.raises(CorruptShardError, match="not a marker"):
        shard.read_marker()


def test_a_marker_leaves_no_partial_file(shard):
    assert [p.name for p in shard.path.iterdir() if "partial" in p.name] == []


def test_a_command_on_a_run_can_be_typed_as_it_stands(small_run):
    words = shlex.split(small_run.command("explain", "r02/label"))
    assert words == ["python", "-m", "selu_hpc.explain", "--run", str(small_run.path), "r02/label"]


def test_no_message_spells_a_command_on_a_run_by_itself():
    """It would be typed as it stands, and folders hold blanks."""
    files = (Path(__file__).parents[2] / "selu_hpc").rglob("*.py")
    by_itself = re.compile(r"python -m selu_hpc\.\w+ --run \{(?!shlex)")
    assert [file.name for file in files if by_itself.search(file.read_text())] == []


def test_a_path_says_which_shards_it_is(small_run):
    shard = small_run.shard(1, Stage.FINETUNE_ACTOR, 12)
    for path in (shard.path, shard.marker_file, shard.truth, shard.attempt(3) / "frames" / "c.0"):
        assert shard_of(path) == shard
    for path in (small_run.path, small_run.stage(1, Stage.LABEL), small_run.round(1) / "nonsense" / "shard-0000"):
        assert shard_of(path) is None


def test_the_folder_keeps_config_and_provenance(small_run, small_config):
    kept = json.loads(small_run.provenance_file.read_text())
    assert kept["signature"] == small_config.signature
    assert {"code", "packages", "python", "image", "machine"} <= set(kept)


def test_a_folder_of_another_config_is_refused_with_the_difference(small_run, small_config):
    other = small_config.but(seed=7)
    small_run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"(?s)another config.*seed: the run has 0, asked for 7"):
        open_run(small_run.path, other)


@pytest.fixture
def code(small_run, monkeypatch):
    """`code(commit, dirty)`: what the run began with and what would go on with it."""

    def is_(commit, *, dirty=False, now=None):
        state = {"commit": commit, "dirty": dirty}
        kept = json.loads(small_run.provenance_file.read_text())
        small_run.provenance_file.write_text(json.dumps({**kept, "code": state}))
        monkeypatch.setattr(provenance, "code_state", lambda _: {**state, "commit": now or commit})

    return is_


def test_a_config_that_was_edited_is_refused_once_something_has_begun(small_run, small_config, code):
    code("a" * 40)
    edited = small_run.config_file.read_text().replace("horizon: 4", "horizon: 20")
    small_run.config_file.write_text(edited)
    open_run(small_run.path, load_run(small_run.path))
    small_run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    for text in (edited, ""):
        small_run.config_file.write_text(text)
        with pytest.raises(RunFolderError, match=f"the run began with {small_config.signature}: it was edited"):
            open_run(small_run.path, load_run(small_run.path))


@pytest.mark.parametrize(
    "state", [{"commit": "a" * 40, "now": "b" * 40}, {"commit": None}, {"commit": "a" * 40, "dirty": True}]
)
def test_a_signature_that_other_code_may_read_otherwise_is_only_told(small_run, small_config, caplog, code, state):
    small_run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    kept = json.loads(small_run.provenance_file.read_text())
    small_run.provenance_file.write_text(json.dumps({**kept, "signature": "0" * 12}))
    code(**state)
    open_run(small_run.path, small_config)
    assert f"the run began with {'0' * 12}: by other code" in caplog.text


def test_a_folder_whose_name_is_no_utf8_is_refused_before_it_is_made(tmp_path, small_config):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xffn"))
    with pytest.raises(RunFolderError, match="is not UTF-8"):
        open_run(folder, small_config)
    assert not folder.exists()


def test_more_rounds_continue_a_run_and_fewer_do_not_shrink_it(small_run, small_config):
    _, longer = open_run(small_run.path, small_config.but(rounds=8))
    assert longer.rounds == 8
    _, again = open_run(small_run.path, small_config)
    assert again.rounds == 8


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match=r"thesis.tex.*not a run folder"):
        open_run(tmp_path, load_recipe("selu"))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RunFolderError, match="is a file"):
        open_run(file, load_recipe("selu"))


def test_a_folder_below_a_file_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"Not a directory.*--run"):
        open_run(tmp_path / "file" / "run", load_recipe("selu"))


def test_a_refused_submits_folder_takes_another_config_until_something_has_begun(tmp_path):
    refused, smaller = load_recipe("selu"), load_recipe("selu", ["rollout.num_shards=1"])
    run, _ = open_run(tmp_path / "run", refused)
    journal = Journal(run.journal_file)
    journal.append("submitted", name="selu-1-r01-rollout-g0c0", job="7")
    with pytest.raises(RunFolderError, match="belongs to another config"):
        open_run(run.path, smaller)
    journal.append("cancelled", name="selu-1-r01-rollout-g0c0", job="7")
    _, config = open_run(run.path, smaller)
    assert load_run(run.path).identity == config.identity == smaller.identity
    assert json.loads(run.provenance_file.read_bytes())["signature"] == smaller.signature
    run.shard(1, Stage.ROLLOUT).attempt(0).mkdir(parents=True)
    with pytest.raises(RunFolderError, match="belongs to another config"):
        open_run(run.path, refused)


def test_a_page_goes_through_a_link_to_the_file_it_names_and_into_a_pipe_as_it_is(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    rundir.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    rundir.write_bytes(tmp_path / "pipe", b"page")
    assert os.read(reader, 99) == b"page"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("file", "dirty"), [("selu_hpc/a.py", True), ("configs/a.yaml", True), ("docs/results.md", False), ("R.md", False)]
)
def test_code_that_was_changed_is_told_from_pages_that_were(tmp_path, file, dirty):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init")
    for name in ("selu_hpc/a.py", "configs/a.yaml", "docs/results.md", "R.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    git("add", "-A")
    git("commit", "-m", "a")
    (tmp_path / file).write_text("changed\n")
    assert code_state(tmp_path)["dirty"] is dirty
