"""The fine-tuning sets: what counts, under which words, how much of each, and always the same."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from selu_hpc.config import CriticFrames, RunConfig, Simulator
from selu_hpc.envs.goals import make_task
from selu_hpc.recipes import load_recipe
from selu_hpc.records import (
    UNREADABLE,
    Action,
    Ended,
    Episode,
    Exchange,
    Goal,
    Label,
    Purpose,
    Role,
    Sample,
    Task,
    View,
)
from selu_hpc.selu.actor import Actor, Situation
from selu_hpc.selu.mix import FEWEST_KEPT, MOST_SHOWN, Judged, actor_samples, build, critic_samples

NO_FRAMES = np.zeros((0, 2, 0, 0, 3), np.uint8)


def task(verb: str, target: str) -> Task:
    return make_task("FloorPlan16", (Goal(verb=verb, target=target),), simulator=Simulator.THOR)


def judged(
    number: int,
    verb: str = "open",
    target: str = "Fridge",
    *,
    first: bool = False,
    verdict: bool = False,
    tried: bool = True,
    relabelled: Task | None = None,
    said: tuple[str, ...] = ("go to the fridge", "", "open the fridge", "done"),
    ended: Ended = Ended.DONE,
    fingerprint: str = "",
) -> Judged:
    name = f"r01-s0000-e{number:04d}"
    episode = Episode(
        episode_id=name,
        seed=number,
        task=task(verb, target),
        actions=tuple(Action(text=text or "???", parsed=text, ok=True) for text in said),
        ended=ended,
        model="toy",
        adapter="none",
        seen=tuple(f"seen {step}." for step in range(len(said) + 1)),
        frames_tvhwc=NO_FRAMES,
    )
    label = Label(episode_id=name, first=first, verdict=verdict, tried=tried, relabelled=relabelled)
    store = "rounds/01/rollout/shard-0000/episodes.zarr"
    return Judged(episode=episode, label=label, store=store, index=number, fingerprint=fingerprint or name)


def test_a_success_teaches_its_readable_steps_with_the_words_it_was_asked():
    samples = actor_samples([judged(3, first=True, verdict=True)])
    assert [(s.prompt, s.answer, s.images[0].step, s.images[0].episode) for s in samples] == [
        ("Task: open the fridge. seen 0. Actions so far: none. Next action?", "go to the fridge", 0, 3),
        (
            "Task: open the fridge. seen 2. Actions so far: go to the fridge, nothing. Next action?",
            "open the fridge",
            2,
            3,
        ),
        (
            "Task: open the fridge. seen 3. Actions so far: go to the fridge, nothing, open the fridge. Next action?",
            "done",
            3,
            3,
        ),
    ]


def test_a_base_that_is_told_the_actions_learns_under_the_prompt_it_acts_by():
    config = load_recipe("llava_7b")
    frame = np.zeros((2, 2, 3), np.uint8)
    asked = Situation(instruction="open the fridge", first_person=frame, seen="seen 0.", history=(), seed=0)
    sample = build([judged(3, first=True, verdict=True)], {}, config, round_id=1).samples[Role.ACTOR][0]
    actor = Actor.of(config, generator=None, adapter=None)
    assert sample.prompt == actor._prompt(asked)
    assert "Answer with one action and nothing else: " in sample.prompt


def test_a_success_at_the_limit_teaches_to_stop_where_it_was_judged():
    samples = actor_samples([judged(0, verdict=True, said=("open the fridge",), ended=Ended.LIMIT)])
    assert [(s.answer, s.images[0].step) for s in samples] == [("open the fridge", 0), ("done", 1)]


def test_a_failure_teaches_the_actor_nothing_unless_it_is_relabelled():
    assert actor_samples([judged(0)]) == []
    samples = actor_samples([judged(0, relabelled=task("open", "Cabinet"))])
    assert {s.source for s in samples} == {"relabelled"}
    assert all(s.prompt.startswith("Task: open the cabinet.") for s in samples)


def test_the_critic_learns_verdicts_corrections_and_both_sides_of_a_relabelling():
    samples = critic_samples(
        [
            judged(0, first=True, verdict=True),
            judged(1, verdict=True),
            judged(2, relabelled=task("open", "Cabinet")),
        ],
        CriticFrames.FIRST_AND_LAST,
    )
    assert [(s.source, s.answer, s.prompt.partition(".")[0], [ref.step for ref in s.images]) for s in samples] == [
        ("verdict", "yes", "Task: open the fridge", [0, 4]),
        ("corrected", "yes", "Task: open the fridge", [0, 4]),
        ("verdict", "no", "Task: open the fridge", [0, 4]),
        ("relabelled", "yes", "Task: open the cabinet", [0, 4]),
    ]


def test_a_yes_that_the_actors_words_took_back_teaches_the_critic_no_no():
    by_words = judged(0, first=True, relabelled=task("open", "Cabinet"), tried=False)
    by_itself = judged(1, first=True)
    samples = critic_samples([by_words, by_itself], CriticFrames.LAST)
    assert [(s.source, s.answer) for s in samples] == [("relabelled", "yes"), ("corrected", "no")]


def config(**changes: object) -> RunConfig:
    return RunConfig.of(changes)


def many(count: int, *, start: int = 0, verbs: tuple[str, ...] = ("open", "break", "pick up")) -> list[Judged]:
    return [judged(start + n, verbs[n % len(verbs)], first=n % 4 == 0, verdict=n % 4 == 0) for n in range(count)]


def test_the_critics_set_has_as_many_yes_as_no_in_each_task_type():
    made = build(many(60), {}, config(), round_id=1)
    counts = Counter((sample.verb, sample.answer) for sample in made.samples[Role.CRITIC])
    assert counts == {(verb, answer): 15 for verb in ("open", "break", "pick up") for answer in ("yes", "no")}


def test_the_rarer_answer_is_shown_again_but_not_for_ever():
    made = build([*many(20, verbs=("open",)), *(judged(100 + n) for n in range(40))], {}, config(), round_id=1)
    shown = Counter(json.dumps(sample.to_json()) for sample in made.samples[Role.CRITIC])
    by_answer = {"yes": [], "no": []}
    for one, times in shown.items():
        by_answer[json.loads(one)["answer"]].append(times)
    assert by_answer["yes"] == [MOST_SHOWN] * 5
    assert by_answer["no"] == [1] * MOST_SHOWN * 5


def test_a_task_type_without_one_of_the_answers_would_teach_to_go_by_the_verb_and_is_left_out():
    episodes = [*many(20, verbs=("open",)), *(judged(100 + n, "break") for n in range(20))]
    made = build(episodes, {}, config(), round_id=1)
    assert {sample.verb for sample in made.samples[Role.CRITIC]} == {"open"}


@pytest.mark.parametrize(("size", "fresh", "kept"), [(100, 70, 30), (1000, 150, 64)])
def test_thirty_percent_are_kept_from_the_last_set(size, fresh, kept):
    last = build([judged(n, verdict=True) for n in range(1000, 1100)], {}, config(), round_id=1).samples
    settings = config(mix={"actor_samples": size})
    made = build([judged(n, verdict=True) for n in range(50)], last, settings, round_id=2).samples[Role.ACTOR]
    assert Counter(sample.kept for sample in made) == {False: fresh, True: kept}


@pytest.mark.parametrize(
    ("last", "fresh", "kept"),
    [(300, 1, FEWEST_KEPT), (5, 1, 15), (300, 24, FEWEST_KEPT), (300, 25, 32), (300, 26, 33)],
)
def test_a_poor_round_keeps_some_of_the_last_set_for_the_rounds_to_come(last, fresh, kept):
    """An episode gives three samples; with 75 fresh ones the rule of 30 % keeps as many."""
    before = {Role.ACTOR: actor_samples([judged(n, verdict=True) for n in range(1000, 1000 + last)])}
    made = build([judged(n, verdict=True) for n in range(fresh)], before, config(), round_id=2).samples[Role.ACTOR]
    assert Counter(sample.kept for sample in made) == {False: 3 * fresh, True: kept}


def test_a_run_that_keeps_nothing_keeps_nothing():
    before = {Role.ACTOR: actor_samples([judged(n, verdict=True) for n in range(1000, 1020)])}
    settings = config(mix={"kept_fraction": 0.0})
    for episodes, samples in ([judged(0, verdict=True)], {False: 3}), ([judged(0)], {}):
        made = build(episodes, before, settings, round_id=2).samples[Role.ACTOR]
        assert Counter(sample.kept for sample in made) == samples


def test_a_round_without_successes_lives_on_the_last_set():
    last = {Role.ACTOR: actor_samples([judged(n, verdict=True) for n in range(10)])}
    made = build([judged(n) for n in range(20, 40)], last, config(), round_id=2)
    assert len(made.samples[Role.ACTOR]) == 30
    assert all(sample.kept for sample in made.samples[Role.ACTOR])


def test_a_base_that_succeeds_at_nothing_leaves_empty_sets_and_a_card_that_says_so():
    made = build([judged(n) for n in range(20)], {}, config(), round_id=1)
    assert made.samples == {Role.ACTOR: (), Role.CRITIC: ()}
    assert made.card["episodes"]["total"] == {
        "corrected": 0,
        "episodes": 20,
        "first_yes": 0,
        "relabelled": 0,
        "steps": 80,
        "taken_back": 0,
        "unreadable_actions": 20,
        "unreadable_answers": 0,
    }


def test_the_card_tells_what_self_asking_changed_from_what_the_actors_words_took_back():
    episodes = [
        judged(0, first=True, verdict=True),
        judged(1, verdict=True),
        judged(2, first=True),
        *(judged(number, first=True, tried=False) for number in (3, 4, 5)),
        judged(6, tried=False),
    ]
    counts = build(episodes, {}, config(), round_id=1).card["episodes"]["total"]
    assert {name: counts[name] for name in ("corrected", "taken_back")} == {"corrected": 2, "taken_back": 3}


def test_the_same_episode_over_again_is_learned_once():
    twice = [judged(n, first=True, verdict=True, fingerprint="same pixels") for n in range(5)]
    made = build(twice, {}, config(), round_id=1)
    assert len(made.samples[Role.ACTOR]) == 3
    assert made.card["episodes"]["repeats_left_out"] == 4


def test_a_rare_task_type_is_not_crowded_out():
    episodes = [judged(n, verdict=True) for n in range(100)] + [judged(200, "break", "Mug", verdict=True)]
    made = build(episodes, {}, config(mix={"actor_samples": 20}), round_id=1).samples[Role.ACTOR]
    assert Counter(sample.verb for sample in made) == {"open": 17, "break": 3}


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others():
    def text(seed: int) -> str:
        settings = config(seed=seed, mix={"actor_samples": 20, "critic_samples": 10})
        made = build(many(80), {}, settings, round_id=1)
        return json.dumps([sample.to_json() for role in Role for sample in made.samples[role]])

    assert text(0) == text(0)
    assert text(0) != text(1)


def test_every_sample_survives_its_json():
    made = build(many(40), {}, config(), round_id=1)
    for samples in made.samples.values():
        assert [Sample.from_json(json.loads(json.dumps(sample.to_json()))) for sample in samples] == list(samples)


def test_without_a_critic_the_actor_learns_from_all_and_the_critic_from_nothing():
    everything = [judged(n, first=True, verdict=True) for n in range(10)]
    made = build(everything, {}, config(critic={"mode": "none"}), round_id=1)
    assert len(made.samples[Role.ACTOR]) == 30
    assert made.samples[Role.CRITIC] == ()


def test_lmsi_learns_its_votes_whatever_came_of_them():
    made = build([judged(n) for n in range(10)], {}, config(learning="lmsi"), round_id=1)
    assert Counter(sample.source for sample in made.samples[Role.ACTOR]) == {"unjudged": 30}


def test_the_critic_learns_from_the_third_persons_frames_that_the_recipe_names():
    made = build(many(60), {}, config(critic={"frames": "all"}), round_id=1).samples[Role.CRITIC]
    assert {tuple((ref.step, ref.view) for ref in sample.images) for sample in made} == {
        tuple((step, View.THIRD_PERSON) for step in range(5))
    }


def test_the_same_pixels_under_another_instruction_are_another_episode():
    two = [
        judged(number, target=target, verdict=True, fingerprint="same")
        for number, target in enumerate(("Fridge", "Cabinet"))
    ]
    made = build(two, {}, config(), round_id=1)
    assert {sample.prompt.partition(".")[0] for sample in made.samples[Role.ACTOR]} == {
        "Task: open the fridge",
        "Task: open the cabinet",
    }
    assert made.card["episodes"]["repeats_left_out"] == 0


def test_a_critics_set_that_is_not_balanced_is_as_it_was_judged():
    made = build(many(60), {}, config(mix={"balance": False}), round_id=1).samples[Role.CRITIC]
    assert Counter(sample.answer for sample in made) == {"yes": 15, "no": 45}


def test_each_role_has_its_own_size_and_the_card_says_how_many_there_were():
    sizes = config(mix={"actor_samples": 12, "critic_samples": 10})
    made = build(many(60), {}, sizes, round_id=1)
    assert [len(made.samples[role]) for role in (Role.ACTOR, Role.CRITIC)] == [12, 10]
    assert (made.card["actor"]["made_from_this_round"], made.card["actor"]["samples"]) == (45, 12)


def test_the_card_counts_what_was_relabelled_and_what_said_nothing():
    said = tuple(
        Exchange(purpose=Purpose.VERDICT, question="?", answer="", taken=taken)
        for taken in ("no", UNREADABLE, UNREADABLE)
    )
    one = judged(0, relabelled=task("open", "Cabinet"))
    one = replace(one, label=replace(one.label, exchanges=said))
    made = build([one, judged(1, verdict=True), judged(2, verdict=True)], {}, config(), round_id=1)
    counts = made.card["episodes"]["total"]
    assert (counts["relabelled"], counts["unreadable_answers"]) == (1, 2)
