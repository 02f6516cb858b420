"""How a page writes a table, and what names in it mean. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from selu_hpc.viz.figures import escaped

Cells = Sequence[str]


def round_name(round_id: int, base: str) -> str:
    return f"round {round_id}" if round_id else base


def table(columns: Cells, rows: Iterable[Cells], *, name: str, words: Sequence[int] = ()) -> str:
    """name: what a reader who does not see the heading is told.  words: the places of columns whose cells are sentences
    and may be broken."""
    kinds = [" class=words" if place in words else "" for place in range(len(columns))]
    head = "".join(f"<th scope=col{kind}>{escaped(column)}</th>" for kind, column in zip(kinds, columns, strict=True))
    body = "".join(
        f"<tr><th scope=row>{first}</th>"
        + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds[1:], rest, strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    inside = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class=wide tabindex=0 role=region aria-label="{escaped(name)}">{inside}</div>'


def meanings(of: Mapping[str, Any]) -> str:
    """What names in a table mean, a sentence each."""
    told = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(words)}</dd>" for name, words in of.items())
    return f"<dl class=meanings>{told}</dl>"
