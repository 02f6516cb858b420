"""Writes RUN/report/index.html: one self-contained page with the learning curve, tables, data cards and time spent."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from selu_hpc.config import Learning, RunConfig
from selu_hpc.recipes import load_run, to_yaml
from selu_hpc.rounds.rundir import RunDir, Stage, write_bytes
from selu_hpc.viz.curves import GAME_LINES, learning_curve
from selu_hpc.viz.results import RoundNumbers, read_cards, read_rounds, seconds_by_stage, world_of

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}
.quiet{color:#666;margin-top:.2rem}
table{border-collapse:collapse;margin:.5rem 0}th,td{padding:.2rem .8rem .2rem 0;text-align:right;vertical-align:top}
th:first-child,td:first-child{text-align:left}th{border-bottom:1px solid #999;font-weight:600}
td small{color:#777}.wide{overflow-x:auto}img{image-rendering:pixelated;max-width:100%}
figure{margin:1rem 0}figcaption{color:#666}pre{background:#f6f6f4;padding:1rem;overflow-x:auto}
"""
Cells = Sequence[str]


def make_report(run: RunDir, out: Path | None = None) -> Path:
    """Write the page from what the run has finished so far, to `out` or into the run, and return its path."""
    out = out or run.report / "index.html"
    run.require()
    config = load_run(run.path)
    rounds = list(read_rounds(run, config))
    plays = config.learning is Learning.RL4VLM
    learned = _games if plays else _learned
    sections = [
        _head(run, config),
        *(learned(run, config, rounds) if rounds else ["<p>No round has been evaluated yet.</p>"]),
        *_film(run, views=1 if plays else 2),
        *_time(run),
        f"<h2>Settings</h2><details><summary>resolved config</summary><pre>{_text(to_yaml(config))}</pre></details>",
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(run.path.name)}</title>"
    write_bytes(out, f"{page}<style>{STYLE}</style>{''.join(sections)}</html>\n".encode())
    return out


def _head(run: RunDir, config: RunConfig) -> str:
    made = json.loads(run.provenance_file.read_bytes())
    code = made["code"]
    commit = f"commit {code['commit'][:12]}{' (changed)' if code['dirty'] else ''}" if code["commit"] else "no commit"
    words = f"{world_of(config)}, seed {config.seed} · signature {config.signature} · {commit} · image {config.image}"
    return f"<h1>{_text(config.recipe)}: {_text(run.path.name)}</h1><p class=quiet>{_text(words)}</p>"


