"""What somebody new types wrong: said with the words that were typed and what to type in their place."""

import pytest
from refusal import said

from selu_hpc.config import RunConfig
from selu_hpc.engines.checks.named import require_named
from selu_hpc.errors import ConfigError
from selu_hpc.recipes import load_recipe, load_site
from selu_hpc.rounds.provenance import open_run


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("gpu01:8000", "http://gpu01:8000"),
        ("gpu01", "http://gpu01"),
        ("ftp://gpu01", "http://NODE:PORT"),
        ("http://", "http://NODE:PORT"),
        ("http://gpu01:many", "http://NODE:PORT"),
    ],
)
def test_a_server_that_no_request_would_go_to_is_refused_with_one_that_would(url, wanted):
    override = f"model.server_url={url}"
    told = f'found "{url}", which is no address; write one such as {wanted}'
    assert said(override) == f"--set {override}: model.server_url: {told}"
    assert load_recipe("selu", ["model.server_url=https://gpu01/v1"]).model.server_url == "https://gpu01/v1"


def test_a_run_whose_server_is_no_address_goes_on_with_one_that_is(tmp_path):
    model = RunConfig().model.but(server_url="gpu01:8000")
    run, _ = open_run(tmp_path, RunConfig(model=model))
    assert "write one such as http://gpu01:8000" in said(recipe=str(run.config_file))
    mended = load_recipe(str(run.config_file), ["model.server_url=http://gpu01:8000"])
    assert mended.model.server_url == "http://gpu01:8000"


@pytest.mark.parametrize("override", ["model.base=''", "model.dtype=float16", "recipe=a/b", "game.name=blackjack"])
def test_what_is_typed_for_a_run_that_is_there_is_looked_at_like_a_new_runs(tmp_path, override):
    """It may be one that nothing has begun in, which takes any setting."""
    run, _ = open_run(tmp_path, RunConfig())
    assert said(override, recipe=str(run.config_file)).startswith(f"--set {override}: {override.partition('=')[0]}: ")


def test_what_a_run_was_begun_with_keeps_nobody_from_what_is_typed_now(tmp_path):
    run, _ = open_run(tmp_path, RunConfig(model=RunConfig().model.but(dtype="float16")))
    assert load_recipe(str(run.config_file), ["rollout.num_slots=3"]).model.dtype == "float16"


@pytest.mark.parametrize("base", ["", " "])
def test_an_empty_base_is_refused_with_what_may_be_one(base):
    assert f'model.base: found "{base}"; give a folder, a hub id, or `pocket`' in said(f"model.base='{base}'")
    with pytest.raises(ConfigError, match="names nothing; give a folder, a hub id, or `pocket`"):
        require_named(RunConfig(model=RunConfig().model.but(base=base)))


@pytest.mark.parametrize(
    ("overrides", "blamed"),
    [
        (["finetune.num_ranks=3"], "--set finetune.num_ranks=3: finetune.num_ranks: "),
        (["finetune.micro_batch=3"], "--set finetune.micro_batch=3: finetune.micro_batch: "),
        (["finetune.num_ranks=2", "finetune.global_batch=17"], "--set finetune.num_ranks=2: finetune.num_ranks: "),
    ],
)
def test_a_batch_that_the_ranks_cannot_share_is_blamed_on_what_was_typed(overrides, blamed):
    assert said(*overrides).startswith(f"{blamed}finetune.global_batch 1")


def test_a_batch_that_the_ranks_cannot_share_is_refused_with_the_numbers_that_can(tmp_path):
    told = "finetune.global_batch 16 in micro-batches of 16 cannot be shared by 3 ranks; numbers of ranks that can: "
    assert told + "1, 2, 4, 8, 16; change finetune.num_ranks, finetune.micro_batch or finetune.global_batch" in said(
        "finetune.num_ranks=3"
    )
    assert "game.batch 100 in micro-batches of " in said("game.batch=100", "finetune.num_ranks=8", recipe="rl4vlm")
    (tmp_path / "mine.yaml").write_text("extends: selu\nfinetune: {num_ranks: 3}\n")
    assert said(recipe=f"{tmp_path}/mine.yaml").startswith(f"{tmp_path}/mine.yaml: finetune.num_ranks: {told}")


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("horizon=20", "'env.horizon'"),
        ("num_shards=3", "'rollout.num_shards' or 'evaluate.num_shards'"),
        ("environment.horizon=20", "'env.horizon'"),
        ("rolout.num_shards=3", "'rollout.num_shards'"),
        ("env.self_asking=false", "'critic.self_asking'"),
        ("rollout.seed=1", "'seed'"),
        ("env.horizn=3", "'horizon'"),
    ],
)
def test_a_setting_that_lies_elsewhere_is_told_where(override, meant):
    assert f": unknown key; did you mean {meant}? allowed here: " in said(override)


def test_a_setting_that_every_stage_has_is_not_told_of_each(tmp_path):
    assert ": unknown key; allowed here: " in said("timeout_min=3")


def test_a_wrong_verb_is_told_with_where_it_was_written(tmp_path):
    assert said("env.verbs=[opne]").startswith("--set env.verbs=[opne]: env.verbs has opne; thor has pick up")
    (tmp_path / "mine.yaml").write_text("extends: selu\nenv: {verbs: [opne]}\n")
    assert said(recipe=f"{tmp_path}/mine.yaml").startswith(f"{tmp_path}/mine.yaml: env.verbs has opne; thor has")


def test_a_file_whose_name_says_nothing_of_yaml_is_told_how_it_has_to_end(tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    for what, load in (("recipe", load_recipe), ("site profile", load_site)):
        with pytest.raises(ConfigError) as told:
            load(f"{tmp_path}/mine.json")
        assert str(told.value) == f"{what} '{tmp_path}/mine.json': a file's name must end in .yaml or .yml; rename it"
