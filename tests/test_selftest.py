"""The quick check of an installation, where it fails."""

import tempfile
from pathlib import Path

import pytest

from selu_hpc import selftest
from selu_hpc.errors import EngineError


def test_a_round_that_failed_is_kept_with_the_logs_its_message_names(tmp_path, monkeypatch, capsys):
    def fail(self, job):
        raise EngineError(f"read {job.run.path}")

    monkeypatch.setattr(selftest.LocalEngine, "run", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert selftest.main([]) == 1
    named = Path(capsys.readouterr().err.rpartition("error: read ")[2].strip())
    assert (named / "config.yaml").is_file()


@pytest.mark.parametrize("setting", ["env.verbs=[opne]", "env.horizon=0"])
def test_a_wrong_setting_is_refused_and_leaves_nothing(tmp_path, monkeypatch, setting):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert selftest.main(["--set", setting]) == 2
    assert list(tmp_path.iterdir()) == []
