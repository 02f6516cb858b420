"""Words to commands and back: what an actor may say, read tolerantly and written one way.

Owns the grammar of text actions. Does not own which words a simulator knows (words.py) or what a command
does to it (thor.py, virtualhome.py). Reading never raises: a text is a command or it is nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

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


_DETERMINERS = _set("a an the this that these those my your its our their some one first nearest closest all both of")
_OWNERS = _set(
    "a an the this that these those my your its our their his her some one two three any no each every another"
)
"""Behind one of these a verb's word is an adjective or a noun: "the open drawer", "my approach"."""
_PRONOUNS = frozenset(["it", "them", "that", "this"])
_OPENERS = (_DETERMINERS | _PRONOUNS | {"where"}) - {"of"}
"""Behind one of these words a new description begins, so what stands before it is not part of one."""
_PREPOSITIONS = frozenset(["in", "on", "into", "onto", "inside", "at", "to", "upon", "over"])
_BEFORE_NOUNS = (_PREPOSITIONS - {"to"}) | _set(
    "under beneath from with using near nearer beside besides behind by toward towards around past through across along"
    " within between above below off"
)
_COPULAS = _set("is are was were be been being isnt arent wasnt werent")
_NEGATIONS = _set(
    "not no never cannot cant dont doesnt didnt isnt arent wasnt werent hasnt havent hadnt wont wouldnt shouldnt"
    " couldnt mustnt neednt nor neither none nothing without unable avoid than"
)
_LINKS = _set("and then so because if but or while when until")
_ENDS = (_BEFORE_NOUNS | _COPULAS | _NEGATIONS | _LINKS) | _set(
    "to closer next enough for it them i you we they he she there here"
)
"""Words that stand in no description of an object: what is named behind them is another thing."""
_HELPERS = _set("should must will would can could may might shall do now please just lets go to") | _LINKS
"""Words that a command follows, not a description."""
_ASPECTS = _set("view look sight glimpse care note rid out advantage control idea sense")
"""Who gets one of these "of" a thing does not get the thing."""
_SIDES = frozenset(["front", "left", "right"])
"""What is put at one of these "of" a thing is put beside it."""
_STATES = frozenset(["open", "opened", "shut", "closed"])
"""Who gets a thing to be so does not pick it up."""
_ROAD = _set(
    "to toward towards near nearer beside next in front of back over up down on straight right ahead forward forwards"
    " close closer a bit little much even all the way again"
)
_ARRIVALS = frozenset(["to", "toward", "towards", "near", "nearer", "beside"])
"""The last word of a way to a thing, all of which is in `_ROAD`: "back over to", "a bit closer to"."""
_GO_AHEAD = ("go", "ahead")
"""With another verb behind it, these words are no move."""
_UNDONE = _NEGATIONS | _set(
    "until till when once if before after unless while almost nearly half partly be yet still more need needs must non"
    " well"
)
"""Beside one of these, done is not said of now."""
_FAREWELLS = _set(
    "the this my our task episode goal job work now here there it all already successfully completely everything please"
    " thanks thank you i am is was complete completed finished done stop true yes null object target place args"
    " arguments parameters with action and"
)
"""What may follow done in its sentence."""
_WORD = re.compile(r"([a-z0-9]+)")
_STOP, _MARK, _COMMA, _JOINED = ".", ":", ",", ""
"""What may stand between two words: a sentence's end, a mark such as JSON's, a comma, or nothing that parts them."""
_BREAKS = ((_STOP, frozenset(".!?;")), (_MARK, frozenset('":(){}[]<>=|/\n')), (_COMMA, frozenset(",\u2013\u2014")))


class Takes(StrEnum):
    """What a verb needs after it."""

    NOTHING = "nothing"
    OBJECT = "object"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Command:
    """One action as understood: `Command("put", "Apple", "Fridge")`; "put" without a target puts what is held."""

    verb: str
    target: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's canonical words, the other words for it, what it takes, and a particle that may follow its object.

    Verb("pick up", ("take", "grab"), Takes.OBJECT, stems=("pick",), particle="up") also reads "pick the apple up".
    alone: said among many other words it means nothing.
    going: words that mean it where a way to an object follows: with "get", "get a bit closer to the apple".
    unless: with one of these words behind it, it is no such action ("stand near"); with "to" only before a thing.
    """

    words: str
    others: tuple[str, ...] = ()
    takes: Takes = Takes.NOTHING
    stems: tuple[str, ...] = ()
    particle: str = ""
    alone: bool = False
    going: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to say a verb, and what it waits for behind it: a particle behind the object, or a way to it."""

    spoken: tuple[str, ...]
    verb: Verb
    particle: str = ""
    going: bool = False


