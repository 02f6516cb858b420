"""A run's generation server may move to another node; that there is one is what the run is."""

import json

import pytest

from selu_hpc.config import RunConfig
from selu_hpc.errors import RunFolderError
from selu_hpc.recipes import load_recipe, load_run
from selu_hpc.rounds.provenance import open_run
from selu_hpc.rounds.rundir import Stage


def served(url):
    return load_recipe("selu", [f"model.server_url={url}"])


@pytest.fixture
def begun(tmp_path):
    run, _ = open_run(tmp_path / "run", served("http://gpu01:8000"))
    run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    return run


def test_a_run_goes_on_with_a_server_that_moved(begun):
    _, config = open_run(begun.path, served("http://gpu02:8000"))
    assert load_run(begun.path) == config
    assert config.model.server_url == "http://gpu02:8000"
    assert json.loads(begun.provenance_file.read_bytes())["signature"] == config.signature


def test_a_run_with_a_server_is_another_than_one_without(begun):
    config = served("http://gpu01:8000")
    plain = load_recipe("selu")
    assert config.signature != plain.signature
    with pytest.raises(RunFolderError, match=r"model\.server_url: the run has 'a server', asked for ''"):
        open_run(begun.path, plain)


def test_runs_without_a_server_keep_the_signatures_they_have():
    assert RunConfig().identity["model"]["server_url"] == ""


def test_a_run_from_when_the_address_was_signed_goes_on_with_a_warning(begun, caplog):
    recorded = json.loads(begun.provenance_file.read_bytes())
    older = {"signature": "0123456789ab", "code": {"commit": "a" * 40, "dirty": False}}
    begun.provenance_file.write_text(json.dumps({**recorded, **older}))
    open_run(begun.path, served("http://gpu02:8000"))
    assert "the run began with 0123456789ab: by other code, or it was edited since" in caplog.text
