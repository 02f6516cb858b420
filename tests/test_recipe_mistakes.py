"""What is said about a wrong recipe or profile: where, what was found, and what is allowed."""

import json
import subprocess
import sys

import pytest
from refusal import said

from selu_hpc.errors import ConfigError
from selu_hpc.recipes import load_settings
from selu_hpc.site import Site


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
        ("env.verbs=open", 'env.verbs: found "open"; allowed: a list such as [one, another], each of it text'),
        ("env.verbs=[open, 5]", "env.verbs.1: found 5; allowed: text"),
        ("finetune.zero_stage=4", "found 4; allowed: 0, 1, 2 or 3"),
        ("critic.self_asking=often", 'found "often"; allowed: true or false'),
        ("resources.gate=5", "resources.gate: found 5; allowed: keys and values"),
    ],
)
def test_what_is_allowed_is_said_in_words(override, words):
    assert words in said(override)


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("rounds=99999999999999999999999", "a whole number > 0 and <= 1000"),
        ("rollout.num_shards=10001", "a whole number > 0 and <= 10000"),
        ("evaluate.num_shards=10001", "a whole number > 0 and <= 10000"),
        ("retry.max_retries=1000000", "a whole number >= 0 and <= 500"),
    ],
)
def test_what_a_plan_counts_has_an_end(override, allowed):
    path, _, value = override.partition("=")
    assert f"{path}: found {value}; allowed: {allowed}" in said(override)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.base=\udcff", 'model.base: found "\\udcff"; allowed: text; it is not UTF-8'),
        ('env.verbs=["\\ud800"]', 'env.verbs.0: found "\\ud800"; allowed: text; it is not UTF-8'),
        (f"seed={2**63}", "allowed: a whole number >= 0; it takes more than 64 bits"),
    ],
)
def test_what_the_runs_files_cannot_hold_is_refused(override, words):
    assert words in said(override)


def test_what_the_runs_files_cannot_hold_is_refused_wherever_it_is_nested():
    with pytest.raises(ValueError, match=r"sbatch_flags is .* which is not UTF-8"):
        Site(name="lab", partitions={}, sbatch_flags={"comment": "\udcff"})


@pytest.mark.parametrize("name", ["", "../../x", "a/b", ".hidden", "a\tb", "a\x7f"])
def test_a_recipe_whose_name_is_no_part_of_a_folders_name_is_refused(name):
    words = "allowed: a name without / and control characters that begins with no dot"
    assert f"recipe: found {json.dumps(name, ensure_ascii=False)}; {words}" in said(f"recipe={json.dumps(name)}")


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


@pytest.mark.parametrize(
    ("override", "path"), [("env.horizon.x=3", "env.horizon"), ("env.vulkan_devices.a=1", "env.vulkan_devices")]
)
def test_keys_below_a_setting_that_has_none_are_blamed_on_who_wrote_them(override, path):
    assert said(override).startswith(f"--set {override}: {path}: found {{")


def test_a_recipe_that_extends_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: a\n")
    (tmp_path / "c.yaml").write_text(f"extends: ../{tmp_path.name}/c.yaml\n")
    for name in "abc":
        assert "extends itself" in said(recipe=str(tmp_path / f"{name}.yaml"))


@pytest.mark.parametrize("value", ["nan", ".inf", "-1", "''", "[]", "{}", "yes please"])
def test_a_wrong_temperature_is_refused(value):
    assert "rollout.temperature" in said(f"rollout.temperature={value}")


def test_a_wrong_setting_ends_the_command_with_code_2_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "selu_hpc.submit", "--set", "env.horizon=0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "env.horizon: found 0; allowed: a whole number > 0" in done.stderr


@pytest.mark.parametrize("override", [".=1", "=1", "env.=1", ".horizon=20", "env..horizon=20"])
def test_a_setting_without_a_name_is_told_how_to_write_it(override):
    assert f"--set {override!r}: write it as section.key=value, for example" in said(override)
