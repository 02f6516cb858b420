"""Two attempts at one training that end together: one's files and its marker stay, whoever wrote meanwhile."""

import json
import os

import pytest

from selu_hpc.rounds.rundir import MARKER
from selu_hpc.train import checkpoint, closing
from selu_hpc.train.result import Result


class Attempt:
    """`Attempt(folder, "a")()` finishes with files that say so; meanwhile: what happens while it writes them."""

    def __init__(self, folder, name, *, meanwhile=lambda: None):
        self.folder, self.name, self.meanwhile = folder, name, meanwhile
        self.own = folder / f"attempt-{name}"
        self.result = Result("", {})

    def __call__(self):
        (self.own / closing.TENSORBOARD).mkdir(parents=True)
        (self.own / closing.TENSORBOARD / "events").write_text(self.name)
        closing.finish(self.folder, self.result, self.write, self.mark, attempt=self.own)
        return self.result

    def write(self, own):
        (own / "adapter").mkdir()
        (own / "adapter" / "weights").write_text(self.name)
        (own / "curve.json").write_text(self.name)
        self.meanwhile()
        return self.name

    def mark(self, result):
        assert (self.folder / "checkpoints").is_dir()
        (self.folder / MARKER).write_text(json.dumps(result.content))


def full():
    raise OSError("full")


def said(folder):
    names = ("adapter/weights", "curve.json", "tensorboard/events")
    return {(folder / name).read_text() for name in names} | {json.loads((folder / MARKER).read_text())}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def test_what_was_made_takes_its_place_and_the_checkpoints_go(folder):
    assert Attempt(folder, "a")().content == "a"
    assert said(folder) == {"a"}
    assert not (folder / "checkpoints").exists()
    assert not list(folder.glob(".*"))


def test_what_an_attempt_without_a_marker_left_is_replaced(folder):
    (folder / "adapter").mkdir()
    (folder / "adapter" / "weights").write_text("of who was killed")
    (folder / "curve.json").write_text("of who was killed")
    Attempt(folder, "a")()
    assert said(folder) == {"a"}


def test_what_another_attempt_finished_while_this_one_wrote_stays_as_it_is(folder):
    late = Attempt(folder, "late", meanwhile=Attempt(folder, "early"))
    assert late().content == ""
    assert said(folder) == {"early"}
    assert not list(folder.glob(".*"))


def test_an_attempt_that_fails_to_write_changes_nothing(folder):
    with pytest.raises(OSError, match="full"):
        Attempt(folder, "a", meanwhile=full)()
    assert sorted(path.name for path in folder.iterdir()) == ["attempt-a", "checkpoints"]


def test_what_was_half_written_by_who_was_killed_long_ago_goes_and_what_is_at_work_stays(folder):
    old, new = (folder / f".made.{name}.partial" for name in ("old", "new"))
    for partial in (old, new):
        partial.mkdir()
    long_ago = new.stat().st_mtime - checkpoint.ABANDONED_S - 60
    os.utime(old, (long_ago, long_ago))
    with pytest.raises(OSError, match="full"):
        Attempt(folder, "a", meanwhile=full)()
    assert (old.exists(), new.exists()) == (False, True)


def test_what_others_were_writing_goes_with_the_checkpoints_and_they_end_well(folder):
    killed = folder / ".made.killed.partial"
    killed.mkdir()
    late = Attempt(folder, "late", meanwhile=lambda: (Attempt(folder, "early")(), full()))
    assert late().content == ""
    assert said(folder) == {"early"}
    assert not killed.exists()
