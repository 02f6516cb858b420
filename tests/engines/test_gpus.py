"""GPUs without a scheduler: which shard has which, and what a process does with those it was given."""

import os
import time
from contextlib import nullcontext

import pytest
import torch
from test_local import ScriptedShards

from selu_hpc.engines.base import Job
from selu_hpc.engines.gpus import Gpus, find_gpus
from selu_hpc.engines.local import LocalEngine
from selu_hpc.engines.shards import Running, Zygote
from selu_hpc.errors import ModelError, TrainingError
from selu_hpc.models.device import has_gpu, require_gpu
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.plan import Key, make_plan
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage
from selu_hpc.train import ranks
from selu_hpc.train.ranks import Place, meet

ASKING = ["rounds=1", "rollout.num_shards=3", "resources.rollout.gpus=1", "resources.finetune.gpus=2"]


def open_job(folder, *settings):
    config = load_recipe("selu", [*ASKING, *settings])
    run, _ = open_run(folder, config)
    return Job(run, config, make_plan(config))


class Watched(ScriptedShards):
    """Knows which GPUs are lent at each moment, and says when one is lent twice."""

    def __init__(self):
        super().__init__()
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


def test_who_waits_for_several_gpus_is_not_overtaken_by_those_who_want_one():
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


def test_gpus_that_torch_cannot_use_are_said_only_where_some_were_given(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    require_gpu("label")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ModelError, match=r"label was given GPUs .*resources\.label\.gpus=0"):
        require_gpu("label")
