"""Runs on the real Slurm: chained, resumed, limited, shared; payload stages. test_paper_on_slurm has the real ones."""

import json
import shutil

import pytest
import yaml
from harness import SMALL, Lab, contents, copy_with_payload, journal, patience, started

from selu_hpc.engines.slurm.attempts import read_attempt

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1800)]


def of(run, stage):
    return {place: content for place, content in contents(run).items() if f"/{stage}/" in place}


def events(run, kind):
    return [event for event in journal(run) if event["event"] == kind]


def site_file(lab, name, **changes):
    made = lab.home / f"{name}.yaml"
    made.unlink(missing_ok=True)
    lab.python("-m", "selu_hpc.doctor", "--write-site", str(made))
    site = yaml.safe_load(made.read_text()) | changes
    made.write_text(yaml.safe_dump(site))
    return made


@pytest.mark.slurm_ci
def test_three_rounds_equal_the_local_engines_bytes_with_nobody_logged_in(lab, run):
    submitted = lab.submit(run, rounds=3)
    assert "r03-finetune_critic" in submitted.stdout
    found = lab.wait_done(run)
    local = run.with_name(f"{run.name}-local")
    overrides = [word for setting in SMALL for word in ("--set", setting)]
    lab.python("-m", "selu_hpc.submit", "--run", str(local), "--rounds", "3", "--engine", "local", *overrides)
    assert found == contents(local)
    assert len(found) == 2 + 3 * 10
    assert events(run, "finished")
    assert all(len(attempts) == 1 for attempts in started(run).values())


SENT_BY_SUBMITIT = """
import sys
import submitit
from selu_hpc.stages.entry import Stage, run_stage

executor = submitit.AutoExecutor(folder=sys.argv[2], cluster="slurm")
executor.update_parameters(timeout_min=10, mem_gb=1, slurm_partition="cpu")
with executor.batch():
    jobs = [executor.submit(run_stage, Stage.ROLLOUT, run=sys.argv[1], round_id=1, shard=shard) for shard in range(3)]
print([job.result() for job in jobs])
"""


def test_stages_that_submitit_sent_are_found_done_by_a_submit(lab, run):
    lab.submit(run, "--prepare")
    said = lab.python("-c", SENT_BY_SUBMITIT, str(run), str(run.with_name(f"{run.name}-submitit")))
    assert said.stdout == "[0, 0, 0]\n"
    lab.resubmit(run)
    lab.wait_done(run)
    sent = {event["key"] for event in events(run, "intent")}
    assert sent
    assert not any("rollout" in key for key in sent)
    assert len(of(run, "rollout")) == 3


@pytest.mark.slurm_ci
def test_submitting_again_while_it_runs_submits_nothing(lab, run):
    lab.submit(run)
    before = len(events(run, "intent"))
    lab.resubmit(run)
    assert len(events(run, "intent")) == before
    lab.wait_done(run)
    assert "nothing is left to do" in lab.resubmit(run).stdout


def test_wait_follows_to_the_end_and_names_the_report(lab, run):
    done = lab.submit(run, "--wait")
    assert f"report: {run}/report" in done.stdout
    assert "round 1 finetune actor" in done.stderr


def test_more_rounds_later_continue_the_run(lab, run):
    lab.submit(run)
    first = lab.wait_done(run)
    lab.resubmit(run, "--rounds", "2")
    both = lab.wait_done(run)
    assert first.items() < both.items()
    assert of(run, "finetune_actor").keys() == {"01/finetune_actor/shard-0000", "02/finetune_actor/shard-0000"}


def test_a_path_full_of_blanks_quotes_and_commands_works(lab, run):
    unkind = run.with_name(f'{run.name} le lab\'s "räume" $(touch pwned) `id` %j \\n \n\\')
    lab.submit(unkind)
    assert len(lab.wait_done(unkind)) == 12
    assert not list(lab.home.rglob("pwned"))


@pytest.mark.slurm_ci
def test_rolling_gates_submit_the_next_round(lab, run):
    with lab.held(run, "r01-rollout-s0000"):
        lab.submit(run, rounds=3, settings=(*SMALL, "chain=rolling"))
        rounds = {event["label"][:3] for event in events(run, "intent")}
    assert rounds == {"r00", "r01", "clo"}
    assert len(lab.wait_done(run)) == 2 + 3 * 10


def test_a_submit_limit_that_accounting_tells_makes_gates_submit_what_did_not_fit(lab, run):
    limit = ["sacctmgr", "-i", "modify", "user", lab.user, "set"]
    lab.cluster.output([*limit, "MaxSubmitJobs=16"])
    try:
        done = lab.submit(run, rounds=2)
        assert "at most 16 jobs may wait: submitting up to round 1" in done.stderr
        assert len(lab.wait_done(run)) == 2 + 2 * 10
    finally:
        lab.cluster.output([*limit, "MaxSubmitJobs=-1"])


