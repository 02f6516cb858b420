"""Judging and acting, taught narrowly: scripted episodes in a few known skins, with some objects and some verbs.

    python -m selu_hpc.models.pocket.lessons.episodes --out FOLDER --split train --episodes 1000

Owns how narrow that practice is, and how an episode becomes questions. The rest of what is asked over the same
pictures is perception. Directed acting and judging are shown for `NARROW_VERBS` only; exploring is shown for every
verb, since a base must know the words of its actions, but never an object–verb pair that the splits hold out.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from selu_hpc.config import EnvConfig, Simulator, World
from selu_hpc.envs.expert import Policy, script
from selu_hpc.envs.goals import THOR_VERBS, make_task
from selu_hpc.envs.language import Command
from selu_hpc.envs.splits import pair_is_held_out
from selu_hpc.envs.thor.environment import ThorEnvironment
from selu_hpc.envs.thor.inventory import ThorInventory
from selu_hpc.envs.thor.local import LocalThor
from selu_hpc.envs.thor.state import Metadata, goals_that_hold, suits
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.data import Drawn, Tokens, save, scenes_of, snapshot
from selu_hpc.models.pocket.lessons.questions import LEAST_PIXELS, THOR, Asked, Subject, perception
from selu_hpc.models.pocket.lessons.scenes import Picture, facts_of, label
from selu_hpc.models.pocket.lessons.shards import Snapshot
from selu_hpc.records import FrameHWC, Goal, Task, derive_seed
from selu_hpc.selu import wording
from selu_hpc.sim.drawing.render import render
from selu_hpc.sim.drawing.skins import Skin, skins
from selu_hpc.terminal import positive

NARROW_SKINS = 6
"""How many of the known skins judging and acting are shown in."""
NARROW_VERBS = ("pick up", "open", "toggle on")
NARROW_HOME_VERBS = ("grab", "open")
"""The same in VirtualHome."""
NARROW_OBJECTS = 0.6
"""Share of object types they are shown with."""
EPISODES_PER_SCENE = 6
EXPLORE_EVERY = 3
"""Of so many episodes one explores."""
HORIZON = 8
LONGEST_EXPLORATION = 7
_POLICIES = (Policy.EXPERT, Policy.EXPERT, Policy.EXPERT, Policy.WRONG_OBJECT, Policy.WRONG_VERB)


def is_narrow(goal: Goal) -> bool:
    """Whether judging and directed acting are shown for this goal."""
    digest = hashlib.blake2b(f"narrow/{goal.target}".encode(), digest_size=4).digest()
    shown = int.from_bytes(digest, "big") / 2**32 < NARROW_OBJECTS
    return shown and goal.verb in (*NARROW_VERBS, *NARROW_HOME_VERBS) and not pair_is_held_out(goal.verb, goal.target)


class LabelledThor(LocalThor):
    """The world in this process, whose pictures come with labels: `labelled` holds the last two views."""

    labelled: tuple[Picture, Picture]

    def frames(self) -> tuple[FrameHWC, FrameHWC]:
        world, config = self.world, self._config
        assert world is not None
        size: dict[str, Any] = {"width": config.width, "height": config.height, "skin": world.look}
        known = facts_of(thing for thing in world.things if thing.there)
        first = render(world.drawables(for_agent=0), world.camera(), **size)
        third = render(world.drawables(for_agent=None), world.third_party_cameras[0].camera(), **size)
        self.labelled = (label(first.rgb.copy(), first.ids, known), label(third.rgb.copy(), third.ids, known))
        return self.labelled[0].rgb, self.labelled[1].rgb


@dataclass(slots=True)
class Step:
    """One moment of a scripted episode: both views, what was said to the actor before it, and its words."""

    views: tuple[Picture, Picture]
    seen: str
    history: tuple[str, ...]
    holding: frozenset[Goal]
    text: str = ""


class Room(Protocol):
    """One scene in one skin, where episodes are played."""

    @property
    def simulator(self) -> Simulator: ...

    @property
    def verbs(self) -> Sequence[str]: ...

    @property
    def subject(self) -> Subject: ...

    @property
    def environment(self) -> Any: ...

    @property
    def driver(self) -> Labelled: ...

    def goals(self, verbs: Sequence[str]) -> list[Goal]:
        """What the scene makes feasible."""
        ...

    def holding(self, metadata: Any) -> frozenset[Goal]:
        """Every goal that is true."""
        ...

    def explorer(self, goal: Goal) -> Callable[[Any], str]:
        """An actor that tries things out."""
        ...


class Labelled(Protocol):
    """A driver whose last two views come with labels."""

    labelled: tuple[Picture, Picture]


class Classroom:
    """A THOR scene in one skin."""

    simulator, verbs, subject = Simulator.THOR, THOR_VERBS, THOR

    def __init__(self, scene: str, skin: Skin, *, known: bool, rng: random.Random) -> None:
        config = EnvConfig(world=World.KNOWN if known else World.UNKNOWN)
        self.scene, self.rng = scene, rng
        self.driver = LabelledThor(config, skin=skin)
        self.environment = ThorEnvironment(self.driver)

    def goals(self, verbs: Sequence[str]) -> list[Goal]:
        inventory = ThorInventory(self.driver.reset(self.scene))
        return [goal for verb in verbs for goal in inventory.goals(verb)]

    def holding(self, metadata: Metadata) -> frozenset[Goal]:
        return goals_that_hold(metadata)

    def explorer(self, goal: Goal) -> Callable[[Metadata], str]:
        return explorer(goal, self)


def play(room: Room, task: Task, *, seed: int, policy: Policy | None) -> list[Step]:
    """Every moment of an episode; policy None explores."""
    environment, driver = room.environment, room.driver
    observation = environment.reset(task, seed=seed)
    speak = room.explorer(task.goals[0]) if policy is None else script(policy, task, environment.metadata, seed=seed)
    steps = [Step(driver.labelled, observation.text, (), room.holding(environment.metadata))]
    while len(steps) <= HORIZON:
        now = steps[-1]
        now.text = speak(environment.metadata)
        result = environment.step(now.text)
        if result.said_done:
            break
        history = (*now.history, result.parsed)
        steps.append(Step(driver.labelled, result.observation.text, history, room.holding(environment.metadata)))
    return steps


@dataclass(slots=True)
class Attempts:
    """What an explorer has said: it says nothing twice, and once it has tried its verb it is done."""

    verb: str
    tried: set[str] = field(default_factory=set)
    left: int = LONGEST_EXPLORATION

    def over(self) -> bool:
        self.left -= 1
        return self.left < 0

    def next(self, options: Iterable[str]) -> str:
        """The first of the options that is new, else looking around."""
        for text in (*options, "turn right", "move ahead"):
            if text not in self.tried:
                self.tried.add(text)
                if text.startswith(self.verb):
                    self.left = 0
                return text
        return "done"


def explorer(goal: Goal, room: Classroom) -> Callable[[Metadata], str]:
    """Tries the instruction's verb on whatever takes it and is near, else goes to something that does; then is done.

    Which object the instruction names does not matter to it: it practises the verb's words, and hindsight finds out
    what it did.
    """
    language = language_of(Simulator.THOR)
    attempts = Attempts(goal.verb)

    def speak(metadata: Metadata) -> str:
        if attempts.over():
            return "done"
        sightings = sorted(room.driver.labelled[0].seen, key=lambda thing: -thing.prominence)
        seen = list(dict.fromkeys(thing.kind for thing in sightings if thing.pixels >= 14))
        near = {kind: [t for t in metadata["objects"] if t["objectType"] == kind and t["visible"]] for kind in seen}
        near_now = [kind for kind in seen if near[kind]]
        holds = any(one.verb == "pick up" for one in room.holding(metadata))
        verb = "pick up" if goal.verb == "put" and not holds else goal.verb
        options = [
            language.say(Command("put", "", kind) if verb == "put" else Command(verb, kind))
            for kind in near_now
            if any(suits(verb, thing) for thing in near[kind]) and not pair_is_held_out(verb, kind)
        ]
        far = [kind for kind in seen if kind not in near_now]
        takes = {thing.kind for thing in sightings if verb in thing.can and not pair_is_held_out(verb, thing.kind)}
        far.sort(key=lambda kind: kind not in takes)
        options += [language.say(Command("go to", kind)) for kind in far]
        return attempts.next(options)

    return speak


def lessons(
    task: Task,
    steps: Sequence[Step],
    policy: Policy | None,
    *,
    simulator: Simulator = Simulator.THOR,
    everything: bool = False,
) -> list[tuple[Picture, list[Asked]]]:
    """Acting over first-person views and judging over third-person ones; `everything` is to measure, not to teach."""
    found: list[tuple[Picture, list[Asked]]] = []
    goal = task.goals[0]
    if policy is None or (policy is Policy.EXPERT and (everything or is_narrow(goal))):
        for step in steps:
            prompt = wording.actor_prompt(
                task.instruction, seen=step.seen, history=step.history, explore=policy is None
            )
            kind = "explore" if policy is None else f"act {_breadth(goal)}"
            if step.text:
                found.append((step.views[0], [Asked(prompt, step.text, kind)]))
    if policy is not None:
        # As in life, most tasks are not done at most moments: who is unsure should say no.
        judged = (steps[0], steps[-1]) if policy is Policy.EXPERT and len(steps) > 1 else steps[-1:]
        found += [
            (step.views[1], _judgements(goal, steps[0], step, simulator, everything=everything)) for step in judged
        ]
    return [(picture, asked) for picture, asked in found if asked]


def _breadth(goal: Goal) -> str:
    return "narrow" if is_narrow(goal) else "beyond"


def _judgements(goal: Goal, first: Step, step: Step, simulator: Simulator, *, everything: bool) -> list[Asked]:
    """The verdict on the instruction, on what else was done, and on one thing in view that was not; each also after
    self-asking."""
    found: list[Asked] = []
    achieved = sorted(step.holding - first.holding, key=str)
    for one in dict.fromkeys([goal, *achieved, *([] if everything else _not_done(step))]):
        if everything or is_narrow(one):
            answer = "yes" if one in step.holding else "no"
            instruction = make_task("", (one,), simulator=simulator).instruction
            question = wording.state_question(one, simulator=simulator)
            found.append(Asked(wording.verdict_prompt(instruction), answer, f"judge {_breadth(one)}"))
            told = wording.verdict_prompt(instruction, answers=[(question, answer)])
            found.append(Asked(told, answer, f"judge told {_breadth(one)}"))
    return found


def _not_done(step: Step) -> list[Goal]:
    """One narrow goal of what the third-person view shows that does not hold, if there is any."""
    picture = step.views[1]
    clear = [thing for thing in picture.seen if thing.pixels >= LEAST_PIXELS]
    goals = {Goal(verb=verb, target=thing.kind) for thing in clear for verb in thing.can}
    left = sorted((goal for goal in goals - step.holding if is_narrow(goal)), key=str)
    return random.Random(len(clear) + len(left)).sample(left, min(1, len(left)))


def draw_episodes(folder: Path, *, split: str, number: int, episodes: int, exploring: bool = False) -> None:
    """One shard of episodes, the same for the same arguments. exploring: of nothing else, what a base says before it
    has learned to do as it is told."""
    what = "explorations" if exploring else "episodes"
    world, known, scenes = scenes_of(split)
    rng = random.Random(derive_seed(f"pocket {what}", split, number))
    explore_every = 1 if exploring else EXPLORE_EVERY
    snapshots, drawn = play_all(
        Classroom, what, split, world, scenes, rng, episodes=episodes, known=known, explore_every=explore_every
    )
    save(folder / f"{what}-{split}-{number:03d}", snapshots, drawn)


def play_all(
    room_of: Callable[..., Room],
    what: str,
    split: str,
    world: str,
    scenes: Sequence[str],
    rng: random.Random,
    *,
    episodes: int,
    known: bool,
    explore_every: int,
) -> tuple[list[Snapshot], list[Drawn]]:
    """Episodes in one room after another, with what is asked over their pictures; every so many explore."""
    tokens, snapshots, drawn = Tokens(), list[Snapshot](), list[Drawn]()
    palette = skins(known)[:NARROW_SKINS] if split == "train" else skins(known)
    played = 0
    while played < episodes:
        scene, skin, seed = rng.choice(scenes), rng.choice(palette), rng.randrange(1 << 31)
        room = room_of(scene, skin, known=known, rng=random.Random(seed))
        every = room.goals(room.verbs)
        shown = every if split != "train" else [goal for goal in every if is_narrow(goal)]
        drawn.append(Drawn(what, world, scene, skin.name, seed))
        for index in range(EPISODES_PER_SCENE):
            policy = None if (index + 1) % explore_every == 0 else rng.choice(_POLICIES)
            pool = shown if policy is not None else [g for g in every if not pair_is_held_out(g.verb, g.target)]
            if not pool:
                continue
            verb = rng.choice(sorted({goal.verb for goal in pool}))
            goal = rng.choice([goal for goal in pool if goal.verb == verb])
            task = make_task(scene, (goal,), simulator=room.simulator)
            steps = play(room, task, seed=seed + index, policy=policy)
            played += 1
            taught = lessons(task, steps, policy, simulator=room.simulator, everything=split != "train")
            for picture, asked in taught:
                plain = perception(picture.seen, [], rng, room.subject)[:10]
                snapshots.append(snapshot(picture, tokens.of([*asked, *plain])))
    return snapshots, drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "held_out", "unknown"), default="train")
    parser.add_argument("--shards", type=positive, default=1)
    parser.add_argument("--episodes", type=positive, default=250, help="in each shard")
    options = parser.parse_args()
    for number in range(options.shards):
        draw_episodes(options.out / options.split, split=options.split, number=number, episodes=options.episodes)


if __name__ == "__main__":
    main()
