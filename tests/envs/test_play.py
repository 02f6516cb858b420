"""Walking a scene by words: what can't be walked is named with what can."""

import pytest

from selu_hpc.envs import play


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scene", "FloorPlan999"], "--scene FloorPlan999: thor has FloorPlan1 … FloorPlan430"),
        (["--scene", "home0"], "--scene home0: thor has FloorPlan1 … FloorPlan430"),
        (["--simulator", "virtualhome", "--scene", "attic"], "--scene attic: virtualhome has home0 … home49"),
        (["--simulator", "virtualhome", "--scene", "home999"], "VirtualHome has no home 999"),
        (["--verb", "nope"], "env.verbs has nope; thor has pick up, put, open"),
        (["--size", "0"], "--size 0: allowed: a whole number >= 32"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(tmp_path, capsys, words, said):
    assert play.main([*words, "--frames", str(tmp_path / "frames"), "--actions", "done"]) != 0
    assert f"error: {said}" in capsys.readouterr().err
    assert not (tmp_path / "frames").exists()


def test_a_file_in_place_of_the_frames_folder_is_named(tmp_path, capsys):
    (tmp_path / "frames").touch()
    assert play.main(["--frames", str(tmp_path / "frames"), "--actions", "done"]) == 2
    assert f"error: --frames {tmp_path / 'frames'}: File exists; choose a folder" in capsys.readouterr().err


def test_a_walk_says_each_outcome_and_leaves_its_pictures(tmp_path, capsys):
    assert play.main(["--frames", str(tmp_path / "frames"), "--actions", "turn left; done", "--size", "64"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("'turn left': ok")
    names = [f"{number:02d}-{view}.png" for number in range(3) for view in ("first", "third")]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == names
