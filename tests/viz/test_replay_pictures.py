"""The pictures that the page says a question was asked of are those that the critic was shown."""

from __future__ import annotations

import pytest
from pages import page_of
from played_runs import make_episode, write_episodes, write_labels
from toy_home import ToyModel, picture, state_in

from selu_hpc.config import CriticConfig, CriticFrames, Simulator
from selu_hpc.envs.goals import make_task
from selu_hpc.recipes import load_recipe
from selu_hpc.records import Exchange, Goal, Label, Purpose
from selu_hpc.rounds.provenance import open_run
from selu_hpc.selu.critic import Critic
from selu_hpc.selu.interview import Case, critic_steps

NUM_FRAMES = 3
NAME = "r01-s0000-e0000"


class Watched(ToyModel):
    """Keeps the steps of the pictures it is shown with each question; `wall` numbers them."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[list[int]] = []

    def answer(self, request):
        self.shown.append([state_in(frame)["wall"] for frame in request.images])
        return super().answer(request)


def judged_by(model: Watched, frames: CriticFrames) -> Label:
    """The label of an episode that opened the cabinet, not the fridge that it tried."""
    states = [{"open": ["Cabinet"] if step == NUM_FRAMES - 1 else [], "wall": step} for step in range(NUM_FRAMES)]
    shots = [picture({"broken": [], "held": "", "near": "", **state}) for state in states]
    asked = make_task("FloorPlan16", (Goal(verb="open", target="Fridge"),), simulator=Simulator.THOR)
    case = Case(
        episode_id=NAME,
        task=asked,
        images=tuple(shots[step] for step in critic_steps(NUM_FRAMES, frames)),
        before=shots[0],
        said=("open the fridge", "open the cabinet"),
    )
    config = CriticConfig.of({"frames": str(frames)})
    (label,) = Critic(generator=model, adapter=None, simulator=Simulator.THOR, config=config).judge([case])
    return label


@pytest.fixture
def page_with(tmp_path):
    """The exchanges of the page of one such label."""

    def made(label: Label, frames: CriticFrames):
        run, _ = open_run(tmp_path / "run", load_recipe("selu", ["rounds=1", f"critic.frames={frames}"]))
        write_episodes(run, 1, 0, [make_episode(NAME, num_steps=NUM_FRAMES - 1)])
        write_labels(run, 1, 0, [label])
        (one,) = page_of(run).data["episodes"]
        return one["label"]["exchanges"]

    return made


@pytest.mark.parametrize("frames", CriticFrames)
def test_the_page_names_the_pictures_that_the_critic_was_shown(page_with, frames):
    model = Watched()
    label = judged_by(model, frames)
    purposes = [one.purpose for one in label.exchanges]
    assert {Purpose.VERDICT, Purpose.STATE, Purpose.WHICH, Purpose.CONSISTENCY, Purpose.BEFORE} <= set(purposes)
    assert [one["pictures"] for one in page_with(label, frames)] == model.shown


@pytest.mark.parametrize("frames", [CriticFrames.FIRST_AND_LAST, CriticFrames.ALL])
def test_what_only_the_last_picture_was_asked_leads_to_it(page_with, frames):
    exchanges = tuple(Exchange(purpose=one, question="?", answer="no", taken="no") for one in Purpose)
    several, last = list(critic_steps(NUM_FRAMES, frames)), [NUM_FRAMES - 1]
    pictures = dict.fromkeys(Purpose, several) | {
        Purpose.OWN_WORDS: [],
        Purpose.BEFORE: [0],
        Purpose.STATE: last,
        Purpose.WHICH: last,
        Purpose.CONSISTENCY_STATE: last,
    }
    label = Label(episode_id=NAME, first=False, verdict=False, exchanges=exchanges)
    assert [one["pictures"] for one in page_with(label, frames)] == [pictures[one] for one in Purpose]
