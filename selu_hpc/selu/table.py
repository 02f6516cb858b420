"""Tables as Markdown for any set of runs: a line for each row (rows.py), its parts, and a run round by round. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from selu_hpc.measures import Gain, percent
from selu_hpc.selu.rows import TableRow, outcomes
from selu_hpc.summaries import Summary


def markdown(rows: Sequence[TableRow]) -> str:
    """The table a person reads; percentages, gains in points with 95 % intervals, – for what was not measured."""
    lines: list[str] = []
    timed = any(row.minutes is not None for row in rows)  # by benchmarks/selu.py alone
    columns = (
        "recipe", "seeds", "rounds", "critic base → last", "gain [95 %]", "F1", "false yes", "false no",
        "own procedure", "states seen", "actor base → last", "gain [95 %]", "probe", "episodes", "steps",
        *(["min/run"] if timed else []),
    )  # fmt: skip
    for simulator, world in dict.fromkeys((row.simulator, row.world) for row in rows):
        lines += [
            f"### {simulator}, {world} world",
            "",
            f"| {' | '.join(columns)} |",
            f"|---|{'--:|' * (len(columns) - 1)}",
        ]
        lines += [_line(row, timed) for row in rows if (row.simulator, row.world) == (simulator, world)]
        lines.append("")
    return "\n".join(lines)


def aligned(text: str) -> str:
    """Markdown with the cells of its tables padded, for people at a terminal."""
    found: list[str] = []
    for is_table, lines in groupby(text.split("\n"), key=lambda line: line.startswith("|")):
        if not is_table:
            found += lines
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        right = [cell.endswith(":") for cell in rows[1]]
        rows[1] = ["-" * (width - at_right) + ":" * at_right for width, at_right in zip(widths, right, strict=True)]
        for row in rows:
            placed = (
                cell.rjust(width) if at_right else cell.ljust(width)
                for cell, width, at_right in zip(row, widths, right, strict=True)
            )
            found.append(f"| {' | '.join(placed)} |")
    return "\n".join(found)


def by_type_markdown(row: TableRow) -> str:
    """Critic and actor by task type, base → last."""
    return _parts(row, "by task type", ("type", "critic", "actor"), row.by_verb)


def by_way_markdown(row: TableRow) -> str:
    """How often a failure is called a success, base → last, by the way it failed; nothing where no way is known."""
    ways = {way.replace("_", " "): figures for way, figures in row.by_way.items()}
    return (
        _parts(row, "failures called successes", ("failed by", "plain verdict", "own procedure"), ways) if ways else ""
    )


def _parts(
    row: TableRow, what: str, columns: tuple[str, str, str], parts: Mapping[str, tuple[float, float, float, float]]
) -> str:
    """Two figures of each part of the test sets, base → last."""
    title = f"#### {_name(row)}, {row.simulator}, {row.world} world, round {row.rounds}: {what}"
    lines = [title, "", f"| {' | '.join(columns)} |", "|---|--:|--:|"]
    lines += [f"| {name} | {_arrow(*figures[:2])} | {_arrow(*figures[2:])} |" for name, figures in parts.items()]
    return "\n".join([*lines, ""])


def by_round_markdown(summary: Summary) -> str:
    """A run's curve: the critic's and the actor's test sets after each round, and the labels it learned from."""
    truth = outcomes(summary["truth"])
    columns = (
        "round", "critic", "own procedure", "states seen", "says yes", "labels right", "false yes among failures",
        "episodes done", "relabelled", "of which true", "actor",
    )  # fmt: skip
    place = f"{summary['simulator']}, {summary['world']} world"
    title = f"#### {summary['recipe']}, {place}, seed {summary['seed']}: round by round"
    lines = [title, "", f"| {' | '.join(columns)} |", f"|{'--:|' * len(columns)}"]
    for one in summary["rounds"]:
        labels = one.get("labels") or {}
        seen = [outcomes(one[name]) == truth if name in one else truth[:0] for name in ("first", "verdict", "states")]
        cells = [_figure(percent(values)) for values in (*seen, outcomes(one["first"]))]
        cells += [_share(labels.get(name)) for name in ("accuracy", "false_yes", "success")]
        cells += [str(labels.get("relabelled", "–")), _share(labels.get("relabelled_right"))]
        lines.append(f"| {' | '.join([str(one['round']), *cells, _figure(percent(outcomes(one['success'])))])} |")
    return "\n".join([*lines, ""])


def _line(row: TableRow, timed: bool) -> str:
    minutes = ["–" if row.minutes is None else f"{row.minutes:.1f}"] if timed else []
    cells = [
        _name(row),
        str(len(row.seeds)),
        str(row.rounds),
        _arrow(row.critic.base, row.critic.last),
        interval(row.critic),
        _arrow(*row.f1),
        _arrow(*row.false_yes),
        _arrow(*row.false_no),
        _arrow(row.own.base, row.own.last),
        _arrow(*row.states),
        _arrow(row.actor.base, row.actor.last),
        interval(row.actor),
        _arrow(*row.probe),
        f"{row.episodes:.0f}",
        f"{row.steps:.0f}",
        *minutes,
    ]
    return f"| {' | '.join(cells)} |"


def _name(row: TableRow) -> str:
    return f"{row.recipe} ({row.settings})" if row.settings else row.recipe


def _arrow(before: float, after: float) -> str:
    return f"{_figure(before)} → {_figure(after)}"


def _figure(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else _figure(100 * value)


def interval(gain: Gain) -> str:
    return "–" if np.isnan(gain.gain) else f"{gain.gain:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"
