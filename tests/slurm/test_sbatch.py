"""From stages to batch scripts: pure, so it is tested everywhere."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.engines.slurm.launch import commands, environment, script
from selu_hpc.engines.slurm.sbatch import (
    JobSpec,
    Wait,
    array_text,
    check_site,
    chunks,
    escalate,
    held,
    parameters,
    partition_of,
    read_array_text,
    sbatch_text,
)
from selu_hpc.errors import ConfigError
from selu_hpc.resources import Resources
from selu_hpc.rounds.plan import After, Key, make_plan
from selu_hpc.rounds.rundir import Stage
from selu_hpc.site import Site

LAB = {
    "name": "lab",
    "account": "ab12",
    "python": "/opt/env/bin/python",
    "modules": ["apptainer/1.4 beta"],
    "partitions": {
        "cpu": {"name": "standard", "qos": "long"},
        "gpu": {"name": "a100", "gpus_per_node": 8, "gres": "gpu:a100", "max_timeout_min": 300},
    },
    "array_throttle": 20,
    "sbatch_flags": {"mail-type": "FAIL", "reservation": "my lab's", "exclusive": True},
}


@pytest.fixture
def site():
    return check_site(Site.of(LAB))


def spec(**changes):
    given = {
        "name": "selu-1a2b3c4d-r01-rollout-g0c0",
        "label": "r01-rollout",
        "key": Key(1, Stage.ROLLOUT),
        "shards": (1000, 1002, 1003),
        "offset": 1000,
        "is_array": True,
        "resources": Resources(cpus=4, mem_gb=16, timeout_min=90),
        "command": (),
        "waits": (Wait(After.OK, ("selu-1a2b3c4d-r00-finetune_actor-g0c0",)),),
        "excluded": ("c7", "c9"),
    }
    return JobSpec(**(given | changes))


def test_the_whole_batch_script_of_an_array(small_run, small_config, site):
    text = script(spec(), small_run, small_config, site, umask=0o027)
    quoted = str(small_run.path).replace("'", "'\"'\"'")
    assert (
        text
        == f"""#!/bin/bash
#SBATCH --account=ab12
#SBATCH --array=0,2-3%20
#SBATCH --cpus-per-task=4
#SBATCH --exclude=c7,c9
#SBATCH --exclusive
#SBATCH --job-name=selu-1a2b3c4d-r01-rollout-g0c0
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=FAIL
#SBATCH --mem=16GB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/dev/null
#SBATCH --partition=standard
#SBATCH --qos=long
#SBATCH --requeue
#SBATCH --reservation='my lab'"'"'s'
#SBATCH --signal=B:USR2@90
#SBATCH --time=90

