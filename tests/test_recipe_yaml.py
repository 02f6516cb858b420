"""What YAML makes of a recipe's words and an override's: text stays text, and what it would cut or bend is refused."""

import pytest
from refusal import said

from selu_hpc.errors import ConfigError
from selu_hpc.recipes import load_recipe, load_run, load_settings, to_yaml
from selu_hpc.recipes.reading import read_value
from selu_hpc.site import Site


def test_a_rate_without_a_point_is_a_number_though_yaml_takes_it_for_text():
    assert load_recipe("selu", ["finetune.actor.learning_rate=1e-5"]).finetune.actor.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("resources.rollout.timeout_min=1:30:00", 'found "1:30:00"; allowed: a whole number > 0'),
        ("rollout.temperature=0:0.5", 'found "0:0.5"; allowed: a finite number >= 0'),
        ("env.horizon=020", 'found "020"; allowed: a whole number > 0'),
        ("seed=-010", 'found "-010"; allowed: a whole number >= 0'),
        ("env.vulkan_devices=[010]", 'env.vulkan_devices.0: found "010"; allowed: a whole number'),
    ],
)
def test_a_number_in_base_60_or_8_is_refused_wherever_it_stands(tmp_path, override, words):
    assert words in said(override)
    path, _, value = override.partition("=")
    *sections, key = path.split(".")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("".join(f"{{{section}: " for section in sections) + f"{{{key}: {value}}}" + "}" * len(sections))
    assert words in said(recipe=str(recipe))


@pytest.mark.parametrize("text", ["020", "09", "1:30", "1_0", "-.5", "1e5", "off", "2024-01-01"])
def test_text_that_looks_like_something_else_survives_yaml(tmp_path, text):
    config = load_recipe("selu", [f"model.base={text}"])
    assert config.model.base == text
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_run(tmp_path) == config


def test_an_override_means_its_words_where_the_setting_is_words():
    config = load_recipe("selu", ["critic.hindsight=off", "recipe=5", "model.lora_targets=[qk]"])
    assert (config.critic.hindsight, config.recipe, config.model.lora_targets) == ("off", "5", "[qk]")


def test_a_file_that_lacks_quotes_is_told_so(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "recipe: 5\nchain: on\ncritic: {hindsight: off}\nenv: {verbs: [on, 2024-01-01], horizon: off}\nseed: -1\n"
    )
    lines = said(recipe=str(recipe)).splitlines()
    hinted = [line.split(": ")[1] for line in lines if line.endswith("; put it in quotes")]
    assert hinted == ["recipe", "env.verbs.0", "env.verbs.1"]
    assert [line.split(": ")[1] for line in lines if line.endswith("; write 'off' with its quotes")] == [
        "critic.hindsight"
    ]


@pytest.mark.parametrize("text", ["null", "~"])
def test_nothing_is_no_word(text):
    assert "model.server_url: found null; allowed: text" in said(f"model.server_url={text}")


def test_what_json_can_not_say_is_told_all_the_same(tmp_path):
    (tmp_path / "mine.yaml").write_text("env: {verbs: [{2024-01-01: x}]}\n")
    assert "env.verbs.0: found {datetime.date(2024, 1, 1): 'x'}" in said(recipe=str(tmp_path / "mine.yaml"))


def test_an_account_of_digits_keeps_its_zero(tmp_path):
    profile = tmp_path / "lab.yaml"
    profile.write_text("name: lab\npartitions: {}\naccount: 0123\nsbatch_flags: {}\n")
    site = load_settings(Site, profile)
    assert (site.account, site.sbatch_flags) == ("0123", {})


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


@pytest.mark.parametrize("text", ["env: &e {x: *e}", "env: {verbs: &v [open, *v]}", "&top {env: *top}"])
def test_a_value_that_refers_to_itself_is_refused(tmp_path, text):
    recipe = tmp_path / "loop.yaml"
    recipe.write_text(text)
    assert f"{recipe}: not valid YAML: a value refers to itself" in said(recipe=str(recipe))
    assert "allowed: keys and values" in said("env=&e {x: *e}")


def test_a_setting_that_yaml_takes_for_a_date_that_is_none_is_a_word():
    assert load_recipe("selu", ["recipe=2024-13-45"]).recipe == "2024-13-45"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/lab #2/x.sif@sha256:00", "/lab #2/x.sif@sha256:00"),
        ("#2/x.sif", "#2/x.sif"),
        ("'/lab #2/x.sif'", "/lab #2/x.sif"),
        ("a#b", "a#b"),
        ("['a #b', 2]", ["a #b", 2]),
        ("0.9 # sure", "0.9 # sure"),
    ],
)
def test_nothing_of_an_override_is_taken_for_a_comment(text, value):
    assert read_value(text) == value


def test_an_override_that_yaml_would_cut_is_kept_where_it_is_text_and_else_refused():
    image = f"/lab #2/x.sif@sha256:{'0' * 64}"
    assert load_recipe("selu", [f"image={image}"]).image == image
    with pytest.raises(ConfigError, match=r'critic\.sure_yes: found "0.9 # sure"; allowed: a finite number'):
        load_recipe("selu", ["critic.sure_yes=0.9 # sure"])
