"""Draws a run's learning as SVG: critic accuracy and actor success by round, with their 95 % intervals.

Colours are the page's own (report.css), so that the drawing is as readable in the dark as in the light.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import nan

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from selu_hpc.viz.figures import Figure as Share
from selu_hpc.viz.figures import escaped, share_of
from selu_hpc.viz.results import RoundNumbers

Lines = Sequence[tuple[tuple[str, ...], str, str, str]]
"""Of a plot: a figure's path, its name, its colour's name and its marker."""
LINES: Lines = (
    (("actor", "success"), "actor success", "actor", "s"),
    (("critic", "accuracy"), "critic accuracy", "critic", "o"),
)
GAME_LINES: Lines = (
    (("success",), "games won", "actor", "s"),
    (("said",), "actions read", "critic", "o"),
)
MOST_TICKS = 12
MARGIN = 0.25
"""In rounds; a run of which only the base is evaluated has an axis of whole rounds all the same."""
COLOURS = {"critic": "#1b6ca8", "actor": "#c0492f", "ink": "#222222", "line": "#dcdcd8"}
"""What matplotlib draws with; the page's variable of the same name takes each one's place."""
INK = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), COLOURS["ink"])
STYLE = {**INK, "font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "selu_hpc"}


def learning_curve(
    rounds: Sequence[RoundNumbers],
    lines: Lines = LINES,
    *,
    base: str = "base model",
    of: str = "% on the frozen test sets",
) -> str:
    """An SVG element; percentages over rounds, round 0 is the base model, or what `base` says."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.1), layout="constrained")
        axes = figure.subplots()
        for path, label, colour, marker in lines:
            _draw(axes, {one.round_id: share_of(one.figure(*path)) for one in rounds}, COLOURS[colour], marker, label)
        axes.set_xlabel(f"round (0 = {base})")
        axes.set_ylabel(of)
        axes.set_ylim(0, 102)
        axes.xaxis.set_major_locator(MaxNLocator(MOST_TICKS, integer=True, min_n_ticks=1))
        axes.set_xlim(-MARGIN, max([1, *(one.round_id for one in rounds)]) + MARGIN)
        axes.grid(axis="y", color=COLOURS["line"])
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(lines), borderaxespad=0)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _on_page(out.getvalue(), " and ".join(label for _, label, _, _ in lines))


def _draw(axes: Axes, figures: Mapping[int, Share], colour: str, marker: str, label: str) -> None:
    """Lines and bands break where a round was not measured; a dashed line leads over it."""
    known = {
        x: [100 * y[name] for name in ("value", "low", "high")] for x, y in figures.items() if y["value"] is not None
    }
    every = range(min(known, default=0), max(known, default=-1) + 1)
    values, lows, highs = ([known[x][at] if x in known else nan for x in every] for at in range(3))
    axes.plot(every, values, color=colour, marker=marker, label=label, linewidth=2)
    axes.fill_between(every, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.vlines(
        list(known), *([y[at] for y in known.values()] for at in (1, 2)), color=colour, alpha=0.8, linewidth=1.5
    )
    for two in pairwise(known):
        if two[1] - two[0] > 1:
            axes.plot(two, [known[x][0] for x in two], color=colour, linestyle="--", linewidth=1)


def _on_page(text: str, what: str) -> str:
    """The drawing as an element that says what it shows and has the page's colours."""
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escaped(what)} by round"', 1)
