"""Takes a meaning from a model's words, whatever the words are: the model's output is hostile until read.

Owns reading a yes, a no and an object. Making any text safe to keep is the records' (records.py), reading actions the
language's (envs/language.py). Nothing here raises, whatever it is given; an answer that says nothing is None.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from selu_hpc.envs.language import Language
from selu_hpc.records import LONGEST_KEPT, Goal, clean

_YES = frozenset(["yes", "yeah", "yep"])
_NO = frozenset(["no", "nope"])
_NOT = frozenset(["not", "isnt", "wasnt", "hasnt", "didnt"])
_RIGHT = frozenset(["true", "correct", "affirmative"])
_WRONG = frozenset(["false", "incorrect", "negative"])
"""Said of other things too ("the correct answer is no"): they count where no yes or no is said, or as here:"""
_RIGHT_OR_WRONG = re.compile(rf"\W*({'|'.join(sorted(_RIGHT | _WRONG))})\s*(?:[.,;!]|$)")
"""ahead of all else and set apart from it, "Correct, no other object is open"; but not asked, "Correct? No"."""
_LETTERS = {"y": True, "n": False}
"""Alone they are an answer; among other words "y" is Spanish for "and"."""
NONE = "none"
_NOTHING = frozenset(["none", "nothing", "nowhere", "no", "nobody", "neither", "unknown", "unsure", "na"])
_NEGATED = frozenset(
    ["no", "not", "none", "nothing", "never", "any", "neither", "nor", "dont", "cant", "cannot", "isnt"]
)
"""An object named behind one of these is said not to be it."""
_DENIED = re.compile(r"\b(?:(?:is|are|was|were|does|do|did)(?:nt| not)|none|nothing)\b")
"""In these words whatever is named is."""
_ECHO = re.compile(r"\b(?:yes\s*(?:(?:or|/|\|)\s*no\b|,\s*no\b(?=\W*(?:or\b|$)))|true\s*(?:or|/|\|)\s*false\b)")
"""The question's own choice said back; "yes, no other object is open" is a yes."""
_REFUSED = re.compile(
    r"\bneither (?:an? )?yes nor (?:an? )?no\b"
    r"|\b(?:can ?not|cant|do not|dont|could not|couldnt|would not|wouldnt) (?:say|answer|confirm) (?:yes|no)\b"
    r"|\b(?:not|isnt|wasnt) (?:clear|possible|visible|sure|certain|able)\b|\bunclear\b|\bunable\b"
    r"|\b(?:can ?not|cant|could not|couldnt) (?:determine|tell|see|know|be (?:determined|seen))\b"
)
"""A yes or no that is not said: "I cannot say yes", "it is not clear"."""
_NOT_APPLICABLE = re.compile(r"\bn\s*/\s*a\b|\bnot applicable\b")
_GAP = "[^a-z0-9]+"
_STATES = {
    "open": "open(?:ed)?",
    "close": "closed|shut",
    "break": "broken",
    "slice": "sliced",
    **dict.fromkeys(["toggle on", "switch on"], rf"(?:turned|switched){_GAP}on|on(?!\s+(?:an?|the|top|it)\b)"),
    **dict.fromkeys(["toggle off", "switch off"], rf"(?:turned|switched){_GAP}off|off(?!\s+(?:an?|the)\b)"),
}
"""What a sentence says of the object that the verb was done to: "the fridge is open". What is on a table is not on."""
_HOLDING = frozenset(["holding", "holds", "hold", "carrying", "carries", "grabbing", "gripping"])
_DOING = {
    "pick up": _HOLDING,
    "grab": _HOLDING,
    "sit": frozenset(["sitting", "sits", "sit", "sat", "seated"]),
}
"""Behind which word it says what the verb was done to: "standing at the counter, it is holding a mug"."""
_OBJECT_IS = re.compile(r"(?<!\bother )\bobject\b[a-z0-9 ]*? is (?=(?:an?|the)\b)")
"""What follows is the answer: "the open object is the microwave"."""
_PLACING = frozenset(["in", "on", "inside", "into", "onto", "at"])
_NO_PLACE = re.compile(r"\bin (?:front|(?:the|this) (?:picture|image|photo|scene))\b", re.IGNORECASE)
"""In none of these does a thing lie; a picture would be taken for a painting."""
_LONGEST_NAME = 4
"""Words of an object's name, at most."""
_WORD = re.compile(r"[a-z0-9]+")
_MOST_READ_WORDS = 40
"""Of an answer that names an object, and of one whose yes or no is not said clearly."""
LONGEST_READ = 20_000
"""Characters that are read for a yes or no: a model may look at everything before it says one. The paper's longest
answer, 2,048 tokens, has about half as many."""
_PLAINLY = (
    r"\b(?:(yes|yeah|yep)|nope"
    r"|no(?!-\w)(?=[^\w\s]|\s[-–—.,;:!?)\]}|]|\s*$|\s(?:it|its|this|that|the|there|they|i|because|since|as)\b))\b"
)
"""A yes, or a no that is no other word's: not "no objects block the view"."""
_CLEAR = re.compile(_PLAINLY)
_CONCLUDING = re.compile(
    rf"(?:^|\b(?:so|therefore|thus|hence|overall|answer|verdict|conclusion)\b(?:\sis\b)?)\W*{_PLAINLY}"
)
"""In a last sentence that says what everything comes to."""
_CLAUSE = re.compile(r"([^.;!?]+)([.;!?]|$)")
_STANDS_ALONE = re.compile(r"\b(?:so(?! that\b| far\b)|therefore|thus|hence|but|however)\b")
_SEEMS = re.compile(r"\b(?:appears|seems|looks|considered) to (?:be|have been)\b")
_YET_TO = re.compile(r"\b(?:yet|still|remains) to be\b")
_TASK = frozenset(["task", "instruction", "goal", "job"])
_DONE = frozenset([
    "done", "complete", "completed", "finished", "accomplished", "fulfilled", "achieved", "performed", "executed",
    "successful",
])  # fmt: skip
_UNDONE = frozenset(["undone", "incomplete", "unfinished", "unfulfilled", "unaccomplished", "unsuccessful", "failed"])
_NOT_QUITE = frozenset([
    "not", "never", "isnt", "wasnt", "hasnt", "havent", "didnt", "dont", "doesnt", "cant", "cannot", "couldnt",
    "wont", "neither", "nor", "hardly", "barely", "almost", "nearly", "partially", "partly", "only", "half", "far",
    "without",
])  # fmt: skip
_SAYS_NOTHING = frozenset([
    "if", "whether", "when", "once", "until", "unless", "after", "before", "true", "false", "correct", "incorrect",
    "wrong",
])  # fmt: skip
"""With one of these it is not said that the task is done or isn't: "if the task is done"."""
_SAYS_NOTHING_AHEAD = frozenset([
    "to", "must", "should", "could", "would", "can", "may", "might", "will", "need", "needs", "no",
])  # fmt: skip
"""Nor ahead of the word for it: "must be completed"; but "the task is done and no further action is needed" says it."""
_FILLER = frozenset(["it", "its", "is", "was", "has", "been", "the", "all", "now", "already", "well", "successfully"])


