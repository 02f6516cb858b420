"""One shard of a round's games: the expert's in round 0, then the last round's actor's.

Owns the shard's seeds and what is stored: pictures as episodes, everything else a line an episode. The game's reward is
what this paper learns from, so it lies with the episodes; SELU's stages never see one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selu_hpc.config import RunConfig
from selu_hpc.envs.cards.picture import SIDE
from selu_hpc.envs.splits import train_seed
from selu_hpc.records import Action, Ended, Episode, Goal, Task, clean
from selu_hpc.rl4vlm.playing import PlayedGame, Reply, Speaker, play
from selu_hpc.rl4vlm.speaker import ExpertSpeaker
from selu_hpc.rounds.rundir import RunDir, ShardDir
from selu_hpc.stages.collect import EPISODES, adopt_newest, fill, publish
from selu_hpc.stages.entry import Progress
from selu_hpc.store.lines import LineWriter
from selu_hpc.store.trajectories import EpisodeWriter

LONGEST = 24
"""No game takes more steps."""
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Player:
    """Who plays: its name in the episodes, what became of a move it did not say, and how it is loaded."""

    name: str
    not_said: str
    speaker: Callable[[], Speaker]


def run(place: ShardDir, attempt: int, config: RunConfig) -> None:
    """Play and store a shard's games, from where an earlier attempt ended."""
    seeds = seeds_of(config, place.round_id, place.shard)
    content = keep(place, attempt, config, seeds, _player(place, config))
    place.write_marker(
        content=content, names=[EPISODES, place.hands.name], summary={"episodes": len(seeds), "attempt": attempt}
    )


def seeds_of(config: RunConfig, round_id: int, shard: int) -> list[int]:
    """A seed for each game of a shard; the expert of round 0 plays as many as the warm-up asks for."""
    count = config.rollout.episodes_per_shard if round_id else config.game.warmup_episodes
    return [train_seed(config.seed, round_id, shard, index) for index in range(count)]


def _player(place: ShardDir, config: RunConfig) -> Player:
    if place.round_id == 0:
        return Player("expert", "strayed", lambda: ExpertSpeaker(config.game))
    return actor_after(place.run, config, place.round_id - 1)


def actor_after(run: RunDir, config: RunConfig, round_id: int) -> Player:
    """The actor as a round left it."""

    def speaker() -> Speaker:
        from selu_hpc.stages.games.speaking import speaker_after

        return speaker_after(run, config, round_id)

    return Player(f"r{round_id:02d}/actor", "drawn", speaker)


def keep(place: ShardDir, attempt: int, config: RunConfig, seeds: list[int], player: Player) -> str:
    """Play a game for each seed and store it; returns the digest of pictures and lines."""
    store, lines = place.attempt(attempt) / EPISODES, place.attempt(attempt) / place.hands.name
    adopt_newest(store, place.path, attempt)
    adopt_newest(lines, place.path, attempt)
    with (
        LineWriter(lines) as kept,
        EpisodeWriter(store, num_steps=LONGEST, codec=config.store.codec, height=SIDE, width=SIDE) as episodes,
    ):

        def put(played: PlayedGame, number: int) -> Episode:
            episode = episode_of(place, config, player, played, number)
            kept.append(line_of(episode.episode_id, played))
            return episode

        content = fill(
            kept,
            episodes,
            Progress.of(place, attempt, len(seeds)),
            total=len(seeds),
            play_from=lambda done: _play(config, seeds[done:], player.speaker),
            put=put,
        )
    publish(lines, place.hands)
    publish(store, place.path / EPISODES)
    return content


def _play(config: RunConfig, seeds: list[int], speaker: Callable[[], Speaker]) -> Iterator[PlayedGame]:
    tables = min(config.rollout.num_slots, len(seeds))
    return play(config.game, seeds, speaker(), num_tables=tables)


def episode_of(place: ShardDir, config: RunConfig, player: Player, played: PlayedGame, index: int) -> Episode:
    """The game as an episode like any other: pictures in the first view, nothing in the second."""
    seen = np.stack(played.pictures)
    game = str(config.game.name)
    return Episode(
        episode_id=f"r{place.round_id:02d}-s{place.shard:04d}-e{index:04d}",
        seed=played.seed,
        task=Task(instruction=f"play {game.replace('_', ' ')}", scene=game, goals=(Goal(verb="play", target=game),)),
        actions=tuple(
            Action(
                text=clean(reply.text),
                parsed=reply.action,
                ok=reward >= 0,
                error="" if reply.said else player.not_said,
            )
            for reply, reward in zip(played.answers, played.rewards, strict=True)
        ),
        ended=Ended.LIMIT if played.truncated else Ended.DONE,
        model=config.model.base,
        adapter=player.name,
        seen=(*played.prompts, ""),
        frames_tvhwc=np.stack([seen, np.zeros_like(seen)], axis=1),
        timestamps_s=(),
    )


def line_of(episode_id: str, played: PlayedGame) -> Line:
    """All of a game but its pictures."""
    return {
        "episode_id": episode_id,
        "prompts": played.prompts,
        "answers": [asdict(reply) for reply in played.answers],
        "rewards": played.rewards,
    }


def answers_of(line: Line) -> list[Reply]:
    return [Reply(**{**answer, "ids": tuple(answer["ids"])}) for answer in line["answers"]]
