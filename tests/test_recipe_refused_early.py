"""What only a later stage would refuse is refused with the recipe, before a round is paid for."""

import pytest
from refusal import said

from selu_hpc.recipes import load_recipe


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


def test_what_is_typed_for_a_critic_that_does_not_read_it_is_refused_and_may_stand_in_a_recipe(tmp_path):
    words = "critic.own_words: learning is self_refine, whose judge does not read it: leave it out"
    assert words in said("critic.own_words=false", recipe="self_refine")
    assert load_recipe("self_refine", ["critic.frames=all"]).critic.frames == "all"
    words = "critic.feedback: learning is selu, whose judge does not read it: leave it out"
    assert words in said("critic.feedback=states")
    assert load_recipe("self_refine", ["critic.feedback=states"]).critic.feedback == "states"
    words = "critic.consistency_check: it is of what hindsight finds, and critic.hindsight is off: leave it out"
    assert words in said("critic.consistency_check=false", recipe="no_hindsight")
    assert not load_recipe("paper", ["critic.hindsight=off"]).critic.consistency_check
    words = "critic.hindsight: critic.mode is random, which relabels nothing: leave it out"
    assert words in said("critic.hindsight=any_verb", recipe="random")
    assert not load_recipe("random", ["critic.own_words=false"]).critic.own_words, "at the test it judges as SELU does"
    words = "critic.mode: critic.mode oracle judges every episode, and learning scoring none: take one of them"
    assert words in said("critic.mode=oracle", recipe="scoring")
    assert load_recipe("lmsi", ["critic.mode=oracle"]).learning == "lmsi", "its actor votes"
    (mine := tmp_path / "mine.yaml").write_text("extends: paper\nrecipe: mine\nlearning: self_refine\n")
    assert not load_recipe(str(mine)).critic.own_words


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
