"""Makes a round of a run by hand: episodes, labels and truths as the stages leave them, small and said in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from selu_hpc.records import Action, Ended, Episode, Exchange, Goal, Label, Task, Truth
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.rundir import RunDir, Stage
from selu_hpc.store.lines import LineWriter
from selu_hpc.store.trajectories import EpisodeWriter
from selu_hpc.store.truth import TruthWriter

NUM_STEPS, SIZE = 3, 16
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&amp;\u202e\u2028\x00 ${x} $data '\"`"
OTHER = Task(instruction="open the safe", scene="FloorPlan1", goals=(Goal(verb="open", target="Safe"),))


def make_task(words: str = "open the fridge") -> Task:
    return Task(instruction=words, scene="FloorPlan1", goals=(Goal(verb="open", target="Fridge"),))


def make_episode(name: str, *, seed: int = 0, words: str = "open the fridge", num_steps: int = 2) -> Episode:
    """The last action is refused."""
    actions = tuple(
        Action(text=f"Step {n}: {words}.", parsed=words if n else "", ok=n == 0, error="too far" if n else "")
        for n in range(num_steps)
    )
    draw = np.random.default_rng(seed)
    return Episode(
        episode_id=name,
        seed=seed,
        task=make_task(words),
        actions=actions,
        ended=Ended.LIMIT if num_steps == NUM_STEPS else Ended.DONE,
        model="pocket",
        adapter="none",
        seen=("You hold nothing.",) * (num_steps + 1),
        frames_tvhwc=draw.integers(0, 256, (num_steps + 1, 2, SIZE, SIZE, 3), dtype=np.uint8),
        timestamps_s=tuple(float(t) for t in range(num_steps + 1)),
    )


def judged(name: str, first: bool, verdict: bool, **more: Any) -> Label:
    """A label with the exchanges that lead to it."""
    said = [("verdict", "Is the task done?", first)]
    if first != verdict and more.get("tried", True):
        said += [("state", "Is the fridge open?", verdict), ("second verdict", "Fridge open. Is it done?", verdict)]
    exchanges = tuple(
        Exchange(purpose=purpose, question=question, answer="yes" if yes else "no", taken="yes" if yes else "no")
        for purpose, question, yes in said
    )
    return Label(**{"episode_id": name, "first": first, "verdict": verdict, "exchanges": exchanges, **more})


JUDGED: Sequence[Callable[[str], Label]] = (
    lambda name: judged(name, True, True),
    lambda name: judged(name, False, False),
    lambda name: judged(name, False, True),
    lambda name: judged(name, False, False, relabelled=OTHER),
    lambda name: judged(name, True, False, tried=False),
    lambda name: judged(name, True, True),
)
"""A shard's labels: yes, no, corrected, relabelled, taken back, and a yes that is wrong by SUCCEEDED."""
SUCCEEDED = (True, False, True, False, False, False)


@dataclass
class MadeRound:
    """`MadeRound(run, 1).write()`: two shards of six episodes, labelled and with their truth unless told otherwise."""

    run: RunDir
    round_id: int = 1
    num_shards: int = 2
    labelled: Sequence[int] = (0, 1)
    episodes: list[str] = field(default_factory=list)

    def write(self) -> MadeRound:
        for shard in range(self.num_shards):
            names = [f"r{self.round_id:02d}-s{shard:04d}-e{number:04d}" for number in range(len(JUDGED))]
            write_episodes(self.run, self.round_id, shard, [make_episode(one, seed=n) for n, one in enumerate(names)])
            if shard in self.labelled:
                write_labels(
                    self.run, self.round_id, shard, [make(one) for make, one in zip(JUDGED, names, strict=True)]
                )
            write_truths(self.run, self.round_id, shard, [
                Truth(episode_id=one, success_after=(False, False, success),
                      achieved=(Goal(verb="open", target="Safe"),) if not success else ())
                for one, success in zip(names, SUCCEEDED, strict=True)
            ])  # fmt: skip
            self.episodes += names
        return self


def write_episodes(run: RunDir, round_id: int, shard: int, episodes: Sequence[Episode]) -> None:
    place = run.shard(round_id, Stage.ROLLOUT, shard)
    with EpisodeWriter(place.episodes, num_steps=NUM_STEPS, height=SIZE, width=SIZE) as writer:
        for episode in episodes:
            writer.append(episode)
        content = writer.finish()
    place.write_marker(content=content, names=["episodes.zarr"], summary={"episodes": len(episodes)})


def write_labels(run: RunDir, round_id: int, shard: int, labels: Sequence[Label]) -> None:
    place = run.shard(round_id, Stage.LABEL, shard)
    with LineWriter(place.labels) as writer:
        for label in labels:
            writer.append(label.to_json())
        content = writer.finish()
    place.write_marker(content=content, names=["labels.zarr"], summary={"episodes": len(labels)})


def write_truths(run: RunDir, round_id: int, shard: int, truths: Sequence[Truth]) -> None:
    with TruthWriter(run.shard(round_id, Stage.ROLLOUT, shard).truth / "truth.zarr") as writer:
        for truth in truths:
            writer.append_truth(truth)
        writer.finish()


def seal(run: RunDir, *shards: int, round_id: int = 1) -> None:
    """What a gate leaves that took these shards and no others."""
    Seal(round_id, {shard: {} for shard in shards}).write(run)
    run.shard(round_id, Stage.GATE).write_marker(content="", names=["seal.json"], summary={})
