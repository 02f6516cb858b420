import errno
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

import pytest
import torch

from selu_hpc.errors import TrainingError
from selu_hpc.rl4vlm.judged import Judged
from selu_hpc.train import checkpoint
from selu_hpc.train.checkpoint import Checkpoint
from selu_hpc.train.zero import MOMENTS, TrainState


def at(step, identity="this"):
    names = {"a.lora_A": torch.full((2, 3), float(step)), "b.lora_B": torch.randn(3, 2)}
    state = TrainState(names, {moment: {n: t * 2 for n, t in names.items()} for moment in MOMENTS}, step)
    return Checkpoint(step, identity, state, [{"step": n + 1, "loss": 0.5} for n in range(step)])


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def refuse(monkeypatch):
    """`refuse(errno.EIO, "step-000002", times=2)`: so often the storage does not answer for such a path."""
    monkeypatch.setattr(checkpoint, "PAUSES_S", (0.0, 0.0, 0.0))

    def make(number, part, *, times):
        left = [times]

        def refusing(read):
            def read_or_not(path):
                if part in str(path) and left[0] > 0:
                    left[0] -= 1
                    raise OSError(number, os.strerror(number), str(path))
                return read(path)

            return read_or_not

        monkeypatch.setattr(Path, "read_bytes", refusing(Path.read_bytes))
        monkeypatch.setattr(os, "listdir", refusing(os.listdir))

    return make


@dataclass
class Ranks:
    """Threads that are ranks: `Ranks(2).all(work)` is what `work(rank, team)` gave in each, or its error."""

    world: int
    values: dict[int, object] = field(default_factory=dict)

    def __post_init__(self):
        self.barrier = Barrier(self.world, timeout=20)

    def all(self, work):
        def one(rank):
            try:
                return work(rank, OneRank(self, rank))
            except TrainingError as error:
                return error

        with ThreadPoolExecutor(self.world) as pool:
            return list(pool.map(one, range(self.world)))


@dataclass
class OneRank:
    ranks: Ranks
    rank: int

    def gather(self, value):
        self.ranks.values[self.rank] = value
        self.ranks.barrier.wait()
        found = [self.ranks.values[rank] for rank in range(self.ranks.world)]
        self.ranks.barrier.wait()
        return found


def test_the_newest_comes_back_whole_and_two_are_kept(tmp_path):
    saved = [at(step) for step in (5, 20, 100)]
    for one in saved:
        checkpoint.save(tmp_path, one)
    assert names(tmp_path) == ["step-000020", "step-000100"]
    found = checkpoint.newest(tmp_path, "this")
    assert (found.step, found.curve, found.state.adam_steps) == (100, saved[2].curve, 100)
    for name, tensor in saved[2].state.weights.items():
        assert torch.equal(found.state.weights[name], tensor)
        assert torch.equal(found.state.moments["exp_avg_sq"][name], tensor * 2)


def test_what_another_training_left_stays_and_does_not_crowd_out_this_ones(tmp_path):
    for step in (40, 60):
        checkpoint.save(tmp_path, at(step, "other"))
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, at(step))
        assert checkpoint.newest(tmp_path, "this").step == step
    assert names(tmp_path) == ["step-000010", "step-000015", "step-000040", "step-000060"]
    for step in (50, 70):
        checkpoint.save(tmp_path, at(step))
    assert names(tmp_path) == ["step-000040", "step-000050", "step-000060", "step-000070"]


def test_an_attempt_that_is_behind_leaves_what_one_further_on_saved(tmp_path):
    for step in (40, 10, 12, 14):
        checkpoint.save(tmp_path, at(step))
    assert names(tmp_path) == ["step-000012", "step-000014", "step-000040"]
    assert checkpoint.newest(tmp_path, "this").step == 40


def test_two_attempts_may_save_the_same_step_at_once(tmp_path, monkeypatch):
    sync = checkpoint.sync_files

    def while_another_saves(folder, files):
        monkeypatch.setattr(checkpoint, "sync_files", sync)
        checkpoint.save(tmp_path, at(20))
        sync(folder, files)

    monkeypatch.setattr(checkpoint, "sync_files", while_another_saves)
    checkpoint.save(tmp_path, at(20))
    assert names(tmp_path) == ["step-000020"]
    assert checkpoint.newest(tmp_path, "this").step == 20


@pytest.mark.parametrize("meanwhile", ["sync_files", "write_json", "put_in_place"])
def test_a_save_outlives_the_end_of_another_attempt_that_removes_all(tmp_path, monkeypatch, caplog, meanwhile):
    folder = tmp_path / "checkpoints"
    original = getattr(checkpoint, meanwhile)

    def while_another_ends(*arguments):
        monkeypatch.setattr(checkpoint, meanwhile, original)
        checkpoint.remove_all(folder)
        return original(*arguments)

    monkeypatch.setattr(checkpoint, meanwhile, while_another_ends)
    checkpoint.save(folder, at(30))
    assert checkpoint.newest(folder, "this").step == 30
    assert names(folder) == ["step-000030"]


