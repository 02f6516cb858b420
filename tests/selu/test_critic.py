"""The critic over a toy home whose pictures it can read: who is asked what, when, and what comes of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from toy_cases import BROKEN, EMPTY, OPENED, case, composed, purposes, task
from toy_home import ToyModel, picture, state_in

from selu_hpc.config import CriticConfig, RunConfig, Simulator
from selu_hpc.errors import ModelError
from selu_hpc.records import LONGEST_KEPT, Action, Ended, Episode, Goal, Label, View
from selu_hpc.selu.critic import Critic
from selu_hpc.selu.interview import Case
from selu_hpc.stages.label import cases as cases_of
from selu_hpc.store.trajectories import EpisodeReader, EpisodeWriter


def critic(model: ToyModel, **settings: object) -> Critic:
    config = CriticConfig.of(settings)
    return Critic(generator=model, adapter=None, simulator=Simulator.THOR, config=config)


def test_a_yes_is_taken_at_once():
    (label,) = critic(ToyModel()).judge([case(task("open", "Fridge"), open=["Fridge"])])
    assert (label.first, label.verdict, label.relabelled) == (True, True, None)
    assert purposes(label) == ["verdict"]


def test_a_no_is_questioned_and_corrected_by_the_critics_own_answers():
    model = ToyModel(misjudged=["open"])
    (label,) = critic(model).judge([case(task("open", "Fridge"), open=["Fridge"])])
    assert (label.first, label.verdict) == (False, True)
    assert [(e.purpose, e.question, e.answer, e.taken) for e in label.exchanges] == [
        ("verdict", "Task: open the fridge. Is the task done? yes or no?", "no", "no"),
        ("state", "Is the fridge open? yes or no?", "yes", "yes"),
        (
            "second verdict",
            "Task: open the fridge. Is the fridge open? yes. Is the task done? yes or no?",
            "yes",
            "yes",
        ),
    ]


class Credulous(ToyModel):
    """Says yes to every first verdict, as surely as it is told to."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.logprob = math.log(probability) if probability else math.nan

    def verdict(self, prompt, state):
        return super().verdict(prompt, state) if "? yes. " in prompt or "? no. " in prompt else "yes"

    def generate(self, requests, **settings):
        return [dataclasses.replace(answer, logprob=self.logprob) for answer in super().generate(requests, **settings)]


@pytest.mark.parametrize(
    ("probability", "sure_yes", "questioned"),
    [
        (0.99, 0.98, False),
        (0.6, 0.98, True),
        (0.6, 0.0, False),
        (1.0, 1.0, True),
        (0.0, 0.0, False),  # a server that tells no probabilities is not asked for any
        (0.0, 1.0, True),
    ],
)
def test_a_yes_is_questioned_when_the_model_is_not_sure_of_it(probability, sure_yes, questioned):
    shut = case(task("open", "Fridge"))
    (label,) = critic(Credulous(probability), sure_yes=sure_yes, hindsight="off").judge([shut])
    assert (label.first, label.verdict) == (True, not questioned)
    assert purposes(label) == ["verdict", "state", "second verdict"][: 3 if questioned else 1]


@pytest.mark.parametrize(("sure_yes", "kept"), [(0.98, 0.6), (0.0, None), (1.0, None)])
def test_how_sure_a_yes_is_stands_in_the_record_where_it_was_asked_for(sure_yes, kept):
    (label,) = critic(Credulous(0.6), sure_yes=sure_yes, hindsight="off").judge([case(task("open", "Fridge"))])
    assert label.exchanges[0].sure == (kept and pytest.approx(kept))
    written = label.to_json()
    assert ("sure" in written["exchanges"][0]) == (kept is not None)
    assert Label.from_json(written) == label


def test_an_answer_is_read_whole_and_kept_short():
    class Rambles(ToyModel):
        def answer(self, request):
            return (
                f"The picture shows {'a shelf, ' * 300}a fridge. {super().answer(request).capitalize()}, I am certain."
            )

    (label,) = critic(Rambles(), hindsight="off").judge([case(task("open", "Fridge"), open=["Fridge"])])
    assert (label.verdict, label.exchanges[0].taken) == (True, "yes")
    assert len(label.exchanges[0].answer) <= LONGEST_KEPT


