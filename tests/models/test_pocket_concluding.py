"""What follows from a told state, as the built-in model is taught it."""

from __future__ import annotations

import numpy as np
import pytest

from selu_hpc.config import Simulator
from selu_hpc.envs.goals import THOR_VERBS, VIRTUALHOME_VERBS, make_task
from selu_hpc.models.pocket.lessons.data import Tokens
from selu_hpc.models.pocket.lessons.questions import Asked
from selu_hpc.models.pocket.teaching.concluding import concluded
from selu_hpc.models.pocket.teaching.packing import Block
from selu_hpc.records import Goal
from selu_hpc.selu import wording

PLACES = {Simulator.THOR: ("Plate", "SideTable"), Simulator.VIRTUALHOME: ("plate", "kitchencabinet")}


def _block(asked: Asked) -> Block:
    [(ids, num_answer, _)] = Tokens().of([asked])
    return Block(np.array(ids), num_answer)


@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.parametrize(
    ("simulator", "verb"),
    [*((Simulator.THOR, verb) for verb in THOR_VERBS), *((Simulator.VIRTUALHOME, verb) for verb in VIRTUALHOME_VERBS)],
)
def test_a_told_state_decides_the_second_verdict_in_its_own_words(simulator: Simulator, verb: str, answer: str) -> None:
    target, place = PLACES[simulator]
    goal = Goal(verb=verb, target=target, place=place if verb == "put" else "")
    question = wording.state_question(goal, simulator=simulator)
    found = concluded(_block(Asked(wording.state_prompt(question), answer, "")), f"state {verb}", simulator)
    instruction = make_task("", (goal,), simulator=simulator).instruction
    prompt = wording.verdict_prompt(instruction, answers=[(question, answer)])
    assert found is not None
    assert found[1] == f"told {verb}"
    assert found[0].ids.tolist() == _block(Asked(prompt, answer, "")).ids.tolist()


def test_nothing_follows_from_another_kind_of_question() -> None:
    for words in ("Which object is open? Say the object or none.", "Is the unobtainium open? yes or no?"):
        assert concluded(_block(Asked(words, "none", "")), "state open", Simulator.THOR) is None


def test_the_shipped_model_concludes_from_what_it_was_told() -> None:
    """Whatever a picture shows: a state told as true makes the verdict a yes, for every verb but few objects."""
    from selu_hpc.config import ModelConfig
    from selu_hpc.models.vlm import Request, load_generator
    from selu_hpc.selu.reading import read_yes_no

    picture = np.full((96, 96, 3), 127, dtype=np.uint8)
    targets = {"pick up": "Book", "put": "Book", "break": "Statue", "slice": "Bread", "toggle on": "Faucet"}
    targets |= {"toggle off": "Faucet", "open": "Fridge", "close": "Fridge"}
    asked = []
    for verb, target in targets.items():
        goal = Goal(verb=verb, target=target, place="SideTable" if verb == "put" else "")
        question = wording.state_question(goal, simulator=Simulator.THOR)
        instruction = make_task("", (goal,), simulator=Simulator.THOR).instruction
        asked += [
            (answer, wording.verdict_prompt(instruction, answers=[(question, answer)])) for answer in ("yes", "no")
        ]
    generator = load_generator(ModelConfig(), adapters={})
    said = generator.generate([Request(prompt, (picture,)) for _, prompt in asked], adapter=None)
    right = [read_yes_no(one.text) == (answer == "yes") for (answer, _), one in zip(asked, said, strict=True)]
    assert sum(right) >= 15, list(zip(asked, said, strict=True))
