"""What the built-in model is asked about a picture, and the true answer: broad perception.

Owns the choice of questions, balanced so that no answer pays by itself. The critic's own questions are worded by
selu/wording.py, so that the model meets the very same words later; a few plain ones are added here. Judging and
acting are taught from episodes (episodes.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from selu_hpc.config import Simulator
from selu_hpc.envs.words import language_of
from selu_hpc.records import Goal
from selu_hpc.selu import wording
from selu_hpc.sim.thor.catalogue import specs
from selu_hpc.sim.virtualhome.catalogue import class_named

LEAST_PIXELS = 14
"""Things smaller than this in a picture are neither asked about nor denied."""
DENIALS = 3
"""At most this many things that are not in a picture are asked for their state there."""
HELD_DENIED = 0.6
"""How often it is asked of what is in a hand whether it lies on or in something that is there."""
ALIKE = 0.6
"""How often such a question is about a state that something else in the picture is in."""
_SIDES = ("left", "middle", "right")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing in one picture.

    kind: its type, of which a slice's is its parent's.  x, y: its middle, 0 … 1.  holders: types it is in or on.
    can: the verbs its type takes.  true: the verbs whose goal holds for it now ("open", "toggle on", "pick up", …).
    """

    kind: str
    pixels: int
    x: float
    y: float
    holders: tuple[str, ...]
    can: frozenset[str]
    true: frozenset[str]

    @property
    def prominence(self) -> float:
        return math.sqrt(self.pixels) * (1.3 - abs(self.x - 0.5) - abs(self.y - 0.5))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its answer; kind groups it in tables ("state open", "which broken", "where", …)."""

    prompt: str
    answer: str
    kind: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What can be asked in a simulator.

    opposites: verbs whose goal holds of nearly everything.  few: verbs whose goal holds of one thing at most → how
    often one is asked of which it does not.  which: verbs of "which object".  verbs: what a type takes, by its
    properties.  hold: the verb whose goal holds of what is in a hand.  few_none: how often "which object" is asked of
    those few verbs where the answer is none.
    """

    simulator: Simulator
    opposites: tuple[str, ...]
    few: Mapping[str, float]
    which: tuple[str, ...]
    verbs: Mapping[str, tuple[str, ...]]
    hold: str
    few_none: float
    any_type: str
    ground: str


THOR = Subject(
    Simulator.THOR,
    opposites=("close", "toggle off"),
    few={"pick up": 0.7},
    which=("pick up", "open", "close", "break", "slice", "toggle on", "toggle off"),
    verbs={
        "pick": ("pick up", "put"),
        "open": ("open", "close"),
        "break": ("break",),
        "slice": ("slice",),
        "toggle": ("toggle on", "toggle off"),
    },
    hold="pick up",
    few_none=0.5,
    any_type="Apple",
    ground="Floor",
)
HOME = Subject(
    Simulator.VIRTUALHOME,
    opposites=("close", "switch off"),
    few={"grab": 0.55, "sit": 0.2},
    which=("grab", "sit", "open", "close", "switch on", "switch off"),
    verbs={
        "GRABBABLE": ("grab", "put"),
        "CAN_OPEN": ("open", "close"),
        "SITTABLE": ("sit",),
        "HAS_SWITCH": ("switch on", "switch off"),
    },
    hold="grab",
    few_none=0.25,
    any_type="apple",
    ground="floor",
)


def perception(
    seen: Sequence[Sighting], absent: Sequence[str], rng: random.Random, subject: Subject = THOR
) -> list[Asked]:
    """Questions over one picture. absent: types that are elsewhere, to be asked about as well."""
    clear = [thing for thing in seen if thing.pixels >= LEAST_PIXELS]
    if not clear:
        return []
    missing = sorted(set(absent) - {thing.kind for thing in seen})
    asked = [
        *_states(clear, rng, subject),
        *_denials(clear, missing, rng, subject),
        *_which(clear, rng, subject),
        *_places(clear, rng, subject),
        *_plain(clear, seen, missing, rng, subject),
    ]
    rng.shuffle(asked)
    return asked


