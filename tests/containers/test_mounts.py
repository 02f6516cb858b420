"""What of the host an image sees: how a mount is written, what it may not cover, and what a config needs."""

import pytest

from selu_hpc.config import RunConfig
from selu_hpc.containers.mounts import Mount, hub_mounts, require_code_uncovered, require_shown
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.image import check_mounts
from selu_hpc.engines.slurm.sbatch import check_site
from selu_hpc.errors import ConfigError, ImageError
from selu_hpc.recipes import load_recipe
from selu_hpc.rounds.provenance import named_paths
from selu_hpc.site import Site


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/data", Mount("/data", "/data")),
        ("/data:/mnt/data", Mount("/data", "/mnt/data")),
        ("/data:/data:ro", Mount("/data", "/data", read_only=True)),
    ],
)
def test_a_mount_is_a_source_perhaps_a_target_and_perhaps_read_only(text, mount):
    assert Mount.parse(text) == mount


@pytest.mark.parametrize("text", ["", "data", "/data:ro", "/data::ro", "/data:/data:rw", "/data:/data:ro:ro", "/data:"])
def test_any_other_mount_of_a_profile_is_refused(text):
    with pytest.raises(ConfigError, match=r"mounts\[1\]: .* is no mount: write source, source:target or"):
        check_site(Site(name="lab", partitions={}, mounts=("/ok", text)))


@pytest.mark.parametrize(
    "target", ["/opt/venv", "/opt/selu_hpc/selu_hpc", "/opt", "/", "/opt/x/../venv/lib", "//opt/venv"]
)
def test_a_mount_over_the_images_code_is_refused(target):
    with pytest.raises(ConfigError, match="would cover the image's own code"):
        Mount.parse(f"/data:{target}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APPTAINER_BINDPATH", "/scratch,/work/me:/opt/selu_hpc:ro"),
        ("SINGULARITY_BIND", "/opt"),
        ("APPTAINER_BIND", "/work/me://opt/venv"),
        ("APPTAINER_MOUNT", "type=bind,source=/work/me,destination=/opt/venv/lib"),
        ("APPTAINER_MOUNT", "type=bind,src=/work/me,dst=/opt/venv"),
        ("APPTAINER_MOUNT", "type=bind,src=/work/me,target=/opt/venv"),
        ("APPTAINER_BIND", "lab=mine:/opt/venv"),
        ("SINGULARITY_MOUNT", "type=bind,source=/a,destination=/opt/venv\ntype=bind,source=/b,destination=/b"),
    ],
)
def test_a_module_that_binds_over_the_images_code_is_refused_by_name(name, value):
    with pytest.raises(ImageError, match=f"(?s){name}=.* over the image's own code .*unset it"):
        require_code_uncovered({name: value})


def test_what_a_sites_modules_bind_elsewhere_passes_and_is_told():
    bound = {"APPTAINER_BINDPATH": "/scratch,/gpfs:/gpfs:ro", "SINGULARITY_MOUNT": "type=bind,src=/a=b,dst=/opt/cray"}
    assert require_code_uncovered({**bound, "APPTAINER_CACHEDIR": "/opt/venv"}) == bound


def test_the_hub_cache_is_seen_to_read_only_unless_something_shows_it_already(tmp_path):
    (tmp_path / "hub").mkdir()
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    run = tmp_path / "elsewhere"
    assert hub_mounts(environment, run=run, mounts=()) == [Mount(str(tmp_path), str(tmp_path), read_only=True)]
    assert hub_mounts(environment, run=run, mounts=(str(tmp_path.parent),)) == []
    assert hub_mounts({"HF_HOME": str(tmp_path / "missing")}, run=run, mounts=()) == []
    assert hub_mounts({"HF_HOME": "hub"}, run=run, mounts=()) == []


@pytest.fixture
def site():
    return lambda *mounts: Site(name="lab", partitions={}, mounts=mounts)


@pytest.mark.parametrize("setting", ["model.base", "env.unity_releases"])
def test_a_folder_the_image_would_not_see_is_refused_with_the_mount_to_write(tmp_path, setting, site):
    (tmp_path / "models").mkdir()
    config = load_recipe("selu", [f"{setting}={tmp_path}/models"])
    with pytest.raises(ConfigError, match=f"{setting} .* would not see it.*add {tmp_path}/models:{tmp_path}/models:ro"):
        require_shown(named_paths(config), run=tmp_path / "run", mounts=("/data",))
    for run, mounts in (
        (tmp_path, ()),
        (tmp_path / "run", (str(tmp_path),)),
        (tmp_path / "run", (f"/data:{tmp_path}",)),
    ):
        require_shown(named_paths(config), run=run, mounts=mounts)
    assert check_mounts(config, site("/data")).grade is Grade.PROBLEM
    assert check_mounts(config, site(str(tmp_path))).grade is Grade.OK


def test_a_folder_named_from_the_home_folder_or_where_we_are_is_refused(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in ("~/models", "models"):
        with pytest.raises(ConfigError, match=f"means another place in an image; write {tmp_path}/models"):
            require_shown({"model.base": text}, run=tmp_path, mounts=())


def test_what_only_the_image_has_and_what_comes_with_the_project_is_not_looked_for():
    require_shown(named_paths(load_recipe("selu", ["env.unity_releases=/opt/stand-in"])), run=None, mounts=())
    require_shown({"env.unity_releases": "/opt"}, run=None, mounts=())
    assert named_paths(RunConfig()) == {"model.base": "", "env.unity_releases": "", "finetune.deepspeed": ""}


def test_doctor_says_where_a_hub_id_is_looked_for(tmp_path, monkeypatch, site):
    config = load_recipe("selu", ["model.base=Qwen/Qwen2-VL-7B-Instruct"])
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HOME", raising=False)
    found = check_mounts(config, site())
    assert (found.grade, "HF_HOME" in found.fix) == (Grade.WARNING, True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert check_mounts(config, site()).grade is Grade.OK