# setup
module load 'apptainer/1.4 beta'
export PYTHONPATH='{quoted}/code'${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONNOUSERSITE=1
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export TOKENIZERS_PARALLELISM=false
export SELU_UMASK=0027
export SELU_OFFSET=1000
export SELU_RANKS=1
export SELU_PYTHON=/opt/env/bin/python
export DS_ACCELERATOR=cpu

# command
exec bash '{quoted}/code/slurm/stage.sh' '{quoted}' 1 rollout
"""
    )


@pytest.mark.parametrize("key", [Key(1, Stage.GATE), None])
def test_who_has_nothing_to_save_is_not_warned_before_its_time_is_up(key, small_run, small_config, site):
    """The signal would end it as a failure like any other, and its next try would get no more time."""
    text = script(spec(key=key, is_array=False, command=("true",)), small_run, small_config, site, umask=0)
    assert "--signal" not in text


def test_sbatch_is_asked_what_submitit_would_ask(small_run, small_config, site):
    from submitit.slurm.slurm import _make_sbatch_string

    def options(text):
        return {line for line in text.splitlines() if line.startswith("#SBATCH")}

    names = {name.replace("-", "_"): value for name, value in parameters(spec(), site).items()}
    more = {"array": "0,2-3%20", "kill-on-invalid-dep": "yes", "requeue": True, "output": "/dev/null"}
    theirs = _make_sbatch_string(
        command="true", folder=".", stderr_to_stdout=True, wckey=None, **names,
        additional_parameters={**more, "signal": "B:USR2@90", **site.sbatch_flags},
    )  # fmt: skip
    assert options(script(spec(), small_run, small_config, site, umask=0)) == options(theirs)


@pytest.mark.parametrize(
    ("modules", "path"), [(["torch"], "/code:/opt/torch"), (["other"], "/code"), ([], "/code")], ids=str
)
def test_packages_that_a_module_brings_stay_behind_the_runs_code(modules, path, small_run, small_config):
    site = Site.of(LAB | {"modules": modules})
    body = script(spec(), small_run, small_config, site, umask=0).partition("# setup")[2].partition("# command")[0]
    module = "module() { [[ $2 != torch ]] || export PYTHONPATH=/opt/torch; }\n"
    done = subprocess.run(
        ["bash"], input=f'{module}{body}printf %s "$PYTHONPATH"', capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout == f"{small_run.path}{path}"


def test_eight_ranks_get_eight_gpus_and_slurm_says_which(small_run, small_config, site):
    ask = Resources(cpus=8, gpus=8, mem_gb=400, timeout_min=240, partition="gpu")
    job = spec(key=Key(1, Stage.FINETUNE_ACTOR), num_ranks=8, resources=ask, is_array=False, shards=(0,), offset=0)
    text = script(job, small_run, small_config, site, umask=0o022)
    assert "#SBATCH --gres=gpu:a100:8\n" in text
    assert "#SBATCH --ntasks-per-node=8\n" in text
    assert "#SBATCH --array" not in text
    assert "CUDA_VISIBLE_DEVICES" not in text
    assert "DS_ACCELERATOR" not in text
    assert environment(job, small_run, small_config, site, umask=0)["SELU_RANKS"] == "8"


def test_a_gate_retries_and_other_stages_run_their_own_entry(small_run, small_config, site):
    plan = make_plan(small_config)
    found = commands(plan, small_run, site)
    gates = [stage.key for stage in plan if stage.key.stage is Stage.GATE]
    assert all(
        found[key][:4] == ("/opt/env/bin/python", "-u", "-m", "selu_hpc.engines.slurm.gate_job") for key in gates
    )
    assert all(found[stage.key] == () for stage in plan if stage.key not in gates)


@pytest.mark.parametrize(
    "text",
    ["a b", "it's", '"$(touch pwned)"', "`touch pwned`", "$HOME; touch pwned #", "é räume", "a\nb"],
)
def test_names_from_a_run_folder_are_never_executed(text, tmp_path, small_config, site):
    """The script's own last line, run by bash with `exec` looked at: every word arrives as it was."""
    from selu_hpc.rounds.rundir import RunDir

    run = RunDir(tmp_path / text)
    script_text = script(spec(), run, small_config, site, umask=0)
    body = script_text.partition("# setup")[2].replace("exec bash ", "printf '%s\\0' ")
    done = subprocess.run(
        ["bash"], input="module() { :; }\n" + body, capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split("\0")[1:4] == [str(run.path), "1", "rollout"]
    assert [p.name for p in tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [("/a b", "/a b/%x.log"), ("/a%j", "/a%%j/%x.log"), ("/a\\n", r"/a\\n/%x.log"), ("/%\\", r"/%\\/%x.log")],
)
def test_logs_lie_where_their_folders_name_says(folder, name):
    assert held(Path(folder)) == ("--hold", f"--chdir={folder}", f"--output={name}")


@pytest.mark.parametrize("option", ["array", "dependency", "job-name", "mem", "requeue", "export", "wrap", "hold"])
def test_a_profile_may_not_set_what_we_own(option):
    with pytest.raises(ConfigError, match=f"sbatch_flags.{option}: is set by"):
        check_site(Site.of(LAB | {"sbatch_flags": {option: "x"}}))


@pytest.mark.parametrize(("option", "owned"), [("depend", "dependency"), ("arr", "array"), ("outpu", "output")])
def test_nor_by_a_beginning_that_sbatch_would_take_for_it(option, owned):
    with pytest.raises(ConfigError, match=f"sbatch_flags.{option}: is {owned}, which is set by"):
        check_site(Site.of(LAB | {"sbatch_flags": {option: "x"}}))


@pytest.mark.parametrize("option", ["gpu-bind", "mem-bind", "time-min", "nodelist", "exclusive", "hint"])
def test_an_option_that_begins_as_ours_is_not_ours(option):
    assert check_site(Site.of(LAB | {"sbatch_flags": {option: "x"}}))


@pytest.mark.parametrize("scratch", ["/scratch/$USER", "~/scratch", "scratch"])
def test_a_scratch_that_a_shell_would_have_to_fill_in_is_refused(scratch):
    with pytest.raises(ConfigError, match=r"scratch: .* is taken word for word, no variable is filled in"):
        check_site(Site.of(LAB | {"scratch": scratch}))


@pytest.mark.parametrize("option", ["--nice", "nice 5", "nice\n#SBATCH --uid", "Nice", "", "$(id)"])
def test_a_profile_may_not_smuggle_in_options(option):
    with pytest.raises(ConfigError, match="write the long name"):
        check_site(Site.of(LAB | {"sbatch_flags": {option: "x"}}))


@pytest.mark.parametrize("where", ["account", "name", "python", "scratch", "apptainer"])
def test_a_newline_in_a_profile_is_refused(where):
    with pytest.raises(ConfigError, match=f"{where}: .* holds a control character"):
        check_site(Site.of(LAB | {where: "x\n#SBATCH --uid=0"}))


@pytest.mark.parametrize("where", ["modules", "mounts", "trusted_keys"])
def test_a_newline_in_a_profiles_list_is_refused(where):
    with pytest.raises(ConfigError, match=rf"{where}\[1\]: .* holds a control character"):
        check_site(Site.of(LAB | {where: ["x", "y\nid"]}))


@pytest.mark.parametrize("where", ["name", "gres", "constraint", "qos"])
def test_a_newline_in_a_partition_is_refused(where):
    partitions = {"cpu": {"name": "standard"} | {where: "x\n#SBATCH --uid=0"}}
    with pytest.raises(ConfigError, match=rf"partitions.cpu.{where}: .* holds a control character"):
        check_site(Site.of(LAB | {"partitions": partitions}))


@given(st.text(min_size=1, max_size=30))
def test_any_other_value_is_quoted_or_refused(value):
    try:
        site = check_site(Site.of(LAB | {"sbatch_flags": {"comment-for-us": value}}))
    except ConfigError:
        assert any(ord(letter) < 32 or ord(letter) == 127 or letter == "\\" for letter in value)
        return
    text = sbatch_text(spec(), site, line="true", environment={})
    (line,) = (line for line in text.split("\n") if "comment-for-us" in line)
    assert shlex.split(line.removeprefix("#SBATCH "), comments=False) == [f"--comment-for-us={value}"]


def test_a_stage_that_does_not_fit_its_partition_is_refused_before_submission(site):
    with pytest.raises(ConfigError, match="asks for 301 minutes, partition a100 allows 300"):
        partition_of(spec(resources=Resources(partition="gpu", timeout_min=301)), site)
    with pytest.raises(ConfigError, match="asks for 9 GPUs on a node, partition a100 has 8"):
        partition_of(spec(resources=Resources(partition="gpu", gpus=9)), site)
    with pytest.raises(ConfigError, match=r"16 ranks .* on 8 GPUs"):
        partition_of(spec(resources=Resources(partition="gpu", gpus=8), num_ranks=16), site)
    with pytest.raises(ConfigError, match="asks for the 'preempt' partition"):
        partition_of(spec(resources=Resources(partition="preempt")), site)
    large = site.partitions | {"gpu": site.partitions["gpu"].but(max_mem_gb=512)}
    with pytest.raises(ConfigError, match=r"600 GB on a node, the largest of partition a100 has 512"):
        partition_of(spec(resources=Resources(partition="gpu", mem_gb=600)), site.but(partitions=large))


def test_memory_and_time_double_with_every_failure_of_their_kind_up_to_the_partitions_limit(site):
    ask = Resources(mem_gb=4, timeout_min=90, partition="gpu")
    assert escalate(ask, num_oom=2, num_timeout=0, partition=site.partitions["gpu"]).mem_gb == 16
    small = site.partitions["gpu"].but(max_mem_gb=12)
    assert [escalate(ask, num_oom=n, num_timeout=0, partition=small).mem_gb for n in range(4)] == [4, 8, 12, 12]
    assert escalate(ask, num_oom=0, num_timeout=1, partition=site.partitions["gpu"]).timeout_min == 180
    assert escalate(ask, num_oom=0, num_timeout=3, partition=site.partitions["gpu"]).timeout_min == 300
    assert escalate(ask, num_oom=0, num_timeout=3, partition=None).timeout_min == 720


@given(st.sets(st.integers(0, 5000)))
def test_array_text_is_read_back(indices):
    assert read_array_text(array_text(indices)) == sorted(indices)


@given(st.sets(st.integers(0, 9999), min_size=1), st.integers(1, 1200))
def test_a_shards_index_depends_on_the_shard_only_and_stays_below_the_limit(shards, size):
    cut = chunks(sorted(shards), size)
    indices = {shard: shard - offset for offset, part in cut.items() for shard in part}
    assert indices == {shard: shard % size for shard in shards}
    assert sum(map(len, cut.values())) == len(shards)


def test_a_short_job_is_warned_shortly_before_its_end(small_run, small_config, site):
    short = spec(resources=Resources(cpus=1, mem_gb=1, timeout_min=3))
    assert "#SBATCH --signal=B:USR2@15\n" in script(short, small_run, small_config, site, umask=0)
