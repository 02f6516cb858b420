"""Recipes, overrides and what is said about wrong ones."""

import json
import shlex
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml

from selu_hpc.config import RunConfig
from selu_hpc.errors import ConfigError
from selu_hpc.recipes import CONFIGS, load_recipe, load_run, load_settings, to_yaml
from selu_hpc.recipes.schema import schema
from selu_hpc.rounds.provenance import open_run
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


def test_an_empty_section_takes_nothing_away(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("extends: llava_7b\nrecipe: mine\nmodel: {}\nfinetune: {}\nresources: {finetune: {}}\n")
    mine = load_recipe(str(recipe), ["finetune.actor={}", "env={}"])
    assert mine == load_recipe("llava_7b").but(recipe="mine")


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


def test_an_account_of_digits_keeps_its_zero(tmp_path):
    profile = tmp_path / "lab.yaml"
    profile.write_text("name: lab\npartitions: {}\naccount: 0123\nsbatch_flags: {}\n")
    site = load_settings(Site, profile)
    assert (site.account, site.sbatch_flags) == ("0123", {})


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


def test_a_recipe_that_extends_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: a\n")
    (tmp_path / "c.yaml").write_text(f"extends: ../{tmp_path.name}/c.yaml\n")
    for name in "abc":
        assert "extends itself" in said(recipe=str(tmp_path / f"{name}.yaml"))


def test_a_recipe_may_have_the_name_of_the_shipped_one_that_it_extends(tmp_path):
    (tmp_path / "llava_7b.yaml").write_text("extends: llava_7b\nseed: 7\n")
    assert load_recipe(str(tmp_path / "llava_7b.yaml")) == load_recipe("llava_7b", ["seed=7"])


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


def test_what_only_fine_tuning_would_refuse_is_refused_before_round_1_is_paid_for(tmp_path):
    (tmp_path / "list.json").write_text("[]")
    wrong = ["model.dtype=float16", "model.lora_targets=(", "finetune.deepspeed=/nosuch"]
    found = ['found "float16"', "found '(', which is no regular expression", "'/nosuch' cannot be read as JSON"]
    for line, override, what in zip(said(*wrong).splitlines(), wrong, found, strict=True):
        assert line.startswith(f"--set {override}: {override.partition('=')[0]}: {what}")
    assert "holds no JSON object" in said(f"finetune.deepspeed={tmp_path}/list.json")
    (tmp_path / "mine.json").write_text('{"bf16": {}, "zero_optimization": {}}')
    assert "mine.json' says bf16, which model.dtype decides; remove" in said(f"finetune.deepspeed={tmp_path}/mine.json")
    (tmp_path / "sgd.json").write_text('{"optimizer": {"type": "SGD"}}')
    assert "sgd.json' says optimizer.type is 'SGD'; checkpoints" in said(f"finetune.deepspeed={tmp_path}/sgd.json")
    assert load_recipe("zero_shot", wrong).model.dtype == "float16"


def test_a_deepspeed_file_that_is_another_one_in_another_folder_is_refused_whatever_the_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("{}")
    assert f"'mine.json': is another file in another folder; write {tmp_path}/mine.json" in said(
        "finetune.deepspeed=mine.json"
    )
    assert load_recipe("selu", [f"finetune.deepspeed={tmp_path}/mine.json"])
    assert load_recipe("selu", ["image=/lab.sif", "finetune.deepspeed=mine.json"])


def test_a_deepspeed_file_that_an_image_may_have_is_not_looked_for_here(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    image = "image=/lab.sif"
    assert load_recipe("selu", [image, "finetune.deepspeed=/opt/mine.json"]).finetune.deepspeed == "/opt/mine.json"
    assert "cannot be read as JSON" in said(image, f"finetune.deepspeed={tmp_path}/broken.json")


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


def test_what_no_episode_could_be_played_with_is_refused_before_it_becomes_a_runs_identity():
    assert "xvfb needs env.unity_commit; docs/" in said("env.backend=xvfb", "env.unity_releases=/unity")
    home = ["env.simulator=virtualhome", "env.backend=xvfb"]
    assert said(*home).splitlines() == [
        "--set env.backend=xvfb: env.backend: xvfb needs env.unity_releases; docs/real-simulators.md says how to fetch "
        "a build"
    ]
    assert load_recipe("selu", [*home, "env.unity_releases=/unity"]).env.unity_releases == "/unity"
    headless = ["env.simulator=virtualhome", "env.backend=cloud_rendering", "env.unity_releases=/unity"]
    assert "cloud_rendering is AI2-THOR's; VirtualHome's build draws under X: set env.backend to xvfb" in said(
        *headless
    )


def test_what_the_critic_could_not_do_is_refused_before_a_round_is_paid_for():
    remote = "model.server_url=http://gpu01:8000"
    words = "model.server_url: learning scoring weighs given answers, which a server does not tell; leave"
    assert words in said("learning=scoring", remote)
    assert load_recipe("selu", [remote]).model.server_url
    assert "critic.sure_yes: 0.98 sends an unsure yes to self-asking, and critic.self_asking is false" in said(
        "critic.self_asking=false", "critic.sure_yes=0.98"
    )


@pytest.mark.parametrize("override", [".=1", "=1", "env.=1", ".horizon=20", "env..horizon=20"])
def test_a_setting_without_a_name_is_told_how_to_write_it(override):
    assert f"--set {override!r}: write it as section.key=value, for example" in said(override)


def test_a_game_asked_for_where_none_is_played_is_refused():
    told = said("game.name=blackjack")
    assert "game.name: learning is selu, which plays no card games: add `--recipe rl4vlm`" in told
    assert load_recipe("rl4vlm", ["game.name=blackjack"]).game.name == "blackjack"


@pytest.mark.parametrize("override", ["env.simulator=virtualhome", "critic.mode=none", "mix.actor_samples=16"])
def test_what_a_game_has_no_use_for_is_refused_and_not_dropped_without_a_word(override):
    words = f"{override.partition('=')[0]}: learning is rl4vlm, which plays card games without it: leave it out"
    assert (
        said(override, recipe="rl4vlm")
        == f"--set {override}: {words} (a run that was begun with it goes on by --run alone)"
    )
