"""What is refused before Unity is asked, and in what words it is asked the rest."""

from __future__ import annotations

import re

import pytest
from fake_unity import (
    APPLE,
    BED,
    BEDROOM,
    CHAIR,
    DOOR,
    FRIDGE,
    KITCHEN,
    PERSON,
    TV,
    FakeUnity,
    home,
    node,
    relate,
    with_person,
)

from selu_hpc.config import Backend, EnvConfig, Simulator
from selu_hpc.envs.base import StartRefusedError
from selu_hpc.envs.expert import Policy, play
from selu_hpc.envs.goals import VIRTUALHOME_VERBS, make_task
from selu_hpc.envs.language import Command
from selu_hpc.envs.survey import Survey
from selu_hpc.envs.virtualhome import environment as virtualhome
from selu_hpc.envs.virtualhome.environment import VirtualHomeEnvironment
from selu_hpc.envs.virtualhome.local import blind_home_environment
from selu_hpc.envs.virtualhome.rules import refusal
from selu_hpc.envs.virtualhome.state import Graph, free_ground, nodes_by_id
from selu_hpc.records import Goal

STAND_IN = EnvConfig(simulator=Simulator.VIRTUALHOME, width=8, height=8)
UNITY = STAND_IN.but(backend=Backend.XVFB)
_INTERACTION_TYPES = """
UNSPECIFIED SPECIAL CLOSE FIND GOTO GRAB DRINK LOOKAT LOOKAT_SHORT LOOKAT_MEDIUM LOOKAT_LONG OPEN POINTAT PUT PUTBACK
PUTOBJBACK PUTIN RUN SIT STANDUP SWITCHON SWITCHOFF TOUCH TURNTO WALK WATCH TALK TEXT WALKTOWARDS WALKTO WALKFORWARD
TURNLEFT TURNRIGHT
"""
"""InteractionType in Interfaces.cs of xavierpuigf/virtualhome_unity at a527243d."""
UNITYS_WORDS = frozenset(_INTERACTION_TYPES.split())
NEAR = tuple((PERSON, "CLOSE", number) for number in (FRIDGE, APPLE, CHAIR, TV))


def shown(graph: Graph, config: EnvConfig = UNITY) -> tuple[VirtualHomeEnvironment, FakeUnity]:
    """An episode under way from this state."""
    unity = FakeUnity(graph)
    environment = VirtualHomeEnvironment(config, unity)
    environment._cameras = [1, 0]
    environment._look()
    environment._begin(())
    return environment, unity


def changed(graph: Graph, number: int, *states: str) -> Graph:
    nodes_by_id(graph)[number]["states"] = list(states)
    return graph


@pytest.mark.parametrize(
    ("edges", "text", "reason"),
    [
        ((), "open the fridge", "the fridge is not within reach"),
        ((), "grab the apple", "the apple is not within reach"),
        ((), "sit on the bed", "the bed is not within reach"),
        ((), "switch on the tv", "the tv is not within reach"),
        ((), "open the door", "the door is not within reach"),
        ((), "stand up", "you are not sitting"),
        (((PERSON, "HOLDS_RH", APPLE),), "put the apple on the bed", "the bed is not within reach"),
        ((*NEAR, (PERSON, "HOLDS_RH", APPLE)), "put the apple in the fridge", "the fridge is not open"),
        ((*NEAR, (APPLE, "INSIDE", FRIDGE)), "grab the apple", "the apple is inside something closed"),
        (NEAR, "close the fridge", "the fridge is not open"),
        (NEAR, "switch off the tv", "the tv is not on"),
        (NEAR, "open the chair", "the chair can not be opened"),
        (NEAR, "grab the fridge", "the fridge is not grabbable"),
        (NEAR, "sit on the fridge", "the fridge is not sittable"),
        (NEAR, "switch on the fridge", "the fridge does not have a switch"),
        *(
            ((*NEAR, (PERSON, "SITTING", BED)), text, "you sit on the bed")
            for text in ("walk to the fridge", "sit on the chair", "sit on the bed", "move ahead", "move back")
        ),
    ],
)
def test_what_the_package_would_refuse_is_refused_and_unity_is_not_asked(
    edges: tuple[tuple[int, str, int], ...], text: str, reason: str
) -> None:
    environment, unity = shown(with_person(*edges))
    result = environment.step(text)
    assert (result.ok, result.error, unity.sent) == (False, reason, [])
    assert result.parsed == text