def _goal(verb: str, kind: str, place: str = "") -> Goal:
    return Goal(verb=verb, target=kind, place=place)


def _states(seen: Sequence[Sighting], rng: random.Random, subject: Subject) -> list[Asked]:
    """ "Is the fridge open? yes or no?": of every pair of verb and type that is visible a few, yes as often as no."""
    yes: list[tuple[str, str]] = []
    no: list[tuple[str, str]] = []
    for kind in sorted({thing.kind for thing in seen}):
        same = [thing for thing in seen if thing.kind == kind]
        for verb in sorted(frozenset().union(*(thing.can for thing in same))):
            holds = any(verb in thing.true for thing in same)
            if verb in subject.opposites:
                holds = all(verb in thing.true for thing in same)
            (yes if holds else no).append((verb, kind))
    # Everything is closed, off and whole but for a few things: as many of the many noes and yeses as of the few.
    rare = [pair for pair in yes if pair[0] not in subject.opposites]
    common = [pair for pair in yes if pair not in rare]
    opposites = [pair for pair in no if pair[0] in subject.opposites]
    others = [pair for pair in no if pair not in opposites and pair[0] not in subject.few]
    chosen = rng.sample(rare, min(5, len(rare))) + rng.sample(common, min(len(opposites), 2, len(common)))
    chosen_no = rng.sample(opposites, min(2, len(opposites))) + rng.sample(others, min(len(rare) + 1, 4, len(others)))
    for few, how_often in subject.few.items():
        never = [pair for pair in no if pair[0] == few]
        if rng.random() < how_often:
            chosen_no += rng.sample(never, min(1, len(never)))
    found = [_state(verb, kind, "yes", rng, subject) for verb, kind in dict.fromkeys(chosen)]
    return found + [_state(verb, kind, "no", rng, subject) for verb, kind in dict.fromkeys(chosen_no)]


def _denials(seen: Sequence[Sighting], missing: Sequence[str], rng: random.Random, subject: Subject) -> list[Asked]:
    """ "Is the cup broken?" of a picture without a cup: no, and oftenest where something else is broken.

    An episode that went wrong mostly shows another object than the task's, so this is what self-asking meets.
    """
    shown = frozenset().union(*(thing.true for thing in seen))
    places = sorted({thing.kind for thing in seen if _takes_things(thing, subject)})
    shown |= {"put"} if places else set()
    found = []
    for kind in rng.sample(missing, min(DENIALS, len(missing))):
        verbs = [verb for verb in _verbs_of(kind, subject) if verb != "put" or places]
        alike = [verb for verb in verbs if verb in shown]
        if not verbs:
            continue
        verb = rng.choice(alike if alike and rng.random() < ALIKE else verbs)
        place = rng.choice(places) if verb == "put" else ""
        found.append(_state(verb, kind, "no", rng, subject, place=place, group="absent"))
    return found


def _verbs_of(kind: str, subject: Subject) -> list[str]:
    """The verbs a type takes."""
    if subject.simulator is Simulator.VIRTUALHOME:
        properties = class_named(kind).properties
    else:
        known = specs().get(kind)
        properties = frozenset(word for word in subject.verbs if known is not None and known.can(word))
    return [verb for word, verbs in subject.verbs.items() if word in properties for verb in verbs]


def _state(
    verb: str,
    kind: str,
    answer: str,
    rng: random.Random,
    subject: Subject,
    *,
    place: str = "",
    group: str = "state",
) -> Asked:
    simulator_verb = verb
    if verb == "pick up" and rng.random() < 0.15:
        simulator_verb = "grab"
    question = wording.state_question(_goal(simulator_verb, kind, place), simulator=subject.simulator)
    return Asked(wording.state_prompt(question), answer, f"{group} {verb}")


