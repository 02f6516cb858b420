"""Writes the replay page: one self-contained file that plays episodes back, with everything the critic said of them.

What changes from page to page is one block of JSON; replay.html, replay.css and replay.js beside this file
show it. The page may load nothing and run no script but its own.
Does not own which episodes there are (played.py), which are chosen (choice.py), their pictures (strips.py) or what
makes words harmless (plain.py).
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from selu_hpc.config import CriticFrames, RunConfig
from selu_hpc.errors import RunFolderError
from selu_hpc.recipes import load_run
from selu_hpc.records import Exchange, Goal, Label, Purpose, Task, View
from selu_hpc.rounds.rundir import RunDir, Stage, write_bytes
from selu_hpc.selu.interview import critic_steps
from selu_hpc.viz.choice import Kind, choose
from selu_hpc.viz.plain import plain, plain_all, script_json
from selu_hpc.viz.played import PlayedEpisode, compare_checksums, pick_round, read_round, with_ids
from selu_hpc.viz.results import world_of
from selu_hpc.viz.strips import strip

HEADINGS: Mapping[str, str] = {
    Purpose.VERDICT: "First verdict",
    Purpose.OWN_WORDS: "The actor’s own words",
    Purpose.STATE: "Self-asking",
    Purpose.SECOND_VERDICT: "Second verdict",
    Purpose.WHICH: "Hindsight: what was done instead?",
    Purpose.CONSISTENCY: "Hindsight: is that done?",
    Purpose.CONSISTENCY_STATE: "Hindsight: self-asking",
    Purpose.SECOND_CONSISTENCY: "Hindsight: second verdict",
    Purpose.BEFORE: "Hindsight: was it so at first?",
    Purpose.FEEDBACK: "Feedback on the verdict",
    Purpose.REFINED_VERDICT: "Refined verdict",
    Purpose.SCORE: "Score",
}
"""What the page calls the purposes of questions; one that is not here is called by its own name."""
_OF_THE_LAST = frozenset([Purpose.STATE, Purpose.WHICH, Purpose.CONSISTENCY_STATE])
"""Questions whose words do not say which of several pictures they mean (`interview.Question.now`)."""


def make_replay(
    run: RunDir,
    *,
    round_id: int | None = None,
    ids: Sequence[str] = (),
    show: Kind = Kind.ALL,
    limit: int = 24,
    with_truth: bool = False,
    out: Path | None = None,
) -> Path:
    """Write the page and return its path.

    ids: these episodes and no others.  out: instead of RUN/report/replay.html.
    """
    run.require()
    config = load_run(run.path)
    round_id = pick_round(run, round_id)
    everything = read_round(run, round_id, with_truth=with_truth)
    kinds = [kind for kind in Kind if with_truth or kind is not Kind.WRONG]
    totals = {str(kind): sum(kind in one.kinds for one in everything) for kind in kinds}
    shown = with_ids(everything, ids) if ids else _chosen(everything, show, limit, totals, plays=config.plays_games)
    compare_checksums(shown)
    data = {
        "run": run.path.name,
        "recipe": config.recipe,
        "world": world_of(config),
        "views": [[str(view), name] for view, name in _views(config).items()],
        "has_critic": not config.plays_games,
        "seed": str(config.seed),
        "critic": str(config.critic.mode),
        "round": round_id,
        "num_shards": config.rollout.num_shards,
        "num_missing": len(run.unfinished(round_id, Stage.ROLLOUT, config.rollout.num_shards)),
        "with_truth": with_truth,
        "by_name": bool(ids),
        "show": str(show),
        "totals": totals,
        "num_judged": sum(one.label is not None for one in everything),
        "num_waiting": sum(one.label is None and not one.left_out for one in everything),
        "num_left_out": sum(one.left_out for one in everything),
        "episodes": [_episode(one, config) for one in shown],
    }
    return _write(out or run.report / "replay.html", _page(data))


def _chosen(
    everything: Sequence[PlayedEpisode], show: Kind, limit: int, totals: Mapping[str, int], *, plays: bool
) -> list[PlayedEpisode]:
    candidates = [one for one in everything if show in one.kinds]
    if not candidates:
        judged = any(one.label is not None for one in everything)
        why = ": a game is paid and judged by nobody, so leave --show out" if plays else ""
        why = why or ("" if judged else ": it is not labelled yet, so leave --show out")
        counts = ", ".join(f"{number} {kind}" for kind, number in totals.items())
        raise RunFolderError(f"the round has no episode for --show {show}{why}; it has {counts}")
    return [candidates[place] for place in choose([one.kinds for one in candidates], limit)]


def _episode(one: PlayedEpisode, config: RunConfig) -> dict[str, Any]:
    """What the page's script knows of an episode."""
    episode = one.read()
    num_frames = len(episode.frames_tvhwc)
    words = {
        "id": one.episode_id,
        "kinds": sorted(one.kinds),
        "left_out": one.left_out,
        "task": _task(episode.task),
        "scene": episode.task.scene,
        "actor": {"model": episode.model, "adapter": episode.adapter},
        "seed": str(episode.seed),
        "ended": str(episode.ended),
        "seen": episode.seen,
        "actions": [
            {"text": action.text, "parsed": action.parsed, "ok": action.ok, "error": action.error}
            for action in episode.actions
        ],
        "label": None if one.label is None else _label(one.label, one.corrected, num_frames, config),
        "truth": None,
        "rewards": one.rewards,
    }
    if one.truth is not None:
        words["truth"] = {
            "success_after": one.truth.success_after,
            "achieved": [_goal(goal) for goal in one.truth.achieved],
            "relabelling_was_right": one.relabelling_was_right,
        }
    return {**plain_all(words), "strips": {str(view): strip(episode.frames_tvhwc, view) for view in _views(config)}}


