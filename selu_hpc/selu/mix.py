"""From judged episodes to the round's two fine-tuning sets and their data card. Pure, seeded, without pictures.

Actor: the steps of episodes that count as successes, under their own or their relabelled instruction.
Critic: verdicts, verdicts that self-asking corrected, and relabelled successes; as many yes as no.
A set is 70 % fresh and 30 % kept from the last round's. How far verdicts were from the truth is the evaluation
stage's to say: nothing here knows it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from selu_hpc.config import CriticFrames, CriticMode, Learning, MixConfig, RunConfig
from selu_hpc.records import UNREADABLE, Ended, Episode, FrameRef, Label, Role, Sample, Task, View, derive_seed
from selu_hpc.selu import wording
from selu_hpc.selu.interview import critic_steps

Item = TypeVar("Item")
DONE = "done"
MOST_SHOWN = 3
"""How often a verdict may be in a set when its answer is the rarer one of its task type."""
FEWEST_KEPT = 32
"""Samples of the last set that go on, where it has as many, however few are fresh: a set is all that the next round can
keep from, so one poor round would leave nothing of those before it. From 75 fresh ones on 30 % are no fewer."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An episode with its label and where it lies; frames are only pointed at.

    store: the episode store relative to the run.  index: the episode in it.
    fingerprint: digest of its frames; equal ones are the same episode over again.
    """

    episode: Episode = field(repr=False)
    label: Label
    store: str
    index: int
    fingerprint: str

    @property
    def achieved(self) -> Task | None:
        """The task that counts as achieved: its own, the relabelled one, or none."""
        return self.episode.task if self.label.verdict else self.label.relabelled


@dataclass(frozen=True, slots=True)
class Datasets:
    """The round's sets and the card that says what they are made of."""

    samples: Mapping[Role, tuple[Sample, ...]]
    card: dict[str, Any]


def build(
    judged: Sequence[Judged], last: Mapping[Role, Sequence[Sample]], config: RunConfig, *, round_id: int
) -> Datasets:
    """Both sets of a round from its judged episodes and the last round's sets."""
    unique = _without_repeats(judged, key=lambda one: (one.episode.task.instruction, one.fingerprint))
    everything = config.learning is Learning.LMSI  # its votes are the lesson, whatever came of them
    judging = config.critic.mode is not CriticMode.NONE  # without a critic there is none to train
    fresh = {
        Role.ACTOR: actor_samples(unique, everything=everything, allowed=wording.listed_actions(config)),
        Role.CRITIC: critic_samples(unique, config.critic.frames) if judging else [],
    }
    sizes = {Role.ACTOR: config.mix.actor_samples, Role.CRITIC: config.mix.critic_samples}
    samples: dict[Role, tuple[Sample, ...]] = {}
    card: dict[str, Any] = {"round": round_id, "episodes": _episode_counts(judged, unique)}
    for role in Role:
        chance = random.Random(derive_seed(config.seed, round_id, "mix", role))
        before = [sample for sample in last.get(role, ()) if sample.answer]
        chosen = _mix(fresh[role], before, sizes[role], config.mix, chance, balance=role is Role.CRITIC)
        samples[role] = tuple(chosen)
        card[str(role)] = _sample_counts(chosen, made=len(fresh[role]), verdicts=role is Role.CRITIC)
    return Datasets(samples, card)


def actor_samples(judged: Sequence[Judged], *, everything: bool = False, allowed: str = "") -> list[Sample]:
    """Every readable step of the successes, or of all episodes under their own instruction.

    A success that ran into the limit also teaches to say done at its last frame, the one it was judged by.
    allowed: what the prompt lists of actions, as it did when the actor was asked.
    """
    found: list[Sample] = []
    for one in judged:
        task = one.episode.task if everything else one.achieved
        if task is not None:
            found += _steps(one, task, allowed)
    return found


def critic_samples(judged: Sequence[Judged], frames: CriticFrames) -> list[Sample]:
    """A verdict on each episode's own instruction, and a yes for what hindsight found.

    A yes that the actor's words took back is no lesson: the picture alone would teach to say no of whatever looks so.
    """
    found = []
    for one in judged:
        label = one.label
        if label.tried or not label.first:
            source = "verdict" if label.verdict == label.first else "corrected"
            found.append(_verdict(one, one.episode.task, yes=label.verdict, source=source, frames=frames))
        if label.relabelled is not None:
            found.append(_verdict(one, label.relabelled, yes=True, source="relabelled", frames=frames))
    return found


def _steps(one: Judged, task: Task, allowed: str) -> list[Sample]:
    episode = one.episode
    said = [action.parsed for action in episode.actions]
    succeeded = one.achieved is not None
    if succeeded and episode.ended is Ended.LIMIT and said[-1:] != [DONE]:
        said.append(DONE)
    source = "relabelled" if task is one.label.relabelled else "success" if succeeded else "unjudged"
    return [
        Sample(
            prompt=wording.actor_prompt(
                task.instruction,
                seen=episode.seen[step] if step < len(episode.seen) else "",
                history=[action.parsed for action in episode.actions[:step]],
                allowed=allowed,
            ),
            answer=answer,
            images=(FrameRef(store=one.store, episode=one.index, step=step, view=View.FIRST_PERSON),),
            source=source,
            verb=task.verb,
        )
        for step, answer in enumerate(said)
        if answer
    ]


