"""Takes a meaning from a model's words, whatever the words are: the model's output is hostile until read.

Owns reading a yes, a no and an object. Making any text safe to keep is the records' (records.py), reading actions the
language's (envs/language.py). Nothing here raises, whatever it is given; an answer that says nothing is None.
"""

from __future__ import annotations

import re
import unicodedata

from selu_hpc.envs.language import Language
from selu_hpc.records import LONGEST_KEPT, Goal
from selu_hpc.records import clean as clean

_YES = frozenset(["yes", "yeah", "yep", "true", "correct", "affirmative", "y"])
_NO = frozenset(["no", "nope", "not", "false", "incorrect", "negative", "isnt", "wasnt", "hasnt", "didnt", "n"])
NONE = "none"
_NOTHING = frozenset(["none", "nothing", "nowhere", "no", "nobody", "neither", "unknown", "unsure", "na"])
_NEGATED = frozenset(
    ["no", "not", "none", "nothing", "never", "any", "neither", "nor", "dont", "cant", "cannot", "isnt"]
)
"""An object named behind one of these is said not to be it."""
_DENIED = re.compile(r"\b(?:(?:is|are|was|were|does|do|did)(?:nt| not)|none|nothing)\b")
"""In these words whatever is named is."""
_ECHO = re.compile(r"\byes\s*(?:or|/|\||,)\s*no\b")
_WORD = re.compile(r"[a-z0-9]+")
_MOST_READ_WORDS = 40


def read_yes_no(text: str) -> bool | None:
    """The first yes or no in the words; None when there is neither. "yes or no" echoed from the prompt is neither."""
    plain = _ECHO.sub(" ", _fold(text))
    for word in _WORD.findall(plain)[:_MOST_READ_WORDS]:
        if word in _YES:
            return True
        if word in _NO:
            return False
    return None


def read_object(text: str, language: Language) -> str | None:
    """The type the words name: "the fridge", "It is the fridge." → "Fridge"; None for "none", for no object, and where
    it is named to say that it is not ("I see no open fridge")."""
    folded = _fold(text)
    words = _WORD.findall(folded)[:_MOST_READ_WORDS]
    if not words or words[0] in _NOTHING:
        return None
    exact = language.type_of(folded[:LONGEST_KEPT])
    if exact is not None:
        return exact
    if _DENIED.search(folded):
        return None
    # The grammar is the one place that knows how things are named, so the answer is read as the end of a command.
    for start in range(len(words)):
        if words[start] in _NEGATED:
            return None
        command = language.read(f"{_approach(language)} the {' '.join(words[start:])}")
        if command is not None and command.verb == _approach(language):
            return command.target
    return None


def read_which(text: str, language: Language) -> str | None:
    """What the answer to a which-question names: an object's type or "none"; None where nothing can be read."""
    found = read_object(text, language)
    if found is not None:
        return found
    folded = _fold(text)
    words = _WORD.findall(folded)[:_MOST_READ_WORDS]
    says_none = words and (words[0] in _NOTHING or _NEGATED.intersection(words) or _DENIED.search(folded))
    return NONE if says_none else None


def relabelled_goal(goal: Goal, found: str | None) -> Goal | None:
    """The goal that an answer to the which-question about `goal` came to; None where it named no object.

    For put the question is where the target is, so the answer is a place.
    """
    if found is None or found == NONE:
        return None
    if goal.verb == "put":
        return None if found == goal.target else Goal(verb=goal.verb, target=goal.target, place=found)
    return Goal(verb=goal.verb, target=found)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", clean(text)).lower().replace("'", "").replace("’", "")


def _approach(language: Language) -> str:
    """ "go to" or "walk to": the verb that any object may follow."""
    return "go to" if any(verb.words == "go to" for verb in language.verbs) else "walk to"
