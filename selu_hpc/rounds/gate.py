"""The gate of a round: accepts the finished shards, seals them, or says why the chain must stop.

Owns the quorum rule and the seal's content. Runs on the login environment's python: no torch.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass

from selu_hpc.config import RunConfig
from selu_hpc.errors import CorruptShardError, MissingShardError, UnreadableShardError
from selu_hpc.rounds.plan import SEALED
from selu_hpc.rounds.rundir import RunDir, Stage, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seal:
    """The shards a round's learning is made of: shard number → content digest of its rollouts and its labels."""

    round_id: int
    shards: dict[int, dict[str, str]]

    @classmethod
    def read(cls, run: RunDir, round_id: int) -> Seal:
        value = json.loads(run.seal(round_id).read_bytes())
        return cls(value["round"], {int(number): digests for number, digests in value["shards"].items()})

    def write(self, run: RunDir) -> None:
        shards = {f"{number:04d}": digests for number, digests in sorted(self.shards.items())}
        write_json(run.seal(self.round_id), {"round": self.round_id, "shards": shards})


def needed_by(quorum: float, num_shards: int) -> int:
    """How many shards a quorum asks for, one at least; 0.56 of 25 is a little more than 14 in floating point."""
    return max(1, math.ceil(quorum * num_shards - 1e-9))


def sealed_stages(config: RunConfig) -> tuple[Stage, ...]:
    """What a round of this run is made of; a game pays a reward, so nobody labels it."""
    return (Stage.ROLLOUT,) if config.plays_games else SEALED


def seal_round(run: RunDir, config: RunConfig, round_id: int) -> Seal:
    """Check every shard against its marker and seal those that are whole; raises below the quorum."""
    stages = sealed_stages(config)
    shards: dict[int, dict[str, str]] = {}
    problems: list[str] = []
    for shard in range(config.rollout.num_shards):
        try:
            shards[shard] = {str(stage): run.shard(round_id, stage, shard).check().content for stage in stages}
        except UnreadableShardError:
            raise  # it may be whole: a round is not sealed without it because a storage server is away
        except (MissingShardError, CorruptShardError) as error:
            problems.append(str(error))
    if len(shards) < needed_by(config.retry.quorum, config.rollout.num_shards):
        raise MissingShardError(
            f"round {round_id}: {len(shards)} of {config.rollout.num_shards} shards are whole, "
            f"retry.quorum asks for {config.retry.quorum:.0%}; the chain stops here:\n" + "\n".join(problems)
        )
    for problem in problems:
        logger.warning("left out of the round: %s", problem)
    seal = Seal(round_id, shards)
    seal.write(run)
    return seal
