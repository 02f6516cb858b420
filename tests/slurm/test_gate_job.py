"""A gate and the run's last job, as processes of their own run them, against the Slurm in memory."""

import errno
import subprocess
import sys

import pytest
from in_memory import FULL, SITE, SlurmInMemory, events, finish, ids_of, stages, submit

from selu_hpc.engines import broken
from selu_hpc.engines.base import Job
from selu_hpc.engines.slurm import gate_job
from selu_hpc.engines.slurm.limits import Limits
from selu_hpc.errors import EngineError, LockedError, RunFolderError
from selu_hpc.rounds import rundir
from selu_hpc.rounds.plan import make_plan
from selu_hpc.rounds.rundir import Stage

REFUSED = EngineError("sbatch refused: Invalid account")


@pytest.fixture
def slurm(job, monkeypatch):
    """The first round's labels have ended, shard 1 has failed, and a gate's sbatch is refused from now on."""
    slurm = SlurmInMemory()
    submit(job, slurm)
    finish(job, 0)
    ids = ids_of(slurm)
    slurm.states |= {ids["r01-gate"]: "RUNNING", ids["r01-rollout"]: "FAILED", ids["r01-label"]: "CANCELLED"}
    monkeypatch.setattr(gate_job, "Slurm", lambda: slurm)
    monkeypatch.setattr(gate_job, "saved_site", lambda _: SITE)
    monkeypatch.setattr(gate_job, "ask_limits", lambda *_: Limits())
    monkeypatch.setattr(gate_job, "this_element", lambda: ids["r01-gate"])
    monkeypatch.setattr("selu_hpc.engines.slurm.submission.GRACE_S", 0.0)
    return slurm


@pytest.fixture
def quorum(job, monkeypatch):
    """The stage that seals: `quorum(met=True)`."""

    def is_(*, met):
        def run_stage(stage, *, run, round_id, attempt):
            if met:
                job.run.shard(round_id, stage).write_marker(content="sealed", names=[], summary={})
            return 0 if met else 1

        monkeypatch.setattr(gate_job.entry, "run_stage", run_stage)

    return is_


@pytest.mark.parametrize("error", [FULL, REFUSED])
def test_a_gate_whose_retry_is_refused_seals_with_the_quorum_and_leaves_nothing_of_the_retry(job, slurm, quorum, error):
    quorum(met=True)
    before = dict(slurm.jobs)
    slurm.trouble = lambda number, name: error if "-g1c" in name and "gate" in name else None
    assert gate_job.gate(job, 1, 0) == 0
    assert job.due()[gate_job.Key(1, Stage.ROLLOUT)] == [1]
    assert Stage.GATE not in {key.stage for key in job.due() if key.round_id == 1}
    assert slurm.jobs.items() <= before.items(), "what was sent of the retry was taken back"
    assert ids_of(slurm).keys() >= {"r01-finetune_actor", "r02-rollout", "close"}
    (given_up, _) = events(job, "gave_up")
    assert (given_up["key"], given_up["shard"]) == ("r01/rollout", 1)
    assert "could not be sent again" in given_up["why"]


def test_a_gate_whose_retry_is_refused_fails_without_a_quorum_and_the_last_job_tries_once_more(job, slurm, quorum):
    quorum(met=False)
    slurm.trouble = lambda number, name: REFUSED
    assert gate_job.gate(job, 1, 0) == 1
    assert events(job, "gave_up") == []
    ids = ids_of(slurm)
    slurm.trouble = None
    slurm.states = {job_id: "FAILED" if "r01" in stage else "CANCELLED" for stage, job_id in ids.items()}
    assert gate_job.close(job) == 0
    assert {"r01-rollout-g2c0", "r01-gate-g2c0"} <= set(stages(slurm))


