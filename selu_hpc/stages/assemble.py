"""The gate's second half: from the sealed shards to the round's fine-tuning sets and data card.

Runs on the login environment's python, without torch. Does not own the seal (rounds/gate.py) or the mix (selu/mix.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from selu_hpc.config import RunConfig
from selu_hpc.records import Episode, Label, Role, Sample
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.rundir import CARD, RunDir, Stage, write_bytes, write_json
from selu_hpc.selu.mix import Judged, build
from selu_hpc.stages.collect import digest
from selu_hpc.store.lines import LineReader
from selu_hpc.store.reader import EpisodeReader
from selu_hpc.store.truth import forbid_truth

logger = logging.getLogger(__name__)

NO_FRAMES = np.zeros((0, 2, 0, 0, 3), dtype=np.uint8)


def assemble(run: RunDir, config: RunConfig, seal: Seal) -> str:
    """Write actor.jsonl, critic.jsonl and card.json of the sealed round; returns their digest."""
    forbid_truth(run.truth)
    judged = [one for shard in sorted(seal.shards) for one in _judged(run, seal.round_id, shard)]
    last = {role: _last_set(run, seal.round_id, role) for role in Role}
    made = build(judged, last, config, round_id=seal.round_id)
    card = made.card | _lost(run, seal)
    parts = []
    for role in Role:
        lines = "".join(_line(sample.to_json()) for sample in made.samples[role])
        write_bytes(run.dataset(seal.round_id, role), lines.encode())
        parts.append(lines)
        logger.info("%s: %s samples, %s", role, len(made.samples[role]), made.card[str(role)]["by_source"])
        if made.samples[role] and all(sample.kept for sample in made.samples[role]):
            logger.warning("%s: this round taught nothing new, so it is trained on the last round's set again", role)
    write_json(run.shard(seal.round_id, Stage.GATE).path / CARD, card)
    return digest([*parts, _line(card)])


def _lost(run: RunDir, seal: Seal) -> dict[str, int]:
    """For the card: the steps of the round at which a simulator failed, not the actor; silent where there are none."""
    markers = [run.shard(seal.round_id, Stage.ROLLOUT, shard).require_marker() for shard in sorted(seal.shards)]
    count = sum(marker.summary.get("lost_steps", 0) for marker in markers)
    if count:
        logger.warning(
            "%s steps of this round are lost: the simulators did not survive them; its rollouts' logs say at what",
            count,
        )
    return {"lost_steps": count} if count else {}


def _judged(run: RunDir, round_id: int, shard: int) -> Iterable[Judged]:
    rollout, labelled = (run.shard(round_id, stage, shard) for stage in (Stage.ROLLOUT, Stage.LABEL))
    episodes = EpisodeReader(rollout.episodes, verify=False)  # the seal has just compared every byte
    labels = LineReader(labelled.labels)
    assert len(episodes) == len(labels), f"{rollout.name}: {len(episodes)} episodes, {len(labels)} labels"
    for index in range(len(episodes)):
        meta = episodes.meta(index)
        yield Judged(
            episode=Episode.from_meta(meta, frames_tvhwc=NO_FRAMES),
            label=Label.from_json(labels[index]),
            store=run.relative(rollout.episodes),
            index=index,
            fingerprint=episodes.fingerprint(index),
        )


def _last_set(run: RunDir, round_id: int, role: Role) -> list[Sample]:
    if round_id <= 1:
        return []
    run.shard(round_id - 1, Stage.GATE).check(f"{role}.jsonl")  # lines that storage lost would not be missed
    text = run.dataset(round_id - 1, role).read_text(encoding="utf-8")
    return [Sample.from_json(json.loads(line)) for line in text.splitlines()]


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
