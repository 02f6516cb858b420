"""Whose code a run's jobs may execute: nobody's who is not asked for, and nothing that everyone may change."""

import json
import os
import shutil

import pytest

from selu_hpc.engines.slurm.calls import Calls
from selu_hpc.engines.slurm.ledger import Ledger
from selu_hpc.engines.slurm.snapshot import held_code, refuse_open_folders
from selu_hpc.errors import RunFolderError
from selu_hpc.rounds.copying import code_digest, copy_call
from selu_hpc.rounds.journal import Journal


@pytest.fixture
def source(tmp_path):
    made = tmp_path / "checkout"
    for part in ("selu_hpc", "configs", "slurm"):
        (made / part).mkdir(parents=True)
        (made / part / "file").write_text(part)
    return made


def test_the_snapshot_is_the_checkout_and_another_checkout_is_refused_unless_asked_for(small_run, source):
    journal = Journal(small_run.journal_file)

    def hold_code(*arguments, **options):
        with held_code(*arguments, calls=Calls(), **options) as is_whole:
            is_whole()

    hold_code(small_run, journal, {}, accept=False, source=source)
    recorded = next(event for event in journal if event["event"] == "code")
    assert code_digest(str(small_run.code)) == code_digest(str(source)) == recorded["digest"]
    (source / "slurm" / "file").write_text("changed")
    with pytest.raises(RunFolderError, match="or take this one by --accept-code"):
        hold_code(small_run, journal, recorded, accept=False, source=source)
    hold_code(small_run, journal, recorded, accept=True, source=source)
    assert code_digest(str(small_run.code)) == code_digest(str(source)) != recorded["digest"]
    assert len(list(small_run.path.glob("code.until-*"))) == 1


@pytest.fixture
def brought(small_run, source):
    """A run whose code a bundle brought; a submit's part that holds the code."""
    shutil.copytree(source, small_run.code)
    told = {"digest": code_digest(str(source)), "commit": "a" * 40, "dirty": False}
    (small_run.path / "origin.json").write_text(json.dumps({"code": told, "contents": {}}))
    journal = Journal(small_run.journal_file)

    def hold(source, *, accept=False):
        recorded = Ledger.read(journal).code
        with held_code(small_run, journal, recorded, accept=accept, calls=Calls(), source=source) as is_whole:
            is_whole()
        return [{name: event[name] for name in told} for event in journal if event["event"] == "code"]

    hold.told = told
    return hold


@pytest.mark.parametrize("with_its_own", [True, False])
def test_the_code_a_bundle_brought_is_what_the_run_began_with(small_run, source, brought, with_its_own):
    if with_its_own:
        assert brought(small_run.code) == [brought.told]
    (source / "slurm" / "file").write_text("changed")
    with pytest.raises(RunFolderError, match=f"(?s)commit {'a' * 40}.*or take this one by --accept-code"):
        brought(source)
    assert code_digest(str(small_run.code)) == brought.told["digest"]
    assert brought(small_run.code) == [brought.told]
    assert len(brought(source, accept=True)) == 2
    assert code_digest(str(small_run.code)) == code_digest(str(source))


def test_a_checkout_of_the_same_code_as_a_bundles_goes_on_with_it(small_run, source, brought):
    (recorded,) = brought(source)
    assert recorded["digest"] == brought.told["digest"]
    assert list(small_run.path.glob("code.until-*")) == []


def test_who_waits_for_the_snapshot_finds_all_of_it_and_its_line_in_the_journal(small_run, source):
    journal = Journal(small_run.journal_file)
    with held_code(small_run, journal, {}, accept=False, calls=Calls(), source=source) as is_whole:
        is_whole()
        assert [event["digest"] for event in journal] == [code_digest(str(source))]
        assert code_digest(str(small_run.code)) == code_digest(str(source))


def test_who_waits_for_a_snapshot_that_cannot_be_made_is_told_and_nothing_takes_its_place(small_run, source):
    (source / "slurm" / "gone").symlink_to(source / "nowhere")
    journal = Journal(small_run.journal_file)
    with (
        pytest.raises(RunFolderError, match=r"No such file or directory: .*gone"),
        held_code(small_run, journal, {}, accept=False, calls=Calls(), source=source) as is_whole,
    ):
        is_whole()
    assert not small_run.code.exists()
    assert list(journal) == []


def test_a_copy_begun_before_there_is_a_place_for_it_is_what_was_read_then(small_run, source):
    calls, journal = Calls(), Journal(small_run.journal_file)
    calls.ahead(*copy_call(str(source)))
    with held_code(small_run, journal, {}, accept=False, calls=calls, source=source) as is_whole:
        is_whole()
    assert (small_run.code / "slurm" / "file").read_text() == "slurm"
    assert next(iter(journal))["digest"] == code_digest(str(small_run.code))


def test_a_copy_that_is_told_no_place_writes_nothing(source):
    before = sorted(source.rglob("*"))
    done = Calls().call(copy_call(str(source)), timeout_s=60.0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(source.rglob("*")) == before


@pytest.mark.parametrize("name", ["", "code", "jobs"])
def test_a_folder_that_everyone_may_write_is_refused(small_run, name):
    folder = small_run.path / name
    folder.mkdir(exist_ok=True)
    folder.chmod(0o775)
    refuse_open_folders(small_run)
    folder.chmod(0o777)
    with pytest.raises(RunFolderError, match="everyone may write in it"):
        refuse_open_folders(small_run)


def test_a_run_that_everyone_could_exchange_for_another_is_refused(small_run):
    above = small_run.path.parent
    above.chmod(0o1777)
    refuse_open_folders(small_run)
    above.chmod(0o777)
    with pytest.raises(RunFolderError, match="anyone could put another folder in the place of run"):
        refuse_open_folders(small_run)


@pytest.mark.parametrize(("umask", "refused"), [(0o022, False), (0o002, False), (0o077, False), (0o000, True)])
def test_a_umask_that_would_open_the_scripts_to_everyone_is_refused(small_run, umask, refused):
    before = os.umask(umask)
    try:
        if refused:
            with pytest.raises(RunFolderError, match="umask 000: everyone could change the scripts"):
                refuse_open_folders(small_run)
        else:
            refuse_open_folders(small_run)
        now = os.umask(umask)
        assert now == umask, "asking for the umask leaves it as it was"
    finally:
        os.umask(before)