def _verdict(one: Judged, task: Task, *, yes: bool, source: str, frames: CriticFrames) -> Sample:
    steps = critic_steps(one.episode.num_steps + 1, frames)
    return Sample(
        prompt=wording.verdict_prompt(task.instruction, frames=frames),
        answer="yes" if yes else "no",
        images=tuple(FrameRef(store=one.store, episode=one.index, step=s, view=View.THIRD_PERSON) for s in steps),
        source=source,
        verb=task.verb,
    )


def _mix(
    fresh: Sequence[Sample],
    last: Sequence[Sample],
    size: int,
    config: MixConfig,
    chance: random.Random,
    *,
    balance: bool,
) -> list[Sample]:
    """At most `size` samples, of which `kept_fraction` come from the last set where it has as many.

    Of the last set at least FEWEST_KEPT are kept where there is room beside the fresh, all of it where nothing is
    fresh, and none if `kept_fraction` is 0.
    """
    fresh = _without_repeats(fresh, key=_meaning)
    if balance and config.balance:
        fresh = _balanced(fresh, chance)
    share = config.kept_fraction if last else 0.0
    new = _spread(fresh, round(size * (1 - share)), chance)
    floor = FEWEST_KEPT if share else 0
    wanted = max(round(len(new) * share / (1 - share)), floor) if share < 1 else size
    old = [replace(sample, kept=True) for sample in last]
    return [*_spread(old, min(wanted if new or not share else size, size - len(new)), chance), *new]


def _balanced(samples: Sequence[Sample], chance: random.Random) -> list[Sample]:
    """As many yes as no within each task type; what a type has too many of would teach to go by the verb.

    The rarer answer's samples are shown up to MOST_SHOWN times, rather than most of the other's thrown away.
    """
    kept: list[int] = []
    by_type = _grouped(range(len(samples)), lambda at: samples[at].verb)
    for _, group in sorted(by_type.items()):
        by_answer = _grouped(group, lambda at: samples[at].answer)
        few, many = sorted((by_answer.get(answer, []) for answer in ("no", "yes")), key=len)
        count = min(len(many), MOST_SHOWN * len(few))
        for group_of_one in (few, many):
            whole, rest = divmod(count, len(group_of_one)) if group_of_one else (0, 0)
            kept += [*group_of_one * whole, *chance.sample(group_of_one, rest)]
    return [samples[at] for at in sorted(kept)]


def _spread(samples: Sequence[Sample], count: int, chance: random.Random) -> list[Sample]:
    """`count` of the samples: task types and answers in turn, so that a rare one is not crowded out; in their order."""
    if len(samples) <= count:
        return list(samples)
    places = _grouped(
        range(len(samples)), lambda at: (samples[at].verb, samples[at].answer in ("yes", "no") and samples[at].answer)
    )
    queues = [chance.sample(group, len(group)) for _, group in sorted(places.items(), key=lambda item: str(item[0]))]
    taken: list[int] = []
    while len(taken) < count:
        for queue in queues:
            if queue and len(taken) < count:
                taken.append(queue.pop())
    return [samples[at] for at in sorted(taken)]


def _without_repeats(items: Sequence[Item], *, key: Callable[[Item], Hashable]) -> list[Item]:
    seen: dict[Hashable, Item] = {}
    for item in items:
        seen.setdefault(key(item), item)
    return list(seen.values())


def _grouped(items: Sequence[Item], key: Callable[[Item], Any]) -> dict[Any, list[Item]]:
    groups: dict[Any, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _meaning(sample: Sample) -> Hashable:
    return sample.prompt, sample.answer, sample.images


def _episode_counts(judged: Sequence[Judged], unique: Sequence[Judged]) -> dict[str, Any]:
    """corrected: asking itself changed the critic's mind.  taken_back: a yes to what the actor never said to do."""
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    for one in judged:
        counts = by_type[one.episode.task.verb]
        counts["episodes"] += 1
        counts["first_yes"] += one.label.first
        changed = one.label.verdict != one.label.first
        counts["corrected"] += changed and one.label.tried
        counts["taken_back"] += changed and not one.label.tried
        counts["relabelled"] += one.label.relabelled is not None
        counts["steps"] += one.episode.num_steps
        counts["unreadable_actions"] += sum(not action.parsed for action in one.episode.actions)
        counts["unreadable_answers"] += sum(exchange.taken == UNREADABLE for exchange in one.label.exchanges)
    total: Counter[str] = Counter()
    for counts in by_type.values():
        total.update(counts)  # adding Counters would drop what is zero
    return {
        "total": dict(sorted(total.items())),
        "repeats_left_out": len(judged) - len(unique),
        "by_type": {verb: dict(sorted(counts.items())) for verb, counts in sorted(by_type.items())},
    }


def _sample_counts(samples: Sequence[Sample], *, made: int, verdicts: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "samples": len(samples),
        "made_from_this_round": made,
        "kept": sum(sample.kept for sample in samples),
        "by_source": dict(sorted(Counter(sample.source for sample in samples).items())),
        "by_type": {
            verb: dict(sorted(Counter(sample.source for sample in group).items()))
            for verb, group in sorted(_grouped(samples, lambda s: s.verb).items())
        },
    }
    if verdicts:
        found["by_answer"] = dict(sorted(Counter(sample.answer for sample in samples).items()))
    return found
