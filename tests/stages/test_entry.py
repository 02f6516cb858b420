"""How a stage begins: what it is called, and which warning of other people's is nobody's to mend."""

import importlib
import warnings
from types import SimpleNamespace

import pytest
from transformers import PreTrainedModel

from selu_hpc.models.pocket import build
from selu_hpc.rounds.rundir import Stage
from selu_hpc.stages import entry


@pytest.mark.parametrize(
    ("stages", "command"),
    [
        ([Stage.ROLLOUT], "python -m selu_hpc.stages.rollout"),
        ([Stage.FINETUNE_ACTOR, Stage.FINETUNE_CRITIC], "python -m selu_hpc.stages.finetune"),
    ],
)
def test_a_stages_help_is_of_the_command_that_starts_it(capsys, stages, command):
    with pytest.raises(SystemExit):
        entry._main(stages, ["--help"])
    assert capsys.readouterr().out.startswith(f"usage: {command} [-h] --run RUN")


def test_the_weights_makers_help_is_of_its_command(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["__main__.py", "--help"])
    with pytest.raises(SystemExit):
        build.main()
    assert capsys.readouterr().out.startswith("usage: python -m selu_hpc.models.pocket [-h] --out OUT")


def test_what_peft_asks_transformers_by_an_old_name_is_no_users_trouble(small_run, monkeypatch):
    def run(**_):
        PreTrainedModel.is_gradient_checkpointing.fget(SimpleNamespace(is_activation_checkpointing=False))
        warnings.warn("another", FutureWarning, stacklevel=1)

    monkeypatch.setattr(importlib, "import_module", lambda _: SimpleNamespace(run=run))
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        assert entry.run_stage(Stage.GATE, run=str(small_run.path), round_id=1) == 0
    assert [str(one.message) for one in told] == ["another"]
