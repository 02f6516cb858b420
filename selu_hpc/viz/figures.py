"""The interval a page gives a share, and how a page writes a figure: as `evaluate --table` does. Pure.

Does not own how figures are measured (measures.py): `{value, low, high, count}`, with bootstrap intervals.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

Z_95 = 1.96
Figure = Mapping[str, Any]


def share_of(figure: Figure) -> Figure:
    """A share's figure; one of 0 or 1 with Wilson's interval.

    Resampling equal outcomes shows no spread, so 12 of 12 would be said to lie between 100 and 100; Wilson: 76 to 100.
    """
    value, count = figure["value"], figure["count"]
    if value not in (0, 1) or count == 0:
        return figure
    width = Z_95**2 / (count + Z_95**2)
    return {**figure, "low": 0.0 if value == 0 else 1 - width, "high": width if value == 0 else 1.0}


def share_cell(figure: Figure) -> str:
    """A share in percent, its interval, and of how many: `92.7 %` over `86.5 to 97.9, n 96`."""
    return _cell(share_of(figure), unit=" %", scale=100, digits=1)


def score_cell(figure: Figure) -> str:
    """As `share_cell`, of a figure that is no share of anything, as F1 is: without an interval where there is none."""
    return _cell(figure, unit=" %", scale=100, digits=1)


def mean_cell(figure: Figure) -> str:
    """A mean, its interval, and of how many: `-0.42` over `-0.80 to -0.05, n 96`."""
    return _cell(figure, unit="", scale=1, digits=2)


def _cell(figure: Figure, *, unit: str, scale: float, digits: int) -> str:
    if figure["value"] is None:
        return f"–<small>n {figure['count']}</small>"
    value, low, high = (f"{scale * figure[name]:.{digits}f}" for name in ("value", "low", "high"))
    interval = f"{low} to {high}, " if figure["low"] < figure["high"] else ""
    return f"{value}{unit}<small>{interval}n {figure['count']}</small>"


def duration(seconds: float) -> str:
    """`48 s`, `1.9 min`, `3.4 h`; the unit is that of the rounded figure."""
    if round(seconds) < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60, 1)
    return f"{minutes:.1f} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def escaped(value: object) -> str:
    return html.escape(str(value))
