"""Controls and baselines over the toy home: whose word counts, and how often it is asked for."""

from __future__ import annotations

import dataclasses

import pytest
from toy_cases import BROKEN, OPENED, case, composed, purposes, task
from toy_home import ToyModel

from selu_hpc.config import CriticMode, Hindsight, Learning, RunConfig, Simulator
from selu_hpc.envs.goals import make_task
from selu_hpc.records import Goal, Truth
from selu_hpc.selu.baselines import judge_of


def judge(model: ToyModel | None, **changes: object):
    config = RunConfig.of(changes)
    return judge_of(config, model, adapter=None)


def test_the_coin_says_yes_half_the_time_and_the_same_every_time():
    cases = [case(task("open", "Fridge"), number) for number in range(400)]
    labels = judge(None, critic={"mode": "random"}).judge(cases)
    assert 160 < sum(label.verdict for label in labels) < 240
    assert labels == judge(None, critic={"mode": "random"}).judge(cases)
    assert labels[7:8] == judge(None, critic={"mode": "random"}).judge(cases[7:8])


def test_without_a_critic_every_episode_counts():
    labels = judge(None, critic={"mode": "none"}).judge([case(task("open", "Fridge"))])
    assert [label.verdict for label in labels] == [True]


def test_the_oracle_takes_verdict_and_relabelling_from_the_truth():
    opened = Goal(verb="open", target="Cabinet")
    truths = {
        "r01-s0000-e0000": Truth(episode_id="r01-s0000-e0000", success_after=(False, True)),
        "r01-s0000-e0001": Truth(episode_id="r01-s0000-e0001", success_after=(False, False), achieved=(opened,)),
    }
    config = RunConfig.of({"critic": {"mode": CriticMode.ORACLE, "hindsight": Hindsight.INSTRUCTION_VERB}})
    cases = [case(task("open", "Fridge"), number) for number in range(2)]
    labels = judge_of(config, None, adapter=None, truths=truths).judge(cases)
    assert [label.verdict for label in labels] == [True, False]
    assert [label.relabelled for label in labels] == [None, task("open", "Cabinet")]


def test_the_oracle_relabels_to_what_hindsight_could_have_asked_about():
    """Not to what has no name, nor to where something else came to lie."""
    sliced = Goal(verb="put", target="AppleSliced", place="CounterTop")
    elsewhere = Goal(verb="put", target="Pen", place="Desk")
    asked = make_task("FloorPlan1", (Goal(verb="put", target="Mug", place="Desk"),), simulator=Simulator.THOR)
    config = RunConfig.of({"critic": {"mode": CriticMode.ORACLE}})
    for achieved, relabelled in [
        ((sliced, elsewhere), None),
        ((sliced, Goal(verb="put", target="Mug", place="Shelf")), "put the mug on the shelf"),
    ]:
        truth = Truth(episode_id="r01-s0000-e0000", success_after=(False, False), achieved=achieved)
        judge = judge_of(config, None, adapter=None, truths={truth.episode_id: truth})
        (label,) = judge.judge([case(asked)])
        assert (label.relabelled.instruction if label.relabelled else None) == relabelled


def test_the_oracle_relabels_a_composition_to_the_goal_that_was_reached():
    truth = Truth(episode_id="r01-s0000-e0000", success_after=(False, False), achieved=(OPENED,))
    config = RunConfig.of({"critic": {"mode": CriticMode.ORACLE}})
    judge = judge_of(config, None, adapter=None, truths={truth.episode_id: truth})
    assert judge.judge([case(composed(OPENED, BROKEN))])[0].relabelled == task("open", "Fridge")
    assert judge.judge([case(task("open", "Fridge"))])[0].relabelled is None


def test_a_majority_of_five_samples_decides():
    class Wavers(ToyModel):
        said = 0

        def answer(self, request):
            self.said += 1
            return "no" if self.said % 3 == 0 else "yes"

    (label,) = judge(Wavers(), learning=Learning.SELF_CONSISTENCY).judge([case(task("open", "Fridge"))])
    assert [exchange.taken for exchange in label.exchanges] == ["yes", "yes", "no", "yes", "yes"]
    assert label.verdict


