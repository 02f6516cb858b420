"""Recipes and overrides: what they come to, and that what is shipped and documented loads."""

import json
import shlex
from itertools import pairwise

import pytest
import yaml

from selu_hpc.config import RunConfig
from selu_hpc.recipes import CONFIGS, load_recipe, load_run, load_settings, to_yaml
from selu_hpc.recipes.schema import schema
from selu_hpc.rounds.provenance import open_run
from selu_hpc.site import Site

RESULTS = CONFIGS.parent / "docs" / "results"
PLACE = {"seed": "seed", "env.simulator": "simulator", "env.world": "world"}


def test_an_override_reaches_its_setting():
    assert load_recipe("selu", ["env.horizon=20", "recipe=mine"]).env.horizon == 20


def test_one_setting_of_a_section_leaves_the_others_as_they_are_there():
    config = load_recipe("selu", ["finetune.actor.epochs=1", "resources.finetune.gpus=8"])
    assert (config.finetune.actor.epochs, config.finetune.actor.learning_rate) == (1, 1e-3)
    assert (config.resources.finetune.gpus, config.resources.finetune.timeout_min) == (8, 240)


def test_an_empty_section_takes_nothing_away(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: llava_7b\nrecipe: mine\nmodel: {}\nfinetune: {}\nresources: {finetune: {}}\n")
    mine = load_recipe(str(recipe), ["finetune.actor={}", "env={}"])
    assert mine == load_recipe("llava_7b").but(recipe="mine")


@pytest.mark.parametrize("recipe", ["rl4vlm_7b", "rl4vlm_faithful"])
def test_the_papers_formulas_are_not_taken_from_the_built_in_recipe(recipe):
    game = load_recipe(recipe).game
    assert (game.temperature, game.discount, game.gae_lambda) == (0.2, 0.9, 0.95)
    assert (game.value_coefficient, game.clip, game.thought_weight) == (0.5, 0.1, 0.5)


def test_a_game_that_pays_at_its_end_is_documented_with_a_view_that_far():
    page = (CONFIGS.parent / "docs" / "rl4vlm.md").read_text(encoding="utf-8")
    lines = [
        shlex.split(line, comments=True) for line in page.splitlines() if line.startswith("python -m selu_hpc.submit")
    ]
    games = set()
    for words in lines:
        settings = [word for before, word in pairwise(words) if before == "--set"]
        game = load_recipe(words[words.index("--recipe") + 1], settings).game
        games.add(game.name)
        assert game.name == "number_line" or (game.discount, game.gae_lambda) == (0.9, 0.95)
    assert games == {"number_line", "blackjack", "points24"}


def test_a_runs_own_config_is_taken_as_it_is(tmp_path):
    """A file that has gone since, or a name from before names were looked at: neither can be mended in the run."""
    run, _ = open_run(tmp_path, RunConfig.of({**RunConfig().plain(), "recipe": "lab/mine"}))
    text = run.config_file.read_text().replace("deepspeed: ''", "deepspeed: /gone.json")
    run.config_file.write_text(text)
    again = load_recipe(str(run.config_file))
    assert (again.recipe, again.finetune.deepspeed) == ("lab/mine", "/gone.json")


def test_a_recipe_may_have_the_name_of_the_shipped_one_that_it_extends(tmp_path):
    (tmp_path / "llava_7b.yaml").write_text("extends: llava_7b\nseed: 7\n")
    assert load_recipe(str(tmp_path / "llava_7b.yaml")) == load_recipe("llava_7b", ["seed=7"])


def test_a_recipe_beside_another_is_extended_by_its_files_name_too(tmp_path):
    (tmp_path / "base.yaml").write_text("seed: 7\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\n")
    assert load_recipe(str(tmp_path / "mine.yaml")).seed == 7


@pytest.mark.parametrize("recipe", sorted(p.stem for p in CONFIGS.glob("*.yaml")))
def test_every_recipe_loads_and_survives_yaml(recipe, tmp_path):
    config = load_recipe(recipe)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_run(tmp_path) == config
    assert RunConfig.of(yaml.safe_load(to_yaml(config))).signature == config.signature


@pytest.mark.parametrize("site", sorted((CONFIGS / "sites").glob("*.yaml")))
def test_every_site_profile_loads(site):
    assert load_settings(Site, site).partitions


def test_the_signature_knows_what_decides_bytes_and_ignores_scheduling():
    base = load_recipe("selu").signature
    assert load_recipe("selu", ["rounds=9", "retry.quorum=0.5", "env.num_processes=7"]).signature == base
    assert load_recipe("selu", ["seed=1"]).signature != base


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_runs_of_the_results_are_runs_of_todays_recipes(file):
    known = json.loads(file.read_text())
    settings = [f"{name}={known[key]}" for name, key in PLACE.items()]
    assert load_recipe(known["recipe"], settings).signature == known["signature"]


def test_an_actor_that_is_not_told_what_it_holds_is_another_run():
    told = load_recipe("selu", ["recipe=no_hand"])
    assert load_recipe("no_hand", ["env.tells_hand=true"]).signature == told.signature
    assert load_recipe("no_hand").signature != told.signature


def test_the_papers_letter_differs_from_selu_in_what_the_paper_says_otherwise_and_in_nothing_else():
    back = ["env.tells_hand=true", "critic.own_words=true", "critic.consistency_check=true", "recipe=selu"]
    assert load_recipe("paper", back) == load_recipe("selu")
    paper = load_recipe("paper")
    assert (paper.env.tells_hand, paper.critic.own_words, paper.critic.consistency_check) == (False, False, False)
    assert (paper.critic.sure_yes, paper.critic.frames, paper.critic.hindsight) == (0.0, "last", "instruction_verb")


@pytest.mark.parametrize("recipe", sorted(file.stem for file in CONFIGS.glob("*.yaml")))
def test_every_recipe_has_as_many_environments_as_rows_of_a_forward_pass(recipe):
    config = load_recipe(recipe)
    assert config.rollout.num_slots >= config.model.batch_size


def test_the_schema_for_editors_is_true():
    assert json.loads((CONFIGS / "schema.json").read_text()) == json.loads(json.dumps(schema())), "run `make schema`"
