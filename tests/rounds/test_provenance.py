"""Which commit code is of, and what a run from a bundle says it was made by."""

import json
import subprocess

import pytest

from selu_hpc.rounds import provenance
from selu_hpc.rounds.copying import code_digest
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.provenance import code_state, open_run
from selu_hpc.rounds.rundir import Stage

UNKNOWN = {"commit": None, "dirty": None}
COMMITTED = {"commit": "a" * 40, "dirty": False}


@pytest.fixture
def repository(unkind_path):
    """Somebody's thesis."""
    for words in (["init"], ["commit", "--allow-empty", "-m", "a"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(unkind_path), *who, *words], check=True, capture_output=True)
    return unkind_path


@pytest.fixture
def source(unkind_path):
    """`selu_hpc/a.py` in a folder `code`."""
    folder = unkind_path / "code"
    (folder / "selu_hpc").mkdir(parents=True)
    (folder / "selu_hpc" / "a.py").write_text("a")
    return folder


def test_code_in_a_folder_of_another_repository_is_of_none_of_its_commits(repository, source):
    assert code_state(source) == UNKNOWN
    assert code_state(repository)["commit"]


def test_a_link_to_a_checkout_is_the_checkout(repository, tmp_path):
    (tmp_path / "link").symlink_to(repository)
    assert code_state(tmp_path / "link") == code_state(repository) != UNKNOWN


@pytest.mark.parametrize("by", ["the bundle", "the journal"])
@pytest.mark.parametrize("is_changed", [True, False])
def test_code_in_a_runs_folder_is_of_the_commit_it_was_recorded_with_while_it_is_the_same(
    repository, source, by, is_changed
):
    told = {"digest": code_digest(str(source)), **COMMITTED}
    if by == "the bundle":
        (source.parent / "origin.json").write_text(json.dumps({"code": told, "contents": {}}))
    else:
        Journal(source.parent / "journal.jsonl").append("code", **told)
    if is_changed:
        (source / "selu_hpc" / "a.py").write_text("b")
    assert code_state(source) == (UNKNOWN if is_changed else COMMITTED)


@pytest.mark.parametrize("told", ["{", "[]", "{}", '{"contents": {}}'])
def test_the_code_of_a_bundle_that_says_nothing_of_it_is_of_an_unknown_commit(source, told):
    (source.parent / "origin.json").write_text(told)
    assert code_state(source) == UNKNOWN


def test_a_run_without_provenance_gets_its_own_when_it_begins_and_none_later(small_run, small_config, monkeypatch):
    monkeypatch.setattr(provenance, "code_state", lambda _: COMMITTED)
    small_run.provenance_file.unlink()
    open_run(small_run.path, small_config)
    kept = json.loads(small_run.provenance_file.read_text())
    assert (kept["signature"], kept["code"]) == (small_config.signature, COMMITTED)
    small_run.provenance_file.unlink()
    small_run.shard(0, Stage.TESTSET).attempt(0).mkdir(parents=True)
    open_run(small_run.path, small_config)
    assert not small_run.provenance_file.exists()
