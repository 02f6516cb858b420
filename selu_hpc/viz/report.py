"""Writes RUN/report/index.html: one self-contained page with the learning curve, tables, data cards and time spent.

report.css beside this file says how it looks. A part of the page that cannot be made is a line that says why; figures
that cannot be read are an error. Does not own how a figure or a table is written (figures.py, tables.py), the drawing
(curves.py), the film (film.py), what was learned from (sets.py) or what was measured (results.py, times.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from selu_hpc.config import CriticMode, RunConfig
from selu_hpc.errors import RunFolderError, SeluError
from selu_hpc.recipes import load_run, to_yaml
from selu_hpc.rounds.rundir import RunDir, Stage, write_bytes
from selu_hpc.viz.curves import GAME_LINES, LINES, Lines, learning_curve
from selu_hpc.viz.figures import Figure, duration, escaped, mean_cell, score_cell, share_cell
from selu_hpc.viz.film import show_film
from selu_hpc.viz.plain import plain
from selu_hpc.viz.results import RoundNumbers, read_rounds, world_of
from selu_hpc.viz.sets import fine_tuning_sets, games_played
from selu_hpc.viz.tables import meanings, round_name, table
from selu_hpc.viz.times import Spent, read_times

BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What reading a file of any content may end with."""
EACH = "Below each figure stand its 95 % interval and how many outcomes it rests on (n)."
WAYS = (
    "Out of reach, the right words are said from too far away; undone, what was achieved is taken back: in both the "
    "words name the deed."
)
BANDS = (
    "Bars and bands are 95 % intervals: bootstrap over {over}, Wilson’s where all came out alike. They say how sure a "
    "figure is of this run, not of another seed’s."
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table over rounds: its name, its figure's path, and what it means."""

    name: str
    path: tuple[str, ...]
    meaning: str
    cell: Callable[[Figure], str] = share_cell


LEARNING = (
    Column("critic accuracy", ("critic", "accuracy"), "Of the test episodes, those whose first verdict is right."),
    Column(
        "critic F1",
        ("critic", "f1"),
        "Of its yes: the harmonic mean of how many are right and how many successes it finds. It has an interval only "
        "where resampling shows one.",
        score_cell,
    ),
    Column("false yes", ("critic", "false_yes"), "Of the failed test episodes, those it calls done."),
    Column("false no", ("critic", "false_no"), "Of the done test episodes, those it calls not done."),
    Column("actor success", ("actor", "success"), "Of the held-out tasks, those that are done in the last frame."),
    Column(
        "probe, actor",
        ("probe", "actor", "accuracy"),
        "Of the questions about plain states in the world that the base model was taught in, those the actor’s adapter "
        "answers rightly: what fine-tuning cost.",
    ),
    Column("probe, critic", ("probe", "critic", "accuracy"), "The same questions, asked of the critic’s adapter."),
)
LABELS = (
    Column("succeeded", ("labels", "success"), "Of the round’s episodes, those whose task was done in the end."),
    Column("first verdict", ("labels", "first", "accuracy"), "Of the first verdicts, those that are right."),
    Column("last verdict", ("labels", "verdict", "accuracy"), "Of the verdicts in the end, those that are right."),
    Column("false yes", ("labels", "verdict", "false_yes"), "Of the failed episodes, those labelled yes in the end."),
    Column("false no", ("labels", "verdict", "false_no"), "Of the done episodes, those labelled no in the end."),
    Column(
        "relabelling right", ("labels", "relabelled"), "Of the instructions found in hindsight, those really achieved."
    ),
)
GAMES = (
    Column("games won", ("success",), "Of fresh deals, the games with a return above 0."),
    Column("return", ("return",), "What a game pays in all, on average.", mean_cell),
    Column("steps", ("steps",), "How many steps a game takes, on average.", mean_cell),
    Column("actions read", ("said",), "Of a game’s steps, those whose answer names an action, averaged over games."),
)
AFTERWARDS = "Measured after the fact by the evaluation stage; no learning stage can read this."
WHOSE_LABELS = {
    CriticMode.NONE: f"Nobody judged: every episode was learned from as a success. {AFTERWARDS}",
    CriticMode.ORACLE: "This run’s labels are the oracle’s, who reads the truth they are held against here.",
}


def make_report(run: RunDir, out: Path | None = None) -> Path:
    """Write the page from what the run has finished so far, to `out` or into the run, and return its path."""
    out = out or run.report / "index.html"
    run.require()
    config = load_run(run.path)
    rounds = list(read_rounds(run, config))
    plays = config.plays_games
    learned = _games if plays else _learned
    sets, learned_from = (
        (games_played, "Games played to learn from") if plays else (fine_tuning_sets, "Fine-tuning sets")
    )
    sections = [
        _head(run, config),
        *(learned(config, rounds) if rounds else ["<p>No round has been evaluated yet.</p>"]),
        *_or_why(learned_from, lambda: sets(run, config, name=learned_from)),
        *_or_why("An episode", lambda: show_film(run, views=1 if plays else 2)),
        *_or_why("Time", lambda: _time(run, base="warm-up" if plays else "base")),
        f"<h2>Settings</h2><details><summary>resolved config</summary><pre>{escaped(to_yaml(config))}</pre></details>",
    ]
    style = (files("selu_hpc.viz") / "report.css").read_text(encoding="utf-8")
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1"><link rel=icon href="data:,">'
        f"<title>{escaped(plain(run.path.name))}</title><style>{style}</style><main>{''.join(sections)}</main></html>\n"
    )
    try:
        write_bytes(out, page.encode())
    except OSError as error:
        raise RunFolderError(f"{out}: cannot write: {error.strerror}; mend that, or say --out FILE") from error
    return out


