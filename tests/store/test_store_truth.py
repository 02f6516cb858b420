"""A learning process cannot open what the simulator knows, by whatever way it tries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from store_episodes import SIZE, make_episode

from selu_hpc.errors import TruthLeakError
from selu_hpc.records import Goal, Truth
from selu_hpc.store.trajectories import EpisodeWriter
from selu_hpc.store.truth import TruthReader, TruthWriter

TRUTHS = [
    Truth(episode_id="e0", success_after=(False, True), achieved=(Goal(verb="open", target="Fridge"),)),
    Truth(episode_id="e1", success_after=(False,)),
]
ATTACKS = {
    "open": "open(chunk, 'rb').read()",
    "pathlib": "Path(chunk).read_bytes()",
    "os.open": "os.open(chunk, os.O_RDONLY)",
    "directory descriptor": "os.open('truth/01/truth.zarr/zarr.json', os.O_RDONLY, dir_fd=os.open(run, os.O_RDONLY))",
    "listing": "os.listdir(truth)",
    "walking": "list(os.scandir(truth))",
    "relative path": "os.chdir(run); open('truth/01/truth.zarr/zarr.json')",
    "relative path from beside": "os.chdir(run + '/rounds'); open('../truth/01/truth.zarr/zarr.json')",
    "dots": "open(run + '/rounds/../truth/01/truth.zarr/zarr.json')",
    "symlink made before": "open(run + '/rounds/link/01/truth.zarr/zarr.json')",
    "symlink made now": "os.symlink(truth, run + '/rounds/new')",
    "hard link": "os.link(chunk, run + '/rounds/stolen')",
    "moved away": "os.rename(truth, run + '/rounds/moved')",
    "the reader": "TruthReader(Path(store), purpose='evaluation')",
    "numpy": "import numpy; numpy.fromfile(chunk, 'u1')",
    "memory map": "import numpy; numpy.memmap(chunk)",
    "zarr": "import zarr; zarr.open(store, mode='r')['records'][:]",
    "tensorstore": (
        "import tensorstore; tensorstore.open({'driver': 'zarr3', 'kvstore': {'driver': 'file', 'path': store +"
        " '/records/'}}).result()"
    ),
    "a program": "import subprocess; subprocess.run(['cat', chunk])",
    "a shell": "os.system('cat ' + chunk)",
    "a program there": "import subprocess; subprocess.run(['ls'], cwd=truth)",
    "a database": "import sqlite3; sqlite3.connect(chunk)",
    "a program beside it": "import subprocess; subprocess.run(['cat', 'truth/01/truth.zarr/zarr.json'], cwd=run)",
    "a program below it": "import subprocess; subprocess.run(['ls', '../truth'], cwd=run + '/rounds')",
    "an evaluation": "open(run + '/rounds/01/evaluate/shard-0000/results.json')",
    "a test set": "os.listdir(run + '/rounds/00/testset/shard-0000/episodes.zarr')",
    "an unfinished test set": "os.listdir(run + '/rounds/00/testset/shard-0000/attempt-2/episodes.zarr')",
    "a test set's tasks": "open(run + '/rounds/00/testset/shard-0000/tasks.json')",
    "an evaluation's episodes": "os.listdir(run + '/rounds/01/evaluate/shard-0000/episodes.zarr')",
    "a report": "open(run + '/report/replay.html')",
    "a process that is spawned": "import multiprocessing; multiprocessing.get_context('spawn').Process().start()",
    "a process of a server": "import multiprocessing; multiprocessing.get_context('forkserver').Process().start()",
    "a test set's frames": "open(run + '/rounds/00/testset/shard-0000/episodes.zarr/frames', 'rb')",
}
PREPARE = """
import os, sys
from pathlib import Path
import numpy
from selu_hpc.errors import TruthLeakError
from selu_hpc.store.truth import TruthReader, forbid_truth
run = sys.argv[1]
truth, store, chunk = run + "/truth", run + "/truth/01/truth.zarr", run + "/truth/01/truth.zarr/records/c.0.0"
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run/rounds").mkdir(parents=True)
    with TruthWriter(tmp_path / "run/truth/01/truth.zarr") as writer:
        for truth in TRUTHS:
            writer.append_truth(truth)
        writer.finish()
    (tmp_path / "run/rounds/link").symlink_to(tmp_path / "run/truth")
    (tmp_path / "run/rounds/01/evaluate/shard-0000").mkdir(parents=True)
    (tmp_path / "run/rounds/01/evaluate/shard-0000/results.json").write_text("{}")
    (tmp_path / "run/rounds/00/testset/shard-0000/episodes.zarr").mkdir(parents=True)
    (tmp_path / "run/rounds/00/testset/shard-0000/done.json").write_text("{}")
    return tmp_path / "run"


def python(code: str, run: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", code, str(run)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace")


def attempt(run: Path, attack: str, *, guard: str) -> subprocess.CompletedProcess[str]:
    code = f"{PREPARE}\n{guard}\n{attack}\nprint('leaked')\n"
    return python(code, run)


