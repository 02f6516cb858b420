"""Which episodes a page shows: every kind, spread over the round, the same at every time."""

from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.viz.choice import Kind, choose

KINDS = st.sampled_from([frozenset({Kind.ALL, one}) for one in (Kind.YES, Kind.NO, Kind.RELABELLED)])


def kinds_of(**counts: int) -> list[frozenset[Kind]]:
    return [frozenset({Kind.ALL, Kind[name]}) for name, number in counts.items() for _ in range(number)]


def test_a_rare_kind_is_among_few_shown():
    kinds = kinds_of(YES=150, RELABELLED=1, NO=41)
    found = choose(kinds, 4)
    assert {kinds[place] for place in found} == set(kinds)


def test_a_kind_is_spread_over_the_round():
    assert choose(kinds_of(YES=100), 4) == [0, 25, 50, 75]


def test_what_rare_kinds_leave_is_given_to_the_others():
    found = choose(kinds_of(YES=2, NO=100), 24)
    assert len(found) == 24
    assert found[:2] == [0, 1]


@given(st.lists(KINDS, max_size=60), st.integers(1, 80))
def test_no_more_than_the_limit_none_twice_and_all_when_there_is_room(kinds, limit):
    found = choose(kinds, limit)
    assert found == sorted(set(found))
    assert len(found) == min(limit, len(kinds))
    if limit >= len(set(kinds)):
        assert {kinds[place] for place in found} == set(kinds)