@pytest.mark.parametrize(
    ("edges", "text", "line"),
    [
        ((), "walk to the fridge", f"[walk] <fridge> ({FRIDGE})"),
        ((), "turn left", "[turnleft]"),
        (((PERSON, "SITTING", BED),), "stand up", "[standup]"),
        (((PERSON, "SITTING", BED),), "turn right", "[turnright]"),
        (NEAR, "open the fridge", f"[open] <fridge> ({FRIDGE})"),
        (NEAR, "grab the apple", f"[grab] <apple> ({APPLE})"),
        (NEAR, "sit on the chair", f"[sit] <chair> ({CHAIR})"),
        (NEAR, "switch on the tv", f"[switchon] <tv> ({TV})"),
        ((*NEAR, (PERSON, "HOLDS_LH", APPLE)), "put it on the chair", f"[put] <apple> ({APPLE}) <chair> ({CHAIR})"),
    ],
)
def test_what_a_person_could_do_is_asked_for_in_unitys_words(
    edges: tuple[tuple[int, str, int], ...], text: str, line: str
) -> None:
    environment, unity = shown(with_person(*edges))
    assert environment.step(text).ok
    assert unity.sent == [[f"<char0> {line}"]]


def test_things_are_put_into_what_is_open() -> None:
    graph = changed(with_person(*NEAR, (PERSON, "HOLDS_RH", APPLE)), FRIDGE, "OPEN")
    environment, unity = shown(graph)
    assert environment.step("put the apple in the fridge").ok
    assert unity.sent == [[f"<char0> [putin] <apple> ({APPLE}) <fridge> ({FRIDGE})"]]


@pytest.mark.parametrize(("number", "text"), [(FRIDGE, "open the fridge"), (TV, "switch on the tv")])
def test_what_is_so_already_is_not_done_again(number: int, text: str) -> None:
    environment, unity = shown(changed(with_person(*NEAR), number, "OPEN", "ON"))
    assert not environment.step(text).ok
    assert unity.sent == []


def test_a_door_to_which_unity_writes_no_edge_is_in_reach_beside_it() -> None:
    graph = with_person()
    nodes_by_id(graph)[PERSON]["bounding_box"]["center"] = [1.5, 0.9, 0.0]
    assert refusal(graph, Command("open", "door"), nodes_by_id(graph)[DOOR]) == ""
    nodes_by_id(graph)[PERSON]["bounding_box"]["center"] = [1.0, 0.9, 0.0]
    assert refusal(graph, Command("open", "door"), nodes_by_id(graph)[DOOR]) == "the door is not within reach"


def test_the_stand_in_is_asked_whatever_it_will_say() -> None:
    environment, unity = shown(with_person((PERSON, "SITTING", BED)), STAND_IN)
    texts = ["open the fridge", "move ahead", "move back", "sit on the chair", "switch off the tv"]
    assert all(environment.step(text).ok for text in texts)
    assert [script[0].split()[1] for script in unity.sent] == [
        *("[open]", "[walkforward]", "[walkbackward]", "[sit]", "[switchoff]")
    ]


def test_what_the_package_does_is_refused_only_for_being_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package reaches what lies close to something close; Unity's graph has no such edges."""
    environment = blind_home_environment(STAND_IN)
    told: list[str] = []
    monkeypatch.setattr(
        environment, "_refused", lambda *asked: told.append(refusal(environment.metadata, *asked)) or ""
    )
    inventory = environment.feasible("home1")
    allowed = 0
    for seed, verb in enumerate(VIRTUALHOME_VERBS):
        task = make_task("home1", (inventory.goals(verb)[1],), simulator=STAND_IN.simulator)
        for policy in (Policy.EXPERT, Policy.UNDONE, Policy.RANDOM):
            played = play(environment, task, seed=seed, policy=policy)
            environment.reset(task, seed=seed)
            for text in (*played.texts, "sit on the sofa", "walk to the sofa", "sit on the sofa", "walk to the bed"):
                told.clear()
                done = environment.step(text).ok
                assert not (done and told and told[0]) or told[0].endswith("is not within reach"), (text, told)
                allowed += bool(done and told and not told[0])
    assert allowed > 20


