"""Tables as plain text, for commands that must start at once: rich takes longer to import than they to work. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand to the right."""

    name: str
    right: bool = False


BETWEEN = "  "
NARROWEST = 24
"""What the last column has at least, in letters, however narrow the terminal."""


def text_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str, caption: str = "", width: int | None = None
) -> str:
    """Title, headings, a rule, rows, caption; every column as wide as its widest cell, nothing is cut.

    width: a terminal's; where a row is wider, its last cell goes on in further lines.
    """
    head = [column.name for column in columns]
    before = sum(max(len(line[at]) for line in (head, *rows)) + len(BETWEEN) for at in range(len(columns) - 1))
    room = max(NARROWEST, width - before) if width else sys.maxsize
    lines = [line for row in rows for line in _lines(row, room)]
    widths = [max(len(line[at]) for line in (head, *lines)) for at in range(len(columns))]
    rule = ["\N{BOX DRAWINGS LIGHT HORIZONTAL}" * width for width in widths]
    printed = [_line(columns, cells, widths) for cells in (head, rule, *lines)]
    return "\n".join([title, *printed, *([caption] if caption else [])]) + "\n"


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    )
    return BETWEEN.join(placed).rstrip()


def _lines(row: Sequence[str], room: int) -> Iterator[Sequence[str]]:
    """The row with its last cell broken behind commas."""
    *others, last = row
    parts = last.split(", ")
    while parts:
        taken = parts.pop(0)
        while parts and len(taken) + len(parts[0]) + 3 <= room:
            taken += f", {parts.pop(0)}"
        yield [*others, f"{taken}," if parts else taken]
        others = [""] * len(others)
