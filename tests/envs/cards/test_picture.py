"""The pictures show what the state holds, in the picture, at every length."""

from itertools import product

import numpy as np
import pytest
from PIL import Image

from selu_hpc.envs.cards.blackjack import Blackjack, BlackjackState
from selu_hpc.envs.cards.deck import NUM_RANKS, Card, Suit
from selu_hpc.envs.cards.ez_points import EZPoints
from selu_hpc.envs.cards.number_line import NumberLine, NumberLineState
from selu_hpc.envs.cards.picture import blank, lay, pixels, write_formula
from selu_hpc.envs.cards.points import PointsState
from selu_hpc.envs.cards.points24 import Points24

TABLE = (0x35, 0x65, 0x4D)
CARDS = [Card(rank, suit) for rank, suit in product(range(1, NUM_RANKS + 1), Suit)]
CLUBS = tuple(Card(rank, Suit.CLUBS) for rank in (10, 12, 10, 13))


def small(picture):
    """As a small model sees it."""
    return np.asarray(picture.resize((96, 96), Image.Resampling.BICUBIC), dtype=np.int16)


def card(face, **kwargs):
    picture = blank()
    lay(picture, [face], (4, 4, 296, 150), num_columns=4, **kwargs)
    return picture


def test_no_two_of_the_52_cards_look_alike_at_96_pixels():
    seen = [small(card(face)) for face in (*CARDS, None)]
    for place, one in enumerate(seen):
        for other in seen[:place]:
            assert np.abs(one - other).max() > 60


def test_no_two_states_of_the_number_line_look_alike_at_96_pixels():
    states = [NumberLineState(current=c, target=t) for c, t in product(range(6), repeat=2)]
    assert len({small(NumberLine.picture(state)).tobytes() for state in states}) == 36


def test_the_number_line_is_black_on_white_and_the_table_is_green():
    assert pixels(NumberLine.picture(NumberLineState(current=0, target=1)))[0, 0].tolist() == [255, 255, 255]
    for picture in (
        EZPoints.picture(PointsState(cards=CLUBS[:2])),
        Points24.picture(PointsState(cards=CLUBS)),
        Blackjack.picture(BlackjackState(player=CLUBS[:2], dealer=CLUBS[2])),
    ):
        assert tuple(pixels(picture)[0, 0]) == TABLE


@pytest.mark.parametrize("symbol", ["1", "10", "+", "-", "*", "/", "(", ")"])
def test_every_symbol_that_is_written_can_be_seen(symbol):
    begun = PointsState(cards=CLUBS, formula=("(",))
    longer = PointsState(cards=CLUBS, formula=("(", symbol))
    assert np.abs(small(Points24.picture(begun)) - small(Points24.picture(longer))).max() > 60


@pytest.mark.parametrize("symbol", ["10", "+", "("])
def test_even_the_longest_formula_lies_within_its_box(symbol):
    picture = blank()
    write_formula(picture, [symbol] * 21, (8, 196, 292, 298))
    drawn = np.argwhere((pixels(picture) != TABLE).any(axis=2))
    assert drawn.min(axis=0).tolist() >= [196, 8]
    assert (drawn.max(axis=0) < [298, 292]).all()


def test_a_player_s_every_card_changes_the_picture():
    aces = [Card(1, Suit.CLUBS)] * 22
    frames = [pixels(Blackjack.picture(BlackjackState(player=tuple(aces[:n]), dealer=CLUBS[0]))) for n in range(2, 23)]
    assert len({frame.tobytes() for frame in frames}) == 21
    for frame in frames:
        assert (frame[:, -3:] == TABLE).all()
        assert (frame[-2:] == TABLE).all()