@dataclass(slots=True)
class _Said:
    """A text's words, and what stands before each of them and after the last."""

    words: list[str]
    gaps: list[str]

    def word(self, at: int) -> str:
        return self.words[at] if at < len(self.words) else ""

    def apart(self, at: int) -> str:
        """What parts a word from the one before it."""
        gap = self.gaps[at]
        if gap in (" ", ""):
            return _JOINED
        return next((kind for kind, marks in _BREAKS if not marks.isdisjoint(gap)), _JOINED)

    def sentence(self, start: int, end: int) -> tuple[int, int]:
        """The bounds of the sentence that these words are in."""
        while start > 0 and self.apart(start) != _STOP:
            start -= 1
        while end < len(self.words) and self.apart(end) != _STOP:
            end += 1
        return start, end


@dataclass(frozen=True)
class Language:
    """The verbs and nouns of one simulator.

    nouns: type name → the words it is called by, the first of which is the one that is written.
    inside: types that things are put "in"; all others take "on".
    """

    verbs: tuple[Verb, ...]
    nouns: Mapping[str, tuple[str, ...]]
    inside: frozenset[str] = field(default=frozenset())

    def read(self, text: str) -> Command | None:
        """The first command in the words, or None; done only where no other command is in them."""
        said = _said(text)
        farewell: Command | None = None
        longest = self._longest_spoken
        for start in [at for at, word in enumerate(said.words) if word in longest]:
            for length in range(longest[said.words[start]], 0, -1):
                for way in self._spoken.get(tuple(said.words[start : start + length]), ()):
                    command = self._complete(way, said, start) if self._starts(way, said, start) else None
                    if command is not None and not way.verb.alone:
                        return command
                    farewell = farewell or command
        return farewell

    def say(self, command: Command) -> str:
        """The one way a command is written: "put the apple in the fridge"."""
        text = command.verb
        if command.target:
            text += f" the {self.name(command.target)}"
        elif command.place:
            text += " it"
        if command.place:
            text += f" {'in' if command.place in self.inside else 'on'} the {self.name(command.place)}"
        return text

    def name(self, type_name: str) -> str:
        """What a type is called: "CellPhone" is "cell phone"."""
        known = self.nouns.get(type_name)
        return known[0] if known else spaced(type_name)

    def type_of(self, name: str) -> str | None:
        """The type that a name means, or None."""
        words = _said(name).words
        found = self._noun(words, 0)
        return found[0] if found and found[1] == len(words) else None

    def _starts(self, way: _Way, said: _Said, start: int) -> bool:
        """Whether a command may start here, by what is around it; none does in "the drawer is open, the mug"."""
        for at in range(start + 1, start + len(way.spoken)):
            if said.apart(at) in (_STOP, _COMMA):
                return False
        if start == 0 or way.verb.alone:
            return True
        if self._described(way, said, start) or self._within_a_noun(said, start) or _denied(said, start):
            return False
        if way.verb.takes is Takes.NOTHING:
            return True
        ends_a_clause = not said.apart(start) and said.apart(start + len(way.spoken)) == _COMMA
        return not ends_a_clause and not _is_purpose(said, start)

    def _described(self, way: _Way, said: _Said, start: int) -> bool:
        """Whether the words are an adjective or a noun: "the (large) open drawer", "in open drawers", "my approach"."""
        if way.verb.takes is Takes.NOTHING and len(way.spoken) > 1:
            return False
        if said.apart(start) or said.word(start + len(way.spoken)) in _OPENERS:
            return False
        before = said.words[start - 1]
        if before in _OWNERS or before in _BEFORE_NOUNS:
            return True
        return start > 1 and said.words[start - 2] in _OWNERS and not said.apart(start - 1) and before not in _HELPERS

    def _within_a_noun(self, said: _Said, start: int) -> bool:
        """Whether a name goes on in these words: "tv stand"."""
        if said.words[start] not in self._inner_words:
            return False
        for at in range(start - 1, max(start - self._longest_noun, -1), -1):
            if said.apart(at + 1):
                return False
            found = self._noun(said.words, at)
            if found is not None and found[1] > start:
                return True
        return False

    def _complete(self, way: _Way, said: _Said, start: int) -> Command | None:
        verb, at = way.verb, start + len(way.spoken)
        if verb.takes is Takes.NOTHING:
            stays = _is_farewell(said, start, at) if verb.alone else not self._goes_on(way, said, at)
            return Command(verb.words) if stays else None
        if verb.takes is Takes.PLACE:
            return self._put(verb, said, at)
        found = self._object(said, _road_end(said, at) if way.going else at)
        if found is None or not self._ends_well(way, said, at, found[1]):
            return None
        return Command(verb.words, found[0])

    def _goes_on(self, way: _Way, said: _Said, at: int) -> bool:
        """Whether the words behind a move make it something else: "go back | to the fridge"."""
        following, thing = said.word(at), said.word(at + 1)
        if at == len(said.words) or said.apart(at) == _STOP:
            return False
        if way.spoken == _GO_AHEAD and (following in ("and", "with", "to") or following in self._longest_spoken):
            return True
        if following not in way.verb.unless or said.apart(at):
            return False
        named = thing in _OPENERS or self._noun(said.words, at + 1) is not None
        return following != "to" or named

    def _ends_well(self, way: _Way, said: _Said, at: int, end: int) -> bool:
        """Whether what stands behind the object lets it be the verb's."""
        following, after_that, joined = said.word(end), said.word(end + 1), not said.apart(end)
        if way.particle:
            on_a_thing = way.particle == "on" and after_that in _DETERMINERS and not said.apart(end + 1)
            return joined and following == way.particle and not on_a_thing
        if joined and following in _STATES and (not after_that or said.apart(end + 1) != _JOINED):
            return False
        return not (joined and following in _COPULAS and self._noun(said.words, at) is not None)

    def _put(self, verb: Verb, said: _Said, at: int) -> Command | None:
        target, words = "", said.words
        if said.word(at) in _PRONOUNS:
            at += 1
        elif said.word(at) not in _PREPOSITIONS:
            found = self._object(said, at)
            if found is None:
                return None
            target, at = found
        while said.word(at) in ("down", "back"):
            at += 1
        if said.word(at) not in _PREPOSITIONS:
            return None
        while at < len(words) and said.apart(at) != _STOP and (words[at] in _PREPOSITIONS or words[at] == "top"):
            at += 1
        place = self._object(said, at, described=True)
        if place is None or any(words[side] in _SIDES and said.word(side + 1) == "of" for side in range(at, place[1])):
            return None
        return Command(verb.words, target, place[0])

    def _object(self, said: _Said, at: int, *, described: bool = False) -> tuple[str, int] | None:
        """The type named at or shortly after `at`, and where the words go on.

        described: a verb's word may be an adjective from the start; it may behind a determiner ("the open drawer").
        """
        skipped, words = 0, said.words
        while at < len(words) and skipped <= MOST_ADJECTIVES:
            word, following, apart = words[at], said.word(at + 1), said.apart(at)
            if apart == _STOP or (apart == _COMMA and word in _DETERMINERS):
                return None
            found = self._noun(words, at)
            if found is not None:
                return found
            if word in _ENDS or (word in _ASPECTS and following == "of"):
                return None
            if word in self._longest_spoken and (not described or following in _OPENERS):
                return None
            described = described or word in _OWNERS
            skipped += word not in _DETERMINERS
            at += 1
        return None

    def _noun(self, words: list[str], at: int) -> tuple[str, int] | None:
        for length in range(min(self._longest_noun, len(words) - at), 0, -1):
            found = self._by_letters.get("".join(words[at : at + length]))
            if found is not None:
                return found, at + length
        return None

    @cached_property
    def _by_letters(self) -> dict[str, str]:
        """Names without their spaces → type, so that "cellphone" and "cell phone" are one; plurals too."""
        found: dict[str, str] = {}
        for type_name, names in self.nouns.items():
            for name in (type_name, *names):
                found.setdefault("".join(_said(name).words), type_name)
        for letters, type_name in list(found.items()):
            found.setdefault(letters + "s", type_name)
        return found

    @cached_property
    def _longest_noun(self) -> int:
        """In words, counting a name that is written letter by letter nowhere: the longest spaced name."""
        return max((len(_said(spaced(name)).words) for names in self.nouns.items() for name in _flat(names)), default=1)

    @cached_property
    def _inner_words(self) -> frozenset[str]:
        """Words that a name has behind its first."""
        return frozenset(
            word for names in self.nouns.items() for name in _flat(names) for word in spaced(name).split()[1:]
        )

    @cached_property
    def _spoken(self) -> dict[tuple[str, ...], list[_Way]]:
        """Words → what they may mean, first what waits for a particle."""
        ways: dict[tuple[str, ...], list[_Way]] = {}
        for verb in self.verbs:
            said = [_Way(tuple(words.split()), verb) for words in (verb.words, *verb.others)]
            said += [_Way((stem,), verb, particle=verb.particle) for stem in verb.stems]
            said += [_Way((word,), verb, going=True) for word in verb.going]
            for way in said:
                ways.setdefault(way.spoken, []).append(way)
        for found in ways.values():
            found.sort(key=lambda way: not (way.particle or way.going))
        return ways

    @cached_property
    def _longest_spoken(self) -> dict[str, int]:
        """First word of a way to say a verb → words of the longest such way."""
        longest: dict[str, int] = {}
        for spoken in self._spoken:
            longest[spoken[0]] = max(len(spoken), longest.get(spoken[0], 0))
        return longest


