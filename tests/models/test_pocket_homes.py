"""What the built-in model is shown of VirtualHome: known homes only, as the environment shows them, asked evenly."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pytest

from selu_hpc.config import EnvConfig, Simulator, World
from selu_hpc.envs.expert import Policy
from selu_hpc.envs.goals import VIRTUALHOME_VERBS, make_task
from selu_hpc.envs.splits import pair_is_held_out, test_scenes, train_scenes
from selu_hpc.envs.virtualhome.state import goals_that_hold
from selu_hpc.envs.words import language_of
from selu_hpc.models.pocket.lessons.episodes import is_narrow, lessons, play
from selu_hpc.models.pocket.lessons.home_episodes import HomeClassroom
from selu_hpc.models.pocket.lessons.homes import HomeSet, homes_of, layout_seed, shows
from selu_hpc.models.pocket.lessons.questions import HOME, perception
from selu_hpc.models.pocket.lessons.scenes import CLASSES, STATES
from selu_hpc.models.pocket.model import IMAGE_SIZE, build_tokenizer
from selu_hpc.records import Goal
from selu_hpc.sim.drawing.skins import skins
from selu_hpc.sim.virtualhome.catalogue import class_named, classes
from selu_hpc.sim.virtualhome.homes import NUM_PLANS, make_home

HOME_VERBS = ("grab", "sit", "open", "close", "switch on", "switch off", "put")
HOME_TYPES = {cls.kind for cls in classes().values() if cls.kind}


def shown(number: int, seed: int, poses: int = 12) -> Iterator[tuple[list, HomeSet]]:
    """Both views of each pose, and the home as it is at that moment."""
    place = HomeSet(number, skins(True)[seed % 28], random.Random(seed))
    for pose in range(poses):
        if pose % 6 == 0:
            place.change()
        place.pose()
        yield place.pictures(both=True), place


def asked_in(number: int, seed: int, poses: int) -> list:
    rng = random.Random(seed)
    return [
        one
        for pictures, place in shown(number, seed, poses)
        for picture in pictures
        for one in perception(picture.seen, place.kinds[:8], rng, HOME)
    ]


@pytest.fixture(scope="module")
def asked() -> list:
    return [one for number, seed in ((0, 1), (1, 2)) for one in asked_in(number, seed, 28)]


def test_training_homes_are_known_ones_that_no_other_split_has():
    config = EnvConfig(simulator=Simulator.VIRTUALHOME, world=World.KNOWN)
    assert homes_of("train") == ("known", True, train_scenes(config))
    assert homes_of("held_out") == ("known", True, test_scenes(config))
    unknown = EnvConfig(simulator=Simulator.VIRTUALHOME, world=World.UNKNOWN)
    assert homes_of("unknown")[:2] == ("unknown", False)
    assert not set(homes_of("train")[2]) & {*test_scenes(config), *train_scenes(unknown), *test_scenes(unknown)}


def test_a_layout_of_its_own_keeps_the_plan_of_its_home_and_is_no_layout_of_the_unknown_world():
    rng = random.Random(0)
    seeds = [layout_seed(number, rng) for number in (0, 1) for _ in range(50)]
    assert {seed % NUM_PLANS for seed in seeds} == {0, 1}
    rooms = Counter(n["class_name"] for n in make_home(1, known=True).graph["nodes"] if n["category"] == "Rooms")
    own = make_home(1, known=True, seed=layout_seed(1, rng))
    assert rooms == Counter(n["class_name"] for n in own.graph["nodes"] if n["category"] == "Rooms")
    boxes = {str(n["bounding_box"]) for n in own.graph["nodes"]}
    for number in range(NUM_PLANS):
        other = {str(n["bounding_box"]) for n in make_home(number, known=False).graph["nodes"]}
        assert len(boxes & other) < 0.05 * len(boxes)


def test_the_same_seed_draws_the_same_pictures_and_labels():
    def draw() -> list:
        return [picture for pictures, _ in shown(0, 7, 3) for picture in pictures]

    for one, other in zip(draw(), draw(), strict=True):
        assert np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.states, other.states)
        assert one.seen == other.seen
        assert one.rgb.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)


def test_the_environment_shows_the_very_pixels_of_a_posed_home():
    """The fast way (states and poses set directly) and the simulator's own scripts end in one picture."""
    room = HomeClassroom("home0", skins(True)[3], known=True, rng=random.Random(0))
    goal = Goal(verb="grab", target="apple")
    steps = play(room, make_task("home0", (goal,), simulator=Simulator.VIRTUALHOME), seed=4, policy=Policy.EXPERT)
    world = room.driver.world
    assert goal in goals_that_hold(world.graph)
    place = HomeSet(0, skins(True)[3], random.Random(0))
    place.places, body = world.places.copy(), world.places.bodies[1]
    place.body = place.places.bodies[body.number]
    for node in world.graph["nodes"]:
        place.states.setdefault(node["id"], [])[:] = node["states"]
    place._graph = {"nodes": [{"id": i, "states": s} for i, s in place.states.items()], "edges": world.graph["edges"]}
    place._touched = next(
        str(item.number) for item in place.places.items.values() if item.support[0].startswith("HOLDS")
    )
    third, first = place.pictures(both=True)
    assert np.array_equal(first.rgb, steps[-1].views[0].rgb)
    assert np.array_equal(third.rgb, steps[-1].views[1].rgb)
    assert "grab" in next(thing.true for thing in third.seen if thing.kind == "apple" and "grab" in thing.true)


