"""Doctor looks at the run folder: whether it can be made, and how full the disk is."""

from shell_slurm import one

from selu_hpc.engines.checks import folder
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.folder import check_folder


def test_a_folder_that_can_not_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    (found,) = check_folder(tmp_path / "file" / "runs")
    assert one(found)[0] is Grade.PROBLEM


def test_a_quota_that_does_not_answer_or_is_full_somewhere_is_a_warning(tools, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "QUOTA_S", 0.3)
    for quota, said in (("exec sleep 60", "timed out"), ("echo /home 100M* 90M 100M", "/home 100M*")):
        tools(quota=quota)
        found = next(finding for finding in check_folder(tmp_path) if finding.check == "quota")
        grade, answer = one(found)
        assert (grade, said in answer) == (Grade.WARNING, True)


def test_where_lfs_knows_nothing_of_the_folder_the_other_quota_is_asked(tools, tmp_path):
    tools(lfs="echo not a Lustre filesystem >&2; exit 22", quota="echo /home 100M* 90M 100M; exit 1")
    found = {finding.check: one(finding) for finding in check_folder(tmp_path)}
    assert found["quota"] == (Grade.WARNING, "/home 100M* 90M 100M")
    tools(quota="echo no rights >&2; exit 1")
    found = {finding.check: one(finding) for finding in check_folder(tmp_path)}
    assert found["quota"] == (Grade.WARNING, "`quota -s`: no rights")


def test_a_full_quota_of_the_folder_itself_is_a_problem(tools, tmp_path):
    tools(lfs="echo /home 100M* 90M 100M")
    found = {finding.check: one(finding)[0] for finding in check_folder(tmp_path)}
    assert found["quota"] is Grade.PROBLEM
