"""Which turns an update learns from together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.rl4vlm.order import plan_steps


def plan(lengths, kinds=None, **changes):
    """kinds: none given, no turn is like another."""
    kinds = range(len(lengths)) if kinds is None else kinds
    return plan_steps(lengths, kinds, **{"epochs": 2, "batch": 8, "micro_batch": 4, "world": 1, "seed": 3, **changes})


@given(
    num_turns=st.integers(1, 90),
    num_kinds=st.integers(1, 90),
    batch=st.sampled_from([4, 8, 16]),
    micro=st.sampled_from([1, 2, 4]),
    world=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 9),
)
def test_every_epoch_holds_every_turn_once_in_steps_of_equal_work(num_turns, num_kinds, batch, micro, world, seed):
    kinds = [turn % num_kinds for turn in range(num_turns)]
    lengths = [1 + kind % 11 for kind in kinds]
    steps = plan(lengths, kinds, batch=batch, micro_batch=micro, world=world, seed=seed)
    for epoch in range(2):
        assert sorted(row for step in steps if step.epoch == epoch for row in step.rows) == list(range(num_turns))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert len({len(step.micro_batches) for step in steps}) == 1
    assert len(steps[0].micro_batches) % world == 0
    assert all(len({kinds[row] for row in part}) <= micro for step in steps for part in step.micro_batches)
    assert all(len(step.rows) <= 1.5 * batch + 1 for step in steps)


def test_turns_that_are_alike_share_a_micro_batch_of_their_step():
    kinds = [turn % 10 for turn in range(256)]
    for step in plan([1 + kind // 5 for kind in kinds], kinds, batch=64, micro_batch=5):
        assert [{kinds[row] for row in part} for part in step.micro_batches] == [{0, 1, 2, 3, 4}, {5, 6, 7, 8, 9}]


def test_a_step_holds_answers_of_every_length():
    lengths = [20 if turn % 2 else 40 for turn in range(512)]
    for step in plan(lengths, batch=64, micro_batch=16):
        short = sum(lengths[row] == 20 for row in step.rows)
        assert 12 <= short <= 52, f"step {step.number} is no draw of both: {short} short answers of {len(step.rows)}"


def test_inside_a_step_equally_long_answers_share_a_micro_batch():
    steps = plan([1 + turn % 100 for turn in range(400)], batch=64, micro_batch=8, epochs=1)
    spread = [max(part) - min(part) for s in steps for part in [[1 + r % 100 for r in p] for p in s.micro_batches]]
    assert sum(spread) / len(spread) < 20, "a permutation alone gives about 80"


@pytest.mark.parametrize(
    ("num_turns", "batch", "sizes"),
    [(388, 64, {64, 65}), (388, 128, {129, 130}), (128, 64, {64}), (5, 64, {5}), (65, 64, {65}), (97, 64, {48, 49})],
)
def test_what_is_left_over_is_no_step_of_its_own(num_turns, batch, sizes):
    steps = plan([1] * num_turns, batch=batch, micro_batch=16)
    assert {len(step.rows) for step in steps} == sizes


def test_a_step_holds_the_same_turns_for_any_number_of_ranks_and_size_of_micro_batches():
    lengths = [1 + turn % 7 for turn in range(100)]
    kinds = [turn % 35 for turn in range(100)]
    told = {
        tuple(step.rows for step in plan(lengths, kinds, world=world, micro_batch=micro))
        for world in (1, 2, 4)
        for micro in (1, 2, 4)
    }
    assert len(told) == 1


def test_another_seed_and_another_epoch_give_another_order():
    steps = plan([1] * 50)
    assert [s.rows for s in steps if s.epoch == 0] != [s.rows for s in steps if s.epoch == 1]
    assert steps != plan([1] * 50, seed=4)
    assert steps == plan([1] * 50)