def test_what_is_held_and_sat_on_is_true_of_what_is_seen():
    held = sat = 0
    for pictures, place in chain(shown(1, 1, 16), shown(0, 2, 16)):
        in_hands = {i.cls.name for i in place.places.items.values() if i.support[0].startswith("HOLDS")}
        seat = place.places.items[place.body.seat].cls.name if place.body.seat else ""
        for thing in (thing for picture in pictures for thing in picture.seen):
            held += "grab" in thing.true
            sat += "sit" in thing.true
            assert "grab" not in thing.true or thing.kind in in_hands
            assert "sit" not in thing.true or thing.kind == seat
            assert not thing.holders or "grab" not in thing.true
    assert held
    assert sat


def test_neither_yes_nor_no_pays_by_itself(asked):
    answers = {verb: Counter(a.answer for a in asked if a.kind == f"state {verb}") for verb in HOME_VERBS}
    for verb, found in answers.items():
        assert 0.1 < found["yes"] / found.total() < 0.9, (verb, found)


def test_every_kind_of_question_of_the_task_types_is_asked_in_virtualhomes_words(asked):
    assert {f"state {verb}" for verb in VIRTUALHOME_VERBS} <= {a.kind for a in asked}
    assert {f"which {verb}" for verb in VIRTUALHOME_VERBS} <= {a.kind for a in asked}
    assert not [a.prompt for a in asked if "robot" in a.prompt or "sliced" in a.prompt]
    tokenizer = build_tokenizer()
    for one in {f"{a.prompt} {a.answer}" for a in asked if a.kind != "largest"}:
        assert not [token for token in tokenizer.tokenize(one) if token.startswith("##")], one


def test_states_that_no_pixel_tells_are_not_asked(asked):
    told = {(name, state): shows(class_named(name), state) for name in ("fridge", "milk") for state in ("open",)}
    told |= {(name, "on"): shows(class_named(name), "on") for name in ("tv", "phone")}
    assert told == {("fridge", "open"): True, ("milk", "open"): False, ("tv", "on"): True, ("phone", "on"): False}
    prompts = {a.prompt for a in asked}
    assert not [p for p in prompts if p.startswith(("Is the milk open", "Is the phone turned", "Is the cereal open"))]


def test_patches_have_a_class_for_every_shape_of_a_home_and_a_state_for_a_taken_seat():
    assert set(CLASSES) >= HOME_TYPES
    assert "sat" in STATES
    bit = 1 << STATES.index("sat")
    sitting = [pictures for pictures, place in shown(0, 5, 20) if place.body.seat]
    assert sitting
    assert any((picture.states & bit).any() for pictures in sitting for picture in pictures)


def test_judging_and_acting_are_shown_for_few_pairs_and_never_for_held_out_ones():
    kinds = language_of(Simulator.VIRTUALHOME).nouns
    for verb in ("grab", "open"):
        narrow = [kind for kind in kinds if is_narrow(Goal(verb=verb, target=kind))]
        assert 0.2 * len(kinds) < len(narrow) < 0.55 * len(kinds)
        assert not [kind for kind in narrow if pair_is_held_out(verb, kind)]
    assert not any(is_narrow(Goal(verb=verb, target=kind)) for verb in ("sit", "close", "switch on") for kind in kinds)


@pytest.mark.parametrize("verb", ["grab", "sit", "put"])
def test_an_explorer_does_what_it_sees_but_never_a_held_out_pair(verb):
    room = HomeClassroom("home1", skins(True)[0], known=True, rng=random.Random(3))
    goals = [g for g in room.goals((verb,)) if not pair_is_held_out(g.verb, g.target)]
    language = language_of(Simulator.VIRTUALHOME)
    for seed in range(3):
        task = make_task("home1", (goals[seed % len(goals)],), simulator=Simulator.VIRTUALHOME)
        steps = play(room, task, seed=seed, policy=None)
        read = [language.read(step.text) for step in steps if step.text]
        assert read
        assert all(read)
        for command in read:
            verb_of_goal = "sit" if command.verb == "sit on" else command.verb
            if verb_of_goal in VIRTUALHOME_VERBS and verb_of_goal != "put":
                assert not pair_is_held_out(verb_of_goal, command.target)
        taught = lessons(task, steps, None, simulator=Simulator.VIRTUALHOME)
        assert {one.kind for _, questions in taught for one in questions} == {"explore"}


def test_an_experts_episode_is_judged_yes_at_its_end_and_no_at_its_start():
    room = HomeClassroom("home0", skins(True)[1], known=True, rng=random.Random(1))
    goal = next(g for g in room.goals(("open",)) if is_narrow(g))
    task = make_task("home0", (goal,), simulator=Simulator.VIRTUALHOME)
    steps = play(room, task, seed=0, policy=Policy.EXPERT)
    verdicts = [
        one
        for _, questions in lessons(task, steps, Policy.EXPERT, simulator=Simulator.VIRTUALHOME)
        for one in questions
        if one.kind == "judge narrow" and task.instruction in one.prompt
    ]
    assert [one.answer for one in verdicts] == ["no", "yes"]