def test_every_way_in_is_closed(run: Path) -> None:
    code = PREPARE + "forbid_truth(Path(truth))\nforbid_truth(Path(truth))\nhome = os.getcwd()\n"
    for name, attack in ATTACKS.items():
        lines = attack.replace("; ", "\n").split("\n")
        body = "\n".join(f"    {line}" for line in lines)
        code += (
            f"try:\n{body}\nexcept TruthLeakError:\n    pass\nelse:\n    print({name!r}, 'leaked')\nos.chdir(home)\n"
        )
    code += "print('own files:', open(run + '/rounds/mine', 'w').write('x'), len(os.listdir(run + '/rounds')))\n"
    code += "os.listdir(run + '/rounds/01/evaluate/shard-0000')\n"  # a gate sees what is finished
    code += "open(run + '/rounds/00/testset/shard-0000/done.json').close()\n"
    done = python(code, run)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "own files: 1 4\n"


def test_a_run_that_was_opened_by_a_link_is_closed_to_programs_by_that_name_too(run: Path) -> None:
    alias = run.parent / "alias"
    alias.symlink_to(run)
    for words in ("'cat ' + chunk, shell=True", "['cat', '--file=' + chunk]"):
        attack = f"import subprocess; subprocess.run({words})"
        done = attempt(alias, attack, guard="forbid_truth(Path(truth))")
        assert "TruthLeakError" in done.stderr
        assert "leaked" not in done.stdout


@pytest.mark.parametrize("name", ["symlink made before", "zarr", "tensorstore", "a program", "directory descriptor"])
def test_without_the_guard_the_same_ways_are_open(run: Path, name: str) -> None:
    done = attempt(run, ATTACKS[name], guard="")
    assert done.stdout.endswith("leaked\n"), done.stderr


def test_threads_and_forked_children_are_guarded_too(run: Path) -> None:
    attack = """
def look():
    try:
        open(chunk)
    except TruthLeakError:
        return
    print("leaked", flush=True)
thread = threading.Thread(target=look)
thread.start()
thread.join()
if os.fork() == 0:
    look()
    os._exit(0)
os.wait()
print("tried")
"""
    done = python(f"{PREPARE}\nimport threading\nforbid_truth(Path(truth))\n{attack}", run)
    assert done.stdout == "tried\n", done.stderr


def test_tensorstore_that_is_loaded_already_is_guarded_too(run: Path) -> None:
    for attack in (
        ATTACKS["tensorstore"],
        "tensorstore.KvStore.open('file://' + store + '/').result()",
        "tensorstore.open(tensorstore.Spec({'driver': 'zarr3', 'kvstore': 'file://' + store + '/records/'})).result()",
    ):
        done = attempt(run, attack, guard="import tensorstore\nforbid_truth(Path(truth))")
        assert "TruthLeakError" in done.stderr
        assert "leaked" not in done.stdout


def test_a_second_run_is_forbidden_beside_the_first(run: Path, tmp_path: Path) -> None:
    done = attempt(run, "open(chunk)", guard=f"forbid_truth(Path({str(tmp_path)!r}, 'x'))\nforbid_truth(Path(truth))")
    assert "TruthLeakError" in done.stderr


def test_a_rollout_reaches_the_truth_of_its_own_episodes_and_no_other(run: Path) -> None:
    guard = "forbid_truth(Path(truth), but=Path(store))"
    assert attempt(run, "open(chunk).close()", guard=guard).stdout == "leaked\n"
    again = attempt(run, "forbid_truth(Path(truth), but=Path(store)); open(chunk)", guard="forbid_truth(Path(truth))")
    assert "TruthLeakError" in again.stderr, "what is closed stays closed"
    for attack in ("os.listdir(truth + '/01')", "os.listdir(store + '/../../01')", ATTACKS["an evaluation"]):
        done = attempt(run, attack, guard=guard)
        assert "TruthLeakError" in done.stderr
        assert "leaked" not in done.stdout


def test_a_learning_stage_is_not_told_which_actions_the_simulator_took(run: Path) -> None:
    with EpisodeWriter(run / "rounds/01/rollout/shard-0000/episodes.zarr", **SIZE) as episodes:
        episodes.append(make_episode(0, num_steps=2))
        episodes.finish()
    look = """
from selu_hpc.store.reader import EpisodeReader
reader = EpisodeReader(Path(run + '/rounds/01/rollout/shard-0000/episodes.zarr'))
told = [(action.ok, action.error) for action in reader.episode(0).actions]
print([set(one) - {'text', 'parsed'} for one in reader.meta(0)['actions']], told)
"""
    learning = attempt(run, look, guard="forbid_truth(Path(truth))")
    assert learning.stdout.startswith("[set(), set()] [(False, ''), (False, '')]"), learning.stderr
    for guard in ("", "forbid_truth(Path(truth), but=Path(store))", "forbid_truth(Path(truth + '/../../other/truth'))"):
        assert "[(True, ''), (False, 'no')]" in attempt(run, look, guard=guard).stdout


def test_truth_is_read_for_the_three_purposes_only(run: Path) -> None:
    store = run / "truth/01/truth.zarr"
    for purpose in ("evaluation", "report", "oracle"):
        reader = TruthReader(store, purpose=purpose)
        assert [reader[index] for index in range(len(reader))] == TRUTHS
    with pytest.raises(TruthLeakError, match="evaluation, report, oracle only, not for 'learning'"):
        TruthReader(store, purpose="learning")