def test_self_refine_gives_feedback_until_nothing_changes_and_at_most_three_times():
    class Contrary(ToyModel):
        def verdict(self, prompt, state):
            told = prompt.count("You see:")
            self.turns = getattr(self, "turns", 0) + bool(told)
            return "yes" if self.turns % 2 else "no"

    (label,) = judge(Contrary(), learning=Learning.SELF_REFINE).judge([case(task("open", "Fridge"))])
    assert purposes(label) == ["verdict", *["feedback", "refined verdict"] * 3]
    assert (label.first, label.verdict) == (False, True)
    (label,) = judge(ToyModel(), learning=Learning.SELF_REFINE).judge([case(task("open", "Fridge"))])
    assert purposes(label) == ["verdict", "feedback", "refined verdict"]


def test_self_refine_may_ask_for_the_states_as_its_feedback_whatever_the_first_verdict_was():
    toy = ToyModel()
    toy.verdict = lambda prompt, state: "yes" if "Is the fridge open? yes." in prompt else "no"
    opened, closed = case(task("open", "Fridge"), open=["Fridge"]), case(task("open", "Fridge"), 1)
    yes, no = judge(toy, learning=Learning.SELF_REFINE, critic={"feedback": "states"}).judge([opened, closed])
    assert purposes(yes) == ["verdict", *["feedback", "refined verdict"] * 2]
    assert (yes.first, yes.verdict) == (False, True)
    assert (no.first, no.verdict) == (False, False)
    toy.verdict = lambda prompt, state: "no" if "Is the fridge open? no." in prompt else "yes"
    (no,) = judge(toy, learning=Learning.SELF_REFINE, critic={"feedback": "states"}).judge([closed])
    assert (no.first, no.verdict) == (True, False), "a yes is doubted too"


def test_scoring_accepts_the_likeliest_third():
    cases = [case(task("open", "Fridge"), number, open=["Fridge"] if number % 3 == 0 else []) for number in range(9)]
    labels = judge(ToyModel(), learning=Learning.SCORING).judge(cases)
    assert [label.verdict for label in labels] == [number % 3 == 0 for number in range(9)]


@pytest.mark.parametrize("number", [1, 2])
def test_scoring_accepts_one_of_however_few(number):
    cases = [case(task("open", "Fridge"), at) for at in range(number)]
    labels = judge(ToyModel(), learning=Learning.SCORING).judge(cases)
    assert [label.verdict for label in labels] == [True, False][:number]
    assert judge(ToyModel(), learning=Learning.SCORING).judge([]) == []


def test_another_seed_is_another_coin():
    """Episodes are called alike in every run, so it is the seed that tells them apart."""
    cases = [case(task("open", "Fridge"), number) for number in range(100)]
    again = [dataclasses.replace(one, seed=one.seed + 1000) for one in cases]
    coin = judge(None, critic={"mode": "random"})
    first, second = ([label.verdict for label in coin.judge(some)] for some in (cases, again))
    assert 25 < sum(one != other for one, other in zip(first, second, strict=True)) < 75


def test_each_vote_of_an_episode_has_a_seed_of_its_own():
    heard: list[int] = []

    class Seeded(ToyModel):
        def generate(self, requests, *, seeds=None, **settings):
            heard.extend(seeds)
            return super().generate(requests, seeds=seeds, **settings)

    voting = judge(Seeded(), learning=Learning.SELF_CONSISTENCY)
    voting.judge([case(task("open", "Fridge"), number) for number in (0, 1)])
    assert len(heard) == len(set(heard)) == 10


@pytest.mark.parametrize(("hindsight", "goal"), [("off", ("open", "Cabinet")), ("instruction_verb", ("break", "Mug"))])
def test_the_oracle_relabels_no_further_than_hindsight_is_set_to(hindsight, goal):
    one = case(task("open", "Fridge"))
    achieved = (Goal(verb=goal[0], target=goal[1]),)
    truths = {one.episode_id: Truth(episode_id=one.episode_id, success_after=(False, False), achieved=achieved)}
    config = RunConfig.of({"critic": {"mode": "oracle", "hindsight": hindsight}})
    (label,) = judge_of(config, None, adapter=None, truths=truths).judge([one])
    assert label.relabelled is None