def _learned(run: RunDir, config: RunConfig, rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    """What SELU and its baselines came to."""
    yield from _learning(rounds)
    yield from _by_type(rounds)
    yield from _labels(rounds)
    yield from _cards(run, config)


def _games(run: RunDir, config: RunConfig, rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    """What RL4VLM came to: held-out games by round, and the games that were learned from."""
    yield f"<h2>Learning</h2><figure>{learning_curve(rounds, GAME_LINES, base='warm-up')}"
    yield "<figcaption>Held-out games, sampled as in training; bands are 95 % intervals.</figcaption></figure>"
    rows = [
        [
            _game_round(one.round_id),
            _percent(one.figure("success")),
            *(_plain(one.figure(name)) for name in ("return", "steps")),
            _percent(one.figure("said")),
        ]
        for one in rounds
    ]
    yield _table(["round", "games won", "return", "steps", "actions read"], rows)
    yield "<h2>Games played to learn from</h2>"
    yield "<p class=quiet>Round 0 is the expert's, whose moves are random for a share of the steps.</p>"
    cards = read_cards(run, config)
    names = ("episodes", "steps", "success", "return")
    yield _table(
        ["round", *names], [[_game_round(n), *(str(card[name]) for name in names)] for n, card in cards.items()]
    )


def _game_round(round_id: int) -> str:
    return f"round {round_id}" if round_id else "warm-up"


def _plain(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.2f} <small>[{figure['low']:.2f}, {figure['high']:.2f}]</small>"


def _learning(rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    yield f"<h2>Learning</h2><figure>{learning_curve(rounds)}"
    yield "<figcaption>Bands are 95 % bootstrap intervals over episodes.</figcaption></figure>"
    columns = {
        "critic accuracy": ("critic", "accuracy"),
        "critic F1": ("critic", "f1"),
        "false yes": ("critic", "false_yes"),
        "false no": ("critic", "false_no"),
        "actor success": ("actor", "success"),
        "probe, actor": ("probe", "actor", "accuracy"),
        "probe, critic": ("probe", "critic", "accuracy"),
    }
    rows = [[_round(one), *(_percent(one.figure(*path)) for path in columns.values())] for one in rounds]
    yield _table(["round", *columns], rows)


def _by_type(rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    if not rounds:
        return
    first, last = rounds[0], rounds[-1]
    kinds = sorted({*last.numbers["critic_by_type"], *last.numbers["actor_by_type"]})
    columns = [f"{what}, {_round(one)}" for what in ("critic accuracy", "actor success") for one in (first, last)]
    rows = [
        [
            _text(kind),
            *(_percent(one.figure("critic_by_type", kind, "accuracy")) for one in (first, last)),
            *(_percent(one.figure("actor_by_type", kind, "success")) for one in (first, last)),
        ]
        for kind in kinds
    ]
    yield "<h2>By task type</h2>" + _table(["task type", *columns], rows)


def _labels(rounds: Sequence[RoundNumbers]) -> Iterable[str]:
    seen = [one for one in rounds if one.numbers.get("labels")]
    if not seen:
        return
    yield "<h2>How far the labels were from the truth</h2>"
    yield "<p class=quiet>Measured after the fact by the evaluation stage; no learning stage can read this.</p>"
    columns = {
        "episodes that succeeded": ("labels", "success"),
        "first verdicts right": ("labels", "first", "accuracy"),
        "after self-asking": ("labels", "verdict", "accuracy"),
        "false yes": ("labels", "verdict", "false_yes"),
        "relabelled and true": ("labels", "relabelled"),
    }
    rows = [[_round(one), *(_percent(one.figure(*path)) for path in columns.values())] for one in seen]
    yield _table(["round", *columns], rows)


def _cards(run: RunDir, config: RunConfig) -> Iterable[str]:
    cards = read_cards(run, config)
    if not cards:
        return
    rows = [
        [
            f"round {round_id}",
            *(f"{card[role]['samples']} <small>({card[role]['kept']} kept)</small>" for role in ("actor", "critic")),
            *(_text(", ".join(f"{n} {k}" for k, n in card[role]["by_source"].items())) for role in ("actor", "critic")),
        ]
        for round_id, card in cards.items()
    ]
    yield "<h2>Fine-tuning sets</h2>"
    yield _table(["", "actor samples", "critic samples", "actor's sources", "critic's sources"], rows)


def _film(run: RunDir, *, views: int) -> Iterable[str]:
    """The first episode of the newest labelled round, its first views, as one strip."""
    shards = sorted(run.path.glob(f"rounds/*/{Stage.ROLLOUT}/shard-0000/done.json"))
    if not shards:
        return
    from PIL import Image

    from selu_hpc.store.trajectories import EpisodeReader

    episode = EpisodeReader(shards[-1].parent / "episodes.zarr").episode(0)
    strip = episode.frames_tvhwc[:, :views].transpose(1, 2, 0, 3, 4)
    views, height, steps, width, channels = strip.shape
    out = io.BytesIO()
    Image.fromarray(strip.reshape(views * height, steps * width, channels)).save(out, format="PNG")
    words = " → ".join(action.parsed or "(unreadable)" for action in episode.actions)
    yield "<h2>An episode of the last round</h2><figure class=wide>"
    yield f'<img alt="frames" src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}">'
    yield f"<figcaption>“{_text(episode.task.instruction)}” in {_text(episode.task.scene)}: {_text(words)}. "
    yield ("Above the actor's view, below the critic's." if views > 1 else "") + "</figcaption></figure>"


def _time(run: RunDir) -> Iterable[str]:
    spent = seconds_by_stage(run)
    if not spent:
        return
    stages = [stage for stage in Stage if any(str(stage) == name for _, name in spent)]
    rows = [
        [
            f"round {round_id}" if round_id else "base",
            *(_seconds(spent.get((round_id, str(stage)))) for stage in stages),
        ]
        for round_id in sorted({round_id for round_id, _ in spent})
    ]
    yield "<h2>Time</h2><p class=quiet>Seconds of work of all shards; repeated work in brackets.</p>"
    yield _table(["", *(str(stage).replace("_", " ") for stage in stages)], rows)


def _seconds(spent: dict[str, float] | None) -> str:
    if spent is None:
        return ""
    wasted = f" <small>({spent['wasted']:.0f})</small>" if spent["wasted"] >= 0.5 else ""
    return f"{spent['useful']:.0f}{wasted}"


def _percent(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    if figure.get("low") is None:
        return f"{100 * figure['value']:.0f}"
    return f"{100 * figure['value']:.0f} <small>[{100 * figure['low']:.0f}, {100 * figure['high']:.0f}]</small>"


def _round(one: RoundNumbers) -> str:
    return f"round {one.round_id}" if one.round_id else "base"


def _table(columns: Cells, rows: Iterable[Cells]) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _text(value: object) -> str:
    return html.escape(str(value))
