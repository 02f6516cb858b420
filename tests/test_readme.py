"""The README tells the truth: its commands run, its files and targets exist."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from test_layers import COMMANDS

from selu_hpc.recipes import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "containers" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_lines(page):
    for block in re.findall(r"```(?:bash)?\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
        yield from (line.strip() for line in block.splitlines())


COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*python -m selu_hpc\.({'|'.join(COMMANDS)})\b(.*)")


def commands():
    for page in PAGES:
        for line in code_lines(page):
            if match := COMMAND.match(line):
                if "[" in match[2]:  # a synopsis, not a command
                    continue
                yield pytest.param(match[1], match[2].split("  #")[0], id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize(("command", "arguments"), list(commands()))
def test_a_documented_command_is_understood(command, arguments, capsys):
    parser = import_module(f"selu_hpc.{command}").build_parser()
    parser.parse_args(shlex.split(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_page_on_backbones_begins_with_a_recipe_that_a_cluster_can_run(tmp_path):
    page = (ROOT / "docs" / "add-a-backbone.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    mine, shipped = load_recipe(str(tmp_path / "mine.yaml")), load_recipe("llava_7b")
    assert (mine.recipe, mine.model.base) == ("mine", "/shared/models/llava-v1.6-mistral-7b-hf")
    assert (mine.resources, mine.finetune) == (shipped.resources, shipped.finetune)
    assert mine.resources.rollout.gpus == 1
    assert mine.rollout.num_slots == 2 * mine.model.batch_size


def test_the_readme_says_how_its_commands_find_the_environment_that_make_sets_up():
    try_it = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A day with it")[0]
    venv = re.search(r"^VENV +\?= (\S+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert f". {venv[1]}/bin/activate" in try_it


def test_every_make_target_in_the_readme_exists():
    named = {line.split()[1] for line in code_lines(ROOT / "README.md") if line.startswith("make ")}
    defined = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert named
    assert named <= defined


def test_the_tree_in_the_readme_is_the_tree_on_disk():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```(?:bash)?\n(.*?)```", readme, flags=re.S) if "rounds/" in b)
    inside = re.findall(r"^  ([a-z0-9]+)/", block, flags=re.M)
    rooms = {p.name for p in (ROOT / "selu_hpc").iterdir() if (p / "__init__.py").is_file()}
    assert set(inside) == rooms
