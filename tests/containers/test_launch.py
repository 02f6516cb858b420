"""The bind contract, and what crosses the wall into an image."""

import errno
import json
import os
import time
from pathlib import Path

import pytest

from selu_hpc.containers import launch
from selu_hpc.containers.digest import digest_of, noted
from selu_hpc.containers.launch import (
    exec_line,
    has_gpus,
    outside_environment,
    passed_environment,
    private_folder,
    shared_cache,
    stage_command,
)
from selu_hpc.containers.mounts import Mount
from selu_hpc.containers.node import UNUSED_S, node_folder
from selu_hpc.containers.pinned import Pinned, keep
from selu_hpc.errors import ImageError
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
        mounts=("/models", "/data:/mnt/data", "/lab:/lab:ro"),
        hub=[Mount("/hub", "/hub", read_only=True)],
        gpus=True,
        network=False,
    )
    assert line == [
        *("apptainer", "exec", "--cleanenv", "--no-eval", "--no-mount", "tmp,cwd,hostfs"),
        *("--home", "/scratch/t/home:/home/selu", "--pwd", "/opt/selu_hpc"),
        *("--mount", "type=bind,source=/scratch/t/tmp,destination=/tmp"),
        *("--mount", "type=bind,source=/scratch/t/tmp,destination=/var/tmp"),
        *("--mount", "type=bind,source=/scratch/c,destination=/var/cache/selu_hpc"),
        *("--mount", "type=bind,source=/r,destination=/r"),
        *("--mount", "type=bind,source=/models,destination=/models"),
        *("--mount", "type=bind,source=/data,destination=/mnt/data"),
        *("--mount", "type=bind,source=/lab,destination=/lab,ro"),
        *("--mount", "type=bind,source=/hub,destination=/hub,ro"),
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


@pytest.mark.parametrize(
    "name",
    [
        "APPTAINERENV_PYTHONPATH",
        "SINGULARITYENV_PREPEND_PATH",
        "APPTAINER_ENV_FILE",
        "APPTAINER_OVERLAY",
        "APPTAINER_SCRATCH",
        "APPTAINER_WORKDIR",
    ],
)
def test_what_a_shell_or_module_would_send_into_every_image_stays_outside(monkeypatch, name):
    monkeypatch.setenv(name, "/evil")
    monkeypatch.setenv("APPTAINER_CACHEDIR", "/scratch")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    environment = outside_environment()
    assert name not in environment
    assert environment["APPTAINER_CACHEDIR"] == "/scratch"
    assert environment["APPTAINERENV_SLURM_JOB_ID"] == "7"
    assert environment["PATH"] == os.environ["PATH"]


def test_a_tasks_private_folder_is_private_and_gone_afterwards():
    with private_folder() as folder:
        assert [p.name for p in sorted(folder.iterdir())] == ["home", "tmp"]
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_a_node_that_has_no_place_for_a_task_is_named(tmp_path):
    with (
        pytest.raises(ImageError, match=r"nowhere/selu-task-.*: No such file.*`scratch:` in the site profile"),
        private_folder(str(tmp_path / "nowhere")),
    ):
        pass


def test_a_task_that_finds_its_node_full_leaves_nothing_there(tmp_path, monkeypatch):
    def full(folder, **_):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ImageError, match="No space left on device; make room"), private_folder(str(tmp_path)):
        pass
    with pytest.raises(ImageError, match="No space left on device; make room"):
        shared_cache(KNOWN, private=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tasks_of_a_node_share_what_was_found_of_an_image_although_each_has_a_tmp_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    (tmp_path / "image.sif").write_bytes(b"image")
    for task in ("one", "two"):
        (tmp_path / task).mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / task))
        assert noted(tmp_path / "image.sif", "digest") == (None if task == "one" else KNOWN)
        assert digest_of(tmp_path / "image.sif") == KNOWN


@pytest.fixture
def launched(small_run, tmp_path, monkeypatch):
    """`launched()` → starts a stage of a run with an image and a scratch; nothing runs in it."""
    (tmp_path / "image.sif").write_bytes(b"image")
    (tmp_path / "local").mkdir()
    keep(small_run, Pinned(path=tmp_path / "image.sif", digest=KNOWN, scratch=str(tmp_path / "local"), network=True))
    monkeypatch.setattr(launch, "run_watched", lambda *_, **__: 0)

    def start():
        return launch.launch(Stage.ROLLOUT, small_run, round_id=1, shard=0, attempt=0)

    return start


@pytest.mark.parametrize("told", ["", "another"])
def test_a_node_remembers_on_the_runs_scratch_also_where_no_job_of_the_engine_names_it(
    launched, tmp_path, monkeypatch, told
):
    (tmp_path / "another").mkdir()
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path / told) if told else "")
    assert launched() == 0
    expected = [f"selu-{kept}-{os.getuid()}" for kept in ("cache", "images")]
    assert sorted(path.name for path in (tmp_path / (told or "local")).iterdir()) == expected


