"""GPUs without a scheduler: which shard has which, and what a process does with those it was given."""

import os
import time
from contextlib import nullcontext

import pytest
import torch
from test_local import ScriptedShards

from selu_hpc.engines.base import Job
from selu_hpc.engines.local.engine import LocalEngine
from selu_hpc.engines.local.gpus import Gpus, find_gpus
from selu_hpc.engines.local.shards import Running, Zygote
from selu_hpc.errors import ModelError, TrainingError
from selu_hpc.models.device import has_gpu, require_gpu
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import entry
from selu_hpc.train import ranks
from selu_hpc.train.ranks import Place, meet

ASKING = ["rounds=1", "rollout.num_shards=3", "resources.rollout.gpus=1", "resources.finetune.gpus=2"]


def open_job(folder, *settings):
    config = load_recipe("selu", [*ASKING, *settings])
    run, _ = open_run(folder, config)
    return Job(run, config, make_plan(config))


class Watched(ScriptedShards):
    """Knows which GPUs are lent at each moment, and says when one is lent twice."""

    def __init__(self, on_start=lambda shard: None):
        super().__init__(on_start=on_start)
        self.lent = {}

    def start(self, shard):
        taken = [gpu for other in self.alive.values() for gpu in other.gpus]
        assert not set(taken) & set(shard.gpus), f"{shard.place.name} was given one that another has"
        super().start(shard)
        self.lent.setdefault(str(shard.place.stage), []).append(shard.gpus)


def test_each_gpu_is_one_shards_at_a_time_and_training_has_as_many_as_it_asks_for(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    shards = Watched()
    LocalEngine(workers=4, fork_server=shards).run(open_job(tmp_path / "run"))
    assert set(shards.lent["rollout"]) == {("4",), ("6",)}
    assert (shards.lent["finetune_actor"], shards.lent["finetune_critic"]) == ([("4", "6")], [("4", "6")])
    assert set(shards.lent["label"]) == set(shards.lent["gate"]) == {()}


def test_what_asks_for_more_gpus_than_there_are_gets_all_and_it_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    shards = Watched()
    LocalEngine(workers=4, fork_server=shards).run(open_job(tmp_path / "run", "resources.finetune.gpus=8"))
    assert shards.lent["finetune_actor"] == [("0",)]
    assert "asks for 8 GPUs (resources.*.gpus), this machine has 1: stages take what is there" in caplog.text


def test_a_machine_without_gpus_runs_everything_on_the_cpu_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shards = Watched()
    LocalEngine(workers=4, fork_server=shards).run(open_job(tmp_path / "run"))
    assert set(shards.lent["finetune_actor"]) == {()}
    assert "this machine has 0: stages take what is there, which is the CPU" in caplog.text


def test_a_fine_tuning_that_waits_for_both_gpus_is_not_overtaken_by_evaluations_that_want_one(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    asking = (
        "resources.rollout.gpus=0",
        "resources.evaluate.gpus=1",
        "evaluate.num_shards=30",
        "evaluate.actor_episodes=30",
    )
    job, since = open_job(tmp_path / "run", *asking), []
    gate = job.run.shard(1, Stage.GATE)
    shards = Watched(lambda shard: gate.marker_file.exists() and since.append(shard.place.name))
    LocalEngine(workers=3, fork_server=shards).run(job)
    assert since[0] == "r01-finetune_actor-s0000", "who was there first"
    assert since.count("r01-finetune_critic-s0000") == 1
    assert any("r00-evaluate" in name for name in since), "evaluations were due all the time"


def test_gpus_are_lent_until_none_is_left_and_more_than_there_are_means_all():
    gpus = Gpus(("0", "1", "2"))
    first = gpus.take(1)
    assert gpus.take(3) is None
    assert gpus.take(2) == ("1", "2")
    gpus.give_back(("1", "2"))
    gpus.give_back(first)
    assert gpus.take(9) == ("0", "1", "2")


def test_the_driver_is_asked_where_no_variable_says_which_gpus_there_are(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 0; echo 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_gpus({}) == ("0", "1")
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "GPU-1f, 3"}) == ("GPU-1f", "3")
    for none in ("", "-1", "NoDevFiles", "-1,0"):
        assert find_gpus({"CUDA_VISIBLE_DEVICES": none}) == (), "as CUDA reads it"
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "2,-1,3"}) == ("2",)
    tool.write_text("#!/bin/sh\necho no devices were found; exit 6\n")
    assert find_gpus({}) == ()


