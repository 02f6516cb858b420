"""Words to commands and back: what an actor may say, read tolerantly and written one way.

Owns the grammar of text actions. Does not own which words a simulator knows (words.py) or what a command
does to it (thor/, virtualhome/). Reading never raises: a text is a command or it is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from selu_hpc.envs.said import (
    ASPECTS,
    BEFORE_NOUNS,
    COMMA,
    COPULAS,
    DETERMINERS,
    ENDS,
    FIELDS,
    GO_AHEAD,
    HELPERS,
    JOINED,
    MARK,
    MOST_ADJECTIVES,
    OPENERS,
    OWNERS,
    PREPOSITIONS,
    PRONOUNS,
    SIDES,
    STATES,
    STOP,
    Said,
    denied,
    is_farewell,
    is_purpose,
    is_the_task,
    road_end,
    spaced,
    words_of,
)


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
    of: a verb that takes nothing may be said of an object all the same: "drop", "drop the apple"; with a place behind
    it, it is the verb that takes one: "drop it in the sink".
    calls: the simulator's own names for it, whose objects stand in a list, and how many of them there are at least:
    `PutObject(Fridge)`, `[PUTIN] <apple> (1) <fridge> (2)`.
    """

    words: str
    others: tuple[str, ...] = ()
    takes: Takes = Takes.NOTHING
    stems: tuple[str, ...] = ()
    particle: str = ""
    alone: bool = False
    going: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    of: bool = False
    calls: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to say a verb, and what it waits for behind it: a particle behind the object, or a way to it.

    call: for a simulator's own name, how many objects it lists at least.
    """

    spoken: tuple[str, ...]
    verb: Verb
    particle: str = ""
    going: bool = False
    call: int = 0


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
        """The first command in the words, or None; done only where no other command is in them.

        Words that mark what was decided on, as `Thought: … Action: …` and JSON do, are read from that mark on; all of
        them only where no command is behind it. What the task is said to be counts where nothing else is.
        """
        said = words_of(text)
        decided = said.decided()
        command = self._first(decided) if decided else None
        return command or self._first(said)

    def _first(self, said: Said) -> Command | None:
        otherwise: Command | None = None
        for start in [at for at, word in enumerate(said.words) if word in self._longest_spoken]:
            here = self._here(said, start)
            for way, command in here:
                placed = (other for later, other in here if later.verb.takes is Takes.PLACE)
                found = (next(placed, None) if way.verb.of else None) or command
                if not way.verb.alone and not is_the_task(said, start):
                    return found
                otherwise = otherwise or found
        return otherwise

    def _here(self, said: Said, start: int) -> Iterator[tuple[_Way, Command]]:
        """The commands that may begin here, first what is said in the most words."""
        for length in range(self._longest_spoken[said.words[start]], 0, -1):
            for way in self._spoken.get(tuple(said.words[start : start + length]), ()):
                command = self._complete(way, said, start) if self._starts(way, said, start) else None
                if command is not None:
                    yield way, command

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
        words = words_of(name).words
        found = self._noun(words, 0)
        return found[0] if found and found[1] == len(words) else None

    def _starts(self, way: _Way, said: Said, start: int) -> bool:
        """Whether a command may start here, by what is around it; none does in "the drawer is open, the mug"."""
        for at in range(start + 1, start + len(way.spoken)):
            if said.apart(at) in (STOP, COMMA):
                return False
        if start == 0 or way.verb.alone:
            return True
        if self._described(way, said, start) or self._within_a_noun(said, start) or denied(said, start):
            return False
        if way.verb.takes is Takes.NOTHING:
            return True
        ends_a_clause = not said.apart(start) and said.apart(start + len(way.spoken)) == COMMA
        return not ends_a_clause and not is_purpose(said, start)

    def _described(self, way: _Way, said: Said, start: int) -> bool:
        """Whether the words are an adjective or a noun: "the (large) open drawer", "in open drawers", "my approach"."""
        if way.verb.takes is Takes.NOTHING and len(way.spoken) > 1:
            return False
        if said.apart(start) or said.word(start + len(way.spoken)) in OPENERS:
            return False
        before = said.words[start - 1]
        if before in OWNERS or before in BEFORE_NOUNS:
            return True
        return start > 1 and said.words[start - 2] in OWNERS and not said.apart(start - 1) and before not in HELPERS

    def _within_a_noun(self, said: Said, start: int) -> bool:
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

    def _complete(self, way: _Way, said: Said, start: int) -> Command | None:
        verb, at = way.verb, start + len(way.spoken)
        if verb.takes is Takes.NOTHING:
            stays = is_farewell(said, start, at) if verb.alone else not self._goes_on(way, said, at)
            about = self._object(said, at) if verb.of else None
            return Command(verb.words, about[0] if about else "") if stays else None
        if verb.takes is Takes.PLACE:
            return self._called(way, said, at) if way.call else self._put(verb, said, at)
        found = self._object(said, road_end(said, at) if way.going else at)
        if found is None or not self._ends_well(way, said, at, found[1]):
            return None
        return Command(verb.words, found[0])

    def _goes_on(self, way: _Way, said: Said, at: int) -> bool:
        """Whether the words behind a move make it something else: "go back | to the fridge"."""
        following, thing = said.word(at), said.word(at + 1)
        if at == len(said.words) or said.apart(at) == STOP:
            return False
        if way.spoken == GO_AHEAD and (following in ("and", "with", "to") or following in self._longest_spoken):
            return True
        if following not in way.verb.unless or said.apart(at):
            return False
        named = thing in OPENERS or self._noun(said.words, at + 1) is not None
        return following != "to" or named

    def _ends_well(self, way: _Way, said: Said, at: int, end: int) -> bool:
        """Whether what stands behind the object lets it be the verb's."""
        following, after_that, joined = said.word(end), said.word(end + 1), not said.apart(end)
        if way.particle:
            on_a_thing = way.particle == "on" and after_that in DETERMINERS and not said.apart(end + 1)
            return joined and following == way.particle and not on_a_thing
        if joined and following in STATES and (not after_that or said.apart(end + 1) != JOINED):
            return False
        return not (joined and following in COPULAS and self._noun(said.words, at) is not None)

    def _put(self, verb: Verb, said: Said, at: int) -> Command | None:
        target, words = "", said.words
        if said.word(at) in PRONOUNS:
            at += 1
        elif said.word(at) not in PREPOSITIONS:
            found = self._object(said, at)
            if found is None:
                return None
            target, at = found
        while said.word(at) in ("down", "back"):
            at += 1
        if said.word(at) not in PREPOSITIONS:
            return None
        while at < len(words) and said.apart(at) != STOP and (words[at] in PREPOSITIONS or words[at] == "top"):
            at += 1
        place = self._object(said, at, described=True)
        if place is None or any(words[side] in SIDES and said.word(side + 1) == "of" for side in range(at, place[1])):
            return None
        return Command(verb.words, target, place[0])

    def _called(self, way: _Way, said: Said, at: int) -> Command | None:
        """What a call lists, with its numbers: where to put what is held, or what and where to."""
        if at == len(said.words) or said.apart(at) != MARK:
            return None
        named: list[str] = []
        while at < len(said.words):
            found = self._noun(said.words, at)
            if found is not None:
                named.append(found[0])
            elif said.words[at] not in FIELDS and not said.words[at].isdigit():
                break
            at = at + 1 if found is None else found[1]
        return Command(way.verb.words, *["", *named][-2:]) if way.call <= len(named) <= 2 else None

    def _object(self, said: Said, at: int, *, described: bool = False) -> tuple[str, int] | None:
        """The type named at or shortly after `at`, and where the words go on.

        described: a verb's word may be an adjective from the start; it may behind a determiner ("the open drawer").
        """
        skipped, words = 0, said.words
        while at < len(words) and skipped <= MOST_ADJECTIVES:
            word, following, apart = words[at], said.word(at + 1), said.apart(at)
            if apart == STOP or (apart == COMMA and word in DETERMINERS):
                return None
            found = self._noun(words, at)
            if found is not None:
                return found
            if word in ENDS or (word in ASPECTS and following == "of"):
                return None
            if word in self._longest_spoken and (not described or following in OPENERS):
                return None
            described = described or word in OWNERS
            skipped += word not in DETERMINERS
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
                found.setdefault("".join(words_of(name).words), type_name)
        for letters, type_name in list(found.items()):
            found.setdefault(letters + "s", type_name)
        return found

    @cached_property
    def _longest_noun(self) -> int:
        """In words, counting a name that is written letter by letter nowhere: the longest spaced name."""
        return max(
            (len(words_of(spaced(name)).words) for names in self.nouns.items() for name in _flat(names)), default=1
        )

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
            said += [_Way(tuple(words.split()), verb, call=fewest) for words, fewest in verb.calls]
            said += [replace(way, spoken=("".join(way.spoken),)) for way in said if len(way.spoken) > 1]
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


def _flat(entry: tuple[str, tuple[str, ...]]) -> Iterable[str]:
    yield entry[0]
    yield from entry[1]
