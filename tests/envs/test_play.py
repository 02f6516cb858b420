"""Walking a scene by words: what can't be walked is named with what can."""

import io
import shlex
from ctypes.util import find_library

import pytest

from selu_hpc.config import Backend, EnvConfig, Simulator
from selu_hpc.envs import play
from selu_hpc.envs.words import language_of
from selu_hpc.sim.thor_build import write_release


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The stand-in as a Unity build, the words that name it, and the file that has a line for each of its starts."""
    if find_library("vulkan") is None:
        pytest.skip("the client's CloudRendering platform wants libvulkan1 installed")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build, starts = write_release(tmp_path / "releases", commit="known"), tmp_path / "starts"
    build.write_text(build.read_text().replace("\nexec", f"\necho >> {shlex.quote(str(starts))}\nexec"))
    words = ["--backend", "cloud_rendering", "--unity-commit", "known", "--unity-releases", str(build.parents[1])]
    return build, [*words, "--frames", str(tmp_path / "frames"), "--actions", "done"], starts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scene", "FloorPlan999"], "--scene FloorPlan999: thor has FloorPlan1 … FloorPlan430"),
        (["--scene", "home0"], "--scene home0: thor has FloorPlan1 … FloorPlan430"),
        (["--simulator", "virtualhome", "--scene", "attic"], "--scene attic: virtualhome has home0 … home49"),
        (["--simulator", "virtualhome", "--scene", "home50"], "--scene home50: virtualhome has home0 … home49"),
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


def test_a_scene_of_the_other_simulator_is_refused_with_those_it_has(tmp_path, capsys):
    words = ["--simulator", "virtualhome", "--scene", "FloorPlan3", "--frames", str(tmp_path)]
    assert play.main(words) == 2
    assert capsys.readouterr().err == "error: --scene FloorPlan3: virtualhome has home0 … home49\n"


@pytest.mark.parametrize("simulator", Simulator)
def test_what_is_offered_to_be_said_is_all_understood(simulator):
    offered = play._HELP[simulator].split(" · ")
    assert [language_of(simulator).say(language_of(simulator).read(words)) for words in offered] == offered


def test_the_keyboard_is_offered_the_words_of_its_simulator(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    words = ["--simulator", "virtualhome", "--frames", str(tmp_path), "--size", "64"]
    assert play.main(words) == 0
    assert f"say what to do ({play._HELP[Simulator.VIRTUALHOME]}); an empty line ends" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        (["--simulator", "yours"], "'thor', 'virtualhome'"),
        (["--backend", "yours"], "'stand_in', 'cloud_rendering', 'xvfb'"),
        (["--world", "yours"], "'known', 'unknown'"),
    ],
)
def test_a_simulator_that_there_is_not_is_refused_with_those_there_are(capsys, words, choices):
    with pytest.raises(SystemExit):
        play.main(words)
    assert f"invalid choice: 'yours' (choose from {choices})" in capsys.readouterr().err


def test_a_scene_that_a_build_lacks_is_refused_after_one_start(release, capsys):
    _, words, starts = release
    assert play.main([*words, "--scene", "FloorPlan31"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --scene FloorPlan31: thor has FloorPlan1 … FloorPlan430 (the build of")
    assert starts.read_text() == "\n"


def test_a_build_that_never_starts_is_started_twice(release, capsys):
    build, words, starts = release
    build.write_text(build.read_text().replace("\nexec", "\nexit 3\nexec"))
    assert play.main(words) == 1
    assert "failed 2 times" in capsys.readouterr().err
    assert starts.read_text() == "\n\n"


def test_what_a_slow_build_needs_can_be_said():
    words = ["--backend", "cloud_rendering", "--unity-commit", "f08", "--unity-releases", "/builds"]
    said = play._parser().parse_args([*words, "--start-timeout", "600", "--vulkan-devices", "0", "2", "1"])
    config = play._config(said)
    assert config.backend is Backend.CLOUD_RENDERING
    assert (config.start_timeout_s, config.vulkan_devices) == (600.0, (0, 2, 1))
    plain = play._config(play._parser().parse_args([]))
    assert (plain.start_timeout_s, plain.vulkan_devices) == (EnvConfig().start_timeout_s, ())
