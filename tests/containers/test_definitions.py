"""containers/unity.def: a Unity build, in any form a person may have fetched it, laid over an image by a plain user."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from real_image import BASE, MAKER, NEEDED, ROOT, built, run

pytestmark = NEEDED
NAME = "thor-CloudRendering-unknown"
START = """
from selu_hpc.envs.inventory import look
from selu_hpc.recipes import load_recipe

settings = ["env.backend=cloud_rendering", "env.unity_commit=unknown", "env.unity_releases=/opt/unity"]
print(len(look(load_recipe("selu", settings).env, "FloorPlan1").goals("open")))
"""


@pytest.fixture
def release(shared):
    """The stand-in as the image's own python starts it, laid out as a Unity build."""
    folder = shared / "fetched"
    shutil.rmtree(folder, ignore_errors=True)
    run("mkdir", str(folder))
    run("apptainer", "exec", "--bind", str(folder), str(built()), "cp", "-r", f"/opt/stand-in/{NAME}", str(folder))
    return folder / NAME


def build(base, incoming, target):
    """As containers/unity.def says, but a folder in place of a file, which saves packing it."""
    arguments = [f"BASE={base}", f"BUILD={incoming}", "COMMIT=unknown"]
    words = [word for argument in arguments for word in ("--build-arg", argument)]
    line = ["apptainer", "build", "--fakeroot", "--sandbox", *words, str(target), str(ROOT / "containers/unity.def")]
    run(*line, APPTAINER_TMPDIR=str(target.parent))
    return target / "opt" / "unity" / NAME


@pytest.fixture
def target():
    folder = Path(tempfile.mkdtemp(prefix="selu-unity-", dir="/var/tmp"))
    shutil.chown(folder, MAKER)
    yield folder / "laid-over"
    shutil.rmtree(folder)  # as root: the files are of the user's subordinate ids


def packed(release, form):
    """The release as people have it: the folder, an archive of it, an archive of what is in it."""
    archive = release.parent / f"fetched.{form.partition(' ')[2]}"
    if form.startswith("flat"):
        subprocess.run(["tar", "-czf", archive, "-C", release, "."], check=True)
    elif form.startswith("nested"):
        subprocess.run(["tar", "-czf", archive, "-C", release.parent, release.name], check=True)
    return release if form == "a folder" else archive


@pytest.mark.parametrize("form", ["a folder", "nested tar.gz", "flat tar.gz"])
def test_a_unity_build_is_laid_where_stages_look_for_it(release, target, form):
    (release / "metadata.json").unlink()
    laid = build(BASE, packed(release, form), target)
    assert sorted(file.name for file in laid.iterdir()) == ["metadata.json", NAME]
    assert (laid / NAME).read_bytes() == (release / NAME).read_bytes()
    assert (laid / NAME).stat().st_mode & 0o111 == 0o111
    assert not (laid.parent / "incoming").exists()


def test_a_unity_build_that_came_as_a_zip_starts_in_the_image_it_was_laid_over(release, target):
    archive = shutil.make_archive(release, "zip", release.parent, release.name)
    laid = build(built(), archive, target)
    assert sorted(file.name for file in laid.iterdir()) == ["metadata.json", NAME]
    inside = ["apptainer", "exec", "--cleanenv", "--no-mount", "home,cwd", str(target), "python", "-c", START]
    assert int(run(*inside)) > 0
