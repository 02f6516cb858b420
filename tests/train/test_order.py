from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.errors import TrainingError
from selu_hpc.train.order import micro_batch_size, plan_steps

LENGTHS = [30 + (row * 7) % 23 for row in range(50)]


def plan(lengths=LENGTHS, **changes):
    return plan_steps(lengths, **{"epochs": 2, "global_batch": 8, "micro_batch": 4, "seed": 3, **changes})


@given(
    num_rows=st.integers(1, 90),
    share=st.sampled_from([(4, 1), (4, 2), (8, 4), (8, 2), (16, 16)]),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_every_epoch_holds_every_sample_once(num_rows, share, epochs, seed):
    batch, micro = share
    steps = plan(
        [row % 11 + 1 for row in range(num_rows)], epochs=epochs, global_batch=batch, micro_batch=micro, seed=seed
    )
    for epoch in range(epochs):
        rows = [row for step in steps if step.epoch == epoch for row in step.rows]
        assert sorted(rows) == list(range(num_rows))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert all(len(step.micro_batches) == batch // micro for step in steps)
    assert all(len(part) <= micro for step in steps for part in step.micro_batches)


@pytest.mark.parametrize("world", [1, 2])
def test_the_ranks_shares_together_are_the_step_whatever_their_number(world):
    for step in plan():
        shares = [step.share(rank, world) for rank in range(world)]
        together = sorted(row for share in shares for part in share for row in part)
        assert together == sorted(step.rows)
        assert len({len(share) for share in shares}) == 1, "every rank makes as many forward passes"


def test_the_order_does_not_depend_on_the_size_of_a_micro_batch():
    assert [step.rows for step in plan(micro_batch=8)] == [step.rows for step in plan(micro_batch=2)]


def test_another_seed_and_another_epoch_give_another_order():
    steps = plan()
    assert [s.rows for s in steps if s.epoch == 0] != [s.rows for s in steps if s.epoch == 1]
    assert steps != plan(seed=4)
    assert steps == plan()


def test_rows_of_a_micro_batch_are_nearly_equally_long():
    steps = plan([1 + row % 100 for row in range(400)], global_batch=16, micro_batch=4, epochs=1)
    spread = [max(part) - min(part) for s in steps for part in [[1 + r % 100 for r in p] for p in s.micro_batches]]
    assert sum(spread) / len(spread) < 15, "a shuffle alone gives about 60"


def test_batches_of_an_epoch_are_not_sorted_by_length():
    steps = plan([1 + row for row in range(400)], epochs=1)
    means = [sum(step.rows) / len(step.rows) for step in steps]
    ups = sum(b > a for a, b in pairwise(means))
    assert 0.2 < ups / len(means) < 0.8


@pytest.mark.parametrize(("world", "size"), [(1, 32), (2, 16), (4, 8), (8, 4)])
def test_ranks_share_a_batch_evenly(world, size):
    assert micro_batch_size(world=world, global_batch=32, micro_batch=32) == size


@pytest.mark.parametrize("world", [3, 5, 64])
def test_a_number_of_ranks_that_cannot_share_the_batch_is_refused_with_those_that_can(world):
    with pytest.raises(TrainingError, match=rf"shared by {world} ranks.*can: 1, 2, 4, 8, 16, 32;"):
        micro_batch_size(world=world, global_batch=32, micro_batch=32)