def _views(config: RunConfig) -> dict[View, str]:
    """The cameras of a run and what the page calls them; a game has a table to look at."""
    if config.plays_games:
        return {View.FIRST_PERSON: "The table"}
    return {View.FIRST_PERSON: "First person (actor)", View.THIRD_PERSON: "Third person (critic)"}


def _task(task: Task) -> dict[str, Any]:
    return {"instruction": task.instruction, "goals": [_goal(goal) for goal in task.goals]}


def _goal(goal: Goal) -> str:
    return f"{goal.verb} {goal.target}" + (f" → {goal.place}" if goal.place else "")


def _label(label: Label, corrected: bool, num_frames: int, config: RunConfig) -> dict[str, Any]:
    return {
        "first": label.first,
        "verdict": label.verdict,
        "tried": label.tried,
        "corrected": corrected,
        "relabelled": None if label.relabelled is None else _task(label.relabelled),
        "judged_by": critic_steps(num_frames, config.critic.frames),
        "exchanges": [_exchange(one, num_frames, config) for one in label.exchanges],
    }


def _exchange(one: Exchange, num_frames: int, config: RunConfig) -> dict[str, Any]:
    """pictures: the steps whose third-person pictures the question was asked of; none for a look at words."""
    return {
        "heading": HEADINGS.get(one.purpose, one.purpose),
        "asked": one.question,
        "said": one.answer,
        "taken": one.taken,
        "pictures": _pictures(one.purpose, num_frames, config.critic.frames),
    }


def _pictures(purpose: str, num_frames: int, frames: CriticFrames) -> Sequence[int]:
    if purpose == Purpose.OWN_WORDS:
        return ()
    if purpose == Purpose.BEFORE:
        return (0,)
    return critic_steps(num_frames, CriticFrames.LAST if purpose in _OF_THE_LAST else frames)


def _page(data: dict[str, Any]) -> bytes:
    episodes = data["episodes"]
    head = {key: value for key, value in data.items() if key != "episodes"}
    style, script = _text("replay.css"), _text("replay.js")
    page = Template(_text("replay.html")).substitute(
        title=html.escape(plain(f"Replay: {data['run']}, round {data['round']}")),
        style_hash=_hash(style),
        script_hash=_hash(script),
        style=style,
        script=script,
        data=script_json({**plain_all(head), "episodes": episodes}),
    )
    return page.encode()


def _text(name: str) -> str:
    return (files("selu_hpc.viz") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names a style or script that may be used."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(out: Path, page: bytes) -> Path:
    try:
        if out.is_dir():
            raise IsADirectoryError(21, "is a folder")
        write_bytes(out, page)
    except OSError as error:
        raise RunFolderError(f"{out}: cannot write: {error.strerror}; name another file with --out") from error
    return out
