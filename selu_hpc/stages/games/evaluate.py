"""One shard of a round's evaluation: fresh deals of frozen seeds, played by sampling as in training.

Their seeds are kept from training, their states are not: NumberLine has thirty, and any may come in both.
"""

from __future__ import annotations

import json

from selu_hpc.config import RunConfig
from selu_hpc.envs.cards.make import GAMES
from selu_hpc.envs.splits import test_seed
from selu_hpc.rl4vlm.results import numbers, row_of
from selu_hpc.rl4vlm.wording import VERSIONS
from selu_hpc.rounds.rundir import RESULTS, ShardDir, write_json
from selu_hpc.stages.collect import EPISODES, digest
from selu_hpc.stages.games.rollout import actor_after, keep
from selu_hpc.stages.testset import share
from selu_hpc.store.lines import LineReader


def run(place: ShardDir, attempt: int, config: RunConfig) -> None:
    """Play a shard's fresh deals with the round's actor and write what they came to."""
    evaluate = config.evaluate
    seeds = [test_seed("game", number) for number in share(evaluate.actor_episodes, evaluate.num_shards, place.shard)]
    played = keep(place, attempt, config, seeds, actor_after(place.run, config, place.round_id))
    rows = [row_of(line) for line in LineReader(place.hands).records]
    results = {
        "round": place.round_id,
        "shard": place.shard,
        "recipe": config.recipe,
        "seed": config.seed,
        "signature": config.signature,
        "game": str(config.game.name),
        "rules": GAMES[config.game.name].RULES,
        "wording": VERSIONS[config.game.name],
        "rows": {"games": rows},
        "numbers": numbers(rows, samples=evaluate.bootstrap_samples),
    }
    if place.read_marker() is not None:
        return  # another attempt was started in place of this one and came first
    write_json(place.path / RESULTS, results)
    place.write_marker(
        content=digest([played, json.dumps(results, sort_keys=True)]),
        names=[RESULTS, EPISODES, place.hands.name],
        summary={"episodes": len(rows), "attempt": attempt},
    )
