"""Commands at a terminal: a reader that has gone, letters it does not have, Ctrl-C, counts that are none."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_layers import COMMANDS

from selu_hpc import __main__, terminal

INTERRUPTED = """
import signal, time
from selu_hpc.terminal import enter
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
def main():
    print("at work", flush=True)
    time.sleep(60)
enter(main)
"""
OTHER_PIPE = """
import os
from selu_hpc.terminal import enter
def main():
    end, begin = os.pipe()
    os.close(end)
    return os.write(begin, b"words")
enter(main)
"""


def started(*words, **environment):
    line = [sys.executable, *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **environment}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("command", [*COMMANDS, "envs.play"])
def test_a_reader_that_has_gone_ends_a_command_without_a_word(command):
    with started("-m", f"selu_hpc.{command}", "--help") as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == terminal.EXIT_READER_GONE


def test_an_answer_longer_than_a_pipe_ends_as_quietly(small_run):
    print_much = "from selu_hpc.terminal import enter; enter(lambda: print('x' * 1_000_000) or 0)"
    with started("-c", print_much) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == terminal.EXIT_READER_GONE


@pytest.mark.parametrize("command", ["status", "explain", "cancel", "report", "submit"])
def test_what_the_file_system_refuses_is_told_in_a_line_with_what_to_do(command):
    with started("-m", f"selu_hpc.{command}", "--run", "/tmp/" + "x" * 300) as process:
        told = process.stderr.read().decode()
        assert process.wait() == 1
    assert "File name too long" in told
    assert "Traceback" not in told


def test_a_pipe_of_ours_that_breaks_is_a_fault_and_told():
    with started("-c", OTHER_PIPE) as process:
        assert b"BrokenPipeError" in process.stderr.read()
        assert process.wait() == 1


def test_letters_that_a_terminal_does_not_have_are_question_marks(small_run):
    """The folder's name has some."""
    with started("-m", "selu_hpc.status", "--run", str(small_run.path), PYTHONIOENCODING="ascii") as process:
        said, error = process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert b"r?ume" in said


def test_ctrl_c_is_one_word_and_code_130():
    with started("-c", INTERRUPTED) as process:
        assert process.stdout.readline() == b"at work\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().startswith(b"stopped; ")
        assert process.wait() == 130


@pytest.mark.parametrize("words", [["submit", "--workers=0"], ["submit", "--workers=-5"], ["replay", "--limit=0"]])
def test_a_count_is_a_number_from_1_on(words):
    command, option = words
    with started("-m", f"selu_hpc.{command}", option, "--run=nowhere") as process:
        _, error = process.communicate()
    assert process.returncode == 2
    assert f"argument {option.split('=')[0]}: found {option.split('=')[1]}; give a number from 1 on" in error.decode()


def test_printing_where_there_is_no_room_is_told_in_a_line(small_run):
    with Path("/dev/full").open("wb") as full:
        line = [sys.executable, "-m", "selu_hpc.status", "--run", str(small_run.path)]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: standard output: No space left on device; ")
    assert b"Traceback" not in done.stderr


def test_a_command_whose_output_was_closed_runs_all_the_same():
    words = f"{sys.executable} -m selu_hpc.submit --print-config >&- 2>&-"
    assert subprocess.run(["bash", "-c", words], check=False).returncode == 0


@pytest.mark.parametrize("command", ["stages.label", "engines.slurm.gate_job"])
def test_an_attempt_is_a_number_from_0_on(command):
    with started("-m", f"selu_hpc.{command}", "--run=nowhere", "--round=1", "--attempt=-4") as process:
        _, error = process.communicate()
    assert process.returncode == 2
    assert b"argument --attempt: found -4; give a number from 0 on" in error


@pytest.mark.parametrize("words", [["--run=~/mine"], ["--run", "~/mine"]])
def test_a_home_that_the_shell_left_in_a_path_is_the_users(tmp_path, words):
    with started("-m", "selu_hpc.submit", "--print-config", *words, HOME=str(tmp_path)) as process:
        said, _ = process.communicate()
    assert said.decode().startswith(f"# {tmp_path}/mine holds no run yet\n")


@pytest.mark.parametrize("word", ["--set=model.base=~/x", "--set=a=~", "a~", "--x~", "half~/x"])
def test_a_tilde_that_is_no_path_stays(word):
    assert terminal._at_home(word) == word


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "--engine=local"], ["submit", "--dry-run"], ["status", "--run=x"], ["doctor", "--no-jobs"],
        ["images", "list"], ["explain", "--run=x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_folder_that_is_gone_under_the_command_is_told_in_a_line(tmp_path, words):
    gone = "cd $1; rmdir $1; shift; exec $*"
    line = ["bash", "-c", gone, "-", str(tmp_path), sys.executable, "-m", f"selu_hpc.{words[0]}", *words[1:]]
    root = str(Path(terminal.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == "error: the current folder is gone; cd to another, then give the command again\n"
    assert (done.returncode, done.stdout) == (1, "")


def test_the_package_itself_names_every_command():
    with started("-m", "selu_hpc") as process:
        said, error = process.communicate()
    assert (process.returncode, error) == (2, b"")
    assert [line.split()[2] for line in said.decode().splitlines()[1:]] == [
        f"selu_hpc.{command}" for command in __main__.COMMANDS
    ]
    assert set(__main__.COMMANDS) == set(COMMANDS)
    assert "python -m selu_hpc.status     How far is a run?" in said.decode()
