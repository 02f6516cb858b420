"""What a run's rounds learned from, by their data cards and seals: the report's tables of fine-tuning sets and games.

Does not own what goes into a set (selu/mix.py) or which shards a round is made of (rounds/gate.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from selu_hpc.config import CriticMode, RunConfig
from selu_hpc.rounds.rundir import RunDir
from selu_hpc.selu.mix import MOST_SHOWN
from selu_hpc.viz.figures import escaped
from selu_hpc.viz.played import sealed_shards
from selu_hpc.viz.results import read_cards
from selu_hpc.viz.tables import meanings, round_name, table

SOURCES = {
    "success": "steps of episodes that were judged done",
    "relabelled": "under an instruction found in hindsight",
    "unjudged": "steps of episodes that nobody judged",
    "verdict": "verdicts that stayed as they were first given",
    "corrected": "verdicts that were changed before the end",
}
"""Of samples; a source that is not here is called by its name alone."""
SAMPLES = "Episodes are the round’s own; sources count samples, with those kept from sets of earlier rounds."
BALANCED = (
    " A verdict whose answer is the rarer one of its task type is shown to the critic, and counted, up to "
    f"{MOST_SHOWN} times."
)
UNJUDGED = {"success": "steps of episodes that all count as done, for nobody judged them"}
"""The same where critic.mode is none."""


def fine_tuning_sets(run: RunDir, config: RunConfig, *, name: str) -> Iterable[str]:
    """SELU's and its baselines' part of the page; nothing before the first gate has finished."""
    cards = read_cards(run, config)
    if not cards:
        return
    roles = ("actor", "critic")
    rows = [
        [
            round_name(round_id, "base"),
            _happened(card),
            *(f"{escaped(card[role]['samples'])}<small>{_kept(card[role])}</small>" for role in roles),
            *(escaped(", ".join(f"{n} {k}" for k, n in card[role]["by_source"].items())) for role in roles),
        ]
        for round_id, card in cards.items()
    ]
    seen = {name for card in cards.values() for role in roles for name in card[role]["by_source"]}
    sources = SOURCES | (UNJUDGED if config.critic.mode is CriticMode.NONE else {})
    columns = ["round", "episodes", "actor samples", "critic samples", "actor’s sources", "critic’s sources"]
    yield f"<h2>{name}</h2>" + table(columns, rows, name=name, words=(4, 5))
    yield from _left_out(run, config, cards, base="base")
    yield f"<p class=quiet>{SAMPLES}{BALANCED if config.mix.balance else ''}</p>"
    yield meanings({"kept": "taken over from the last round’s set", **{k: v for k, v in sources.items() if k in seen}})


def _happened(card: Mapping[str, Any]) -> str:
    """A round's episodes, each counted once, and what the critic came to think of them; a set's samples are more."""
    total = card.get("episodes", {}).get("total")
    if total is None:
        return "not known"
    number, corrected, relabelled = (escaped(total[name]) for name in ("episodes", "corrected", "relabelled"))
    return f"{number}<small>{corrected} corrected</small><small>{relabelled} relabelled</small>"


def _left_out(run: RunDir, config: RunConfig, rounds: Iterable[int], *, base: str) -> Iterable[str]:
    """The shards that nothing learned from, a line a round."""
    everything = range(config.rollout.num_shards)
    for round_id in rounds:
        sealed = sealed_shards(run, round_id)
        lost = [] if sealed is None else [str(shard) for shard in everything if shard not in sealed]
        if lost:
            which = f"shard{'s' * (len(lost) > 1)} {', '.join(lost)} of {len(everything)}"
            name = round_name(round_id, base).capitalize()
            yield f"<p>{name} was sealed without {which}, so nothing was learned from what was played there.</p>"


def _kept(card: Mapping[str, Any]) -> str:
    return f"{escaped(card['kept'])} kept" if "kept" in card else "kept: not known"


def games_played(run: RunDir, config: RunConfig, *, name: str) -> Iterable[str]:
    """RL4VLM's part of the page; nothing before the first gate has finished."""
    cards = read_cards(run, config)
    if not cards:
        return
    rows = [
        [
            round_name(round_id, "warm-up"),
            escaped(card["episodes"]),
            escaped(card["steps"]),
            f"{100 * card['success']:.1f} %<small>n {escaped(card['episodes'])}</small>",
            f"{card['return']:.2f}",
        ]
        for round_id, card in cards.items()
    ]
    yield f"<h2>{name}</h2>"
    yield "<p class=quiet>The warm-up’s are the expert’s, whose moves are random for a share of the steps.</p>"
    yield table(["round", "games", "steps of all", "games won", "mean return"], rows, name=name)
    yield from _left_out(run, config, cards, base="warm-up")
