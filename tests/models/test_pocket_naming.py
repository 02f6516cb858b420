"""Going where one is told, as the built-in model is taught it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from selu_hpc.config import ModelConfig, Simulator
from selu_hpc.envs.goals import THOR_VERBS, VIRTUALHOME_VERBS
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.model import build_tokenizer
from selu_hpc.models.pocket.teaching.naming import GOING, WAYS, named
from selu_hpc.models.vlm import Request, load_generator
from selu_hpc.selu import wording

_TOLD = re.compile(
    r"task : (?P<way>.+?) the (?P<noun>.+?)\. you hold .+?\. actions so far : (?P<history>.+?)\. next action\?"
)


@pytest.mark.parametrize("simulator", list(Simulator))
def test_an_instruction_to_go_somewhere_is_answered_by_going_there_until_one_is_there(simulator: Simulator) -> None:
    tokenizer, rng, nouns = build_tokenizer(), np.random.default_rng(0), set()
    for _ in range(300):
        block, kind = named(simulator, rng)
        assert kind == "named"
        told = _TOLD.match(tokenizer.decode(block.ids[: -block.num_answer]))
        assert told is not None
        going = f"{GOING[simulator]} the {told['noun']}"
        arrived = told["history"].split(", ")[-1] == going
        assert tokenizer.decode(block.ids[-block.num_answer : -1]) == ("done" if arrived else going)
        nouns.add(told["noun"])
    assert len(nouns) > 80


def test_no_task_type_is_among_the_instructions() -> None:
    assert not {*THOR_VERBS, *VIRTUALHOME_VERBS, "grab", "sit on"} & set(WAYS)


@pytest.mark.parametrize("simulator", list(Simulator))
def test_the_shipped_model_says_what_it_is_told_to_go_to(simulator: Simulator) -> None:
    """What an actor cannot name it never learns. Which simulator it is in, only pictures tell."""
    language = language_of(simulator)
    names = [language.name(noun) for noun in sorted(language.nouns)][::4]
    prompts = [wording.actor_prompt(f"find the {name}", seen="You hold nothing.", history=()) for name in names]
    picture = np.full((96, 96, 3), 127, dtype=np.uint8)
    generator = load_generator(ModelConfig(), adapters={})
    said = [one.text for one in generator.generate([Request(prompt, (picture,)) for prompt in prompts], adapter=None)]
    ways = tuple(GOING.values())
    right = [text in {f"{way} the {name}" for way in ways} for text, name in zip(said, names, strict=True)]
    assert sum(right) >= 0.9 * len(right), list(zip(names, said, strict=True))
