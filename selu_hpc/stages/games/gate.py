"""The gate's second half in a run of games: from the sealed shards to what the round learns from.

Round 0: `actor.jsonl` holds samples, the expert's answer for each of its states. Later: turns with their rewards.
Runs on the login environment's python, without torch.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

from selu_hpc.config import RunConfig
from selu_hpc.records import FrameRef, Role, Sample, View
from selu_hpc.rl4vlm.results import card_of
from selu_hpc.rl4vlm.turns import Turn, lines
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.rundir import CARD, RunDir, Stage, write_bytes, write_json
from selu_hpc.stages.collect import digest
from selu_hpc.stages.games.rollout import Line, answers_of
from selu_hpc.store.lines import LineReader

logger = logging.getLogger(__name__)


def assemble(run: RunDir, config: RunConfig, seal: Seal) -> str:
    """Write actor.jsonl and card.json of the sealed round; returns their digest."""
    shards = sorted(seal.shards)
    played = [(shard, index, line) for shard in shards for index, line in _lines(run, seal.round_id, shard)]
    places = [
        (run.relative(run.shard(seal.round_id, Stage.ROLLOUT, shard).episodes), index) for shard, index, _ in played
    ]
    if seal.round_id == 0:
        samples = [
            sample for place, (*_, line) in zip(places, played, strict=True) for sample in samples_of(line, *place)
        ]
        text = "".join(json.dumps(one.to_json(), ensure_ascii=False, sort_keys=True) + "\n" for one in samples)
    else:
        text = lines(turn for place, (*_, line) in zip(places, played, strict=True) for turn in turns_of(line, *place))
    write_bytes(run.dataset(seal.round_id, Role.ACTOR), text.encode())
    card = card_of([line for *_, line in played])
    write_json(run.shard(seal.round_id, Stage.GATE).path / CARD, card)
    logger.info("%s: %s", config.game.name, card)
    return digest([text, json.dumps(card, sort_keys=True)])


def samples_of(line: Line, store: str, episode: int) -> Iterator[Sample]:
    """The expert's answer to each prompt, whatever was played then."""
    for step, (prompt, reply) in enumerate(zip(line["prompts"], answers_of(line), strict=True)):
        image = FrameRef(store=store, episode=episode, step=step, view=View.FIRST_PERSON)
        yield Sample(prompt=prompt, answer=reply.text, images=(image,), source="expert", verb="play")


def turns_of(line: Line, store: str, episode: int) -> Iterator[Turn]:
    answers = answers_of(line)
    for step, (prompt, reply, reward) in enumerate(zip(line["prompts"], answers, line["rewards"], strict=True)):
        yield Turn(
            episode_id=line["episode_id"],
            step=step,
            prompt=prompt,
            answer_ids=reply.ids,
            num_thought_tokens=reply.num_thought_tokens,
            action=reply.action,
            said=reply.said,
            reward=reward,
            last=step == len(answers) - 1,
            image=FrameRef(store=store, episode=episode, step=step, view=View.FIRST_PERSON),
            logprob=reply.logprob,
        )


def _lines(run: RunDir, round_id: int, shard: int) -> Iterator[tuple[int, Line]]:
    yield from enumerate(LineReader(run.shard(round_id, Stage.ROLLOUT, shard).hands).records)