def test_a_shard_with_gpus_is_a_process_of_its_own_and_refuses_a_torch_that_cannot_use_them(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("torch can use this machine's GPUs")
    job = open_job(tmp_path / "run")
    place = job.run.shard(1, Stage.ROLLOUT, 0)
    shard = Running(Key(1, Stage.ROLLOUT), place, 0, ("0",))
    deadline = time.monotonic() + 200
    with Zygote() as zygote:
        zygote.start(shard)
        ended = []
        while not ended and time.monotonic() < deadline:
            ended = [one for one in zygote.messages(timeout_s=1) if "ended" in one]
    assert ended == [{"ended": shard.name, "code": 1}]
    log = place.log(0).read_text()
    assert "rollout was given GPUs (CUDA_VISIBLE_DEVICES=0), and torch" in log
    assert "`--variant cuda`" in log
    assert log.count("was given GPUs") == 1, "each line is there once"


def test_a_stage_that_asked_for_no_gpu_leaves_them_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ranks, "_group", lambda *_, **__: nullcontext())
    assert has_gpu()
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert not has_gpu()
    with meet(Place(0, 1, 0, "alone"), meeting_file=tmp_path / "m") as team:
        assert str(team.device) == "cpu", "where DeepSpeed is"


def test_more_ranks_than_gpus_are_refused_before_nccl_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with (
        pytest.raises(TrainingError, match=r"8 ranks \(finetune.num_ranks\) on 4 GPUs.*set finetune.num_ranks=4"),
        meet(Place(0, 8, 0, "spawned"), meeting_file=tmp_path / "m"),
    ):
        pass
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & os.environ.keys(), "nothing of a meeting that was not held"


def test_gpus_that_torch_cannot_use_are_said_only_where_some_were_given(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    require_gpu("label")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ModelError, match=r"label was given GPUs .*resources\.label\.gpus=0"):
        require_gpu("label")
    with pytest.raises(ModelError, match=r"too old for it \(`nvidia-smi`\)$"):
        require_gpu("rollout", draws=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    require_gpu("label")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ModelError, match="`unset DS_ACCELERATOR`"):
        require_gpu("label")


@pytest.mark.parametrize(
    ("stage", "settings", "refused"),
    [
        (Stage.ROLLOUT, (), True),
        (Stage.ROLLOUT, ("env.backend=cloud_rendering", "env.unity_releases=/r", "env.unity_commit=c"), False),
        (Stage.FINETUNE_ACTOR, ("env.backend=cloud_rendering", "env.unity_releases=/r", "env.unity_commit=c"), True),
        (Stage.ROLLOUT, ("model.server_url=http://node:8000/v1",), False),
        (Stage.TESTSET, ("resources.testset.gpus=1",), False),
    ],
)
def test_gpus_to_draw_with_alone_are_nothing_that_torch_must_use(tmp_path, monkeypatch, stage, settings, refused):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    run = open_job(tmp_path / "run", *settings).run
    with pytest.raises(ModelError, match="was given GPUs") if refused else nullcontext():
        entry._require_device(stage, run)


def test_a_process_of_its_own_has_as_few_threads_as_a_fork(tmp_path, monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    place = open_job(tmp_path / "run").run.shard(1, Stage.ROLLOUT, 0)
    seen = Running(Key(1, Stage.ROLLOUT), place, 0, ("3",)).environment
    assert {seen[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}
    assert (seen["CUDA_VISIBLE_DEVICES"], "DS_ACCELERATOR" in seen) == ("3", False)
