"""The numbers of PPO: advantages, loss, rate."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from make_update import turn

from selu_hpc.config import GameConfig
from selu_hpc.rl4vlm import gae, ppo
from selu_hpc.rl4vlm.judged import Judged

SETTINGS = GameConfig()


def by_hand(rewards, values, last, discount, decay):
    """The definition: the sum of discounted surprises up to the episode's end."""
    found = []
    for t in range(len(rewards)):
        total, weight, k = 0.0, 1.0, t
        while True:
            after = 0.0 if last[k] else values[k + 1]
            total += weight * (rewards[k] + discount * after - values[k])
            if last[k]:
                break
            weight *= discount * decay
            k += 1
        found.append(total)
    return found


def test_advantages_are_the_discounted_surprises_of_their_own_episode():
    draw = np.random.default_rng(0)
    rewards, values = draw.normal(size=40), draw.normal(size=40)
    last = draw.random(40) < 0.2
    last[-1] = True
    found = gae.advantages(rewards, values, last, discount=0.9, gae_lambda=0.95)
    assert found == pytest.approx(by_hand(rewards, values, last, 0.9, 0.95))


def test_with_lambda_one_an_advantage_and_its_value_are_the_discounted_return():
    rewards, values, last = np.array([0.0, 0.0, 1.0]), np.array([0.3, -0.2, 0.5]), np.array([False, False, True])
    found = gae.advantages(rewards, values, last, discount=0.9, gae_lambda=1.0)
    assert found + values == pytest.approx([0.81, 0.9, 1.0])


def test_normalised_advantages_have_mean_zero_and_spread_one():
    found = gae.normalised(np.array([1.0, 5.0, -2.0, 0.5]))
    assert (found.mean(), found.std(ddof=1)) == pytest.approx((0, 1), abs=1e-4)
    assert gae.normalised(np.array([3.0])) == pytest.approx([0])
    assert gae.normalised(np.array([3.0, 3.0])) == pytest.approx([0, 0])


def loss(ratio, advantage, *, value=0.0, old_value=0.0, target=0.0):
    one = torch.ones(1)
    return ppo.losses(
        one * math.log(ratio),
        one * value,
        old_logprobs_t=one * 0,
        old_values_t=one * old_value,
        advantages_t=one * advantage,
        returns_t=one * target,
        settings=SETTINGS,
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.05, 2.0, -2.1),
        (1.5, 2.0, -2.2),  # a likelier good answer earns no more than the clip
        (0.5, 2.0, -1.0),  # a less likely good one is drawn back
        (0.5, -2.0, 1.8),
        (1.5, -2.0, 3.0),
        (20.0, -2.0, 2.2),  # wild ratios are held by the clip on both sides
    ],
)
def test_the_policy_loss_is_clipped_as_in_the_paper(ratio, advantage, expected):
    assert float(loss(ratio, advantage).policy) == pytest.approx(expected, rel=1e-5)


def test_the_value_loss_is_the_worse_of_the_free_and_the_clipped_move():
    assert float(loss(1, 0, value=1.0, old_value=0.0, target=1.0).value) == pytest.approx(0.5 * 0.9**2)
    assert float(loss(1, 0, value=0.05, old_value=0.0, target=1.0).value) == pytest.approx(0.5 * 0.95**2)


def test_the_total_weighs_the_value_by_half():
    found = loss(1.0, 2.0, value=1.0, old_value=1.0, target=0.0)
    assert float(found.total) == pytest.approx(-2.0 + 0.5 * 0.5)


def test_a_ratio_outside_the_clip_gives_a_good_answer_no_gradient():
    logprob = torch.tensor([math.log(1.5)], requires_grad=True)
    zero = torch.zeros(1)
    ppo.losses(
        logprob, zero, old_logprobs_t=zero, old_values_t=zero, advantages_t=zero + 1, returns_t=zero, settings=SETTINGS
    ).total.backward()
    assert float(logprob.grad) == 0


@pytest.mark.parametrize("farther", [50.0, 89.0, 1000.0])
def test_a_ratio_that_overflows_gives_no_gradient_and_spoils_no_other_answers(farther):
    old = torch.tensor([-1.0 - farther, -1.0])
    logprobs = torch.tensor([-1.0, -1.0], requires_grad=True)
    zeros = torch.zeros(2)
    found = ppo.losses(
        logprobs,
        zeros,
        old_logprobs_t=old,
        old_values_t=zeros,
        advantages_t=torch.tensor([1.0, 0.5]),
        returns_t=zeros,
        settings=SETTINGS,
    )
    found.total.backward()
    assert logprobs.grad.tolist() == [0.0, -0.5]
    assert math.isfinite(float(found.ratio))


def test_the_rate_follows_torchs_cosine_update_by_update():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=SETTINGS.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=25, eta_min=SETTINGS.last_learning_rate)
    for round_id in range(1, 40):
        assert ppo.learning_rate(round_id, SETTINGS) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        schedule.step()


def test_a_turn_is_judged_by_its_own_episode_and_the_recipes_discount():
    turns = [replace(turn(number, (5,), reward=float(number)), last=number in (1, 2)) for number in range(3)]
    weighed = {0: (-1.0, 0.5), 1: (-2.0, 0.25), 2: (-3.0, -0.5)}
    found = Judged.of(turns, weighed, GameConfig(discount=0.5, gae_lambda=0.8))
    values, ends = np.array([0.5, 0.25, -0.5]), np.array([False, True, True])
    gained = gae.advantages(np.arange(3.0), values, ends, discount=0.5, gae_lambda=0.8)
    assert found.logprobs_t.tolist() == [-1, -2, -3]
    assert found.advantages_t.tolist() == pytest.approx(list(gae.normalised(gained)))
    assert found.returns_t.tolist() == pytest.approx(list(gained + found.values_t.numpy()))
