"""The templates in slurm/: looked over by shellcheck, and submitted by hand, chained with --dependency, on Slurm."""

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import REPO, SMALL, contents, patience

from selu_hpc.engines.slurm.attempts import read_attempt
from selu_hpc.engines.slurm.state import Cause
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
        return read_attempt(self.run.shard(2, Stage.LABEL, 1003).record(attempt))

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


def test_a_job_of_a_run_that_lay_there_before_does_nothing(wrapped):
    assert wrapped(SLURM_JOB_NAME="selu-0123abcd-r02-label-g0c0") == 77
    assert not wrapped.run.shard(2, Stage.LABEL, 1003).path.exists()
    wrapped.run.jobs.mkdir(parents=True, exist_ok=True)
    (wrapped.run.jobs / "selu-0123abcd-r02-label-g0c0.sh").touch()
    assert wrapped(SLURM_JOB_NAME="selu-0123abcd-r02-label-g0c0") == 0
    assert wrapped(SLURM_JOB_NAME="selu-by-hand") == 0


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


@pytest.mark.parametrize("folder", [".", "code"])
def test_a_folder_that_everyone_may_write_runs_nothing(wrapped, folder):
    (wrapped.run.path / "code").mkdir(parents=True)
    (wrapped.run.path / folder).chmod(0o777)
    assert wrapped() == 77
    assert not (wrapped.folder / "call").exists()
    (wrapped.run.path / folder).chmod(0o775)
    assert wrapped() == 0


SAVES = "trap 'exit 75' USR2 TERM; kill -{signal} $PPID; while (( SECONDS < 60 )); do :; done"
SCONTROL = """
echo $1 >> "$ASKED"
SILENT_OR_NOT
[[ $1 == requeue ]] || echo "JobId=7 JobState={state} Reason={why} PreemptTime={when}"
"""
AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
REFUSED = "Requested operation is presently disabled"


@dataclass
class Stopped:
    """Starts of one element, each told to stop by a signal and asking to be requeued; what its records say of them."""

    wrapped: Wrapped

    def __post_init__(self):
        self.wrapped.fake("sleep", "")
        self.num_starts = 0

    def __call__(
        self, *, done=None, total=9, signal="USR2", state="RUNNING", why="None", when="None", silent="", patience_s=600
    ):
        folder = self.wrapped.run.shard(2, Stage.LABEL, 1003).attempt(self.num_starts)
        far = f'echo \'{{"done": {done}, "total": {total}}}\' > "{folder}/progress.json"; ' if done is not None else ""
        self.wrapped.fake("srun", far + (SAVES.format(signal=signal) if signal else "exit 75"))
        scontrol = SCONTROL.format(state=state, why=why, when=when)
        self.wrapped.fake("scontrol", scontrol.replace("SILENT_OR_NOT", silent))
        count = {"SLURM_RESTART_COUNT": str(self.num_starts)} if self.num_starts else {}
        assert self.wrapped(ASKED=str(self.asked), SELU_PATIENCE_S=str(patience_s), **count) == 75
        self.num_starts += 1
        return self.wrapped.record(self.num_starts - 1)

    @property
    def asked(self):
        return self.wrapped.folder / "asked"

    def requests(self):
        return self.asked.read_text().split()


@pytest.fixture
def stopped(wrapped):
    return Stopped(wrapped)


def went_on(*records):
    return [(record.requeued, record.cause) for record in records]


ON = (True, Cause.UNKNOWN)
OUT_OF_TIME = (False, Cause.TIMEOUT)


def test_a_stage_that_loses_all_its_work_at_every_limit_is_out_of_time_at_the_third(stopped):
    """As labels by scores, which only count when the shard is whole. More time that does not help is seen at once."""
    assert went_on(*(stopped() for _ in range(4))) == [ON, ON, OUT_OF_TIME, OUT_OF_TIME]
    assert stopped.requests() == ["show", "requeue", "show", "requeue", "show", "show"]
    assert "time is too short" in read_said(*stopped.wrapped.logs(2)).error


def test_a_stage_that_gets_no_farther_than_once_before_is_out_of_time(stopped):
    """As an evaluation's verdicts, before which all episodes are played; some start may also get less far."""
    assert went_on(*(stopped(done=far) for far in (9, 9, 7, 9))) == [ON, ON, ON, OUT_OF_TIME]


def test_a_stage_that_gets_farther_goes_on_however_often_its_time_is_over(stopped):
    far = [None, None, 1, 1, 1, 2, 2, 2, 3]
    assert went_on(*(stopped(done=done) for done in far)) == [ON] * len(far)


