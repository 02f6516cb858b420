"""The templates in slurm/: looked over by shellcheck, and submitted by hand, chained with --dependency, on Slurm."""

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import REPO, SMALL, contents, patience

from selu_hpc.engines.attempts import read_attempt
from selu_hpc.engines.why.logs import read_said
from selu_hpc.rounds.rundir import RunDir, Stage

TEMPLATES = sorted((REPO / "slurm").glob("*.sbatch"))
NAMES = ["build_image", "evaluate", "finetune_8xa100", "gate", "label_array", "rollout_array"]
OPEN = """
import sys
from pathlib import Path
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.provenance import open_run
open_run(Path(sys.argv[1]), load_recipe("selu", sys.argv[2:]))
"""


def test_there_is_a_template_for_every_kind_of_job():
    assert [path.stem for path in TEMPLATES] == NAMES


@pytest.mark.parametrize("script", [*TEMPLATES, REPO / "slurm" / "stage.sh"], ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@dataclass
class Wrapped:
    """stage.sh as array element 5_3 of a job, with a fake srun and scontrol in its PATH."""

    folder: Path

    def __post_init__(self):
        self.tools.mkdir()
        self.fake("srun", 'printf "%s\\n" "$@" > "$CALL"')
        self.fake("scontrol", "")

    @property
    def tools(self):
        return self.folder / "tools"

    @property
    def run(self):
        return RunDir(self.folder / "a run")

    def fake(self, tool, does):
        (self.tools / tool).write_text(f"#!/bin/bash\n{does}\n")
        (self.tools / tool).chmod(0o755)

    def bash_before_5(self):
        file = self.folder / "before-5.sh"
        file.write_text("unset EPOCHREALTIME\n")
        return file

    def __call__(self, *, round_text="2", **more):
        environment = {
            "PATH": f"{self.tools}:/usr/bin:/bin", "CALL": str(self.folder / "call"), "SLURM_JOB_ID": "7",
            "SLURM_JOB_NAME": "x", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SELU_OFFSET": "1000",
            "SELU_PYTHON": "/py", "SLURMD_NODENAME": "c1",
        }  # fmt: skip
        line = ["bash", str(REPO / "slurm" / "stage.sh"), str(self.run.path), round_text, "label"]
        return subprocess.run(line, env=environment | more, check=False).returncode

    def record(self, attempt=0):
        return read_attempt(self.run.shard(2, Stage.LABEL, 1003).attempt(attempt))

    def logs(self, attempt=0):
        folder = self.run.shard(2, Stage.LABEL, 1003).attempt(attempt)
        return folder / "log.txt", folder / "slurm.log"


@pytest.fixture
def wrapped(tmp_path):
    return Wrapped(tmp_path)


def test_the_wrapper_and_the_run_folder_agree_where_a_shard_lies(wrapped):
    """stage.sh knows the layout by itself; a fake srun prints what it is asked to run."""
    for expected in (0, 1):
        assert wrapped() == 0
        words = (wrapped.folder / "call").read_text().splitlines()
        asked = ["/py", "-u", "-m", "selu_hpc.stages.label", "--run", str(wrapped.run.path), "--round", "2"]
        assert words[-12:] == [*asked, "--shard", "1003", "--attempt", str(expected)]
        assert wrapped.record(expected)


@pytest.mark.parametrize(("state", "kept"), [("COMPLETING", ""), ("RUNNING", "RUNNING"), ("CANCELLED", "CANCELLED")])
def test_that_slurm_is_ending_a_task_is_no_reason_for_its_end(wrapped, state, kept):
    wrapped.fake("srun", "exit 1")
    wrapped.fake("scontrol", f'echo "JobId=7 JobName=x JobState={state} Reason=None"')
    assert wrapped() == 1
    assert wrapped.record().state == kept


def test_a_round_may_be_typed_as_its_folder_is_named(wrapped):
    assert wrapped(round_text="08") == 0
    assert (wrapped.run.shard(8, Stage.LABEL, 1003).attempt(0) / "job.json").is_file()
    words = (wrapped.folder / "call").read_text().splitlines()
    assert words[words.index("--round") + 1] == "8"


@pytest.mark.parametrize(
    "log", ["for n in {1..2000}; do echo out of memory; done", r"printf 'a\0b\nDetected 1 oom_kill event\n'"]
)
def test_out_of_memory_is_seen_in_a_long_log_and_in_one_with_bytes(wrapped, log):
    wrapped.fake("srun", f"{log}; exit 1")
    assert wrapped() == 1
    assert wrapped.record().oom


def test_the_end_of_a_step_that_ends_as_the_signal_arrives_is_its_own(wrapped):
    wrapped.fake("srun", "trap 'exit 75' USR2; kill -USR2 $PPID; while :; do sleep 0.01; done")
    wrapped.fake("scontrol", 'echo "JobId=7 JobState=COMPLETING"')
    for attempt in range(10):
        wrapped()
        assert wrapped.record(attempt).code == 75


@pytest.mark.parametrize("old_bash", [False, True], ids=["EPOCHREALTIME", "without it"])
def test_the_times_of_a_record_are_the_shells_own_since_its_end_may_end_date_too(wrapped, old_bash):
    wrapped.fake("date", "kill -TERM $$")
    before = time.time()
    assert wrapped(**({"BASH_ENV": str(wrapped.bash_before_5())} if old_bash else {})) == 0
    record = wrapped.record()
    assert before - 1 <= record.begun <= record.ended <= time.time()


def test_a_node_without_room_for_scratch_leaves_a_record_that_speaks_against_it(wrapped):
    missing = wrapped.folder / "missing"
    assert wrapped(SELU_SCRATCH=str(missing)) == 73
    assert wrapped.record().code == 73
    assert wrapped.record().failed_fast
    assert str(missing) in read_said(*wrapped.logs()).error
    assert not (wrapped.folder / "call").exists()


@pytest.mark.slurm
@pytest.mark.slurm_ci
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_template_chained_by_hand_makes_a_round_equal_to_submits(lab, run):
    settings = (*SMALL, "finetune.num_ranks=8")
    lab.python("-c", OPEN, str(run), *settings, "rounds=1")
    jobs = _submit_by_hand(lab, run)
    for _ in patience(600, "the chain by hand", context=lambda: lab.call("squeue", "--array").stdout):
        queued = lab.call("squeue", "--noheader", "--format=%F").stdout.split()
        if not set(queued) & set(jobs):
            break
    by_submit = run.with_name(f"{run.name}-submit")
    lab.submit(by_submit, settings=settings)
    assert contents(run) == lab.wait_done(by_submit)
    assert len(contents(run)) == 12
    assert (lab.code / f"built-{run.name}").read_text() == "selu-build"


def _submit_by_hand(lab, run: Path) -> list[str]:
    """Every template once, as its own comment says."""
    small = ["--mem=500M", "--cpus-per-task=1", f"--chdir={lab.home}"]

    def sbatch(template, *words, after="", flags=()):
        wait = [f"--dependency={after}"] if after else []
        script = str(lab.code / "slurm" / f"{template}.sbatch")
        return lab.call("sbatch", "--parsable", *small, *wait, *flags, script, str(run), *words).stdout.strip()

    mine = type(lab)(lab.cluster, lab.home, lab.code, extra={"SELU_CODE": str(lab.code), "SELU_PYTHON": _python()})
    lab = mine
    testset = sbatch("evaluate", "0", "testset", flags=["--array=0"])
    base = sbatch("evaluate", "0", after=f"afterok:{testset}", flags=["--array=0"])
    rollout = sbatch("rollout_array", "1", flags=["--array=0-2"])
    kill = "--kill-on-invalid-dep=yes"
    label = sbatch("label_array", "1", after=f"aftercorr:{rollout}", flags=["--array=0-2", kill])
    gate = sbatch("gate", "1", after=f"afterany:{label}")
    gpu = ["--partition=gpu", "--constraint=a100"]
    actor, critic = (
        sbatch("finetune_8xa100", "1", role, after=f"afterok:{gate}", flags=gpu) for role in ("actor", "critic")
    )
    last = sbatch("evaluate", "1", after=f"afterok:{actor}:{critic},afterok:{testset}", flags=["--array=0"])
    image = lab.call("sbatch", "--parsable", *small, str(lab.code / "slurm" / "build_image.sbatch"), "--name", run.name)
    return [image.stdout.strip(), testset, base, rollout, label, gate, actor, critic, last]


def _python() -> str:
    import sys

    return sys.executable