def read_yes_no(text: str) -> bool | None:
    """What the words come to: a yes, a no, None when they say neither.

    The word that an answer opens with counts before that of its last sentence, that before the first in between. Where
    none is said clearly, words about the task do ("The task is done", "Done", "not completed"), then the first yes, no
    or "not" of any kind, and at last a true or false. "yes or no" echoed from the prompt is neither, nor is "N/A" or
    "I cannot say yes".
    """
    plain = _fold(text, LONGEST_READ)
    for no_answer in (_ECHO, _NOT_APPLICABLE, _REFUSED):
        plain = no_answer.sub(" ", plain)
    words = _WORD.findall(plain)
    if len(words) == 1 and words[0] in _LETTERS:
        return _LETTERS[words[0]]
    alone = _RIGHT_OR_WRONG.match(plain)
    if alone:
        return alone[1] in _RIGHT
    said = _said_clearly(plain)
    if said is None:
        said = _said_of_the_task(plain)
    return _said_somehow(words[:_MOST_READ_WORDS]) if said is None else said


def _said_clearly(plain: str) -> bool | None:
    """The yes or no that opens the answer, else the one its last sentence comes to, else the first."""
    first = _CLEAR.search(plain)
    if first is None:
        return None
    opens = not _WORD.search(plain[: first.start()])
    chosen = first if opens else _CONCLUDING.search(_last_sentence(plain)) or first
    return chosen[1] is not None


def _last_sentence(plain: str) -> str:
    said = plain.rstrip(string.punctuation + " ")
    return plain[max(said.rfind(mark) for mark in ".!?") + 1 :]