def spaced(type_name: str) -> str:
    """ "CellPhone" → "cell phone", "TVStand" → "tv stand"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type_name).lower()


def _flat(entry: tuple[str, tuple[str, ...]]) -> Iterable[str]:
    yield entry[0]
    yield from entry[1]


def _said(text: str) -> _Said:
    folded = spaced(unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).replace("_", " ").replace("’", "'"))
    if "'" in folded:
        folded = folded.replace("it's", "it is").replace("that's", "that is").replace("'", "")
    parts = _WORD.split(folded)
    return _Said(parts[1::2], parts[::2])


def _road_end(said: _Said, at: int) -> int:
    """Where a way to a thing that begins here ends ("back over to" | "the fridge"); behind the text where none does."""
    end = len(said.words)
    while said.word(at) in _ROAD and said.apart(at) not in (_STOP, _COMMA):
        at += 1
        if said.words[at - 1] in _ARRIVALS or said.words[at - 2 : at] == ["front", "of"]:
            end = at
    return end


def _denied(said: _Said, start: int) -> bool:
    """Whether a "not" in the same clause forbids the verb here: "do not try to open the fridge"."""
    for at in range(start - 1, max(start - 1 - FURTHEST_NEGATION, -1), -1):
        if said.apart(at + 1) or said.words[at] in _LINKS:
            return False
        if said.words[at] in _NEGATIONS:
            return True
    return False


def _is_purpose(said: _Said, start: int) -> bool:
    """Whether the verb here says what for: "To get closer to the apple, turn left."."""
    if said.words[start - 1] != "to":
        return False
    opens = start == 1 or said.apart(start - 1) == _STOP or said.words[start - 2] == "order"
    return opens and any(said.apart(at) == _COMMA for at in range(start, said.sentence(start, start)[1]))


def _is_farewell(said: _Said, start: int, end: int) -> bool:
    """Whether done is all that is said: no "not" beside it, nothing that it is about, and no question."""
    words = said.words
    if len(words) > LONGEST_FAREWELL or (start and words[start - 1] in ("a", "an", "the", "my", "your")):
        return False
    first, last = said.sentence(start, end)
    beside = [*words[first:start], *words[end:last]]
    return "?" not in said.gaps[last] and _UNDONE.isdisjoint(beside) and _FAREWELLS.issuperset(words[end:last])