def test_the_next_part_of_a_stage_is_farther_though_it_counts_from_nothing(stopped):
    parts = [(9, 9), (9, 9), (9, 9), (0, 4), (0, 4), (0, 4)]
    assert went_on(*(stopped(done=done, total=total) for done, total in parts)) == [ON] * len(parts)
    assert went_on(stopped(done=0, total=4)) == [OUT_OF_TIME]


def test_a_stage_that_asks_again_and_again_without_being_told_to_stop_is_out_of_time_too(stopped):
    assert went_on(*(stopped(signal=None) for _ in range(3))) == [ON, ON, OUT_OF_TIME]


def test_preemption_is_free_however_often_and_counts_for_neither_side(stopped):
    notice = {"when": "2026-11-28T00:00:00"}
    assert went_on(stopped(), stopped()) == [ON, ON]
    assert went_on(*(stopped(signal=name, **notice) for name in ("USR2", "TERM", None) * 2)) == [ON] * 6
    assert went_on(stopped()) == [OUT_OF_TIME]


def test_one_that_slurm_ends_at_its_limit_while_it_still_saves_is_out_of_time_without_accounting(stopped):
    late = {"signal": "TERM", "state": "COMPLETING", "why": "TimeLimit"}
    assert went_on(stopped(**late)) == [OUT_OF_TIME]
    assert went_on(stopped(**late, when="2026-11-28T00:00:00")) == [(False, Cause.UNKNOWN)]


def once(what, *, says, code):
    """The first time it is asked for this, scontrol says something else."""
    return f'[[ $1 == {what} && $(grep -c {what} "$ASKED") == 1 ]] && {{ echo "{says}"; exit {code}; }}'


@pytest.mark.parametrize("what", ["show", "requeue"])
def test_a_controller_that_is_away_is_asked_again(stopped, what):
    assert went_on(stopped(silent=once(what, says=AWAY, code=1))) == [ON]
    assert stopped.requests().count(what) > 1
    assert stopped.requests()[-1] == "requeue"


@pytest.mark.parametrize(("says", "is_asked_again"), [(AWAY, True), (REFUSED, False), ("command not found", False)])
def test_one_that_stays_away_is_given_up_after_a_while_and_one_that_refuses_at_once(stopped, says, is_asked_again):
    no = f'[[ $1 == requeue ]] && {{ echo "{says}" >&2; exit 1; }}'
    assert went_on(stopped(silent=no, patience_s=2)) == [(False, Cause.UNKNOWN)]
    assert (stopped.requests().count("requeue") > 1) is is_asked_again


def test_a_job_that_is_cancelled_while_its_controller_is_away_is_not_requeued(stopped):
    cancelled = '[[ $1 == show && $(grep -c show "$ASKED") == 2 ]] && { echo JobState=CANCELLED; exit; }'
    record = stopped(silent=f"{once('requeue', says=AWAY, code=1)}; {cancelled}")
    assert not record.requeued
    assert stopped.requests() == ["show", "requeue", "show"]


@pytest.mark.parametrize(("ranks", "wait"), [("1", "--wait=0"), ("8", "--wait=60")])
def test_the_other_ranks_do_not_outlive_one_that_is_gone_by_much(wrapped, ranks, wait):
    assert wrapped(SELU_RANKS=ranks) == 0
    assert wait in (wrapped.folder / "call").read_text().splitlines()


def test_neither_another_launchers_words_nor_a_login_nodes_token_reach_the_step(wrapped):
    wrapped.fake("srun", 'env > "$CALL"')
    wrapped.fake("scontrol", 'env > "$CALL.scontrol"')
    leaking = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "29500"}
    leaking |= {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_MAX_RESTARTS": "0", "SELU_PARENT_STORE": "x:1"}
    leaking |= {"SLURM_JWT": "a.b.c", "SLURM_CPU_BIND": "x"}
    assert wrapped(**leaking) == 0
    there = {line.partition("=")[0] for line in (wrapped.folder / "call").read_text().splitlines()}
    assert "SLURM_JOB_ID" in there
    assert not leaking.keys() & there


@pytest.mark.parametrize(("restarts", "gone"), [("", False), ("1", True)])
def test_what_a_killed_start_of_the_same_element_left_on_the_node_is_removed_and_nothing_else(wrapped, restarts, gone):
    scratch = wrapped.folder / "scratch"
    names = ["selu-5_3.aB3dEf", "selu-5_30.aB3dEf", "selu-5_2.aB3dEf", "selu-5_3.mine", "selu-5.aB3dEf"]
    for name in names:
        (scratch / name / "full").mkdir(parents=True)
    (scratch / "selu-5_3.linked").symlink_to(scratch / names[1])
    assert wrapped(SELU_SCRATCH=str(scratch), SLURM_RESTART_COUNT=restarts) == 0
    assert sorted(path.name for path in scratch.iterdir()) == sorted([*names[gone:], "selu-5_3.linked"])


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
