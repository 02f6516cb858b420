"""Doctor's look inside the image on a node: an srun that runs its command here, an apptainer that drops its flags."""

import sys

import pytest
import torch

from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.nodes import check_nodes
from selu_hpc.recipes import load_recipe
from selu_hpc.site import Site

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
SLURMD_NODENAME=c1 CUDA_VISIBLE_DEVICES=0,1 exec "$@"
"""
APPTAINER = """#!/bin/bash
[[ -f $IMAGE ]] || { echo "FATAL: could not open image" >&2; exit 255; }
while [[ $1 != "$IMAGE" ]]; do shift; done
shift 2
unset CUDA_VISIBLE_DEVICES SLURMD_NODENAME
export CUDA_VISIBLE_DEVICES=$APPTAINERENV_CUDA_VISIBLE_DEVICES SLURMD_NODENAME=$APPTAINERENV_SLURMD_NODENAME
exec PYTHON "$@"
"""


@pytest.fixture
def node(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("apptainer", APPTAINER.replace("PYTHON", sys.executable))):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("IMAGE", str(tmp_path / "an image.sif"))
    (tmp_path / "an image.sif").write_bytes(b"SIF")
    return tmp_path


def look(node):
    site = Site.of({"name": "lab", "partitions": {"cpu": {"name": "cpu", "gpus_per_node": 2}}})
    settings = [f"image={node / 'an image.sif'}", "resources.finetune.gpus=2"]
    folder = node / "le lab's runs"
    folder.mkdir()
    found = list(check_nodes(site, load_recipe("selu", settings), folder, patience_s=60))
    assert list(folder.iterdir()) == [], "doctor leaves nothing behind"
    return {one.check: one for one in found}


def test_the_image_is_started_on_a_node_and_sees_the_folder_and_its_gpus(node):
    found = look(node)
    assert found["image on cpu"].grade is Grade.OK
    assert "c1: sees the run folder" in found["image on cpu"].answer
    assert found["node of cpu"].grade is Grade.OK
    assert found["gpus"].answer == "c1: 2 handed out, nvidia-smi shows none"
    assert "torch, node of cpu" not in found, "no stage computes outside the image"
    if not torch.cuda.is_available():
        assert found["torch, image on cpu"].grade is Grade.PROBLEM, "eight A100 and a torch that cannot use them"


def test_what_a_module_lays_over_the_images_code_is_found_by_the_test_job(node, monkeypatch):
    monkeypatch.setenv("APPTAINER_BINDPATH", "/opt")
    found = look(node)
    assert found["binds of cpu"].grade is Grade.PROBLEM
    assert found["binds of cpu"].answer.startswith("c1: APPTAINER_BINDPATH=/opt lays /opt over the image's own code")


def test_an_image_that_does_not_start_there_is_a_problem_with_apptainers_words(node):
    (node / "an image.sif").unlink()
    found = look(node)
    assert found["image on cpu"].grade is Grade.PROBLEM
    assert "could not open image" in found["image on cpu"].answer
    assert found["node of cpu"].grade is Grade.OK