def _or_why(what: str, make: Callable[[], Iterable[str]]) -> list[str]:
    """A part of the page, or the reason why it has none."""
    try:
        return list(make())
    except (SeluError, *BROKEN) as error:
        told = str(error) if isinstance(error, SeluError) else f"{type(error).__name__}: {error}"
        return [f"<h2>{what}</h2><p class=quiet>Cannot be shown: {escaped(plain(told))}</p>"]


def _head(run: RunDir, config: RunConfig) -> str:
    words = f"recipe {config.recipe} · {world_of(config)} · seed {config.seed}"
    origin = f"{_signature(run, config)} · {_commit(run)} · image {config.image}"
    name, words, origin = (escaped(plain(text)) for text in (run.path.name, words, origin))
    return f"<h1>{name}</h1><p class=quiet>{words}</p><p class=quiet>{origin}</p>"


def _signature(run: RunDir, config: RunConfig) -> str:
    """The one the run began with; this code, with other settings, may read another from the same file."""
    try:
        began = str(json.loads(run.provenance_file.read_bytes())["signature"])
    except BROKEN:
        return f"signature not known, read today as {config.signature}"
    return f"signature {began}" + (f", read today as {config.signature}" if began != config.signature else "")


def _commit(run: RunDir) -> str:
    try:
        code = json.loads(run.provenance_file.read_bytes())["code"]
        return f"commit {code['commit'][:12]}{' (changed)' if code['dirty'] else ''}" if code["commit"] else "no commit"
    except BROKEN as error:
        return f"commit not known ({run.provenance_file.name}: {type(error).__name__})"


