"""A stage in an image ends with its launcher, whatever ends that; and leaves nothing on the node."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selu_hpc.processes import PR_SET_PDEATHSIG

LAUNCHER = """
import os, signal, sys
from pathlib import Path
from selu_hpc.containers import watched
from selu_hpc.processes import die_with_parent

watched.GRACE_S = 1
private, user, *line = sys.argv[1:]
if int(user):
    os.setgroups([]), os.setgid(int(user)), os.setuid(int(user))
die_with_parent(signal.SIGTERM)
os.chdir("/")
sys.exit(watched.run_watched(line, environment={**os.environ, "HOME": private}, private=Path(private)))
"""
UNTIED = f"""
import ctypes, os, signal, sys, time
from pathlib import Path

private = Path(sys.argv[1])
ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, 0)  # as the kernel does when a process enters a user namespace

def told(number, _):
    (private.parent / "told").write_text(str(number))
    if sys.argv[2] == "ends":
        sys.exit(75)

signal.signal(signal.SIGTERM, told)
(private.parent / "pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


def until(is_true, what, patience_s=30.0):
    give_up = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < give_up, what
        time.sleep(0.05)


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def launch(private, *line, user=0):
    """A launcher in a process group of its own, as the local engine starts it."""
    return subprocess.Popen([sys.executable, "-c", LAUNCHER, str(private), str(user), *line], process_group=0)


@pytest.fixture
def private(tmp_path):
    folder = tmp_path / "selu-task-1"
    (folder / "tmp").mkdir(parents=True)
    return folder


@pytest.fixture
def start(private):
    """A launcher and the number of the process it holds, which is at work."""
    started = []

    def begin(answer="ends"):
        launcher = launch(private, sys.executable, "-c", UNTIED, str(private), answer)
        file = private.parent / "pid"
        until(lambda: file.is_file() and file.read_text(), "the stage did not start")
        started.append((launcher, int(file.read_text())))
        return started[-1]

    yield begin
    for launcher, pid in started:
        launcher.kill()
        launcher.wait()
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_a_stage_is_told_and_ends_when_its_launcher_is_killed(start, private):
    launcher, stage = start()
    launcher.kill()
    until(lambda: not is_alive(stage), "the stage outlives its launcher")
    assert (private.parent / "told").read_text() == str(int(signal.SIGTERM))
    until(lambda: not private.exists(), "the task's folder stays on the node")


def test_a_stage_that_does_not_end_when_told_is_killed(start, private):
    launcher, stage = start("goes on")
    launcher.kill()
    until(lambda: not is_alive(stage), "the stage outlives its launcher")
    until(lambda: not private.exists(), "the task's folder stays on the node")


def test_a_task_killed_with_all_its_processes_leaves_no_folder(start, private):
    launcher, stage = start()
    os.killpg(launcher.pid, signal.SIGKILL)
    until(lambda: not private.exists(), "the task's folder stays on the node")
    assert not is_alive(stage)


def test_a_signal_is_passed_on_and_the_stages_exit_code_is_ours(start, private):
    launcher, _ = start()
    launcher.terminate()
    assert launcher.wait(timeout=30) == 75
    assert (private.parent / "told").exists()
    assert private.exists(), "whoever made the folder removes it"


PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
time.sleep(600)
"""


def test_a_killed_controller_ends_the_launcher_and_that_its_stage(private):
    words = [LAUNCHER, str(private), "0", sys.executable, "-c", UNTIED, str(private), "ends"]
    controller = subprocess.Popen([sys.executable, "-c", PARENT, *words])
    file = private.parent / "pid"
    until(lambda: file.is_file() and file.read_text(), "the stage did not start")
    controller.kill()
    controller.wait()
    until(lambda: not is_alive(int(file.read_text())), "the stage outlives the controller")


@pytest.fixture
def shell_image():
    """A folder that Apptainer takes for an image: a shell, sleep, and the libraries they need."""
    root = Path("/var/tmp") / f"selu-shell-image-{os.getpid()}"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root"):
        (root / name).mkdir(parents=True)
    for program in ("sh", "sleep"):
        found = Path(shutil.which(program)).resolve()
        said = subprocess.run(["ldd", str(found)], capture_output=True, text=True, check=True).stdout
        for library in {word for word in said.split() if word.startswith("/")}:
            target = root / library.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library, target)
            target.chmod(0o755)
        shutil.copyfile(found, root / "bin" / program)
        (root / "bin" / program).chmod(0o755)
    yield root
    shutil.rmtree(root)


@pytest.mark.apptainer
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_what_runs_in_a_users_image_ends_when_its_launcher_is_killed(shell_image):
    nobody = 65534
    private = shell_image.with_suffix(".private")
    private.mkdir()
    os.chown(private, nobody, nobody)
    launcher = launch(private, "apptainer", "exec", str(shell_image), "sleep", "31536000", user=nobody)
    alive = ["pgrep", "-u", str(nobody), "-g", str(launcher.pid)]
    inside = [*alive, "-x", "sleep"]
    try:
        until(lambda: subprocess.run(inside, capture_output=True, check=False).stdout, "the image did not start")
        launcher.kill()
        launcher.wait()
        until(lambda: not subprocess.run(alive, capture_output=True, check=False).stdout, "the stage lives on")
    finally:
        subprocess.run(["pkill", "-KILL", "-g", str(launcher.pid)], check=False)
        shutil.rmtree(private, ignore_errors=True)
