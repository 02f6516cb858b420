"""The probe of general ability: what is asked of an episode, and which answers are right."""

import pytest

from selu_hpc.config import Simulator
from selu_hpc.records import Goal, Truth
from selu_hpc.selu.probe import is_right, probe_questions

PUT = Goal(verb="put", target="Apple", place="CounterTop")


def test_what_has_no_name_is_not_asked_about():
    sliced = (Goal(verb="put", target="LettuceSliced", place="CounterTop"), Goal(verb="slice", target="Lettuce"))
    truth = Truth(episode_id="e", success_after=(False, True), achieved=sliced)
    assert {one.goal.target for one in probe_questions([truth], simulator=Simulator.THOR)} == {"Lettuce"}
    nothing = Truth(episode_id="e", success_after=(False, True), achieved=sliced[:1])
    assert probe_questions([nothing], simulator=Simulator.THOR) == []


@pytest.mark.parametrize(
    ("answer", "right"),
    [("counter top", True), ("The apple is on the counter top.", True), ("apple", False), ("in the fridge", False)],
)
def test_a_place_is_right_by_itself_and_in_a_sentence(answer, right):
    truth = Truth(episode_id="e", success_after=(False, True), achieved=(PUT,))
    *_, which = probe_questions([truth], simulator=Simulator.THOR)
    assert (which.kind, which.expected) == ("which put", "CounterTop")
    assert is_right(which, answer, simulator=Simulator.THOR) is right