def test_a_gate_that_began_before_more_rounds_were_asked_for_leaves_their_jobs_alone(job, slurm, quorum):
    quorum(met=True)
    finish(job, 1)
    more = job.config.but(rounds=4)
    later = Job(job.run, more, make_plan(more))
    later.settle()
    submit(later, slurm)
    sent = {stage for stage in ids_of(slurm) if stage.startswith(("r03", "r04"))}
    assert len(sent) == 12
    assert gate_job.gate(job, 1, 0) == 0
    assert sent <= ids_of(slurm).keys()
    assert slurm.cancelled == []


def test_a_sealed_round_stays_so_when_slurm_takes_nothing_of_the_next(job, slurm, quorum):
    quorum(met=True)
    finish(job, 1)
    for job_id in [job_id for stage, job_id in ids_of(slurm).items() if stage == "close"]:
        slurm.jobs.pop(job_id)
    slurm.trouble = lambda number, name: REFUSED
    assert gate_job.gate(job, 1, 0) == 0


@pytest.fixture
def cut(job, slurm):
    """Slurm had room for the first round and no last job, and has none for more than a few jobs now."""
    for job_id in [job_id for stage, job_id in ids_of(slurm).items() if stage.startswith(("r02", "close"))]:
        slurm.jobs.pop(job_id)
    slurm.trouble = lambda number, name: FULL if "r02-gate" in name or "r01-label-g1" in name else None
    return slurm


def last_job_waits_for(slurm):
    """The stages of the jobs behind which the last one stands."""
    by_id = {job_id: stage for stage, job_id in ids_of(slurm).items()}
    (close,) = (job_id for job_id, (name, _) in slurm.jobs.items() if "-close-" in name)
    assert close in slurm.released
    return {by_id[job_id] for job_id in slurm.waits[close].removeprefix("afterany:").split(":")}


def test_of_a_next_round_that_does_not_fit_nothing_stays_but_a_last_job_behind_this_one(job, cut, quorum):
    quorum(met=True)
    finish(job, 1)
    assert gate_job.gate(job, 1, 0) == 0
    assert {stage for stage in ids_of(cut) if stage.startswith("r02")} == set()
    waited = last_job_waits_for(cut)
    assert {"r01-finetune_actor", "r01-finetune_critic", "r01-evaluate"} <= waited


def test_a_gate_of_a_cut_run_that_fails_leaves_a_last_job_that_tries_once_more(job, cut, quorum):
    quorum(met=False)
    assert gate_job.gate(job, 1, 0) == 1
    assert {"r01-finetune_actor", "r01-finetune_critic"} <= last_job_waits_for(cut)
    assert events(job, "gave_up") == []
    ids = ids_of(cut)
    cut.trouble = None
    cut.states = {job_id: "FAILED" if "r01" in stage else "CANCELLED" for stage, job_id in ids.items()}
    assert gate_job.close(job) == 0
    assert any(stage.startswith("r01-rollout-g") for stage in stages(cut, set(cut.jobs) - set(ids.values())))


@pytest.mark.parametrize("why", [LockedError("another process holds the lock"), OSError(errno.ENOSPC, "No space left")])
def test_a_sealed_round_stays_so_when_what_follows_cannot_be_written(job, slurm, quorum, why, monkeypatch):
    quorum(met=True)
    finish(job, 1)
    held = gate_job._run_lock

    def lock(job, *, purpose):
        if job.run.shard(1, Stage.GATE).marker_file.exists():
            raise why
        return held(job, purpose=purpose)

    monkeypatch.setattr(gate_job, "_run_lock", lock)
    assert gate_job.gate(job, 1, 0) == 0


@pytest.fixture
def whole(job, slurm):
    """Both shards of the first round are finished, with bytes to read."""
    for stage, name in ((Stage.ROLLOUT, "episodes.zarr"), (Stage.LABEL, "labels.zarr")):
        for shard in (0, 1):
            place = job.run.shard(1, stage, shard)
            (place.path / name).mkdir(parents=True)
            (place.path / name / "c.0").write_bytes(b"bytes")
            place.write_marker(content="x", names=[name], summary={})
    return slurm