def _said_of_the_task(plain: str) -> bool | None:
    """Whether the task is said to be done, by the last clause that says so; what is asked or supposed says nothing."""
    found = None
    for clause, end in _CLAUSE.findall(_YET_TO.sub(" not ", _SEEMS.sub(" is ", plain))):
        for part in _STANDS_ALONE.split(clause) if end != "?" else ():
            words = _WORD.findall(part)
            said = set(words)
            at = next((at for at, word in enumerate(words) if word in _DONE | _UNDONE), None)
            if at is None or said & _SAYS_NOTHING or _SAYS_NOTHING_AHEAD.intersection(words[:at]):
                continue
            if said & _TASK or not said - _DONE - _UNDONE - _NOT_QUITE - _FILLER:
                found = not (said & (_UNDONE | _NOT_QUITE))
    return found


def _said_somehow(words: Sequence[str]) -> bool | None:
    """The first word that means yes or no, or where neither is said right or wrong."""
    says_it = (_YES | _NO).intersection(words)
    yes, no = (_YES, _NO | _NOT) if says_it else (_RIGHT, _WRONG | _NOT)
    return next((word in yes for word in words if word in yes | no), None)


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


def read_which(text: str, language: Language, *, goal: Goal | None = None) -> str | None:
    """What the answer to a which-question names: an object's type or "none"; None where nothing can be read.

    goal: whose question it was. Of several objects in a sentence the one that it asks for is taken: the place where the
    thing lies, the one called open; the first where no words tell.
    """
    text = text if goal is None else _NO_PLACE.sub(" ", clean(text))
    found = read_object(text, language)
    if found is not None:
        return found if goal is None else _asked_for(_fold(text), goal, language) or found
    folded = _fold(text)
    words = _WORD.findall(folded)[:_MOST_READ_WORDS]
    says_none = words and (words[0] in _NOTHING or _NEGATED.intersection(words) or _DENIED.search(folded))
    return NONE if says_none else None


def _asked_for(folded: str, goal: Goal, language: Language) -> str | None:
    words = _WORD.findall(folded)[:_MOST_READ_WORDS]
    words = words[: next((at for at, word in enumerate(words) if word in _NEGATED), len(words))]
    named = _named(words, language)
    if goal.verb == "put":
        return _place(words, named, goal.target)
    answer = _OBJECT_IS.search(folded)
    told = read_object(folded[answer.end() :], language) if answer else None
    if told is not None:
        return told
    begun = _DOING.get(goal.verb, frozenset())
    at = next((at for at, word in enumerate(words) if word in begun), len(words))
    behind = next((kind for start, _, kind in named if start > at), None)
    if behind is not None:
        return behind
    state = (
        re.compile(f"{_GAP}is{_GAP}(?:now{_GAP})?(?:{_STATES[goal.verb]})(?![a-z0-9])")
        if goal.verb in _STATES
        else None
    )
    ends = [word.end() for word in _WORD.finditer(folded)]
    said = (kind for _, end, kind in named if state and state.match(folded, ends[end - 1]))
    return next(said, None)


def _place(words: Sequence[str], named: Sequence[tuple[int, int, str]], thing: str) -> str | None:
    """ "The apple is on the counter": the first object behind such a word, else the first but the thing itself.

    A name that follows another with nothing between them is no object of its own ("toilet paper hanger").
    """
    others, before = [], 0
    for start, end, kind in named:
        between = words[before:start]
        if kind != thing and (between or not before):
            if _PLACING.intersection(between):
                return kind
            others.append(kind)
        before = end
    return others[0] if others else None


def _named(words: Sequence[str], language: Language) -> list[tuple[int, int, str]]:
    """Every object in the words, by the longest name that fits: where it begins, where it ends, its type."""
    found, at = [], 0
    while at < len(words):
        spans = range(min(at + _LONGEST_NAME, len(words)), at, -1)
        kinds = ((end, language.type_of(" ".join(words[at:end]))) for end in spans)
        end, kind = next(((end, kind) for end, kind in kinds if kind is not None), (at + 1, None))
        if kind is not None:
            found.append((at, end, kind))
        at = end
    return found


def relabelled_goal(goal: Goal, found: str | None) -> Goal | None:
    """The goal that an answer to the which-question about `goal` came to; None where it named no object.

    For put the question is where the target is, so the answer is a place.
    """
    if found is None or found == NONE:
        return None
    if goal.verb == "put":
        return None if found == goal.target else Goal(verb=goal.verb, target=goal.target, place=found)
    return Goal(verb=goal.verb, target=found)


def _fold(text: str, longest: int = LONGEST_KEPT) -> str:
    return unicodedata.normalize("NFKC", clean(text, longest)).lower().replace("'", "").replace("’", "")


def _approach(language: Language) -> str:
    """ "go to" or "walk to": the verb that any object may follow."""
    return "go to" if any(verb.words == "go to" for verb in language.verbs) else "walk to"
