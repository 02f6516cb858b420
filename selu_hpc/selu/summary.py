"""A run's whole measurement in a few kilobytes, and tables over many of them. Pure but for reading a run's results.

Outcomes are kept as bits in the order of the frozen test sets, so that runs are compared episode by episode:

    {"recipe": "selu", "simulator": "thor", "world": "unknown", "seed": 0, "signature": …, "settings": …, "commit": …,
     "base": …, "testset": …, "episodes": 960, "steps": 7431, "critic_verbs": ["open", …], "critic_ways": ["expert", …],
     "critic_scenes": ["FloorPlan19", …], "truth": "0101…", "actor_verbs": […], "actor_scenes": […],
     "rounds": [{"round": 0, "first": "0110…", "verdict": "0111…", "states": "0111…", "success": "0010…",
                 "probe": {"actor": .8, …}, "labels": {…}}, …]}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selu_hpc.config import CriticMode, RunConfig
from selu_hpc.rounds.rundir import CARD, RESULTS, RunDir, Stage
from selu_hpc.selu.results import Row, asked_states, merge, numbers
from selu_hpc.store.reader import EpisodeReader
from selu_hpc.summaries import Summary, commit_of, settings_of_run


def summarise(run: RunDir, config: RunConfig) -> Summary | None:
    """What the run has measured so far; None before the base is evaluated, which nothing after it waits for."""
    rounds = []
    for round_id in range(config.rounds + 1):
        rows = _rows(run, config, round_id)
        if rows is not None:
            rounds.append((round_id, rows))
    if not rounds or rounds[0][0] > 0:
        return None
    base = rounds[0][1]
    cards = [_card(run, round_id) for round_id in range(1, rounds[-1][0] + 1)]
    return {
        "recipe": _name(config),
        "simulator": str(config.env.simulator),
        "world": str(config.env.world),
        "seed": config.seed,
        "signature": config.signature,
        "settings": settings_of_run(config),
        "commit": commit_of(run),
        "base": _results(run, 0, 0).get("base", ""),
        "testset": [run.shard(0, Stage.TESTSET, shard).require_marker().content for shard in _shards(config)],
        "episodes": sum(card["episodes"]["total"]["episodes"] for card in cards),
        "steps": sum(card["episodes"]["total"]["steps"] for card in cards),
        "critic_verbs": [row["verb"] for row in base["critic"]],
        **({"critic_ways": ways} if any(ways := [row.get("way", "") for row in base["critic"]]) else {}),
        **({"untaught": ["critic"]} if config.critic.mode is CriticMode.NONE else {}),
        "critic_scenes": _scenes_judged(run, config, base["critic"]),
        "truth": _bits(base["critic"], "truth"),
        "actor_verbs": [row["verb"] for row in base["actor"]],
        "actor_scenes": [row["scene"] for row in base["actor"]],
        "rounds": [_round(round_id, rows) for round_id, rows in rounds],
    }


def _name(config: RunConfig) -> str:
    """Whatever a recipe is called: who learned from the truth is told by it."""
    by_truth = config.critic.mode is CriticMode.ORACLE
    return f"{config.recipe}, by the oracle" if by_truth and config.recipe != "oracle" else config.recipe


def _round(round_id: int, rows: dict[str, list[Row]]) -> dict[str, Any]:
    found = numbers(rows, samples=0)
    labels = found["labels"]
    return {
        "round": round_id,
        "first": _bits(rows["critic"], "first"),
        "verdict": _bits(rows["critic"], "verdict"),
        **({"states": _bits(rows["critic"], "states")} if asked_states(rows) else {}),
        "success": _bits(rows["actor"], "success"),
        "probe": {role: one["accuracy"]["value"] for role, one in found["probe"].items()},
        "labels": {
            "success": labels["success"]["value"],
            "first_accuracy": labels["first"]["accuracy"]["value"],
            "accuracy": labels["verdict"]["accuracy"]["value"],
            "false_yes": labels["verdict"]["false_yes"]["value"],
            "false_no": labels["verdict"]["false_no"]["value"],
            "relabelled": labels["relabelled"]["count"],
            "relabelled_right": labels["relabelled"]["value"],
        }
        if labels
        else {},
    }


def _rows(run: RunDir, config: RunConfig, round_id: int) -> dict[str, list[Row]] | None:
    if not all(run.shard(round_id, Stage.EVALUATE, shard).marker_file.exists() for shard in _shards(config)):
        return None
    return merge([_results(run, round_id, shard)["rows"] for shard in _shards(config)])


def _scenes_judged(run: RunDir, config: RunConfig, rows: Sequence[Row]) -> list[str]:
    """Of the critic's episodes, whose rows don't say it."""
    scenes = {}
    for shard in _shards(config):
        with EpisodeReader(run.shard(0, Stage.TESTSET, shard).episodes, verify=False) as reader:
            metas = [reader.meta(index) for index in range(len(reader))]
        scenes.update({meta["episode_id"]: meta["task"]["scene"] for meta in metas})
    return [scenes[row["episode"]] for row in rows]


def _shards(config: RunConfig) -> range:
    return range(config.evaluate.num_shards)


def _results(run: RunDir, round_id: int, shard: int) -> dict[str, Any]:
    found: dict[str, Any] = run.shard(round_id, Stage.EVALUATE, shard).read_json(RESULTS)
    return found


def _card(run: RunDir, round_id: int) -> dict[str, Any]:
    card: dict[str, Any] = run.shard(round_id, Stage.GATE).read_json(CARD)
    return card


def _bits(rows: Sequence[Row], field: str) -> str:
    return "".join("1" if row[field] else "0" for row in rows)