def _which(seen: Sequence[Sighting], rng: random.Random, subject: Subject) -> list[Asked]:
    """ "Which object is open?": the most prominent one, or none."""
    language = language_of(subject.simulator)
    found = []
    for verb in subject.which:
        holding = [thing for thing in seen if verb in thing.true]
        if not holding and rng.random() > (subject.few_none if verb in subject.few else 0.15):
            continue
        best = max(holding, key=lambda thing: thing.prominence, default=None)
        said = verb if verb != "pick up" or rng.random() > 0.15 else "grab"
        question = wording.which_question(_goal(said, subject.any_type), simulator=subject.simulator)
        found.append(
            Asked(wording.which_prompt(question), language.name(best.kind) if best else "none", f"which {verb}")
        )
    return found


def _places(seen: Sequence[Sighting], rng: random.Random, subject: Subject) -> list[Asked]:
    """Where things lie: "Is the apple in the fridge?" and "Where is the apple?". What is in a hand lies nowhere."""
    language = language_of(subject.simulator)
    lying = [thing for thing in seen if thing.holders and thing.holders[0] != subject.ground]
    taking = {thing.kind for thing in seen if _takes_things(thing, subject)}
    kinds = sorted({holder for thing in seen for holder in thing.holders} | taking)
    found = []
    for thing in rng.sample(lying, min(2, len(lying))):
        same = [other for other in seen if other.kind == thing.kind]
        holders = {holder for other in same for holder in other.holders}
        wrong = [kind for kind in kinds if kind not in holders and kind != thing.kind]
        choices = [(thing.holders[0], "yes")] + ([(rng.choice(wrong), "no")] if wrong else [])
        place, answer = rng.choice(choices)
        question = wording.state_question(_goal("put", thing.kind, place), simulator=subject.simulator)
        found.append(Asked(wording.state_prompt(question), answer, "state put"))
        question = wording.which_question(_goal("put", thing.kind), simulator=subject.simulator)
        found.append(Asked(wording.which_prompt(question), language.name(thing.holders[0]), "which put"))
    for thing in seen:
        places = [kind for kind in taking if kind != thing.kind]
        if subject.hold in thing.true and places and rng.random() < HELD_DENIED:
            found.append(_state("put", thing.kind, "no", rng, subject, place=rng.choice(sorted(places))))
    return found


def _plain(
    seen: Sequence[Sighting],
    everything: Sequence[Sighting],
    missing: Sequence[str],
    rng: random.Random,
    subject: Subject,
) -> list[Asked]:
    """What is there, and on which side."""
    name = language_of(subject.simulator).name
    found = []
    for thing in rng.sample(list(seen), min(2, len(seen))):
        found.append(Asked(f"Do you see the {name(thing.kind)}? yes or no?", "yes", "see"))
    for kind in rng.sample(missing, min(2, len(missing))):
        found.append(Asked(f"Do you see the {name(kind)}? yes or no?", "no", "see"))
    single = [t for t in seen if sum(o.kind == t.kind for o in everything) == 1]
    for thing in rng.sample(single, min(2, len(single))):
        side = _SIDES[min(2, int(thing.x * 3))]
        found.append(Asked(f"Where in the picture is the {name(thing.kind)}? left, middle or right?", side, "side"))
    best = max(seen, key=lambda thing: thing.prominence)
    found.append(Asked("What is in the middle of the picture?", name(best.kind), "middle"))
    parts: Iterable[int] = rng.sample(range(3), 1)
    for part in parts:
        here = [thing for thing in seen if min(2, int(thing.x * 3)) == part]
        largest = max(here, key=lambda thing: thing.pixels, default=None)
        where = ("on the left", "in the middle", "on the right")[part]
        prompt = f"What is the largest thing {where} of the picture?"
        if largest is not None or rng.random() < 0.3:
            found.append(Asked(prompt, name(largest.kind) if largest else "none", "largest"))
    return found


def _takes_things(thing: Sighting, subject: Subject) -> bool:
    if subject.simulator is Simulator.VIRTUALHOME:
        return bool({"SURFACES", "CONTAINERS"} & class_named(thing.kind).properties)
    known = specs().get(thing.kind)
    return known is not None and known.can("rec")
