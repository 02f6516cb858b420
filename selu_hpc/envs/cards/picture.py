"""The pictures: text, cards and formulas on a square of 300 pixels.

Owns fonts, colours and how a card looks; not what a game shows where. Everything is drawn large, since a small model
sees the picture shrunk to a third. The font is read from matplotlib's own files and laid out by Pillow itself, so the
bytes depend on those two packages' versions and on nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from selu_hpc.envs.cards.deck import Card
from selu_hpc.records import FrameHWC

SIDE = 300
WHITE, BLACK, RED, TABLE, BACK = "#ffffff", "#000000", "#d00000", "#35654d", "#2b4c9b"
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
    ImageDraw.Draw(picture).text(place, text, fill=colour, font=font(size_px), anchor="lt")


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
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        for x, symbol in line:
            # one baseline for all: an asterisk hangs high, a minus lies low
            draw.text((left + x, top + number * pitch + size_px), symbol, WHITE, font(size_px), anchor="ls")


def _wrapped(symbols: Sequence[str], size_px: int, width: int) -> list[list[tuple[int, str]]]:
    lines: list[list[tuple[int, str]]] = [[]]
    x, gap = 0, size_px // 8
    for symbol in symbols:
        wide = round(font(size_px).getlength(symbol))
        if x + wide > width:
            lines.append([])
            x = 0
        lines[-1].append((x, symbol))
        x += wide + gap
    return lines


@lru_cache(maxsize=1024)
def _face(card: Card | None, width: int, height: int) -> Image.Image:
    face = Image.new("RGB", (width, height), TABLE)
    draw = ImageDraw.Draw(face)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=7, fill=WHITE, outline=BLACK)
    if card is None:
        draw.rounded_rectangle((5, 5, width - 6, height - 6), radius=4, fill=BACK)
        return face
    colour = RED if card.suit.red else BLACK
    middle = height * 56 // 100
    _centred(draw, card.letter, (3, 4, width - 3, middle - 2), colour)
    _centred(draw, card.suit, (3, middle + 2, width - 3, height - 5), colour)
    return face


def _centred(draw: ImageDraw.ImageDraw, text: str, box: Box, colour: str) -> None:
    """The text's ink in the middle of the box, as large as fits."""
    left, top, right, bottom = box
    for size_px in range(160, 7, -1):
        ink = font(size_px).getbbox(text)
        width, height = ink[2] - ink[0], ink[3] - ink[1]
        if width <= right - left and height <= bottom - top:
            break
    x, y = (left + right - width) / 2 - ink[0], (top + bottom - height) / 2 - ink[1]
    draw.text((round(x), round(y)), text, colour, font(size_px))
