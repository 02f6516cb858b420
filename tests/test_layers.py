"""The house's walls: imports point one way, and commands start without what only compute nodes need."""

import subprocess
import sys

import grimp
import pytest

# From the top of the house to its ground; a layer may import from those below it and from itself only.
LAYERS = [
    {
        "__main__",
        "submit",
        "status",
        "explain",
        "report",
        "replay",
        "doctor",
        "images",
        "evaluate",
        "cancel",
        "selftest",
    },
    {"engines"},
    {"containers"},
    {"stages"},
    {"viz"},
    {"rounds", "recipes"},
    {"selu", "rl4vlm", "train", "envs", "models"},
    {"sim"},
    {"store"},
    {
        "config",
        "settings",
        "resources",
        "site",
        "records",
        "errors",
        "processes",
        "terminal",
        "logs",
        "measures",
        "summaries",
    },
]
# The run folder's paths and markers are a contract of every room, like records.
GROUND = {"selu_hpc.rounds.rundir"}
HEAVY = {"torch", "transformers", "peft", "deepspeed", "ai2thor", "zarr", "zstandard", "tensorstore", "numba"}
COMMANDS = ["submit", "status", "explain", "cancel", "report", "replay", "evaluate", "images", "doctor", "selftest"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("selu_hpc", include_external_packages=True, cache_dir=None)


def level(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else ""
    return next((number for number, layer in enumerate(LAYERS) if part in layer), None)


def test_imports_point_from_commands_down_to_records(graph):
    wrong = [
        f"{importer} imports {imported}"
        for importer in graph.modules
        if level(importer) is not None
        for imported in graph.find_modules_directly_imported_by(importer)
        if imported.startswith("selu_hpc.")
        and imported not in GROUND
        and level(imported) is not None
        and level(imported) < level(importer)
    ]
    assert wrong == []


def test_neither_papers_room_knows_the_other(graph):
    rooms = {"selu": ("selu_hpc.selu",), "rl4vlm": ("selu_hpc.rl4vlm", "selu_hpc.stages.games")}

    def imports(one, other):
        return [
            f"{module} imports {imported}"
            for module in graph.modules
            if module.startswith(rooms[one])
            for imported in graph.find_modules_directly_imported_by(module)
            if imported.startswith(rooms[other])
        ]

    assert imports("rl4vlm", "selu") + imports("selu", "rl4vlm") == []


def test_every_module_has_a_place_in_the_house(graph):
    ours = {m for m in graph.modules if m.startswith("selu_hpc.")}
    assert {m for m in ours if level(m) is None} == set()


def test_nothing_of_engines_and_rounds_loads_what_only_compute_nodes_need(graph):
    """--help loads what a command begins with; the login node and the gate run all of these."""
    ours = sorted(m for m in graph.modules if m.startswith(("selu_hpc.engines", "selu_hpc.rounds")))
    assert "selu_hpc.engines.slurm.submission" in ours
    load = f"import importlib, sys; [importlib.import_module(m) for m in {ours}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.intersection(loaded) == set()


@pytest.mark.parametrize("command", [*COMMANDS, "stages.gate"])
def test_a_command_starts_without_what_only_compute_nodes_need(command):
    trace = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"selu_hpc.{command}", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in trace.splitlines()}
    assert "selu_hpc" in imported
    assert imported & HEAVY == set()
