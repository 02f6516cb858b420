"""Plays games: many tables at once, one speaker who answers for all of them together.

A game costs microseconds beside an answer, so there are no processes and nothing waits: all tables are asked, all are
played on, and whoever has ended is followed by the next. Which games share a batch changes nothing: an answer depends
on its own prompt, picture and seed, a game on its own seed.
Does not own what is stored (stages/) or how a speaker answers (speaker.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from selu_hpc.config import Game, GameConfig
from selu_hpc.envs.cards.base import CardGame
from selu_hpc.envs.cards.make import make_cards
from selu_hpc.records import FrameHWC, derive_seed
from selu_hpc.rl4vlm.wording import prompt_of


@dataclass(frozen=True, slots=True)
class Seat:
    """What a speaker answers for. game, state: the game itself, which only the warm-up's expert looks at."""

    prompt: str
    picture: FrameHWC = field(repr=False)
    seed: int
    names: tuple[str, ...]
    game: CardGame[Any] = field(repr=False)
    state: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its words, its tokens, how many of them are thought, and the action that was taken for it.

    logprob: as PPO weighs it, told by whoever sampled; None where nobody sampled.
    """

    text: str
    ids: tuple[int, ...]
    num_thought_tokens: int
    action: str
    said: bool
    logprob: float | None = None


@dataclass(slots=True)
class PlayedGame:
    """A game from its first picture to its last: one prompt, answer and reward a step, one picture more."""

    place: int
    seed: int
    prompts: list[str] = field(default_factory=list)
    answers: list[Reply] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    pictures: list[FrameHWC] = field(default_factory=list, repr=False)
    truncated: bool = False

    @property
    def total(self) -> float:
        """The return, undiscounted; above 0 is a success, as the paper counts."""
        return sum(self.rewards)


class Speaker(Protocol):
    """Whoever plays: the model, or the expert of the warm-up."""

    def answer(self, seats: Sequence[Seat]) -> list[Reply]: ...


@dataclass(slots=True)
class _Table:
    """A game under way."""

    game: CardGame[Any]
    played: PlayedGame
    state: Any


def play(settings: GameConfig, seeds: Sequence[int], speaker: Speaker, *, num_tables: int) -> Iterator[PlayedGame]:
    """A game for each seed, in the seeds' order."""
    name, thinks = settings.name, settings.chain_of_thought
    games = [make_cards(name, checks_syntax=settings.checks_syntax) for _ in range(num_tables)]
    waiting = iter(enumerate(seeds))
    tables = [table for game in games if (table := _begin(waiting, game)) is not None]
    finished: dict[int, PlayedGame] = {}
    next_place = 0
    while tables:
        seats = [_seat(name, table, thinks=thinks) for table in tables]
        going_on = []
        for table, seat, reply in zip(tables, seats, speaker.answer(seats), strict=True):
            if not _move(table, seat, reply):
                going_on.append(table)
                continue
            finished[table.played.place] = table.played
            following = _begin(waiting, table.game)
            going_on += [following] if following else []
        tables = going_on
        while next_place in finished:
            yield finished.pop(next_place)
            next_place += 1


def _begin(waiting: Iterator[tuple[int, int]], game: CardGame[Any]) -> _Table | None:
    place, seed = next(waiting, (None, None))
    if place is None or seed is None:
        return None
    picture, info = game.reset(seed=seed)
    return _Table(game, PlayedGame(place, seed, pictures=[picture]), info["state"])


def _seat(name: Game, table: _Table, *, thinks: bool) -> Seat:
    played = table.played
    return Seat(
        prompt=prompt_of(name, table.game, table.state, thinks=thinks),
        picture=played.pictures[-1],
        seed=derive_seed(played.seed, "answer", len(played.answers)),
        names=table.game.action_names,
        game=table.game,
        state=table.state,
    )


def _move(table: _Table, seat: Seat, reply: Reply) -> bool:
    """Play an answer; whether the game is over."""
    number = seat.names.index(reply.action)
    picture, reward, terminated, truncated, info = table.game.step(number)
    played = table.played
    played.prompts.append(seat.prompt)
    played.answers.append(reply)
    played.rewards.append(float(reward))
    played.pictures.append(picture)
    played.truncated = truncated and not terminated
    table.state = info["state"]
    return terminated or truncated
