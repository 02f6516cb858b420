"""Goals read out of an actor's words."""

from __future__ import annotations

import pytest

from selu_hpc.config import Simulator
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal
from selu_hpc.selu.deeds import deeds, tried

THOR, HOME = language_of(Simulator.THOR), language_of(Simulator.VIRTUALHOME)


def test_only_actions_on_things_are_deeds_and_going_somewhere_brings_no_goal_about():
    said = ["turn left", "", "go to the fridge", "open the fridge", "put it in the fridge", "done"]
    assert deeds(said, THOR) == [
        Goal(verb="go to", target="Fridge"),
        Goal(verb="open", target="Fridge"),
        Goal(verb="put", target="", place="Fridge"),
    ]
    assert deeds(["drop", "drop the mug"], THOR) == [Goal(verb="drop", target="Mug")]
    assert not tried([Goal(verb="put", target="Mug", place="Sink")], ["drop the mug"], THOR)
    assert deeds(["sit on the sofa"], HOME) == [Goal(verb="sit", target="sofa")]


@pytest.mark.parametrize(
    ("goal", "said", "expected"),
    [
        (Goal(verb="open", target="Fridge"), ["open the fridge"], True),
        (Goal(verb="open", target="Fridge"), ["go to the fridge", "close the fridge"], False),
        (Goal(verb="open", target="Fridge"), ["open the cabinet"], False),
        (Goal(verb="put", target="Apple", place="Fridge"), ["put it in the fridge"], True),
        (Goal(verb="put", target="Apple", place="Fridge"), ["put the apple in the fridge"], True),
        (Goal(verb="put", target="Apple", place="Fridge"), ["put the egg in the fridge"], False),
        (Goal(verb="put", target="Apple", place="Fridge"), ["put it in the sink"], False),
        (Goal(verb="pick up", target="Apple"), [], False),
    ],
)
def test_a_goal_was_tried_when_its_verb_was_said_with_its_object(goal, said, expected):
    assert tried([goal], said, THOR) is expected


def test_every_goal_of_a_composed_task_must_have_been_tried():
    goals = [Goal(verb="open", target="Fridge"), Goal(verb="put", target="Egg", place="Fridge")]
    assert not tried(goals, ["open the fridge"], THOR)
    assert tried(goals, ["open the fridge", "put it in the fridge"], THOR)