class Wordy(Credulous):
    """Says yes in a whole sentence, whose probability is low whatever it is of yes against no."""

    def __init__(self, odds: float, *, told: bool) -> None:
        super().__init__(0.01)
        self.odds, self.told = odds, told

    def generate(self, requests, **settings):
        answers = super().generate(requests, **settings)
        sure = self.odds if self.told else math.nan
        return [dataclasses.replace(a, text=f"{a.text}, I think so.", num_tokens=6, sure=sure) for a in answers]

    def logprobs(self, requests, answers, **settings):
        assert not self.told
        return [math.log(self.odds if answer == "yes" else 1 - self.odds) for answer in answers]


@pytest.mark.parametrize("told", [True, False], ids=["by a server", "in process"])
@pytest.mark.parametrize(("odds", "questioned"), [(0.99, False), (0.6, True)])
def test_a_yes_in_many_words_is_as_sure_as_yes_is_against_no(odds, questioned, told):
    model = Wordy(odds, told=told)
    (label,) = critic(model, sure_yes=0.98, hindsight="off").judge([case(task("open", "Fridge"))])
    assert purposes(label) == ["verdict", "state", "second verdict"][: 3 if questioned else 1]


class Polite(Credulous):
    """Says Yes as it begins a sentence, alone or with more words."""

    def __init__(self, probability, more=""):
        super().__init__(probability)
        self.more, self.weighed = more, []

    def generate(self, requests, **settings):
        answers = super().generate(requests, **settings)
        return [
            dataclasses.replace(a, text=a.text.capitalize() + self.more, num_tokens=2 + len(self.more)) for a in answers
        ]

    def logprobs(self, requests, answers, **settings):
        self.weighed += answers
        return [math.log(0.99 if answer == "Yes" else 0.01) for answer in answers]


@pytest.mark.parametrize(("probability", "questioned"), [(0.99, False), (0.6, True)])
def test_a_yes_with_a_capital_is_weighed_by_its_own_probability(probability, questioned):
    model = Polite(probability)
    (label,) = critic(model, sure_yes=0.98, hindsight="off").judge([case(task("open", "Fridge"))])
    assert purposes(label) == ["verdict", "state", "second verdict"][: 3 if questioned else 1]
    assert model.weighed == []


def test_a_longer_answer_is_weighed_by_yes_and_no_as_it_spells_them():
    model = Polite(0.01, more=", it is.")
    (label,) = critic(model, sure_yes=0.98, hindsight="off").judge([case(task("open", "Fridge"))])
    assert purposes(label) == ["verdict"]
    assert model.weighed == ["Yes", "No"]


def test_a_sure_yes_is_not_asked_of_a_server_that_tells_no_probabilities():
    with pytest.raises(ModelError, match=r"critic\.sure_yes"):
        critic(Credulous(0.0), sure_yes=0.98).judge([case(task("open", "Fridge"))])


def test_what_is_still_a_no_is_relabelled_to_the_object_it_happened_to():
    (label,) = critic(ToyModel()).judge([case(task("open", "Fridge"), open=["Cabinet"])])
    assert label.verdict is False
    assert label.relabelled == task("open", "Cabinet")
    assert purposes(label) == ["verdict", "state", "second verdict", "which", "consistency"]


def test_hindsight_finds_nothing_where_nothing_happened():
    (label,) = critic(ToyModel()).judge([case(task("open", "Fridge"))])
    assert (label.verdict, label.relabelled) == (False, None)


def test_a_new_instruction_the_critic_does_not_stand_by_is_not_used():
    model = ToyModel(misjudged=["open"])
    (label,) = critic(model, self_asking=False).judge([case(task("open", "Fridge"), open=["Cabinet"])])
    assert label.relabelled is None
    (label,) = critic(model, self_asking=False, consistency_check=False).judge(
        [case(task("open", "Fridge"), open=["Cabinet"])]
    )
    assert label.relabelled == task("open", "Cabinet")