def test_a_profile_overrules_the_limits_that_slurm_tells(lab, run):
    site = site_file(lab, run.name, max_submit_jobs=16)
    with lab.held(run, "r01-rollout-s0000"):
        done = lab.submit(run, "--site", str(site), rounds=2)
        assert "at most 16 jobs may wait: submitting up to round 1" in done.stderr
        lab.python("-m", "selu_hpc.cancel", "--run", str(run))


def test_a_profile_full_of_blanks_quotes_and_commands_is_taken_word_for_word(lab, run):
    odd = 'le lab\'s "x" $(touch pwned) `touch pwned`; touch pwned #'
    scratch = lab.home / f"{run.name} {odd.replace('$', '')}"
    lab.call("mkdir", str(scratch))
    flags = {"wckey": odd, "mail-user": odd}
    site = site_file(lab, run.name, account=odd, modules=[odd], scratch=str(scratch), sbatch_flags=flags)
    lab.submit(run, "--site", str(site))
    assert len(lab.wait_done(run)) == 12
    seen = json.loads((run / "rounds/01/rollout/shard-0000/attempt-0/seen.json").read_text())
    assert seen["TMPDIR"].startswith(str(scratch))
    nowhere = site_file(lab, run.name, partitions={"cpu": {"name": odd}})
    refused = lab.submit(run.with_name(f"{run.name}-refused"), "--site", str(nowhere), check=False)
    assert refused.returncode == 1
    assert "sbatch refused" in refused.stderr
    assert not list(lab.home.rglob("pwned"))


def test_arrays_are_cut_at_max_array_size_with_labels_beside_their_rollouts(lab, run):
    site = site_file(lab, run.name, max_array_size=3, array_throttle=1)
    lab.submit(run, "--site", str(site), settings=(*SMALL, "rollout.num_shards=5"))
    assert len(of_after(lab, run, "label")) == 5
    assert [e["offset"] for e in events(run, "intent") if e["label"] == "r01-rollout"] == [0, 2, 4]


def of_after(lab, run, stage):
    lab.wait_done(run)
    return of(run, stage)


@pytest.mark.slurm_ci
def test_cancel_leaves_a_run_that_another_shell_continues(lab, run):
    lines = run / "rounds/01/rollout/shard-0001/lines.jsonl"
    with lab.held(run, "r01-rollout-s0001"):
        lab.submit(run)
        for _ in patience(300, "the shard's first line", context=lambda: lab.describe(run)):
            if lines.is_file() and lines.stat().st_size:
                break
        said = lab.python("-m", "selu_hpc.cancel", "--run", str(run)).stdout
        assert "cancelled" in said
        assert lab.queue(run) == []
        record = read_attempt(lines.parent / "attempt-0" / "job.json")
        assert (record.code, record.state, record.failed_fast) == (75, "", False), "no word against the node"
        lines_before = lines.read_text()
    lab.resubmit(run)
    assert len(lab.wait_done(run)) == 12
    after = lines.read_text()
    assert after.startswith(lines_before)
    assert after != lines_before


def test_below_the_quorum_the_chain_stops_with_the_reason_and_nothing_pends(lab, run):
    lab.fault(run, "fail-r01-rollout-s0001", "99")
    lab.submit(run, rounds=2, settings=(*SMALL, "retry.max_retries=1"))
    lab.wait_done(run)
    assert "01/gate/shard-0000" not in contents(run)
    reasons = [event["why"] for event in events(run, "gave_up")]
    assert "failed 2 times" in reasons
    assert any("quorum is not met" in why for why in reasons)
    assert len(started(run)["01/rollout/shard-0001"]) == 2
    assert len(started(run)["01/rollout/shard-0000"]) == 1
    told = lab.resubmit(run, "--wait", check=False)
    assert told.returncode == 1
    assert "failed 2 times" in told.stderr


@pytest.mark.slurm_ci
def test_with_the_quorum_met_the_round_goes_on_and_the_seal_says_with_what(lab, run):
    lab.fault(run, "fail-r01-rollout-s0001", "99")
    lab.submit(run, settings=(*SMALL, "retry.max_retries=1", "retry.quorum=0.6"))
    lab.wait_done(run)
    seal = json.loads((run / "rounds/01/gate/shard-0000/seal.json").read_text())
    assert list(seal["shards"]) == ["0000", "0002"]
    assert "01/evaluate/shard-0000" in contents(run)