def test_a_save_that_fails_leaves_nothing_half_written_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    checkpoint.save(tmp_path, at(10))
    monkeypatch.setattr(checkpoint, "sync_files", full)
    with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
        checkpoint.save(tmp_path, at(20))
    assert names(tmp_path) == ["step-000010"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_not_taken_for_another_attempt(tmp_path, monkeypatch, caplog, number):
    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        checkpoint.save(tmp_path, at(20))
    assert not caplog.records


def test_none_is_found_where_none_is(tmp_path):
    assert checkpoint.newest(tmp_path / "nothing", "this") is None


def test_without_marker_or_with_another_identity_it_is_skipped_with_a_warning(tmp_path, caplog):
    checkpoint.save(tmp_path, at(1))
    checkpoint.save(tmp_path, at(2, "other"))
    (tmp_path / "step-000003").mkdir()
    assert checkpoint.newest(tmp_path, "this").step == 1
    assert "step-000003 is skipped: torn (FileNotFoundError" in caplog.text
    assert "step-000002 is skipped: of another dataset, base or setting" in caplog.text


def test_a_half_written_folder_of_a_killed_process_is_not_in_the_way(tmp_path):
    partial = tmp_path / ".step-000004.partial"
    partial.mkdir(parents=True)
    (partial / "state.safetensors").write_text("half")
    assert checkpoint.newest(tmp_path, "this") is None
    long_ago = partial.stat().st_mtime - checkpoint.ABANDONED_S - 60
    os.utime(partial, (long_ago, long_ago))
    checkpoint.save(tmp_path, at(4))
    assert checkpoint.newest(tmp_path, "this").step == 4
    assert not partial.exists()


def test_a_half_written_folder_of_an_attempt_at_work_is_left_alone(tmp_path):
    partial = tmp_path / ".step-000004.partial"
    partial.mkdir(parents=True)
    checkpoint.save(tmp_path, at(4))
    assert names(tmp_path) == [partial.name, "step-000004"]


@pytest.mark.parametrize("file", ["done.json", "meta.json", "state.safetensors"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ESHUTDOWN])
def test_a_file_that_the_storage_refuses_is_no_torn_one_and_all_stays(tmp_path, refuse, number, file):
    for step in (1, 2):
        checkpoint.save(tmp_path, at(step))
    refuse(number, f"step-000002/{file}", times=99)
    with pytest.raises(
        TrainingError, match=rf"step-000002/{file}: cannot be read .*{os.strerror(number)}.*submit again"
    ):
        checkpoint.newest(tmp_path, "this")
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_a_folder_that_the_storage_refuses_to_list_is_not_an_empty_one(tmp_path, refuse):
    checkpoint.save(tmp_path, at(1))
    refuse(errno.EIO, tmp_path.name, times=99)
    with pytest.raises(TrainingError, match="cannot be read"):
        checkpoint.newest(tmp_path, "this")


@pytest.mark.parametrize("part", ["step-000002/state.safetensors", ""])
def test_a_storage_that_answers_again_after_a_moment_costs_nothing(tmp_path, refuse, part):
    for step in (1, 2):
        checkpoint.save(tmp_path, at(step))
    refuse(errno.EIO, part, times=3)
    assert checkpoint.newest(tmp_path, "this").step == 2


def test_a_judgement_that_the_storage_refuses_is_not_made_anew(tmp_path, refuse):
    file = tmp_path / "judged.safetensors"
    assert Judged.load(file, "this") is None
    Judged(*(torch.zeros(3) for _ in range(4))).save(file, "this")
    refuse(errno.EIO, file.name, times=5)
    with pytest.raises(TrainingError, match=r"judged.safetensors: cannot be read"):
        Judged.load(file, "this")
    assert Judged.load(file, "this") is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "meta.json").unlink(),
        lambda place: (place / "done.json").write_text("[]"),
        lambda place: (place / "done.json").write_text("{"),
        lambda place: (place / "state.safetensors").write_bytes(b"x"),
    ],
)
def test_what_was_read_and_differs_or_is_missing_is_torn(tmp_path, caplog, damage):
    for step in (1, 2):
        checkpoint.save(tmp_path, at(step))
    damage(tmp_path / "step-000002")
    assert checkpoint.newest(tmp_path, "this").step == 1
    assert "step-000002 is skipped: torn" in caplog.text


def seen_by(tmp_path, *seen):
    """A folder a rank, with the checkpoints that it sees, as two nodes may see one folder."""
    for rank, steps in enumerate(seen):
        for step in steps:
            checkpoint.save(tmp_path / "all", at(step))
            shutil.copytree(tmp_path / "all" / f"step-{step:06d}", tmp_path / f"{rank}" / f"step-{step:06d}")
            shutil.rmtree(tmp_path / "all")
    return lambda rank, team: checkpoint.agreed(tmp_path / f"{rank}", "this", team)


def test_ranks_that_see_different_checkpoints_all_take_the_earliest(tmp_path):
    found = Ranks(2).all(seen_by(tmp_path, [10, 20], [10]))
    assert [one.step for one in found] == [10, 10]


def test_ranks_that_see_the_same_or_none_agree_at_once(tmp_path):
    assert [one.step for one in Ranks(2).all(seen_by(tmp_path, [10, 20], [10, 20]))] == [20, 20]
    assert Ranks(2).all(seen_by(tmp_path / "none", [], [])) == [None, None]


@pytest.mark.parametrize(("seen", "told"), [(([10, 20], []), r"\[20, 0\]"), (([20], [10]), r"\[0, 10\]")])
def test_ranks_that_have_none_in_common_all_say_so(tmp_path, seen, told):
    for error in Ranks(2).all(seen_by(tmp_path, *seen)):
        assert isinstance(error, TrainingError)
        assert re.search(rf"of steps {told} .* none that all can read", str(error))


def test_what_one_rank_cannot_read_ends_all(tmp_path, refuse):
    resume = seen_by(tmp_path, [10], [10])
    refuse(errno.EIO, f"{tmp_path.name}/1/step-000010", times=99)
    errors = Ranks(2).all(resume)
    assert all(isinstance(error, TrainingError) and "rank 1: " in str(error) for error in errors)
