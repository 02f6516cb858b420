"""A text as its reader takes it: words with what parts them, what denies, what ends a description, what is a farewell.

Owns the words that mean no verb and no object. Does not own commands (language.py).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_TEXT = 2000
"""Characters of an answer that are read; an action is a few words and comes first."""
LONGEST_FAREWELL = 5
"""Words of a text that "done" counts in; in a longer one it is more likely part of a tale."""
MOST_ADJECTIVES = 3
"""Unknown words allowed between a verb and its object ("the shiny red apple")."""
FURTHEST_NEGATION = 5
"""Words in front of a verb among which a "not" denies it: "it is not a good idea to open the fridge"."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


DETERMINERS = _set("a an the this that these those my your its our their some one first nearest closest all both of")
OWNERS = _set(
    "a an the this that these those my your its our their his her some one two three any no each every another"
)
"""Behind one of these a verb's word is an adjective or a noun: "the open drawer", "my approach"."""
PRONOUNS = frozenset(["it", "them", "that", "this"])
OPENERS = (DETERMINERS | PRONOUNS | {"where"}) - {"of"}
"""Behind one of these words a new description begins, so what stands before it is not part of one."""
PREPOSITIONS = frozenset(["in", "on", "into", "onto", "inside", "at", "to", "upon", "over"])
BEFORE_NOUNS = (PREPOSITIONS - {"to"}) | _set(
    "under beneath from with using near nearer beside besides behind by toward towards around past through across along"
    " within between above below off"
)
COPULAS = _set("is are was were be been being isnt arent wasnt werent")
NEGATIONS = _set(
    "not no never cannot cant dont doesnt didnt isnt arent wasnt werent hasnt havent hadnt wont wouldnt shouldnt"
    " couldnt mustnt neednt nor neither none nothing without unable avoid than"
)
LINKS = _set("and then so because if but or while when until")
ENDS = (BEFORE_NOUNS | COPULAS | NEGATIONS | LINKS) | _set(
    "to closer next enough for it them i you we they he she there here"
)
"""Words that stand in no description of an object: what is named behind them is another thing."""
HELPERS = _set("should must will would can could may might shall do now please just lets go to") | LINKS
"""Words that a command follows, not a description."""
ASPECTS = _set("view look sight glimpse care note rid out advantage control idea sense")
"""Who gets one of these "of" a thing does not get the thing."""
SIDES = frozenset(["front", "left", "right"])
"""What is put at one of these "of" a thing is put beside it."""
STATES = frozenset(["open", "opened", "shut", "closed"])
"""Who gets a thing to be so does not pick it up."""
ROAD = _set(
    "to toward towards near nearer beside next in front of back over up down on straight right ahead forward forwards"
    " close closer a bit little much even all the way again"
)
ARRIVALS = frozenset(["to", "toward", "towards", "near", "nearer", "beside"])
"""The last word of a way to a thing, all of which is in `ROAD`: "back over to", "a bit closer to"."""
GO_AHEAD = ("go", "ahead")
"""With another verb behind it, these words are no move."""
SPEAKERS = frozenset(["i", "we", "you"])
DUTIES = _set("must should need needs")
"""A clause with one of these tells of a deed of its own: "to open the fridge | I must go to it"."""
ANSWER = "action"
_MARKED = re.compile(r"[\s\"*`]*:")
"""Between that word and what was decided on: a colon, whatever quotes the word."""
NEXT = frozenset([ANSWER, "step", "move"])
IS_SAID = _set("is would should will be")
"""Between "the next action" and what it is."""
TASKS = _set("task goal instruction objective mission")
OTHER_ACTIONS = _set("last previous prior past earlier expected future possible available allowed")
"""An action that is called so is not the one decided on: `"last_action":`."""
REPLAYED = frozenset(["observation", "thought", "result", "feedback"])
"""Behind one of these words an answer plays the dialogue on by itself."""
UNDONE = NEGATIONS | _set(
    "until till when once if before after unless while almost nearly half partly be yet still more need needs must non"
    " well"
)
"""Beside one of these, done is not said of now."""
FAREWELLS = _set(
    "the this my our task episode goal job work now here there it all already successfully completely everything please"
    " thanks thank you i am is was complete completed finished done stop true yes null object target place args"
    " arguments parameters with action and"
)
"""What may follow done in its sentence."""
FIELDS = frozenset(["object", "id", "receptacle"])
"""What a simulator's call may call what it lists."""
WORD = re.compile(r"([a-z0-9]+)")
STOP, MARK, COMMA, JOINED = ".", ":", ",", ""
"""What may stand between two words: a sentence's end, a mark such as JSON's, a comma, or nothing that parts them."""
BREAKS = ((STOP, frozenset(".!?;")), (MARK, frozenset('":(){}[]<>=|/\n')), (COMMA, frozenset(",\u2013\u2014")))


