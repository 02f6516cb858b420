"""An image unpacked on a node by a user without rights: once, whole, or not used."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from real_image import MAKER, NEEDED, ROOT, cluster

from selu_hpc.containers.digest import digest_of
from selu_hpc.containers.node import UNUSED_S

pytestmark = NEEDED
CODE = """
import sys
from pathlib import Path
from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.unpacked import unpacked
from selu_hpc.logs import set_up_logging
set_up_logging()
print(unpacked(Path(sys.argv[1]), sys.argv[2], apptainer=Apptainer()))
"""


@pytest.fixture
def image(tiny_image, shared):
    """A tiny real image where the user can read it."""
    file = shared / "tiny.sif"
    if not file.exists():
        shutil.copyfile(tiny_image, file)
    return file


@pytest.fixture
def scratch(shared, request):
    folder = shared / f"scratch of {request.node.name}"
    folder.mkdir()
    shutil.chown(folder, MAKER)
    folder.chmod(0o2755)  # hands its group down, as a lab's folders do
    return folder


@pytest.fixture
def start(image, scratch):
    """A task that unpacks the image."""
    extra = {"SELU_SCRATCH": str(scratch), "PYTHONPATH": str(ROOT)}
    line = cluster.as_user(MAKER, [sys.executable, "-c", CODE, str(image), digest_of(image)], extra=extra)
    return lambda: subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


@pytest.fixture
def unpack(start):
    def to_the_end():
        task = start()
        out, said = task.communicate()
        assert task.returncode == 0, said
        return Path(out.strip())

    return to_the_end


def test_tasks_that_start_at_once_unpack_once_and_get_the_same_files(start):
    tasks = [start() for _ in range(3)]
    said = [task.communicate() for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0, 0], said
    (folder,) = {out.strip() for out, _ in said}
    assert sum(err.count("unpacked tiny.sif into") for _, err in said) == 1, said
    assert (Path(folder) / "payload").stat().st_size == 3_000_000


def test_what_a_killed_task_left_is_not_used(unpack):
    folder = unpack()
    half = folder.with_name(".unpack-killed")
    folder.rename(half)
    (half / "payload").write_bytes(b"half")
    assert unpack() == folder
    assert (folder / "payload").stat().st_size == 3_000_000
    assert not half.exists()


def test_an_image_no_task_used_for_two_weeks_makes_room(unpack):
    used = unpack()
    for name, age_s in (("0" * 12, UNUSED_S + 60), ("1" * 12, UNUSED_S - 60)):
        (used.parent / name).mkdir()
        shutil.chown(used.parent / name, MAKER)
        os.utime(used.parent / name, (time.time() - age_s,) * 2)
    used.rename(used.with_name("2" * 12))
    unpack()
    kept = sorted(folder.name for folder in used.parent.iterdir() if not folder.name.startswith("."))
    assert kept == sorted(["1" * 12, "2" * 12, used.name])


def test_without_room_the_image_is_used_as_it_is(unpack, image, scratch):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(scratch)], check=True)
    try:
        assert unpack() == image
        assert [file.name for file in scratch.glob("selu-unpacked-*/*") if not file.name.startswith(".lock")] == []
    finally:
        subprocess.run(["umount", str(scratch)], check=True)


def test_where_others_could_write_nothing_is_unpacked(unpack, image):
    unpack().parent.chmod(0o777)
    assert unpack() == image