def test_a_new_instruction_is_judged_as_any_other_with_self_asking_after_a_no():
    model = ToyModel(misjudged=["open"])
    (label,) = critic(model).judge([case(task("open", "Fridge"), open=["Cabinet"])])
    assert label.relabelled == task("open", "Cabinet")
    assert purposes(label)[3:] == ["which", "consistency", "consistency state", "second consistency"]
    assert [exchange.taken for exchange in label.exchanges[4:]] == ["no", "yes", "yes"]


def test_what_was_so_before_the_first_step_was_not_done_in_the_episode():
    did_nothing = picture({**EMPTY, "open": ["Cabinet"]})
    idle = dataclasses.replace(case(task("open", "Fridge"), open=["Cabinet"]), before=did_nothing)
    (label,) = critic(ToyModel()).judge([idle])
    assert label.relabelled is None
    assert purposes(label)[3:] == ["which", "consistency", "before"]
    opened = dataclasses.replace(idle, before=picture(EMPTY))
    (label,) = critic(ToyModel()).judge([opened])
    assert label.relabelled == task("open", "Cabinet")


@pytest.mark.parametrize(("open_at_first", "relabelled"), [([], None), (["Cabinet"], "Cabinet")])
def test_what_is_closed_now_was_closed_by_the_episode_only_if_it_was_seen_open(open_at_first, relabelled):
    """The fridge is still open; the cabinet is closed, as it may have been all along."""
    before = picture({**EMPTY, "open": ["Fridge", *open_at_first]})
    episode = dataclasses.replace(case(task("close", "Fridge"), open=["Fridge"]), before=before)
    (label,) = critic(ToyModel()).judge([episode])
    assert label.relabelled == (task("close", relabelled) if relabelled else None)
    assert label.exchanges[-1].question == "Is the cabinet open? yes or no?"


def test_over_all_verbs_an_episode_may_have_done_something_else_altogether():
    broke = case(task("open", "Fridge"), broken=["Vase"])
    (label,) = critic(ToyModel(), hindsight="instruction_verb").judge([broke])
    assert label.relabelled is None

    class Knows(ToyModel):
        """Also answers about slicing and switching, which the toy home has none of."""

        def which(self, prompt, state):
            return "none" if "sliced" in prompt or "turned" in prompt else super().which(prompt, state)

    (label,) = critic(Knows(), hindsight="any_verb").judge([broke])
    assert label.relabelled in (task("break", "Vase"), task("close", "Cabinet"))


def test_an_unreadable_verdict_is_a_no_and_the_record_says_so():
    class Mumbles(ToyModel):
        def answer(self, request):
            return "\x00{'answer': 🍎"

    (label,) = critic(Mumbles()).judge([case(task("open", "Fridge"), open=["Fridge"])])
    assert (label.first, label.verdict, label.relabelled) == (False, False, None)
    assert label.exchanges[0].answer == "{'answer': 🍎"
    assert {e.taken for e in label.exchanges if e.purpose != "which"} == {"unreadable"}


def test_questions_of_one_kind_are_asked_in_one_batch_over_all_episodes():
    model = ToyModel(misjudged=["open"])
    cases = [case(task("open", "Fridge"), number, open=["Fridge"]) for number in range(5)]
    critic(model, hindsight="off").judge(cases)
    assert model.calls == [5, 5, 5]


def test_a_label_does_not_depend_on_who_is_judged_beside_it():
    cases = [
        case(task(verb, target), number, open=["Cabinet"], broken=["Vase"])
        for number, (verb, target) in enumerate([("open", "Fridge"), ("open", "Cabinet"), ("break", "Mug")])
    ]
    judge = critic(ToyModel(misjudged=["open"]))
    assert judge.judge(cases) == [label for one in cases for label in judge.judge([one])]


def test_of_a_composition_that_failed_the_goal_that_was_reached_is_an_instruction_of_its_own():
    class Whole(ToyModel):
        def verdict(self, prompt, state):
            return "no" if " and " in prompt else super().verdict(prompt, state)

    half_done = case(composed(OPENED, BROKEN), open=["Fridge"])
    (label,) = critic(Whole(), self_asking=False).judge([half_done])
    assert (label.verdict, label.relabelled) == (False, task("open", "Fridge"))
    (label,) = critic(Whole(), self_asking=False).judge([dataclasses.replace(half_done, task=task("open", "Fridge"))])
    assert (label.verdict, label.relabelled) == (True, None)


