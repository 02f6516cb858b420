"""Draws a run's learning as SVG: critic accuracy and actor success by round, with their 95 % intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

from selu_hpc.viz.results import RoundNumbers

Lines = Sequence[tuple[tuple[str, ...], str, str, str]]
"""Of a plot: a figure's path, its name, colour and marker."""
LINES: Lines = (
    (("critic", "accuracy"), "critic accuracy", "#1b6ca8", "o"),
    (("actor", "success"), "actor success", "#c8553d", "s"),
)
GAME_LINES: Lines = (
    (("success",), "games won", "#c8553d", "s"),
    (("said",), "actions that could be read", "#7a7a7a", "o"),
)


def learning_curve(rounds: Sequence[RoundNumbers], lines: Lines = LINES, *, base: str = "base model") -> str:
    """An SVG element; percentages over rounds, round 0 is the base model, or what `base` says."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for path, label, colour, marker in lines:
        points = [(one.round_id, one.figure(*path)) for one in rounds]
        points = [(x, y) for x, y in points if y["value"] is not None]
        if not points:
            continue
        xs = [x for x, _ in points]
        values = [100 * y["value"] for _, y in points]
        axes.plot(xs, values, color=colour, marker=marker, label=label, linewidth=2)
        axes.fill_between(xs, [100 * y["low"] for _, y in points], [100 * y["high"] for _, y in points],
                          color=colour, alpha=0.15, linewidth=0)  # fmt: skip
    axes.set_xlabel(f"round (0 = {base})")
    axes.set_ylabel("% on the frozen test sets")
    axes.set_ylim(0, 100)
    axes.set_xticks([one.round_id for one in rounds])
    axes.grid(axis="y", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="best")
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "selu_hpc"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