def test_where_jobs_may_not_submit_the_login_node_resends_what_failed(lab, run):
    lab.fault(run, "fail-r01-rollout-s0001", "1")
    site = site_file(lab, run.name, resubmit_inside_jobs=False)
    lab.submit(run, "--site", str(site), settings=(*SMALL, "retry.max_retries=2"))
    lab.wait_done(run)
    sent_once = len(events(run, "intent"))
    assert "01/gate/shard-0000" not in contents(run)
    assert {event["generation"] for event in events(run, "intent")} == {0}, "no job called sbatch"
    assert "nothing on its way; go on" in lab.python("-m", "selu_hpc.status", "--run", str(run)).stdout
    lab.resubmit(run)
    assert len(lab.wait_done(run)) == 12
    assert len(events(run, "intent")) > sent_once


def test_where_slurm_may_not_cancel_the_hopeless_a_failed_rollout_is_still_retried(lab, run):
    lab.fault(run, "fail-r01-rollout-s0001", "1")
    site = site_file(lab, run.name, kill_on_invalid_dep=False)
    lab.submit(run, "--site", str(site))
    assert len(lab.wait_done(run)) == 12
    assert events(run, "finished")
    assert not [text for script in (run / "jobs").glob("*.sh") if "kill-on-invalid" in (text := script.read_text())]


def test_what_no_node_can_serve_is_named_and_replaced_when_less_is_asked_for(lab, run):
    site = site_file(lab, run.name)
    too_much = (*SMALL, "resources.testset.mem_gb=100000")
    refused = lab.submit(run, "--site", str(site), settings=too_much, check=False)
    assert "r00-testset asks for 100000 GB on a node, the largest of partition cpu has" in refused.stderr
    doctor = lab.python("-m", "selu_hpc.doctor", "--folder", str(run.parent), "--no-jobs", "--site", str(site),
                        "--set", "resources.testset.mem_gb=100000", check=False)  # fmt: skip
    assert "testset asks for 100000 GB" in doctor.stdout
    partitions = {"cpu": {"name": "cpu"}}
    site = site_file(lab, run.name, partitions=partitions)  # a profile that does not say how much nodes have
    lab.submit(run, "--site", str(site), settings=too_much)
    for _ in patience(300, "Slurm's verdict", context=lambda: lab.describe(run)):
        if "BadConstraints" in [reason for _, reason in lab.queue(run, format_="%j|%r")]:
            break
    said = lab.python("-m", "selu_hpc.status", "--run", str(run)).stdout
    assert "1 tasks ask for more than a node has or one job may have" in said
    lab.resubmit(run, "--set", "resources.testset.mem_gb=1")
    assert len(lab.wait_done(run)) == 12


def test_what_slurm_cancels_before_it_can_be_re_pointed_is_sent_again_by_the_same_submit(lab, run):
    tools = lab.home / f"tools-{run.name}"
    tools.mkdir()
    real = shutil.which("scontrol")
    (tools / "scontrol").write_text(
        f'#!/bin/bash\n[[ $* == *dependency=* ]] && {{ sleep 8; echo >> {tools}/waited; }}\nexec {real} "$@"\n'
    )
    (tools / "scontrol").chmod(0o755)
    shutil.chown(tools, lab.user, lab.user)
    site = site_file(lab, run.name, partitions={"cpu": {"name": "cpu"}})
    lab.submit(run, "--site", str(site), settings=(*SMALL, "resources.testset.mem_gb=100000"))
    for _ in patience(300, "Slurm's verdict", context=lambda: lab.describe(run)):
        if "BadConstraints" in [reason for _, reason in lab.queue(run, format_="%j|%r")]:
            break
    slow = Lab(lab.cluster, lab.home, lab.code, lab.user, extra_path=tools)
    said = slow.resubmit(run, "--set", "resources.testset.mem_gb=1").stderr
    assert (tools / "waited").exists()
    assert "ended before it could be told to wait for" in said
    assert len(lab.wait_done(run)) == 12


@pytest.mark.slurm_ci
def test_status_follows_a_run_from_its_queue_to_its_end(lab, run):
    with lab.held(run, "r01-rollout-s0001"):
        lab.submit(run)
        lab.element(run, "r01-rollout", 1)
        told = json.loads(lab.python("-m", "selu_hpc.status", "--run", str(run), "--json").stdout)
    stages = {(one["round"], one["stage"]): one for one in told["stages"]}
    assert told["verdict"] == "running"
    assert stages[1, "rollout"]["running"] >= 1
    assert stages[1, "finetune_actor"]["pending"] == 1
    lab.wait_done(run)
    assert "finished: " in lab.python("-m", "selu_hpc.status", "--run", str(run)).stdout


