"""What a told state says of a task: "Is the lamp turned off? yes." means that the lamp has been toggled off.

Reading, not judging: the second verdict's own words with a true answer told, over any picture with that question and
for every verb. A base of the papers' size knows what its own words mean; taught with the narrow verbs alone, the
built-in one said "turned off? yes" of a lamp and then that it was not toggled off. No untold verdict is shown here.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from transformers import PreTrainedTokenizerFast

from selu_hpc.config import Simulator
from selu_hpc.envs.goals import make_task
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.model import build_tokenizer
from selu_hpc.models.pocket.teaching.packing import Block
from selu_hpc.records import Goal
from selu_hpc.selu import wording

KIND = "told"
"""The group of these questions in tables, followed by the verb."""
_QUESTION = re.compile(r"(?P<question>.+\?) yes or no\?$")


def concluded(block: Block, kind: str, simulator: Simulator) -> tuple[Block, str] | None:
    """From a question about a state with its answer, the verdict on the task that this state fulfils, and its kind."""
    verb = kind.removeprefix("state ")
    ids = block.ids.tolist()
    prompt, answer = ids[: -block.num_answer - 1], ids[-block.num_answer - 1 :]
    asked = _tokenizer().decode(prompt)
    said = _conclusion(asked, verb, _tokenizer().decode(answer[1:-1]), simulator)
    if said is None:
        return None
    told = _tokenizer()(said, add_special_tokens=False)["input_ids"]
    return Block(np.array([*told, *answer], dtype=block.ids.dtype), block.num_answer), f"{KIND} {verb}"


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@cache
def _conclusion(asked: str, verb: str, answer: str, simulator: Simulator) -> str | None:
    """The second verdict's prompt, or None for words that no question about a state of this verb has."""
    goal = _goal(asked, verb, simulator)
    if goal is None:
        return None
    instruction = make_task("", (goal,), simulator=simulator).instruction
    question = wording.state_question(goal, simulator=simulator)
    return wording.verdict_prompt(instruction, answers=[(question, answer)])


def _goal(asked: str, verb: str, simulator: Simulator) -> Goal | None:
    """Whose state was asked about: the words between those that every question of the verb has."""
    question = _QUESTION.match(asked)
    frame = _frame(verb, simulator).match(question["question"]) if question else None
    if frame is None:
        return None
    known = _nouns(simulator)
    found = {part: known.get(name) for part, name in frame.groupdict().items()}
    target, place = found["target"], found.get("place", "")
    return Goal(verb=verb, target=target, place=place) if target is not None and place is not None else None


@cache
def _frame(verb: str, simulator: Simulator) -> re.Pattern[str]:
    """A verb's question with gaps for what it names; the robot and the person are one."""
    gap = Goal(verb=verb, target="TARGET", place="PLACE" if verb == "put" else "")
    text = re.escape(wording.state_question(gap, simulator=simulator).lower())
    text = re.sub("the (robot|person)", "the (?:robot|person)", text.replace(r"\ ", " "))
    text = re.sub(" (in|on) the place", " (?:in|on) the place", text)
    return re.compile(text.replace("target", "(?P<target>.+)").replace("place", "(?P<place>.+)") + "$")


@cache
def _nouns(simulator: Simulator) -> dict[str, str]:
    language = language_of(simulator)
    return {language.name(noun): noun for noun in language.nouns}
