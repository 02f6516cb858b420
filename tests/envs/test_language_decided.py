"""Of a longer answer, what was decided on is read: not what was thought, what the task is, or what for."""

from __future__ import annotations

import pytest
from said_words import THOR, said_of


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Thought: I need to pick up the apple first. Action: go to the counter top", "go to the counter top"),
        ("I could open the fridge.\n**Action:** turn left", "turn left"),
        ('{"thought": "to open the fridge, walk", "action": "turn right"}', "turn right"),
        ('{"Action" : "open", "object": "fridge", "why": "then close the fridge"}', "open the fridge"),
        ("Action: turn left. No, action: turn right", "turn right"),
        (
            "Action: go to the fridge\nObservation: I see no fridge\nAction: open the fridge\nAction: done",
            "go to the fridge",
        ),
        ("Thought: it is closed. Action: open the fridge Thought: it is not done. Action: done", "open the fridge"),
        ('[{"action": "turn left"}, {"action": "open the fridge"}]', "turn left"),
        ('{"action": "open the fridge", "last_action": "move ahead"}', "open the fridge"),
        ('{"last_action": "move ahead", "action": "open the fridge"}', "open the fridge"),
        ('{"expected_next_action": "close the fridge", "action": "open the fridge"}', "open the fridge"),
        ("The fridge is closed. Next action: open the fridge", "open the fridge"),
        ("The task is to open the fridge. The next action is to go to the fridge.", "go to the fridge"),
        ("The task is to open the fridge, so the next action is to move ahead.", "move ahead"),
        ('The task is "open the fridge". The next action is "go to the fridge".', "go to the fridge"),
        ('To do the task "open the fridge", the next step would be to go to the fridge and pull.', "go to the fridge"),
        ("You need to open the fridge. The best next action is: move ahead.", "move ahead"),
        ("The goal is to slice the bread, so I will pick up the knife.", "pick up the knife"),
        ("My task is to open the fridge, and the fridge is not visible. Turn left.", "turn left"),
        ("Since the task is to pick up the mug, go to the mug.", "go to the mug"),
        ("The task is to drop it in the sink.", "put it in the sink"),
        ("The next action is not clear. Open the fridge.", "open the fridge"),
        ("Next action", None),
        ("Thought: now that the fridge is open I have brought all of it about. Action: done", "done"),
        ("Action: none. I turn left", "turn left"),
        ("Open the fridge. Action: think about it", "open the fridge"),
        ("Open the fridge. My next action closes the fridge", "open the fridge"),
        ("Open the fridge. Reaction: close the fridge", "open the fridge"),
    ],
)
def test_what_is_marked_as_the_action_is_read_before_what_was_thought(text: str, canonical: str) -> None:
    assert said_of(THOR, text) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("To open the fridge I must go to the fridge", "go to the fridge"),
        ("To open the fridge you first go to the sink", "go to the sink"),
        ("To pick up the mug the robot needs to turn left", "turn left"),
        ("Thought: to open the fridge we must turn left", "turn left"),
        ("To open the fridge", "open the fridge"),
        ("To open the fridge is what I should do", "open the fridge"),
        ("I want to open the fridge", "open the fridge"),
    ],
)
def test_a_purpose_is_no_command_though_no_comma_ends_it(text: str, canonical: str) -> None:
    assert said_of(THOR, text) == canonical
