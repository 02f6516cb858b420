"""Makes hostile words harmless on a page and in a terminal: what cannot be seen is spelled out, no tag can be closed.

Does not own what words mean (selu/reading.py); unlike there nothing is dropped, for people are to see what was said.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

LONGEST_SHOWN = 2000
"""Characters of one text that a page holds."""
BLANK = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
        (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
"""Letters and marks by their category that show nothing: fillers, the empty braille cell, variation selectors."""
MOST_MARKS = 3
"""Marks on one letter that stay; no language needs more, and a thousand would cover the lines around it."""


def plain(text: str) -> str:
    """The text with controls, direction marks, lone surrogates and other unseen characters spelled out: ⟨U+202E⟩."""
    shown, marks = "", 0
    for letter in text[:LONGEST_SHOWN]:
        marks = marks + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        shown += _seen(letter) if marks <= MOST_MARKS else _spelled(letter)
    left = len(text) - LONGEST_SHOWN
    return f"{shown} … ({left} more characters)" if left > 0 else shown


def plain_all(value: Any) -> Any:
    """`plain` for every text in a JSON value, keys excepted."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {key: plain_all(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_all(one) for one in value]
    return value


def script_json(value: Any) -> str:
    """JSON in ASCII that may stand inside a script element: no tag can begin or end in it."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _seen(letter: str) -> str:
    if letter == "\n":
        return "⏎"
    unseen = unicodedata.category(letter)[0] == "C" or unicodedata.category(letter) in ("Zl", "Zp")
    return _spelled(letter) if unseen or letter in BLANK else letter


def _spelled(letter: str) -> str:
    return f"⟨U+{ord(letter):04X}⟩"
