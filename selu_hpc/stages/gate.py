"""The gate's job: seal the round's shards, then build the actor's and the critic's fine-tuning sets.

Runs outside the image, on the login environment's python, without torch.
"""

from __future__ import annotations

from pathlib import Path

from selu_hpc.recipes import load_run
from selu_hpc.rounds.gate import seal_round
from selu_hpc.rounds.rundir import CARD, RunDir, Stage
from selu_hpc.stages import entry


def run(*, run: str, round_id: int, shard: int, attempt: int) -> None:
    """Write seal.json, actor.jsonl, critic.jsonl and card.json of a round."""
    folder = RunDir(Path(run))
    place = folder.shard(round_id, Stage.GATE, shard)
    if place.read_marker() is not None:
        return
    config = load_run(run)
    seal = seal_round(folder, config, round_id)
    names = ["seal.json", "actor.jsonl", CARD]
    # Both import numpy, which the command line's --help need not.
    if config.plays_games:
        from selu_hpc.stages.games import gate

        content = gate.assemble(folder, config, seal)
    else:
        from selu_hpc.stages.assemble import assemble

        content = assemble(folder, config, seal)
        names.append("critic.jsonl")
    place.write_marker(
        content=content,
        names=names,
        summary={"shards": len(seal.shards), "attempt": attempt},
    )


if __name__ == "__main__":
    entry.main([Stage.GATE])
