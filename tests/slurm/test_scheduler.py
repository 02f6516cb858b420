"""What Slurm's commands are told, by commands in their place that write it down."""

import pytest

from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.slurm.sbatch import held
from selu_hpc.engines.slurm.scheduler import Slurm, sbatch_call
from selu_hpc.errors import EngineError
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.submit import SBATCH_AHEAD, start_sbatch


@pytest.fixture
def slurm(tmp_path):
    """`sbatch` keeps its script and counts its starts; `scontrol` keeps its words."""
    for name, does in (
        ("sbatch", f"echo $* >> {tmp_path}/starts; cat > {tmp_path}/script; echo 17"),
        ("scontrol", f'echo "$*" >> {tmp_path}/said; case $* in *999999*) echo no such job >&2; exit 1;; esac'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    return Slurm(calls=Calls(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"}))


def test_an_sbatch_begun_ahead_gets_the_script_with_what_the_job_waits_for(slurm, tmp_path):
    (tmp_path / "job.sh").write_text("#!/bin/bash\n#SBATCH --mem=1GB\nexec true\n")
    slurm.calls.ahead(*sbatch_call(["--hold"]))
    assert slurm.sbatch(tmp_path / "job.sh", arguments=["--hold"], dependency="afterok:1:2,afterany:3") == "17"
    assert (tmp_path / "starts").read_text() == "--parsable --hold\n"
    assert (tmp_path / "script").read_text() == (
        "#!/bin/bash\n#SBATCH --dependency=afterok:1:2,afterany:3\n#SBATCH --mem=1GB\nexec true\n"
    )


def test_a_script_is_handed_over_as_it_lies_there_whatever_the_locale(slurm, tmp_path):
    text = "#!/bin/bash\nexec /räume/\udcff\n".encode(errors="surrogateescape")
    (tmp_path / "job.sh").write_bytes(text)
    slurm.sbatch(tmp_path / "job.sh", arguments=["--hold"])
    assert (tmp_path / "script").read_bytes() == text


def test_the_next_sbatch_are_begun_while_one_is_at_work(slurm, tmp_path):
    (tmp_path / "job.sh").write_text("#!/bin/bash\nexec true\n")
    for ahead in (2, 1, 0):
        assert slurm.sbatch(tmp_path / "job.sh", arguments=["--hold"], ahead=ahead) == "17"
    assert (tmp_path / "starts").read_text().count("--hold") == 3


def test_an_sbatch_that_cannot_be_begun_ahead_takes_nothing_from_the_one_at_work(slurm, tmp_path, monkeypatch):
    (tmp_path / "job.sh").write_text("#!/bin/bash\nexec true\n")
    slurm.calls.ahead(*sbatch_call(["--hold"]))

    def full(*_, **__):
        raise BlockingIOError("fork: Resource temporarily unavailable")

    monkeypatch.setattr("selu_hpc.engines.slurm.calls.subprocess.Popen", full)
    assert slurm.sbatch(tmp_path / "job.sh", arguments=["--hold"], ahead=1) == "17"
    with pytest.raises(BlockingIOError):
        slurm.sbatch(tmp_path / "job.sh", arguments=["--hold"])


def test_a_new_runs_first_sbatch_are_started_with_its_plan_and_none_for_a_run_that_goes_on(
    slurm, tmp_path, small_config
):
    run, plan = RunDir(tmp_path / "run"), make_plan(small_config)
    start_sbatch(run, plan, slurm.calls)
    (tmp_path / "job.sh").write_text("#!/bin/bash\nexec true\n")
    assert [slurm.sbatch(tmp_path / "job.sh", arguments=held(run.jobs)) for _ in range(SBATCH_AHEAD)] == [
        "17"
    ] * SBATCH_AHEAD
    assert (tmp_path / "starts").read_text().count("--hold") == SBATCH_AHEAD
    run.path.mkdir()
    run.journal_file.touch()
    start_sbatch(run, plan, slurm.calls)
    slurm.calls.forget()
    assert (tmp_path / "starts").read_text().count("--hold") == SBATCH_AHEAD


def test_a_person_is_told_once_when_sbatch_waits_for_a_full_queue(slurm, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("selu_hpc.engines.slurm.calls.SLOW_S", 0.2)
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'Slurm temporarily unable, sleeping' >&2\nsleep 0.8\necho 17\n")
    (tmp_path / "job.sh").write_text("#!/bin/bash\nexec true\n")
    assert slurm.sbatch(tmp_path / "job.sh", arguments=["--hold"]) == "17"
    said = [line for line in caplog.text.splitlines() if "sbatch is still waiting" in line]
    assert len(said) == 1
    assert "it has said: Slurm temporarily unable, sleeping; waiting up to" in said[0]


@pytest.mark.parametrize("num_jobs", [0, 1, 2, 3, 33, 1000])
def test_every_job_is_released_once(slurm, tmp_path, num_jobs):
    slurm.release([str(2000 + number) for number in range(num_jobs)])
    said = (tmp_path / "said").read_text().split("release ")[1:] if num_jobs else []
    ids = sorted(int(one) for block in said for one in block.split(","))
    assert ids == list(range(2000, 2000 + num_jobs))


def test_a_release_that_one_scontrol_refuses_is_an_error(slurm):
    with pytest.raises(EngineError, match="no such job"):
        slurm.release(["11", "12", "999999"])
    slurm.calls.forget()
