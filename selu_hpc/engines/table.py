"""Tables as plain text, for commands that must start at once: rich takes longer to import than they to work. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand to the right."""

    name: str
    right: bool = False


def text_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str, caption: str = "") -> str:
    """Title, headings, a rule, rows, caption; every column as wide as its widest cell, nothing is cut."""
    lines = [[column.name for column in columns], *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    rule = ["\N{BOX DRAWINGS LIGHT HORIZONTAL}" * width for width in widths]
    printed = [_line(columns, cells, widths) for cells in (lines[0], rule, *rows)]
    return "\n".join([title, *printed, *([caption] if caption else [])]) + "\n"


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    )
    return "  ".join(placed).rstrip()