def _learned(config: RunConfig, rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    """What SELU and its baselines came to."""
    yield _tiles(config, rounds, LINES, base="base")
    yield f"<h2>Learning</h2><figure>{learning_curve(rounds)}"
    yield f"<figcaption>{BANDS.format(over='episodes')}{_spanned(rounds)}</figcaption></figure>"
    yield _by_round(rounds, LEARNING, name="Learning", base="base")
    yield from _unreadable(rounds)
    yield from _by_type(rounds)
    yield from _by_way(rounds)
    if labelled := [one for one in rounds if one.numbers.get("labels")]:
        name, judged = "How far the labels were from the truth", config.critic.mode is not CriticMode.NONE
        yield f"<h2>{name}</h2><p class=quiet>{WHOSE_LABELS.get(config.critic.mode, AFTERWARDS)}</p>"
        yield _by_round(labelled, LABELS if judged else LABELS[:1], name=name, base="base")


def _unreadable(rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    """How many test verdicts' words meant nothing; older evaluations do not say."""
    shares = [(one.round_id, one.figure("critic_unreadable", "share")) for one in rounds]
    known = [(round_id, share) for round_id, share in shares if share["value"] is not None]
    mute = [
        f"{round(share['value'] * share['count'])} of {share['count']} ({round_name(round_id, 'base')})"
        for round_id, share in known
        if share["value"]
    ]
    if known:
        which = f"First verdicts that said neither yes nor no, and count as a no: {', '.join(mute)}."
        yield f"<p class=quiet>{which if mute else 'Every first verdict said yes or no.'}</p>"


def _games(config: RunConfig, rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    """What RL4VLM came to: fresh deals by round."""
    yield _tiles(config, rounds, GAME_LINES, base="warm-up")
    drawing = learning_curve(rounds, GAME_LINES, base="warm-up", of="% of games of fresh deals")
    words = f"Games of fresh deals, sampled as in training. {BANDS.format(over='games')}{_spanned(rounds)}"
    yield f"<h2>Learning</h2><figure>{drawing}<figcaption>{words}</figcaption></figure>"
    yield _by_round(rounds, GAMES, name="Learning", base="warm-up")


def _tiles(config: RunConfig, rounds: Sequence[RoundNumbers], lines: Lines, *, base: str) -> str:
    """What most readers come for: the newest figures, and where they began."""
    first, last = rounds[0], rounds[-1]
    measured = first.round_id == 0 and last is not first
    tiles = []
    for path, name, colour, _ in lines:
        value, begun = last.figure(*path), first.figure(*path)["value"] if measured else None
        since = "" if begun is None else f" <span>from {100 * begun:.1f} %</span>"
        number, small, rest = share_cell(value).partition("<small>")
        tiles.append(f"<div class={colour}><dt>{name}</dt><dd>{number}{since}{small}{rest}</dd></div>")
    of = f"of {config.rounds}; {round_name(0, base)} is round 0"
    if left := gaps(rounds):
        of += f"; not evaluated: {left}"
    tiles.append(f"<div><dt>newest evaluated round</dt><dd>{last.round_id}<small>{of}</small></dd></div>")
    return f"<dl class=tiles>{''.join(tiles)}</dl>"


def gaps(rounds: Sequence[RoundNumbers]) -> str:
    """The rounds before the newest evaluated one that are not: `1 to 4, 6`."""
    spans, after = [], 0
    for one in rounds:
        if one.round_id > after:
            spans.append(f"{after} to {one.round_id - 1}" if one.round_id > after + 1 else f"{after}")
        after = one.round_id + 1
    return ", ".join(spans)


def _spanned(rounds: Sequence[RoundNumbers]) -> str:
    """What the drawing has where rounds between two others were not evaluated."""
    apart = any(two.round_id - one.round_id > 1 for one, two in pairwise(rounds))
    return " A dashed line spans rounds that were not evaluated." if apart else ""


def _by_round(rounds: Sequence[RoundNumbers], columns: Sequence[Column], *, name: str, base: str) -> str:
    rows = [
        [round_name(one.round_id, base), *(column.cell(one.figure(*column.path)) for column in columns)]
        for one in rounds
    ]
    shown = table(["round", *(column.name for column in columns)], rows, name=name)
    return f"{shown}<p class=quiet>{EACH}</p>{meanings({column.name: column.meaning for column in columns})}"


def _by_type(rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    ends = _ends(rounds)
    kinds = sorted({*ends[-1].numbers["critic_by_type"], *ends[-1].numbers["actor_by_type"]})
    figures = {"critic accuracy": ("critic_by_type", "accuracy"), "actor success": ("actor_by_type", "success")}
    columns = [f"{name}, {round_name(one.round_id, 'base')}" for name in figures for one in ends]
    rows = [
        [
            escaped(plain(kind)),
            *(share_cell(one.figure(table, kind, name)) for table, name in figures.values() for one in ends),
        ]
        for kind in kinds
    ]
    yield "<h2>By task type</h2>" + table(["task type", *columns], rows, name="By task type")
    yield f"<p class=quiet>{EACH} A type has few: weigh a difference against them.</p>"


def _by_way(rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    """Which failures of the critic's test set are called successes; older evaluations do not say the way."""
    ends = _ends(rounds)
    ways = sorted(ends[-1].numbers.get("critic_by_way", {}))
    if not ways:
        return
    figures = {"plain verdict": "first", "own procedure": "verdict"}
    columns = [f"{name}, {round_name(one.round_id, 'base')}" for name in figures for one in ends]
    rows = [
        [
            escaped(plain(way.replace("_", " "))),
            *(share_cell(one.figure("critic_by_way", way, name)) for name in figures.values() for one in ends),
        ]
        for way in ways
    ]
    name = "Failures called successes"
    yield f"<h2>{name}</h2>" + table(["failed by", *columns], rows, name=name)
    yield f"<p class=quiet>{EACH} {WAYS}</p>"


def _ends(rounds: Sequence[RoundNumbers]) -> list[RoundNumbers]:
    return [rounds[0]] if len(rounds) == 1 else [rounds[0], rounds[-1]]


def _time(run: RunDir, *, base: str) -> Iterable[str]:
    times = read_times(run)
    if not times.spent:
        return
    stages = [stage for stage in Stage if any(str(stage) == name for _, name in times.spent)]
    rows = []
    for round_id in sorted({round_id for round_id, _ in times.spent}):
        spent = [times.spent.get((round_id, str(stage)), Spent()) for stage in stages]
        whole = Spent(sum(one.useful_s for one in spent), sum(one.failed_s for one in spent))
        rows.append([round_name(round_id, base), *map(_spent, [*spent, whole])])
    yield "<h2>Time</h2>"
    columns = ["round", *(str(stage).replace("_", " ") for stage in stages), "together"]
    yield table(columns, rows, name="Time")
    yield "<p class=quiet>Work of all shards added up, without waiting for a turn. "
    yield "In brackets attempts that failed or were killed; work that was saved and gone on with is not among them."
    if times.num_open:
        yield f" Not in here: attempts that are at work or were killed with whoever watched them ({times.num_open})."
    yield "</p>"


def _spent(spent: Spent) -> str:
    failed = f"<small>({duration(spent.failed_s)})</small>" if spent.failed_s >= 0.5 else ""
    return f"{duration(spent.useful_s)}{failed}" if spent.all_s else ""