def test_hindsight_never_gives_back_the_whole_task():
    class Firm(ToyModel):
        """Says no to the instruction and names its object all the same."""

        def verdict(self, prompt, state):
            return "no"

    (label,) = critic(Firm(), self_asking=False, consistency_check=False).judge(
        [case(task("open", "Fridge"), open=["Fridge"])]
    )
    assert label.relabelled is None


def test_where_the_thing_is_is_read_from_a_whole_sentence():
    class Wordy(ToyModel):
        def which(self, prompt, state):
            assert prompt.startswith("Where is the apple?")
            return "The apple is on the counter."

        def verdict(self, prompt, state):
            return "yes" if "on the counter" in prompt else "no"

    put = Goal(verb="put", target="Apple", place="Fridge")
    (label,) = critic(Wordy(), self_asking=False).judge([case(composed(put))])
    assert label.relabelled == composed(Goal(verb="put", target="Apple", place="CounterTop"))


@pytest.mark.parametrize("frames", ["last", "first_and_last", "all"])
def test_states_and_objects_are_asked_of_the_last_picture_and_verdicts_of_all(frames):
    shown: dict[str, set[int]] = {}

    class Watched(ToyModel):
        def answer(self, request):
            shown.setdefault(request.prompt.split()[0], set()).add(len(request.images))
            return super().answer(request)

    shots = [picture(EMPTY), picture({**EMPTY, "wall": 1}), picture({**EMPTY, "open": ["Cabinet"]})]
    images = {"last": shots[-1:], "first_and_last": shots[::2], "all": shots}[frames]
    one = dataclasses.replace(case(task("open", "Fridge")), images=tuple(images), before=shots[0])
    (label,) = critic(Watched(), frames=frames).judge([one])
    assert label.relabelled == task("open", "Cabinet")
    assert shown == {"Task:": {len(images)}, "Is": {1}, "Which": {1}}


def saying(one: Case, *said: str) -> Case:
    return dataclasses.replace(one, said=said)


def test_a_yes_to_what_the_actor_never_said_to_do_is_taken_back():
    """It opened something that looks like a fridge, and the critic is sure."""
    wrong = saying(case(task("open", "Fridge"), open=["Fridge"]), "go to the cabinet", "open the cabinet", "done")
    (label,) = critic(ToyModel(), hindsight="off").judge([wrong])
    assert (label.first, label.verdict) == (True, False)
    assert purposes(label) == ["verdict", "own words"]
    assert label.exchanges[1].question == "Did the actor try to open the fridge?"
    assert label.exchanges[1].answer == "go to the cabinet, open the cabinet, done"
    (label,) = critic(ToyModel(), hindsight="off", own_words=False).judge([wrong])
    assert label.verdict is True


def test_what_the_actor_said_to_do_still_has_to_be_seen():
    tried = saying(case(task("open", "Fridge")), "open the fridge", "done")
    (label,) = critic(ToyModel(), hindsight="off").judge([tried])
    assert label.verdict is False
    assert "own words" not in purposes(label)


class Distracted(ToyModel):
    """Names a thing that lay broken all along."""

    def which(self, prompt, state):
        return "the vase"


def test_hindsight_passes_over_what_was_never_tried_and_wonders_about_what_was():
    broke = case(task("break", "Bowl"), broken=["Cup", "Vase"])
    (label,) = critic(Distracted()).judge([saying(broke, "break the mug", "break the cup", "done")])
    assert label.relabelled == task("break", "Cup")
    (label,) = critic(Distracted(), own_words=False).judge([saying(broke, "break the cup", "done")])
    assert label.relabelled == task("break", "Vase")
    (label,) = critic(Distracted()).judge([saying(broke, "go to the cup", "done")])
    assert label.relabelled is None


