"""The records that pass between stages: tasks, actions, episodes, labels, samples.

Owns their fields and their JSON form. Does not own where they lie (store/) or who makes them.
All are frozen, hold plain values, and survive `from_json(to_json(x)) == x`.

Shape legend: T actions, V=2 views (0 first person, 1 third person), H height, W width, C=3.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FramesTVHWC = NDArray[np.uint8]
FrameHWC = NDArray[np.uint8]
LONGEST_KEPT = 400
"""Characters of an answer that are kept in the records."""
UNREADABLE = "unreadable"
"""What the record says was taken from an answer that says nothing."""


class View(StrEnum):
    """Which camera a frame comes from; its place on the V axis is `axis`."""

    FIRST_PERSON = "first_person"
    THIRD_PERSON = "third_person"

    @property
    def axis(self) -> int:
        return 0 if self is View.FIRST_PERSON else 1


class Role(StrEnum):
    """The two adapters of the one base."""

    ACTOR = "actor"
    CRITIC = "critic"


class Purpose(StrEnum):
    """What a question to the critic is for, as its record calls it (`Exchange.purpose`)."""

    VERDICT = "verdict"
    STATE = "state"
    SECOND_VERDICT = "second verdict"
    OWN_WORDS = "own words"
    """No question: the look at what the actor said."""
    WHICH = "which"
    CONSISTENCY = "consistency"
    CONSISTENCY_STATE = "consistency state"
    SECOND_CONSISTENCY = "second consistency"
    BEFORE = "before"
    FEEDBACK = "feedback"
    REFINED_VERDICT = "refined verdict"
    SCORE = "score"


class Ended(StrEnum):
    """Why an episode stopped; never because the simulator says the task is done."""

    LIMIT = "limit"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One thing to bring about: `Goal(verb="put", target="Apple", place="Fridge")`.

    verb: the instruction's verb as the recipe names it ("pick up", "open", "sit").
    target: the simulator's object type ("Apple", "fridge").
    place: the receptacle's type for "put", else empty.
    """

    verb: str
    target: str
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one episode is asked for: `Task(instruction="pick up the apple", scene="FloorPlan1", goals=(Goal(...),))`.

    instruction: the words the actor reads.
    scene: the simulator's scene name.
    goals: what the words mean, in order; more than one for a composition.
    """

    instruction: str
    scene: str
    goals: tuple[Goal, ...]

    @property
    def verb(self) -> str:
        """The first goal's verb: the task's type in every table."""
        return self.goals[0].verb if len(self.goals) == 1 else "+".join(g.verb for g in self.goals)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Task:
        return cls(
            instruction=value["instruction"],
            scene=value["scene"],
            goals=tuple(Goal(**goal) for goal in value["goals"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step of the actor: `Action(text="Pick up the apple.", parsed="pick up the apple", ok=True)`.

    text: the model's raw words.  parsed: the canonical action, empty when none could be read.
    ok, error: the simulator's answer to the call, for reading and debugging; a stage that learns is not told it.
    """

    text: str
    parsed: str
    ok: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One rollout; `frames_tvhwc[t, v]` is what camera v saw before action t, the last one after the end.

    episode_id: "r01-s0003-e0007", unique in a run.  seed: what reset and sampling were seeded with.
    frames_tvhwc: uint8 (T+1, 2, H, W, 3).  timestamps_s: T+1 wall-clock times, outside every digest.
    model, adapter: what acted ("pocket@1a2b…", "r00/actor" or "none").
    seen: for each of the T+1 frames, what the actor was told beside it (`Observation.text`).
    """

    episode_id: str
    seed: int
    task: Task
    actions: tuple[Action, ...]
    ended: Ended
    model: str
    adapter: str
    seen: tuple[str, ...] = ()
    frames_tvhwc: FramesTVHWC = field(repr=False, compare=False)
    timestamps_s: tuple[float, ...] = field(default=(), compare=False)

    @property
    def num_steps(self) -> int:
        return len(self.actions)

    def meta_json(self) -> dict[str, Any]:
        """All but frames and timestamps."""
        return {
            "episode_id": self.episode_id,
            "seed": self.seed,
            "task": self.task.to_json(),
            "actions": [asdict(action) for action in self.actions],
            "ended": str(self.ended),
            "model": self.model,
            "adapter": self.adapter,
            "seen": list(self.seen),
        }

    @classmethod
    def from_meta(
        cls, meta: dict[str, Any], *, frames_tvhwc: FramesTVHWC, timestamps_s: tuple[float, ...] = ()
    ) -> Episode:
        return cls(
            episode_id=meta["episode_id"],
            seed=meta["seed"],
            task=Task.from_json(meta["task"]),
            actions=tuple(Action(**action) for action in meta["actions"]),
            ended=Ended(meta["ended"]),
            model=meta["model"],
            adapter=meta["adapter"],
            seen=tuple(meta.get("seen", ())),
            frames_tvhwc=frames_tvhwc,
            timestamps_s=timestamps_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the simulator knows of an episode's success; only evaluation and reports may read it.

    success_after: for each of the T+1 frames, whether all goals held at that moment.
    achieved: goals of any verb that held at the end and not at the start ("open Fridge").
    """

    episode_id: str
    success_after: tuple[bool, ...]
    achieved: tuple[Goal, ...] = ()

    @property
    def success(self) -> bool:
        """True when the goals hold in the last frame, which is what the critic judges."""
        return self.success_after[-1]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Truth:
        return cls(
            episode_id=value["episode_id"],
            success_after=tuple(value["success_after"]),
            achieved=tuple(Goal(**goal) for goal in value["achieved"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRef:
    """Points at one stored frame: store path relative to the run folder, episode index in it, step, view."""

    store: str
    episode: int
    step: int
    view: View

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FrameRef:
        return cls(store=value["store"], episode=value["episode"], step=value["step"], view=View(value["view"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question to the critic and its answer, with what was taken from it.

    answer: verbatim, as far as it is kept (`clean`).
    sure: how likely what was taken is, where that was asked for (`critic.sure_yes`); else it is not written down.
    """

    purpose: str
    question: str
    answer: str
    taken: str
    sure: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The critic's finding on one episode.

    first, verdict: the verdict before and after self-asking.
    tried: False when the actor's own words never did the instruction's verb to its object.
    relabelled: the task the episode did achieve, when hindsight found one.
    exchanges: every question and answer, in order.
    """

    episode_id: str
    first: bool
    verdict: bool
    relabelled: Task | None = None
    exchanges: tuple[Exchange, ...] = ()
    tried: bool = True

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "exchanges": [exchange.to_json() for exchange in self.exchanges]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Label:
        relabelled = value["relabelled"]
        return cls(
            episode_id=value["episode_id"],
            first=value["first"],
            verdict=value["verdict"],
            relabelled=None if relabelled is None else Task.from_json(relabelled),
            exchanges=tuple(Exchange(**exchange) for exchange in value["exchanges"]),
            tried=value.get("tried", True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One fine-tuning example: look at the images, read the prompt, learn the answer.

    source: where it comes from ("success", "relabelled", "verdict", "corrected", …).
    verb: the task type, for balance and the data card.  kept: carried over from the last round's set.
    """

    prompt: str
    answer: str
    images: tuple[FrameRef, ...]
    source: str
    verb: str
    kept: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Sample:
        return cls(
            prompt=value["prompt"],
            answer=value["answer"],
            images=tuple(FrameRef.from_json(ref) for ref in value["images"]),
            source=value["source"],
            verb=value["verb"],
            kept=value["kept"],
        )


def clean(text: str, longest: int = LONGEST_KEPT) -> str:
    """The text as it is kept: valid Unicode, one line, no control characters, not endless."""
    head = text[: 4 * longest].encode("utf-8", "replace").decode("utf-8")
    printable = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in head)
    return " ".join(printable.split())[:longest].rstrip()


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from (run seed, round, shard, index, purpose …), the same on every machine."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
