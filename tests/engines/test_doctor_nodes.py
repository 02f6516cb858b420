"""Doctor's test job on a node: how it asks, how its answer is found, and how that is judged."""

import json
import time

import pytest
from shell_slurm import SITE_WITH_QOS, config, one

from selu_hpc.engines.checks import nodes
from selu_hpc.engines.checks.finding import Grade
from selu_hpc.engines.checks.nodes import check_nodes, judge_node, last_object


def test_the_test_job_asks_as_a_run_does_with_its_modules_and_without_what_the_shell_set(tools, tmp_path, monkeypatch):
    site = SITE_WITH_QOS.but(account="lab", modules=("python/3.11",))
    tools(srun=f'printf "%s\\n" "$@" > {tmp_path}/asked; env > {tmp_path}/environment; exit 1')
    (tmp_path / "tools" / "env").symlink_to("/usr/bin/env")
    monkeypatch.setattr(nodes, "DELAY_S", 0.0)
    for name in ("SLURM_QOS", "SRUN_EXPORT_ENV", "PYTHONPATH"):
        monkeypatch.setenv(name, "leaks")
    (found,) = check_nodes(site, config(), tmp_path, patience_s=60)
    assert one(found)[0] is Grade.PROBLEM
    asked = (tmp_path / "asked").read_text().splitlines()
    wanted = {"--partition=cpu", "--account=lab", "--qos=long", "--constraint=intel", "--reservation=lab", "--mem=1GB"}
    assert wanted <= set(asked)
    assert "module load python/3.11" in asked
    assert "leaks" not in (tmp_path / "environment").read_text()


def seen(**changes):
    there = {"host": "c1", "time": time.time(), "python": "3.11", "seen_s": 0.1, "gpus": [], "vulkan": []}
    return there | {"cuda_visible_devices": None} | changes


@pytest.mark.parametrize(
    ("changes", "back", "gpus", "expected"),
    [
        ({}, True, 0, {"node of cpu": Grade.OK}),
        ({"seen_s": None}, True, 0, {"node of cpu": Grade.PROBLEM}),
        ({}, False, 0, {"node of cpu": Grade.PROBLEM}),
        ({"seen_s": 25.0}, True, 0, {"node of cpu": Grade.WARNING}),
        ({"time": time.time() - 3600}, True, 0, {"node of cpu": Grade.OK, "clocks": Grade.WARNING}),
        ({"cuda_visible_devices": "0"}, True, 8, {"node of cpu": Grade.OK, "gpus": Grade.PROBLEM}),
        ({"cuda_visible_devices": "0,1"}, True, 2, {"node of cpu": Grade.OK, "gpus": Grade.WARNING}),
        (
            {"cuda_visible_devices": "0,1", "gpus": ["A100", "A100"], "vulkan": ["deviceName = A100"]},
            True, 2, {"node of cpu": Grade.OK, "gpus": Grade.OK},
        ),
        (
            {"cuda_visible_devices": "0", "gpus": ["A100"], "torch": ["2.13.0+cu130", "13.0", "True"]},
            True, 1, {"node of cpu": Grade.OK, "gpus": Grade.OK, "torch, node of cpu": Grade.OK},
        ),
        (
            {"cuda_visible_devices": "0", "gpus": ["A100"], "torch": ["2.13.0+cpu", "None", "False"]},
            True, 1, {"node of cpu": Grade.OK, "gpus": Grade.OK, "torch, node of cpu": Grade.PROBLEM},
        ),
        (
            {"cuda_visible_devices": "0", "gpus": ["A100"], "torch": []},
            True, 1, {"node of cpu": Grade.OK, "gpus": Grade.OK, "torch, node of cpu": Grade.PROBLEM},
        ),
    ],
)  # fmt: skip
def test_what_a_node_sees_is_judged(changes, back, gpus, expected):
    found = judge_node("node of cpu", seen(**changes), back, gpus, config())
    assert {finding.check: one(finding)[0] for finding in found} == expected


def test_a_test_jobs_answer_is_found_among_what_a_site_prints():
    answer = {"seen_s": 0.1, "host": "c1"}
    assert last_object(f"welcome to the lab\n{json.dumps(answer)}\n[epilog] done\n17\n") == answer
    assert last_object("") is None
    assert last_object('{"epilog": 1}\n') is None
