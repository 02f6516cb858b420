"""The bind contract, and what crosses the wall into an image."""

from pathlib import Path

from selu_hpc.containers.digest import digest_of, node_folder, noted
from selu_hpc.containers.launch import exec_line, passed_environment, private_folder, shared_cache, stage_command
from selu_hpc.rounds.rundir import Stage

KNOWN = "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"


def test_the_whole_line_of_a_gpu_stage():
    command = stage_command(Stage.FINETUNE_ACTOR, run=Path("/r"), round_id=2, shard=0, attempt=1)
    line = exec_line(
        command,
        image=Path("/i/selu.sif"),
        run=Path("/r"),
        private=Path("/scratch/t"),
        cache=Path("/scratch/c"),
        mounts=("/models", "/data:/mnt/data"),
        gpus=True,
        network=False,
    )
    assert line == [
        *("apptainer", "exec", "--cleanenv", "--no-mount", "tmp,cwd,hostfs"),
        *("--home", "/scratch/t/home:/home/selu", "--pwd", "/opt/selu_hpc"),
        *("--mount", "type=bind,source=/scratch/t/tmp,destination=/tmp"),
        *("--mount", "type=bind,source=/scratch/t/tmp,destination=/var/tmp"),
        *("--mount", "type=bind,source=/scratch/c,destination=/var/cache/selu_hpc"),
        *("--mount", "type=bind,source=/r,destination=/r"),
        *("--mount", "type=bind,source=/models,destination=/models"),
        *("--mount", "type=bind,source=/data,destination=/mnt/data"),
        *("--nv", "--net", "--network", "none", "/i/selu.sif"),
        *("python", "-m", "selu_hpc.stages.finetune", "--run", "/r", "--round", "2", "--shard", "0"),
        *("--attempt", "1", "--role", "actor"),
    ]


def bare_line(**words):
    return exec_line(["true"], image=Path("i"), private=Path("/t"), cache=Path("/c"), **words)


def test_a_path_with_commas_and_quotes_is_one_mount():
    line = bare_line(run=Path('/a,b "c"'))
    assert 'type=bind,"source=/a,b ""c""","destination=/a,b ""c"""' in line


def test_a_working_copy_covers_the_images_code():
    line = bare_line(run=Path("/r"), working_copy=Path("/me/selu_hpc"))
    assert "type=bind,source=/me/selu_hpc/selu_hpc,destination=/opt/selu_hpc/selu_hpc" in line


def test_slurms_variables_pass_and_a_users_own_do_not(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("PYTHONPATH", "/home/me/lib")
    passed = passed_environment()
    assert passed["APPTAINERENV_SLURM_JOB_ID"] == "7"
    assert passed["APPTAINERENV_CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "APPTAINERENV_PYTHONPATH" not in passed


def test_a_tasks_private_folder_is_private_and_gone_afterwards():
    with private_folder() as folder:
        assert [p.name for p in sorted(folder.iterdir())] == ["home", "tmp"]
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_tasks_of_a_node_share_what_was_found_of_an_image_although_each_has_a_tmp_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    (tmp_path / "image.sif").write_bytes(b"image")
    for task in ("one", "two"):
        (tmp_path / task).mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / task))
        assert noted(tmp_path / "image.sif", "digest") == (None if task == "one" else KNOWN)
        assert digest_of(tmp_path / "image.sif") == KNOWN


def test_what_others_could_write_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    ours = node_folder("selu-images")
    assert node_folder("selu-images") == ours
    ours.chmod(0o777)
    assert node_folder("selu-images") != ours
    ours.rename(tmp_path / "elsewhere")
    ours.symlink_to(tmp_path / "elsewhere")
    assert node_folder("selu-images") != ours


def test_compiled_code_is_shared_by_tasks_of_one_image_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    one, other = shared_cache("sha256:" + "1" * 64), shared_cache("sha256:" + "2" * 64)
    assert one == shared_cache("sha256:" + "1" * 64) != other
    assert sorted(p.name for p in one.iterdir()) == ["features", "numba"]
    assert passed_environment()["APPTAINERENV_NUMBA_CACHE_DIR"] == "/var/cache/selu_hpc/numba"
