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

_DETERMINERS = frozenset(
    ["a", "an", "the", "this", "that", "my", "your", "some", "one", "first", "nearest", "closest", "to", "at", "of"]
)
_PRONOUNS = frozenset(["it", "them", "that", "this"])
_PREPOSITIONS = frozenset(["in", "on", "into", "onto", "inside", "at", "to", "upon", "under", "over"])
_ENDS = _PREPOSITIONS - _DETERMINERS | frozenset(["from", "with", "using", "and", "then", "so", "because", "if"])
_WORD = re.compile(r"[a-z0-9]+")


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
    """

    words: str
    others: tuple[str, ...] = ()
    takes: Takes = Takes.NOTHING
    stems: tuple[str, ...] = ()
    particle: str = ""
    alone: bool = False


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
        """The first command in the words, or None."""
        words = _words(text)
        for start in range(len(words)):
            for spoken, verb, particle in self._spoken.get(words[start], ()):
                if tuple(words[start : start + len(spoken)]) == spoken:
                    command = self._complete(verb, words, start + len(spoken), particle)
                    if command is not None:
                        return command
        return None

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
        words = _words(name)
        found = self._noun(words, 0)
        return found[0] if found and found[1] == len(words) else None

    def _complete(self, verb: Verb, words: list[str], at: int, particle: str) -> Command | None:
        if verb.takes is Takes.NOTHING:
            return None if verb.alone and len(words) > LONGEST_FAREWELL else Command(verb.words)
        if verb.takes is Takes.PLACE:
            return self._put(verb, words, at)
        found = self._object(words, at)
        if found is None or (particle and words[found[1] : found[1] + 1] != [particle]):
            return None
        return Command(verb.words, found[0])

    def _put(self, verb: Verb, words: list[str], at: int) -> Command | None:
        target = ""
        if at < len(words) and words[at] in _PRONOUNS:
            at += 1
        elif at < len(words) and words[at] not in _PREPOSITIONS:
            found = self._object(words, at)
            if found is None:
                return None
            target, at = found
        while at < len(words) and words[at] in ("down", "back"):
            at += 1
        if at >= len(words) or words[at] not in _PREPOSITIONS:
            return None
        while at < len(words) and words[at] in (*_PREPOSITIONS, "top"):
            at += 1
        place = self._object(words, at)
        return Command(verb.words, target, place[0]) if place else None

    def _object(self, words: list[str], at: int) -> tuple[str, int] | None:
        """The type named at or shortly after `at`, and where the words go on."""
        skipped = 0
        while at < len(words) and skipped <= MOST_ADJECTIVES:
            found = self._noun(words, at)
            if found is not None:
                return found
            if words[at] in _ENDS or words[at] in self._spoken:
                return None
            skipped += words[at] not in _DETERMINERS
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
                found.setdefault("".join(_words(name)), type_name)
        for letters, type_name in list(found.items()):
            found.setdefault(letters + "s", type_name)
        return found

    @cached_property
    def _longest_noun(self) -> int:
        """In words, counting a name that is written letter by letter nowhere: the longest spaced name."""
        return max((len(_words(spaced(name))) for names in self.nouns.items() for name in _flat(names)), default=1)

    @cached_property
    def _spoken(self) -> dict[str, list[tuple[tuple[str, ...], Verb, str]]]:
        """First word → the ways to say a verb that begin with it, longest first, and the particle each waits for."""
        ways: dict[str, list[tuple[tuple[str, ...], Verb, str]]] = {}
        for verb in self.verbs:
            for words in (verb.words, *verb.others):
                spoken = tuple(words.split())
                ways.setdefault(spoken[0], []).append((spoken, verb, ""))
            for stem in verb.stems:
                ways.setdefault(stem, []).append(((stem,), verb, verb.particle))
        for found in ways.values():
            found.sort(key=lambda way: (-len(way[0]), way[2] == ""))
        return ways


def spaced(type_name: str) -> str:
    """ "CellPhone" → "cell phone", "TVStand" → "tv stand"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type_name).lower()


def _flat(entry: tuple[str, tuple[str, ...]]) -> Iterable[str]:
    yield entry[0]
    yield from entry[1]


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).replace("'", "").replace("_", " ")
    return _WORD.findall(spaced(folded))
