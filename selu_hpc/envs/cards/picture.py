"""The pictures: text, cards and formulas on a square of 300 pixels.

Owns fonts, colours and how a card looks; not what a game shows where. Everything is drawn large, since a small model
sees the picture shrunk to a third. The font is read from matplotlib's own files and laid out by Pillow itself, so the
bytes depend on those two packages' versions and on nothing of the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from selu_hpc.envs.cards.deck import Card
from selu_hpc.records import FrameHWC

SIDE = 300
WHITE, BLACK, RED, TABLE = "#ffffff", "#000000", "#d00000", "#35654d"
BACK, STRIPE = "#2b4c9b", "#7f9ad6"
MINUS = "−"
"""What "-" is drawn as: the hyphen of the keyboard is a few pixels wide."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@lru_cache(maxsize=1)
def _font_file() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"


@lru_cache(maxsize=128)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans Bold."""
    return ImageFont.truetype(str(_font_file()), size_px, layout_engine=ImageFont.Layout.BASIC)


def blank(colour: str = TABLE) -> Image.Image:
    """An empty picture."""
    return Image.new("RGB", (SIDE, SIDE), colour)


def pixels(picture: Image.Image) -> FrameHWC:
    """The picture as an array of its own."""
    return np.array(picture, dtype=np.uint8)


def write(picture: Image.Image, place: tuple[int, int], text: str, size_px: int, colour: str) -> None:
    """Text whose upper left corner is at the place."""
    _stamp(picture, place, text, size_px, colour, "lt")


def lay(picture: Image.Image, cards: Sequence[Card | None], box: Box, *, num_columns: int, num_rows: int = 1) -> None:
    """Cards in a grid that fills the box from its upper left; None is a card that lies face down."""
    left, top, right, bottom = box
    width, height = (right - left) // num_columns, (bottom - top) // num_rows
    for place, card in enumerate(cards):
        row, column = divmod(place, num_columns)
        picture.paste(_face(card, width - 4, height - 4), (left + column * width + 2, top + row * height + 2))


def write_formula(picture: Image.Image, symbols: Sequence[str], box: Box) -> None:
    """A formula in white, wrapped between symbols, in the largest size that fits the box."""
    left, top, right, bottom = box
    for size_px in (44, 36, 30, 25, 21):
        lines = _wrapped(symbols, size_px, right - left)
        pitch = round(size_px * 1.1)
        if len(lines) * pitch <= bottom - top:
            break
    for number, line in enumerate(lines):
        for x, symbol in line:
            # one baseline for all: an asterisk hangs high, a minus lies low
            _stamp(picture, (left + x, top + number * pitch + size_px), symbol, size_px, WHITE, "ls")


def _wrapped(symbols: Sequence[str], size_px: int, width: int) -> list[list[tuple[int, str]]]:
    lines: list[list[tuple[int, str]]] = [[]]
    x, gap = 0, size_px // 8
    for symbol in (MINUS if symbol == "-" else symbol for symbol in symbols):
        wide = round(font(size_px).getlength(symbol))
        if x + wide > width:
            lines.append([])
            x = 0
        lines[-1].append((x, symbol))
        x += wide + gap
    return lines


def _stamp(picture: Image.Image, place: tuple[int, int], text: str, size_px: int, colour: str, anchor: str) -> None:
    left, top, mask = _mask(text, size_px, anchor)
    picture.paste(colour, (place[0] + left, place[1] + top), mask)


@lru_cache(maxsize=512)
def _mask(text: str, size_px: int, anchor: str) -> tuple[int, int, Image.Image]:
    """The ink of a text and where it begins, seen from the anchor; half of a step's time was drawing it anew."""
    box = font(size_px).getbbox(text, anchor=anchor)
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), text, 255, font(size_px), anchor=anchor)
    return left, top, mask


@lru_cache(maxsize=1024)
def _face(card: Card | None, width: int, height: int) -> Image.Image:
    face = Image.new("RGB", (width, height), TABLE)
    draw = ImageDraw.Draw(face)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=7, fill=WHITE, outline=BLACK)
    if card is None:
        _pattern(face, (6, 6, width - 6, height - 6))
        return face
    colour = RED if card.suit.red else BLACK
    # between the two there is room for the tails of J and Q
    _fill(face, card.letter, "8", (4, 5, width - 4, height * 48 // 100), colour)
    _fill(face, card.suit, card.suit, (4, height * 65 // 100, width - 4, height - 5), colour)
    return face


def _pattern(face: Image.Image, box: Box) -> None:
    """The back of a card: light diamonds on blue."""
    left, top, right, bottom = box
    back = Image.new("RGB", (right - left, bottom - top), BACK)
    draw = ImageDraw.Draw(back)
    for x in range(-back.height, back.width + back.height, 14):
        draw.line((x, 0, x + back.height, back.height), STRIPE, 3)
        draw.line((x, 0, x - back.height, back.height), STRIPE, 3)
    face.paste(back, (left, top))


def _fill(face: Image.Image, text: str, like: str, box: Box, colour: str) -> None:
    """The text in the middle of the box, as large as `like` fits there; squeezed where it is wider than the box."""
    left, top, right, bottom = box
    for size_px in range(160, 7, -1):
        high, wide = _ink(like, size_px)
        if wide[1] - wide[0] <= right - left and high[1] - high[0] <= bottom - top:
            break
    _, (start, end) = _ink(text, size_px)
    # drawn as high as the whole card: the Q's tail hangs below the others' line
    mask = Image.new("L", (end - start, face.height))
    ImageDraw.Draw(mask).text((-start, (top + bottom - high[0] - high[1]) / 2), text, 255, font(size_px))
    width = min(mask.width, right - left)
    mask = mask.resize((width, mask.height), Image.Resampling.LANCZOS)
    face.paste(colour, ((left + right - width) // 2, 0), mask)


def _ink(text: str, size_px: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the ink begins and ends, from above and from the left."""
    left, top, right, bottom = font(size_px).getbbox(text)
    return (math.floor(top), math.ceil(bottom)), (math.floor(left), math.ceil(right))