def test_an_image_that_is_another_when_its_signature_is_looked_at_does_not_start(launched, tmp_path, monkeypatch):
    def replaced(image, *_, **__):
        (tmp_path / "other").write_bytes(b"signed")
        (tmp_path / "other").rename(image)

    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    monkeypatch.setattr(launch, "require_trusted", replaced)
    with pytest.raises(ImageError, match="replaced or written to while it was looked at"):
        launched()


def test_what_others_could_write_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    ours = node_folder("selu-images")
    assert node_folder("selu-images") == ours
    ours.chmod(0o777)
    assert node_folder("selu-images") is None
    ours.rename(tmp_path / "elsewhere")
    ours.symlink_to(tmp_path / "elsewhere")
    assert node_folder("selu-images") is None


def test_where_others_could_write_nothing_is_remembered_and_a_task_has_a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    (tmp_path / "image.sif").write_bytes(b"image")
    for name in ("selu-images", "selu-cache"):
        node_folder(name).chmod(0o777)
    before = sorted(tmp_path.iterdir())
    with private_folder(str(tmp_path)) as private:
        for _ in range(2):
            assert digest_of(tmp_path / "image.sif") == KNOWN
            assert noted(tmp_path / "image.sif", "digest") is None
            assert shared_cache(KNOWN, private=private) == private / "cache"
    assert sorted(tmp_path.iterdir()) == before


def test_compiled_code_is_shared_by_tasks_of_one_image_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    one, other, again = (shared_cache("sha256:" + number * 64, private=tmp_path / "p") for number in "121")
    assert one == again != other
    assert sorted(p.name for p in one.iterdir()) == ["features", "numba"]
    assert passed_environment()["APPTAINERENV_NUMBA_CACHE_DIR"] == "/var/cache/selu_hpc/numba"


def test_what_tasks_of_an_image_shared_goes_when_no_task_used_it_for_two_weeks(tmp_path, monkeypatch):
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    old, young = (shared_cache("sha256:" + number * 64, private=tmp_path / "p") for number in "12")
    for folder, age_s in ((old, UNUSED_S + 60), (young, UNUSED_S - 60)):
        os.utime(folder, (time.time() - age_s,) * 2)
    shared_cache("sha256:" + "3" * 64, private=tmp_path / "p")
    assert sorted(p.name for p in old.parent.iterdir()) == ["2" * 12, "3" * 12]
    assert time.time() - shared_cache("sha256:" + "2" * 64, private=tmp_path / "p").stat().st_mtime < 60


@pytest.mark.parametrize(
    ("variant", "driver", "variables", "expected"),
    [
        ("cuda", True, {}, True),
        ("cpu", True, {}, False),
        ("cuda", False, {}, False),
        ("cuda", True, {"SLURM_JOB_ID": "7"}, False),
        ("cpu", False, {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"}, True),
    ],
)
def test_the_driver_is_lent_where_slurm_gave_gpus_and_without_slurm_to_an_image_for_them(
    tmp_path, monkeypatch, variant, driver, variables, expected
):
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path))
    monkeypatch.setattr(launch, "DRIVER", tmp_path / "nvidiactl")
    if driver:
        (tmp_path / "nvidiactl").touch()
    labels = json.dumps({"data": {"attributes": {"labels": {"selu_hpc.variant": variant}}}})
    (tmp_path / "apptainer").write_text(f"#!/bin/sh\necho '{labels}'\n")
    (tmp_path / "apptainer").chmod(0o755)
    (tmp_path / "image.sif").write_bytes(b"image")
    pinned = Pinned(path=tmp_path / "image.sif", digest=KNOWN, apptainer=str(tmp_path / "apptainer"))
    assert has_gpus(pinned) is expected
    assert has_gpus(pinned) is expected, "and what was found of the image is remembered"


@pytest.mark.parametrize(("ranks", "known", "cut"), [("1", "yes", True), ("1", "no", False), ("2", "yes", False)])
def test_the_network_is_cut_where_that_is_possible_and_no_rank_needs_another(
    launched, small_run, tmp_path, monkeypatch, ranks, known, cut
):
    keep(small_run, Pinned(path=tmp_path / "image.sif", digest=KNOWN, scratch=str(tmp_path / "local")))
    monkeypatch.setenv("SELU_RANKS", ranks)
    monkeypatch.setattr(launch, "noted", lambda image, what: known)
    lines = []
    monkeypatch.setattr(launch, "run_watched", lambda line, **_: lines.append(line) or 0)
    assert launched() == 0
    assert ("--net" in lines[0]) == cut