def test_a_deed_that_the_words_alone_tell_of_is_no_new_instruction_where_the_critic_is_not_asked_about_it():
    """It said to open the cabinet, which stayed shut, and the critic sees nothing open."""
    tried = saying(case(task("open", "Fridge")), "go to the cabinet", "open the cabinet", "done")
    (label,) = critic(ToyModel(), consistency_check=False).judge([tried])
    assert (label.exchanges[-1].purpose, label.exchanges[-1].taken) == ("which", "none")
    assert label.relabelled is None
    opened = saying(case(task("open", "Fridge"), open=["Cabinet"]), "open the cabinet", "done")
    (label,) = critic(ToyModel(), consistency_check=False).judge([opened])
    assert label.relabelled == task("open", "Cabinet")


@pytest.fixture
def four_frames(tmp_path) -> EpisodeReader:
    """One episode; every pixel of the first camera's frames is 0, of the third person's 1, 2, 3, 4."""
    frames = np.zeros((4, 2, 8, 8, 3), np.uint8)
    frames[:, View.THIRD_PERSON.axis] = np.arange(1, 5, dtype=np.uint8)[:, None, None, None]
    episode = Episode(
        episode_id="r01-s0000-e0000",
        seed=0,
        task=task("open", "Fridge"),
        actions=(Action(text="turn left", parsed="turn left", ok=True),) * 3,
        ended=Ended.LIMIT,
        model="pocket",
        adapter="none",
        frames_tvhwc=frames,
        timestamps_s=(0.0,) * 4,
    )
    with EpisodeWriter(tmp_path / "episodes.zarr", num_steps=3, height=8, width=8) as writer:
        writer.append(episode)
        writer.finish()
    return EpisodeReader(tmp_path / "episodes.zarr")


@pytest.mark.parametrize(("frames", "seen"), [("last", [4]), ("first_and_last", [1, 4]), ("all", [1, 2, 3, 4])])
def test_the_critic_is_shown_the_third_person_frames_that_the_recipe_names(four_frames, frames, seen):
    (one,) = cases_of(four_frames, range(1), RunConfig.of({"critic": {"frames": frames}}))
    assert [image.min() for image in one.images] == [image.max() for image in one.images] == seen
    assert one.before is not None
    assert one.before.max() == 1


def test_what_was_never_tried_is_not_asked_again():
    untried = saying(case(task("open", "Fridge"), open=["Fridge"]), "go to the fridge", "done")
    (label,) = critic(ToyModel(misjudged=["open"])).judge([untried])
    assert (label.first, label.verdict, label.tried) == (False, False, False)
    assert "second verdict" not in purposes(label)


def test_what_the_critic_names_comes_first_and_then_the_last_deed():
    class Blind(ToyModel):
        def which(self, prompt, state):
            return "none"

    broke = saying(case(task("break", "Bowl"), broken=["Cup", "Vase"]), "break the vase", "break the cup", "done")
    (named,), (last,) = critic(Distracted()).judge([broke]), critic(Blind()).judge([broke])
    assert (named.relabelled, last.relabelled) == (task("break", "Vase"), task("break", "Cup"))


def test_of_the_first_picture_only_words_that_say_so_count():
    class Mumbles(ToyModel):
        def answer(self, request):
            first = state_in(request.images[-1])["wall"] == 5
            return "hm" if first and request.prompt.startswith("Is ") else super().answer(request)

    before = picture({**EMPTY, "wall": 5})
    episode = dataclasses.replace(case(task("open", "Fridge"), open=["Cabinet"]), before=before)
    (label,) = critic(Mumbles()).judge([episode])
    assert (label.exchanges[-1].taken, label.relabelled) == ("unreadable", None)


def test_a_no_in_many_words_is_as_sure_as_no_is_against_yes():
    class Refusing(Polite):
        def verdict(self, prompt, state):
            return "no"

    asked = case(task("open", "Fridge"))
    (label,) = critic(Refusing(0.5, ", not yet."), sure_yes=0.98, hindsight="off", self_asking=False).judge([asked])
    assert label.exchanges[0].taken == "no"
    assert label.exchanges[0].sure == pytest.approx(0.01)
