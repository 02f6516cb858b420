"""Recipes, overrides and what is said about wrong ones."""

import json
import subprocess
import sys

import pytest
import yaml

from selu_hpc.config import RunConfig
from selu_hpc.errors import ConfigError
from selu_hpc.recipes import CONFIGS, load_recipe, load_run, load_settings, schema, to_yaml
from selu_hpc.site import Site

RESULTS = CONFIGS.parent / "docs" / "results"
PLACE = {"seed": "seed", "env.simulator": "simulator", "env.world": "world"}


def said(*overrides, recipe="selu"):
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe, overrides)
    return str(caught.value)


def test_an_override_reaches_its_setting():
    assert load_recipe("selu", ["env.horizon=20", "recipe=mine"]).env.horizon == 20


def test_one_setting_of_a_section_leaves_the_others_as_they_are_there():
    config = load_recipe("selu", ["finetune.actor.epochs=1", "resources.finetune.gpus=8"])
    assert (config.finetune.actor.epochs, config.finetune.actor.learning_rate) == (1, 1e-3)
    assert (config.resources.finetune.gpus, config.resources.finetune.timeout_min) == (8, 240)


def test_all_mistakes_are_named_at_once_with_source_key_value_and_what_is_allowed():
    text = said("rollout.num_shards=0", "env.simulator=unity", "rolout.x=1")
    assert "--set rollout.num_shards=0: rollout.num_shards: found 0; allowed: a whole number > 0" in text
    assert "env.simulator: found \"unity\"; allowed: 'thor' or 'virtualhome'" in text
    assert "rolout: unknown key; did you mean 'rollout'?" in text


def test_an_unknown_key_deep_in_a_section_lists_that_sections_keys():
    text = said("finetune.actor.learning_rat=1")
    assert "did you mean 'learning_rate'?" in text
    assert "epochs" in text


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.lora_dropout=2", "found 2; allowed: a finite number >= 0 and <= 1"),
        ("finetune.actor.learning_rate=.inf", "found Infinity; allowed: a finite number > 0"),
        ("rollout.temperature=.nan", "found NaN; allowed: a finite number >= 0"),
        ("env.verbs=open", 'env.verbs: found "open"; allowed: a list, each of it text'),
        ("env.verbs=[open, 5]", "env.verbs.1: found 5; allowed: text"),
        ("finetune.zero_stage=4", "found 4; allowed: 0, 1, 2 or 3"),
        ("critic.self_asking=often", 'found "often"; allowed: true or false'),
        ("resources.gate=5", "resources.gate: found 5; allowed: keys and values"),
    ],
)
def test_what_is_allowed_is_said_in_words(override, words):
    assert words in said(override)


def test_a_rate_without_a_point_is_a_number_though_yaml_takes_it_for_text():
    assert load_recipe("selu", ["finetune.actor.learning_rate=1e-5"]).finetune.actor.learning_rate == 1e-5


def test_what_is_missing_in_a_profile_and_what_it_should_not_have_is_named(tmp_path):
    profile = tmp_path / "lab.yaml"
    profile.write_text("name: lab\npartitions:\n  cpu: {nam: x}\n  tpu: {name: y}\nsbatch_flags: {mail: [a]}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(Site, profile)
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        "partitions.cpu.nam: unknown key; did you mean 'name'? allowed here: name, gpus_per_node, gres, constraint, "
        "qos, max_timeout_min, max_mem_gb",
        "partitions.cpu.name: found nothing; it has to be given",
        "partitions.tpu: found \"tpu\"; allowed: 'cpu', 'gpu' or 'preempt'",
        'sbatch_flags.mail: found ["a"]; allowed: text or a whole number or true or false',
    ]


def test_a_value_in_a_file_is_blamed_on_the_file(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: selu\nenv:\n  horizon: -3\n")
    assert f"{recipe}: env.horizon: found -3" in said(recipe=str(recipe))


def test_a_key_given_twice_is_refused_with_its_line(tmp_path):
    recipe = tmp_path / "twice.yaml"
    recipe.write_text("seed: 1\nseed: 2\n")
    assert "key 'seed' is given twice" in said(recipe=str(recipe))
    assert "line 2" in said(recipe=str(recipe))


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "{unclosed",
        "just words",
        "seed: !!python/object:os.system {}",
        "[a]: 1",
        "recipe: 2024-13-45",
        "seed: !!int abc",
    ],
)
def test_a_file_that_is_no_recipe_is_refused_without_a_traceback(tmp_path, text):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(text)
    assert str(recipe) in said(recipe=str(recipe))


def test_a_recipe_that_extends_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: a\n")
    assert "extends itself" in said(recipe=str(tmp_path / "a.yaml"))


def test_a_recipe_beside_another_is_extended_by_its_files_name_too(tmp_path):
    (tmp_path / "base.yaml").write_text("seed: 7\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\n")
    assert load_recipe(str(tmp_path / "mine.yaml")).seed == 7


def test_a_setting_that_yaml_takes_for_a_date_that_is_none_is_a_word():
    assert load_recipe("selu", ["recipe=2024-13-45"]).recipe == "2024-13-45"


def test_a_verb_that_the_simulator_does_not_have_is_refused_before_it_becomes_a_runs_identity():
    assert "env.verbs has opne; thor has pick up, put, open" in said("env.verbs=[opne, open]")
    assert "env.verbs has slice; virtualhome has grab" in said("env.simulator=virtualhome", "env.verbs=[slice]")
    assert load_recipe("selu", ["env.verbs=[open, slice]"]).env.verbs == ("open", "slice")


def test_batches_that_do_not_divide_over_ranks_are_refused():
    assert "finetune.num_ranks 3" in said("finetune.num_ranks=3")


@pytest.mark.parametrize("value", ["nan", ".inf", "-1", "''", "[]", "{}", "yes please"])
def test_a_wrong_temperature_is_refused(value):
    assert "rollout.temperature" in said(f"rollout.temperature={value}")


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


@pytest.mark.parametrize("recipe", sorted(file.stem for file in CONFIGS.glob("*.yaml")))
def test_every_recipe_has_as_many_environments_as_rows_of_a_forward_pass(recipe):
    config = load_recipe(recipe)
    assert config.rollout.num_slots >= config.model.batch_size


def test_the_schema_for_editors_is_true():
    assert json.loads((CONFIGS / "schema.json").read_text()) == json.loads(json.dumps(schema())), "run `make schema`"


def test_a_wrong_setting_ends_the_command_with_code_2_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "selu_hpc.submit", "--set", "env.horizon=0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "env.horizon: found 0; allowed: a whole number > 0" in done.stderr
