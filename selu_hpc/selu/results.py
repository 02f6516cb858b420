"""What the shards of an evaluation come to together: rows in, numbers with intervals out. Pure.

A results.json holds rows, one an outcome with its episode's id, so that every number can be traced:

    critic   episode, verb, way (which scripted actor played it), truth, first (the plain verdict),
             question, answer, taken (of the plain verdict: yes, no or unreadable),
             verdict (by the method's own procedure), own (that procedure's questions and answers),
             states (whether what the task speaks of is seen to hold in the same picture), seen (their questions)
    actor    episode, verb, scene, success, ever, ended, steps
    probe    role, episode, kind, question, answer, expected, right
    labels   episode, verb, truth, first, verdict, relabelled, relabelled_truth    the round's own labels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selu_hpc.measures import Number, by_type, critic_numbers, mean_number
from selu_hpc.records import UNREADABLE

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
SEED = 0
"""Of every bootstrap: the same rows give the same interval."""
TABLES = ("critic", "actor", "probe", "labels")


def merge(shards: Sequence[Rows]) -> dict[str, list[Row]]:
    """The rows of all shards, in the shards' order."""
    return {table: [row for shard in shards for row in shard[table]] for table in TABLES}


def numbers(rows: Rows, *, samples: int) -> dict[str, Any]:
    """Every figure of an evaluation, overall and by task type."""
    return {
        "critic": _plain(_critic(rows["critic"], "first", samples)),
        "critic_own_procedure": _plain(_critic(rows["critic"], "verdict", samples)),
        "critic_states": _plain(_critic(rows["critic"], "states", samples)) if asked_states(rows) else {},
        "critic_unreadable": _plain(_unreadable(rows["critic"], samples)) if kept_answers(rows) else {},
        "critic_by_type": _typed(rows["critic"], lambda some: _critic(some, "first", samples)),
        "critic_by_way": _by_way(rows["critic"], samples),
        "actor": _plain(_success(rows["actor"], samples)),
        "actor_by_type": _typed(rows["actor"], lambda some: _success(some, samples)),
        "probe": {
            role: _plain(_right([row for row in rows["probe"] if row["role"] == role], samples))
            for role in sorted({row["role"] for row in rows["probe"]})
        },
        "labels": _labels(rows["labels"], samples),
    }


def asked_states(rows: Rows) -> bool:
    """Whether the states were asked about: evaluations from before the question was there are still read."""
    return all("states" in row for row in rows["critic"])


def kept_answers(rows: Rows) -> bool:
    """Whether the critic's words were kept; older evaluations have its verdicts alone."""
    return all("taken" in row for row in rows["critic"])


def _unreadable(rows: Sequence[Row], samples: int) -> dict[str, Number]:
    """How often the plain verdict's words said neither yes nor no, and so counted as a no."""
    unread = [row["taken"] == UNREADABLE for row in rows]
    return mean_number(unread, name="share", samples=samples, seed=SEED)


def _by_way(rows: Sequence[Row], samples: int) -> dict[str, Any]:
    """Of each way to fail, how often it is called a success; older evaluations do not say the way."""
    failed = [row for row in rows if not row["truth"] and "way" in row]
    return {
        way: _plain(found)
        for way, found in by_type(failed, lambda row: str(row["way"]), lambda some: _called_done(some, samples)).items()
    }


def _called_done(rows: Sequence[Row], samples: int) -> dict[str, Number]:
    return {
        name: number
        for name in ("first", "verdict")
        for number in mean_number([row[name] for row in rows], name=name, samples=samples, seed=SEED).values()
    }


def _critic(rows: Sequence[Row], field: str, samples: int) -> dict[str, Number]:
    return critic_numbers([row["truth"] for row in rows], [row[field] for row in rows], samples=samples, seed=SEED)


def _success(rows: Sequence[Row], samples: int) -> dict[str, Number]:
    return mean_number([row["success"] for row in rows], name="success", samples=samples, seed=SEED)


def _right(rows: Sequence[Row], samples: int) -> dict[str, Number]:
    return mean_number([row["right"] for row in rows], name="accuracy", samples=samples, seed=SEED)


def _labels(rows: Sequence[Row], samples: int) -> dict[str, Any]:
    """How far the round's own labels were from the truth: what a hallucinated yes costs."""
    if not rows:
        return {}
    changed = [row for row in rows if row["relabelled"]]
    return {
        "success": _plain(mean_number([r["truth"] for r in rows], name="share", samples=samples, seed=SEED))["share"],
        "first": _plain(_critic(rows, "first", samples)),
        "verdict": _plain(_critic(rows, "verdict", samples)),
        "relabelled": _plain(
            mean_number([r["relabelled_truth"] for r in changed], name="precision", samples=samples, seed=SEED)
        )["precision"],
    }


def _typed(rows: Sequence[Row], measure: Any) -> dict[str, Any]:
    return {name: _plain(found) for name, found in by_type(rows, lambda row: str(row["verb"]), measure).items()}


def _plain(found: Mapping[str, Number]) -> dict[str, Any]:
    return {name: number.to_json() for name, number in found.items()}
