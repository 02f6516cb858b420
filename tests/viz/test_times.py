"""Where the time went: every attempt once, whichever engine started it, and saved work is not lost work."""

from evaluated_runs import write_job

from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages.entry import EXIT_REQUEUE
from selu_hpc.viz.times import SAVED, Spent, read_times


def ended(run, shard, attempt, *, seconds, code):
    place = run.shard(1, Stage.LABEL, shard)
    place.attempt(attempt).mkdir(parents=True)
    Journal(run.journal_file).append("ended", shard=place.name, attempt=attempt, code=code, seconds=seconds)


def test_jobs_of_slurm_are_counted_by_round_and_stage(small_run):
    write_job(small_run, 0, 0, seconds=30, code=0)
    write_job(small_run, 1, 0, seconds=12, code=1)
    write_job(small_run, 1, 1, seconds=31, code=0)
    write_job(small_run, 0, 0, seconds=5, code=0, stage=Stage.FINETUNE_ACTOR)
    assert read_times(small_run).spent == {(1, "rollout"): Spent(61, 12), (1, "finetune_actor"): Spent(5, 0)}


def test_work_that_was_saved_and_gone_on_with_is_not_lost(small_run):
    assert SAVED == EXIT_REQUEUE
    write_job(small_run, 0, 0, seconds=30, code=SAVED)
    write_job(small_run, 0, 1, seconds=10, code=0)
    ended(small_run, 0, 0, seconds=4.0, code=SAVED)
    assert read_times(small_run).spent == {(1, "rollout"): Spent(40, 0), (1, "label"): Spent(4, 0)}


def test_the_local_engines_attempts_are_in_the_journal(small_run):
    ended(small_run, 0, 0, seconds=2.5, code=-9)
    ended(small_run, 0, 1, seconds=4.0, code=0)
    assert read_times(small_run).spent == {(1, "label"): Spent(4.0, 2.5)}


def test_an_attempt_whose_end_nobody_wrote_down_is_counted_and_not_timed(small_run):
    write_job(small_run, 0, 0)
    small_run.shard(1, Stage.LABEL, 3).attempt(0).mkdir(parents=True)
    write_job(small_run, 1, 0, seconds=3, code=0)
    times = read_times(small_run)
    assert (times.spent, times.num_open) == ({(1, "rollout"): Spent(3, 0)}, 2)


def test_a_torn_record_stops_no_report(small_run):
    write_job(small_run, 0, 0, seconds=3, code=0)
    (small_run.shard(1, Stage.ROLLOUT, 0).attempt(0) / "job.json").write_text('{"name": "rollout", "beg')
    assert read_times(small_run).spent == {}


def test_an_attempt_that_finished_its_shard_is_not_told_as_at_work_or_killed(small_run):
    """A test set may be another run's, whose journal is not here; what was killed before it counts on."""
    place = small_run.shard(0, Stage.TESTSET)
    for attempt in (0, 1):
        place.attempt(attempt).mkdir(parents=True)
    place.write_marker(content="x", names=[], summary={"attempt": 1})
    assert read_times(small_run).num_open == 1
    place.write_marker(content="x", names=[], summary={})
    assert read_times(small_run).num_open == 2