@pytest.mark.slurm_ci
def test_eight_ranks_on_eight_gpus_as_slurm_hands_them_out(lab, run):
    gpu = ("finetune.num_ranks=8", "resources.finetune.gpus=8", "resources.finetune.partition=gpu")
    lab.submit(run, settings=(*SMALL, *gpu))
    lab.wait_done(run)
    seen = json.loads((run / "rounds/01/finetune_actor/shard-0000/attempt-0/seen.json").read_text())
    assert seen["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5,6,7"
    assert seen["SLURM_STEP_NUM_TASKS"] == "8"
    assert not shutil.os.path.exists(seen["TMPDIR"]), "a task's own /tmp is gone after it"


def test_a_changed_checkout_is_refused_unless_asked_for(lab, run):
    lab.submit(run)
    lab.wait_done(run)
    other = copy_with_payload(lab.home / f"code-{run.name}")
    with (other / "selu_hpc" / "stages" / "rollout.py").open("a") as file:
        file.write("# changed\n")
    changed = Lab(lab.cluster, lab.home, other)
    refused = changed.resubmit(run, "--rounds", "2", check=False)
    assert refused.returncode == 1
    assert "this checkout is" in refused.stderr
    own = Lab(lab.cluster, lab.home, run / "code")
    own.resubmit(run, "--rounds", "2")
    lab.wait_done(run)
    changed.resubmit(run, "--rounds", "3", "--accept-code")
    assert len(lab.wait_done(run)) == 2 + 3 * 10
    assert len(events(run, "code")) == 2


def test_a_folder_everyone_may_write_runs_nothing(lab, run):
    lab.submit(run)
    lab.wait_done(run)
    (run / "jobs").chmod(0o777)
    refused = lab.resubmit(run, "--rounds", "2", check=False)
    assert "everyone may write in it" in refused.stderr
    (run / "jobs").chmod(0o755)
    (run / "code").chmod(0o777)
    assert "everyone may write in it" in lab.resubmit(run, "--rounds", "2", check=False).stderr


def test_a_group_shares_a_run(lab, run):
    """Two users of one Unix group: what one began the other goes on with (setgid folder, umask 002)."""
    shared = run.with_name(f"{run.name}-group")
    lab.call("bash", "-c", 'mkdir "$1" && chgrp selulab "$1" && chmod g+ws "$1"', "-", str(shared))
    inside = shared / "run"
    submit = 'umask 002; exec "$@"'
    words = lab.command("bash", "-c", submit, "-")
    first = Lab(lab.cluster, lab.home, lab.code)
    first.command = lambda *more: [*words, *more]
    first.submit(inside)
    lab.wait_done(inside)
    second = Lab(lab.cluster, lab.home, lab.code, user="selu2")
    second_words = second.command("bash", "-c", submit, "-")
    second.command = lambda *more: [*second_words, *more]
    second.resubmit(inside, "--rounds", "2")
    for _ in patience(600, "the second user's round", context=lambda: lab.describe(inside)):
        if not second.queue(inside):
            break
    assert len(contents(inside)) == 2 + 2 * 10
    owners = {path.owner() for path in (inside / "rounds").glob("*/*/*/done.json")}
    assert owners == {"selu", "selu2"}


@pytest.mark.slurm_ci
def test_doctor_says_that_a_submission_would_work_and_what_would_not(lab, run):
    good = lab.python("-m", "selu_hpc.doctor", "--folder", str(run), "--json")
    findings = json.loads(good.stdout)
    assert {one["grade"] for one in findings} <= {"ok", "warning"}
    assert any(one["check"] == "node of cpu" and "sees the run folder" in one["answer"] for one in findings)
    site = site_file(lab, run.name, partitions={"cpu": {"name": "nosuch"}})
    bad = lab.python("-m", "selu_hpc.doctor", "--folder", str(run), "--site", str(site), "--no-jobs", check=False)
    assert bad.returncode == 1
    assert "nosuch" in bad.stdout
    assert "a submission would fail" in bad.stdout


def test_doctor_writes_a_site_profile_that_names_this_cluster(lab, run):
    site = yaml.safe_load(site_file(lab, run.name).read_text())
    assert site["name"] == "selu"
    assert site["partitions"]["cpu"]["name"] == "cpu"
    assert site["partitions"]["gpu"] | {"name": "gpu", "gpus_per_node": 8} == site["partitions"]["gpu"]
    assert site["partitions"]["preempt"]["name"] == "preempt"
    assert site["partitions"]["cpu"]["max_timeout_min"] == 1440
