import torch

from selu_hpc.train import checkpoint
from selu_hpc.train.checkpoint import Checkpoint
from selu_hpc.train.zero import MOMENTS, TrainState


def at(step, identity="this"):
    names = {"a.lora_A": torch.full((2, 3), float(step)), "b.lora_B": torch.randn(3, 2)}
    state = TrainState(names, {moment: {n: t * 2 for n, t in names.items()} for moment in MOMENTS}, step)
    return Checkpoint(step, identity, state, [{"step": n + 1, "loss": 0.5} for n in range(step)])


def test_the_newest_comes_back_whole_and_two_are_kept(tmp_path):
    saved = [at(step) for step in (5, 20, 100)]
    for one in saved:
        checkpoint.save(tmp_path, one)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000020", "step-000100"]
    found = checkpoint.newest(tmp_path, "this")
    assert (found.step, found.curve, found.state.adam_steps) == (100, saved[2].curve, 100)
    for name, tensor in saved[2].state.weights.items():
        assert torch.equal(found.state.weights[name], tensor)
        assert torch.equal(found.state.moments["exp_avg_sq"][name], tensor * 2)


def test_what_another_training_left_further_on_does_not_crowd_out_this_ones(tmp_path):
    for step in (40, 60):
        checkpoint.save(tmp_path, at(step, "other"))
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, at(step))
        assert checkpoint.newest(tmp_path, "this").step == step
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000010", "step-000015"]


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
    checkpoint.save(tmp_path, at(4))
    assert checkpoint.newest(tmp_path, "this").step == 4
    assert not partial.exists()