@dataclass(slots=True)
class Said:
    """A text's words, and what stands before each of them and after the last."""

    words: list[str]
    gaps: list[str]

    def word(self, at: int) -> str:
        return self.words[at] if at < len(self.words) else ""

    def apart(self, at: int) -> str:
        """What parts a word from the one before it."""
        gap = self.gaps[at]
        if gap in (" ", ""):
            return JOINED
        return next((kind for kind, marks in BREAKS if not marks.isdisjoint(gap)), JOINED)

    def decided(self) -> Said | None:
        """What stands behind the first `Action:`, `"action":` or "the next action is", or behind one that takes it back
        in the same line."""
        first, *later = [*self._marks()] or [0]
        for at in later:
            between = self.words[first:at]
            played_on = "\n" in "".join(self.gaps[first + 1 : at]) or not REPLAYED.isdisjoint(between)
            if played_on or NEGATIONS.isdisjoint(between):
                break
            first = at
        return Said(self.words[first:], self.gaps[first:]) if first else None

    def _marks(self) -> Iterator[int]:
        """Where what was decided on may begin."""
        for at in range(1, len(self.words) + 1):
            if self._is_mark(at):
                yield at
            elif self.words[at - 1] in NEXT and at > 1 and self.words[at - 2] in ("next", "best"):
                said = next((end for end in range(at, len(self.words)) if self.words[end] not in IS_SAID), at)
                if said > at:
                    yield said + (self.words[said] == "to")

    def _is_mark(self, at: int) -> bool:
        if self.words[at - 1] != ANSWER or not _MARKED.match(self.gaps[at]):
            return False
        called = at - 1
        while called > 0 and self.apart(called) == JOINED:
            called -= 1
        return OTHER_ACTIONS.isdisjoint(self.words[max(called, at - 3) : at - 1])

    def sentence(self, start: int, end: int) -> tuple[int, int]:
        """The bounds of the sentence that these words are in."""
        while start > 0 and self.apart(start) != STOP:
            start -= 1
        while end < len(self.words) and self.apart(end) != STOP:
            end += 1
        return start, end


def spaced(type_name: str) -> str:
    """ "CellPhone" → "cell phone", "TVStand" → "tv stand"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type_name).lower()


def words_of(text: str) -> Said:
    folded = spaced(unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).replace("_", " ").replace("’", "'"))
    if "'" in folded:
        folded = folded.replace("it's", "it is").replace("that's", "that is").replace("'", "")
    parts = WORD.split(folded)
    return Said(parts[1::2], parts[::2])


def road_end(said: Said, at: int) -> int:
    """Where a way to a thing that begins here ends ("back over to" | "the fridge"); behind the text where none does."""
    end = len(said.words)
    while said.word(at) in ROAD and said.apart(at) not in (STOP, COMMA):
        at += 1
        if said.words[at - 1] in ARRIVALS or said.words[at - 2 : at] == ["front", "of"]:
            end = at
    return end


def denied(said: Said, start: int) -> bool:
    """Whether a "not" in the same clause forbids the verb here: "do not try to open the fridge"."""
    for at in range(start - 1, max(start - 1 - FURTHEST_NEGATION, -1), -1):
        if said.apart(at + 1) or said.words[at] in LINKS:
            return False
        if said.words[at] in NEGATIONS:
            return True
    return False


def is_the_task(said: Said, start: int) -> bool:
    """Whether the verb here says what the task is, which was told and not decided: "The task is to open the fridge"."""
    at = start - 1
    if at > 0 and said.words[at] == "to":
        at -= 1
    if at > 0 and said.words[at] in COPULAS:
        at -= 1
    return at >= 0 and said.words[at] in TASKS


def is_purpose(said: Said, start: int) -> bool:
    """Whether the verb here says what for: "To get closer to the apple, turn left."; "To see it I must turn left."."""
    if said.words[start - 1] != "to":
        return False
    opens = start == 1 or said.apart(start - 1) in (STOP, MARK) or said.words[start - 2] == "order"
    return opens and _has_a_main_clause(said, range(start, said.sentence(start, start)[1]))


def _has_a_main_clause(said: Said, places: range) -> bool:
    """Whether a comma follows, or what somebody does; behind "is" it is the purpose that is told of."""
    if any(said.apart(at) == COMMA for at in places):
        return True
    words = [said.words[at] for at in places]
    told_of = next((at for at, word in enumerate(words) if word in COPULAS), len(words))
    return not (SPEAKERS | DUTIES).isdisjoint(words[:told_of])


def is_farewell(said: Said, start: int, end: int) -> bool:
    """Whether done is all that is said: no "not" beside it, nothing that it is about, and no question."""
    words = said.words
    if len(words) > LONGEST_FAREWELL or (start and words[start - 1] in ("a", "an", "the", "my", "your")):
        return False
    first, last = said.sentence(start, end)
    beside = [*words[first:start], *words[end:last]]
    return "?" not in said.gaps[last] and UNDONE.isdisjoint(beside) and FAREWELLS.issuperset(words[end:last])