def test_every_word_is_one_that_unity_knows_but_for_the_step_back() -> None:
    words = {*virtualhome._MOVES.values(), *virtualhome._ON_OBJECTS.values(), "put", "putin"}
    assert {word for word in words if word.upper() not in UNITYS_WORDS} == {virtualhome._MOVES["move back"]}


def test_unity_steps_back_by_turning_about_in_words_that_it_knows_one_a_request() -> None:
    environment, unity = shown(with_person())
    assert environment.step("move back").ok
    about = [["<char0> [turnleft]"]] * 6
    assert unity.sent == [*about, ["<char0> [walkforward]"], *about]
    words = re.findall(r"\[(\w+)\]", str(unity.sent))
    assert {word.upper() for word in words} <= UNITYS_WORDS


def test_a_step_back_that_fails_says_why_and_turns_back_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    environment, unity = shown(with_person())
    answer = unity.render_script

    def blocked(script: list[str], **settings: object) -> tuple[bool, object]:
        answer(script)
        return script != ["<char0> [walkforward]"], {"0": {"message": "no way"}}

    monkeypatch.setattr(unity, "render_script", blocked)
    result = environment.step("move back")
    assert (result.ok, result.error, len(unity.sent)) == (False, "no way", 13)


SIT = make_task("home0", (Goal(verb="sit", target="chair"),), simulator=STAND_IN.simulator)


def starts(graph: Graph, seeds: range) -> list[tuple[float, ...]]:
    unity = FakeUnity(graph)
    environment = VirtualHomeEnvironment(UNITY, unity)
    for seed in seeds:
        environment.reset(SIT, seed=seed)
    return [tuple(place) for place in unity.stood]


def test_an_episode_whose_room_is_full_starts_in_the_next_one_and_the_others_where_they_did() -> None:
    full = home()
    full["nodes"].append(node(30, "table", "Furniture", (6, 0.4, 0), (6, 0.8, 6)))
    relate(full, 30, "INSIDE", BEDROOM)
    free, crowded = starts(home(), range(20)), starts(full, range(20))
    kitchen, bedroom = free_ground(home(), KITCHEN), free_ground(home(), BEDROOM)
    assert set(free) == {kitchen, bedroom}
    assert set(crowded) == {kitchen}


def test_a_home_without_ground_refuses_the_start() -> None:
    full = home()
    for number, x in ((30, 0), (31, 6)):
        full["nodes"].append(node(number, "table", "Furniture", (x, 0.4, 0), (6, 0.8, 6)))
        relate(full, number, "INSIDE", KITCHEN if x == 0 else BEDROOM)
    with pytest.raises(StartRefusedError, match=r"could not put Chars/Female1 into any room .*: (kitchen|bedroom), "):
        starts(full, range(1))


@pytest.mark.parametrize("refused", [KITCHEN, BEDROOM])
def test_where_a_build_refuses_a_place_the_next_room_is_tried(refused: int) -> None:
    free = {room: free_ground(home(), room) for room in (KITCHEN, BEDROOM)}
    refusing = FakeUnity(home(), refused=(free.pop(refused),))
    environment = VirtualHomeEnvironment(UNITY, refusing)
    for seed in range(10):
        environment.reset(SIT, seed=seed)
    assert {tuple(place) for place in refusing.stood} == {*free.values()}


def test_a_task_whose_start_is_refused_is_impossible_and_tried_once() -> None:
    unity = FakeUnity(changed(home(), FRIDGE, "OPEN"), refuses_start="no such state")
    survey = Survey(VirtualHomeEnvironment(UNITY, unity))
    task = make_task("home0", (Goal(verb="open", target="fridge"),), simulator=STAND_IN.simulator)
    assert [survey.possible(task) for _ in range(2)] == [False, False]
    assert unity.num_resets == 1
    with pytest.raises(StartRefusedError, match="no such state"):
        VirtualHomeEnvironment(UNITY, unity).reset(task, seed=0)
