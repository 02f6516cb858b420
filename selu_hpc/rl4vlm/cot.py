"""An answer that thinks before it acts: `{"current number": "2", …, "thoughts": "…", "action": "+"}`.

Owns which action was meant and at which token it begins. Model output is hostile: whatever it is, an action comes out,
and whether it was said or drawn is recorded.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MARK = re.compile(r'"\s*action\s*"\s*:', re.IGNORECASE)
"""Where the action begins; a tokenizer of whole words puts spaces around the quotes."""


@dataclass(frozen=True, slots=True)
class ReadAction:
    """The action an answer came to. said: False when none, or more than one, was named and one was drawn."""

    action: str
    said: bool


def read_action(text: str, names: Sequence[str], *, seed: int) -> ReadAction:
    """The one action named behind the last `"action":`, or else one drawn uniformly, as in the paper's code."""
    marks = list(MARK.finditer(text))
    named = named_in(text[marks[-1].end() :], names) if marks else []
    if len(named) == 1:
        return ReadAction(named[0], said=True)
    return ReadAction(random.Random(seed).choice(list(names)), said=False)


def named_in(tail: str, names: Sequence[str]) -> list[str]:
    """Every action the words hold; a longer name is taken out first, so that "10" is not also a "1"."""
    found: set[str] = set()
    left = tail.lower()
    for name in sorted(names, key=len, reverse=True):
        if name in left:
            found.add(name)
            left = left.replace(name, " ")
    return [name for name in names if name in found]


def num_thought_tokens(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """How many of an answer's first tokens are thought: those before the mark, all of them where there is none.

    Found by the text's characters: token ids of `"action":` differ between tokenizers and between places in a text.
    """
    marks = list(MARK.finditer(decode(ids)))
    if not marks:
        return len(ids)
    begin = marks[-1].start()
    low, high = 0, len(ids)
    while low < high:  # the most tokens whose text ends before the mark
        middle = (low + high + 1) // 2
        if len(decode(ids[:middle]).rstrip()) <= begin:
            low = middle
        else:
            high = middle - 1
    return low


def weighed(logprobs: Sequence[float], num_thoughts: int, thought_weight: float) -> float:
    """An answer's log-probability, its thought counted with a weight."""
    return thought_weight * sum(logprobs[:num_thoughts]) + sum(logprobs[num_thoughts:])
