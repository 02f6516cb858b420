"""Who is ahead of whom in the end: counted on the same episodes of the same seeds."""

from __future__ import annotations

from summaries import summary

from selu_hpc.selu.leads import leads_markdown, make_leads, way_markdown
from selu_hpc.summaries import as_of


def end(first: str, success: str) -> dict[str, object]:
    return {"round": 5, "first": first, "success": success}


def test_a_lead_is_the_last_rounds_difference_over_the_seeds_that_both_have():
    """The truth is 1010."""
    ours = [summary(seed=seed, last=end("1010", "1110")) for seed in (0, 1)]
    theirs = [summary(recipe="lmsi", seed=seed, last=end("1011", "1000")) for seed in (1, 2)]
    (lead,) = make_leads([*ours, *theirs])
    assert (lead.recipe, lead.seeds) == ("lmsi", (1,))
    assert (lead.critic.gain, lead.actor.gain) == (25.0, 50.0)
    assert "| lmsi | 5 | 1 | +25.0 [" in leads_markdown([lead])


def test_leads_after_other_numbers_of_rounds_are_told_apart_and_the_base_leads_nobody():
    runs = [summary(recipe=name, last={**end("1010", "1110"), "round": far}) for name in ("selu", "lmsi")
            for far in (0, 3, 5)]  # fmt: skip
    for number, one in enumerate(runs):
        one["signature"] = str(number)
    assert [(lead.recipe, lead.rounds) for lead in make_leads(runs)] == [("lmsi", 5), ("lmsi", 3)]


def test_leads_after_an_earlier_round_are_of_the_runs_that_were_measured_after_it():
    runs = [summary(recipe=name, last={**end("1010", "1110"), "round": 5}) for name in ("selu", "lmsi", "random")]
    for one, success in zip(runs[:2], ("1110", "1000"), strict=True):
        one["rounds"].insert(1, {**one["rounds"][-1], "round": 2, "success": success})
    (lead,) = make_leads(as_of(runs, 2))
    assert (lead.recipe, lead.rounds, lead.actor.gain) == ("lmsi", 2, 50.0)
    assert {each.rounds for each in make_leads(runs)} == {5}


def test_an_actor_that_acts_otherwise_from_the_start_is_compared_on_the_same_tasks():
    by_vote = summary(recipe="self_consistency", last=end("1010", "1000"))
    by_vote["rounds"][0]["success"] = "0000"
    assert [lead.recipe for lead in make_leads([summary(last=end("1010", "1110")), by_vote])] == ["self_consistency"]


def test_a_seed_is_compared_though_a_base_judged_one_episode_otherwise_on_another_machine():
    theirs = summary(recipe="lmsi", last=end("1011", "1000"))
    theirs["rounds"][0] = {**theirs["rounds"][0], "first": "0001"}
    assert [lead.seeds for lead in make_leads([summary(last=end("1010", "1110")), theirs])] == [(0,)]


def test_other_tests_other_rounds_and_settings_that_could_be_mistaken_are_not_compared():
    ours = summary(last=end("1010", "1110"))
    elsewhere = summary(recipe="lmsi", world="known", last=end("1010", "1110"))
    other_tests = summary(recipe="lmsi", last=end("1010", "1110"), truth="1100")
    not_as_far = summary(recipe="lmsi", last={**end("1010", "1110"), "round": 3})
    assert make_leads([ours, elsewhere, other_tests, not_as_far]) == []
    of_two_kinds = [
        summary(recipe="lmsi", last=end("1010", "1110"), signature=f"{s}-0", settings=f"{s}-0") for s in "ab"
    ]
    assert make_leads([ours, *of_two_kinds]) == []


def test_a_lead_over_a_recipe_that_played_less_says_so():
    ours, theirs = summary(last=end("1010", "1110")), summary(recipe="lmsi", last=end("1010", "1110"), episodes=4)
    assert "| lmsi (4 episodes, not 10) | 5 | 1 |" in leads_markdown(make_leads([ours, theirs]))
    assert "| lmsi | 5 | 1 |" in leads_markdown(make_leads([ours, {**theirs, "episodes": 10}]))


def test_failures_of_one_way_are_compared_by_themselves():
    """The truth is 1010: the second episode was undone, the fourth went to another object."""
    ways = {"critic_ways": ["expert", "undone", "expert", "wrong_object"]}
    ours = [{**summary(seed=seed, last=end("1100", "1110")), **ways} for seed in (0, 1)]
    theirs = [{**summary(recipe="lmsi", seed=seed, last=end("1001", "1000")), **ways} for seed in (0, 1)]
    text = way_markdown([*ours, *theirs], "undone")
    assert "failures by undone called a success" in text
    assert "| selu | 2 | 100.0 | – |" in text
    assert "| lmsi | 2 | 0.0 | +100.0 [" in text
    assert "| lmsi | 2 | 100.0 | -100.0 [" in way_markdown([*ours, *theirs], "wrong_object")
    assert way_markdown([*ours, *theirs], "out_of_reach") == ""
    without_ways = summary(recipe="random", last=end("1111", "1000"))
    assert way_markdown([*ours, *theirs, without_ways], "undone") == text