def test_a_damaged_rollout_takes_its_finished_label_along_so_that_the_next_gate_waits_for_both(job, whole, quorum):
    quorum(met=True)
    (job.run.shard(1, Stage.ROLLOUT, 1).path / "episodes.zarr" / "c.0").write_bytes(b"bites")
    before = set(whole.jobs)
    assert gate_job.gate(job, 1, 0) == 0
    due = job.due()
    assert due[gate_job.Key(1, Stage.ROLLOUT)] == due[gate_job.Key(1, Stage.LABEL)] == [1]
    sent = {name.split("-", 2)[2]: job_id for job_id, (name, _) in whole.jobs.items() if job_id not in before}
    assert sent.keys() == {"r01-rollout-g1c0", "r01-label-g1c0", "r01-gate-g1c0"}
    assert whole.waits[sent["r01-gate-g1c0"]] == f"afterany:{sent['r01-label-g1c0']}"
    assert (job.run.shard(1, Stage.LABEL, 0).path / "labels.zarr").is_dir()


def away(monkeypatch, *parts):
    read = rundir._fingerprint

    def fingerprint(file):
        if any(part in str(file) for part in parts):
            raise OSError(errno.ESHUTDOWN, "Cannot send after transport endpoint shutdown")
        return read(file)

    monkeypatch.setattr(rundir, "_fingerprint", fingerprint)
    monkeypatch.setattr(broken, "PATIENCE_S", (0.0, 0.0))


@pytest.mark.parametrize("parts", [["/rollout/"], ["/rollout/", "/label/"]])
def test_where_a_storage_server_is_away_a_gate_fails_and_moves_nothing(job, whole, quorum, monkeypatch, parts):
    quorum(met=True)
    away(monkeypatch, *parts)
    with pytest.raises(RunFolderError, match=r"of 4 finished shards of round 1 cannot be read, .*nothing was changed"):
        gate_job.gate(job, 1, 0)
    assert {key.stage for key in job.due() if key.round_id == 1} == {
        Stage.GATE, Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC, Stage.EVALUATE
    }  # fmt: skip
    assert not list(job.run.path.glob("rounds/*/*/*/broken-*"))


def test_one_shard_that_cannot_be_read_among_others_that_can_is_made_anew(job, whole, quorum, monkeypatch):
    quorum(met=True)
    away(monkeypatch, "/rollout/shard-0001")
    assert gate_job.gate(job, 1, 0) == 0
    assert job.due()[gate_job.Key(1, Stage.ROLLOUT)] == [1]


def test_what_can_be_read_at_the_second_try_is_whole(job, whole, monkeypatch):
    read = rundir._fingerprint
    away(monkeypatch, "/rollout/")
    monkeypatch.setattr(broken.time, "sleep", lambda _: monkeypatch.setattr(rundir, "_fingerprint", read))
    broken.put_aside_broken_shards(job, 1)
    assert not list(job.run.path.glob("rounds/*/*/*/broken-*"))


@pytest.mark.parametrize("words", [["--round", "1"], ["--close"]])
def test_a_run_that_was_only_prepared_is_refused_with_the_two_ways_on(job, capsys, words):
    assert gate_job.main(["--run", str(job.run.path), *words]) == 1
    told = capsys.readouterr().err
    assert "jobs/site.yaml: no such file, for nothing of this run was sent to Slurm" in told
    assert f"`{job.run.command('submit')}` sends it, and `python -m selu_hpc.stages.gate` is" in told


def test_a_gate_of_a_run_that_lay_there_before_does_nothing(job, slurm, quorum, capsys, monkeypatch):
    quorum(met=True)
    monkeypatch.setenv("SLURM_JOB_NAME", "selu-0123abcd-r01-gate-g0c0")
    assert gate_job.main(["--run", str(job.run.path), "--round", "1"]) == 1
    assert "selu-0123abcd-r01-gate-g0c0 is a job of another run, which lay in" in capsys.readouterr().err


def test_a_gate_that_was_queued_under_its_old_name_finds_it(tmp_path):
    line = [sys.executable, "-m", "selu_hpc.engines.gate_job", "--run", str(tmp_path), "--round", "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, "config.yaml: no such file" in done.stderr) == (2, True), done.stderr
