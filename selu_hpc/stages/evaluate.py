"""One shard of a round's evaluation: the adapters after the round, measured on the frozen test sets.

    python -m selu_hpc.stages.evaluate --run RUN --round 5 --shard 0

Reads the truth; nothing it writes is read by a learning stage. Owns which episodes are measured and the rows of
results.json; what rows come to is selu/results.py's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from selu_hpc.config import CriticMode, Hindsight, Learning, RunConfig
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.models.vlm import Request
from selu_hpc.recipes import load_run
from selu_hpc.records import Exchange, Role, Task, Truth, View, clean
from selu_hpc.rounds.gate import Seal
from selu_hpc.rounds.rundir import RunDir, ShardDir, Stage, write_json
from selu_hpc.selu.actor import Actor
from selu_hpc.selu.baselines import judge_of
from selu_hpc.selu.interview import Interview
from selu_hpc.selu.probe import is_right, probe_questions
from selu_hpc.selu.results import numbers
from selu_hpc.selu.verdicts import Claim, states, verdicts
from selu_hpc.stages import entry
from selu_hpc.stages.collect import EPISODES, TRUTH, collect, digest, lost_steps
from selu_hpc.stages.label import EPISODES_AT_ONCE, cases, read_labels
from selu_hpc.stages.models import Speaking, base_of, speak
from selu_hpc.stages.playing import Played, Players, Work
from selu_hpc.stages.testset import PROBE, TASKS
from selu_hpc.store.trajectories import EpisodeReader
from selu_hpc.store.truth import TruthReader

RESULTS = "results.json"
Row = dict[str, Any]


def run(*, run: str, round_id: int, shard: int, attempt: int) -> None:
    """Measure a round's adapters on a shard of the test sets unless it is done."""
    folder = RunDir(Path(run))
    place = folder.shard(round_id, Stage.EVALUATE, shard)
    if place.read_marker() is not None:
        return
    config = load_run(run)
    if config.plays_games:
        from selu_hpc.stages.games import evaluate

        evaluate.run(place, attempt, config)
        return
    testset = folder.shard(0, Stage.TESTSET, shard)
    testset.check()
    speaking = speak(folder, config, after_round=round_id, roles=(Role.ACTOR, Role.CRITIC))
    work = actor_work(testset)
    played = collect(
        place, attempt, config, total=len(work), play_from=lambda first: _play(work[first:], config, speaking)
    )
    rows = {
        "critic": critic_rows(testset, config, speaking),
        "actor": actor_rows(place),
        "probe": probe_rows(testset, config, speaking),
        "labels": label_rows(folder, config, round_id, shard),
    }
    results = {
        "round": round_id,
        "shard": shard,
        "recipe": config.recipe,
        "seed": config.seed,
        "signature": config.signature,
        "base": base_of(config),
        "testset": testset.require_marker().content,
        "rows": rows,
        "numbers": numbers(rows, samples=config.evaluate.bootstrap_samples),
    }
    if place.read_marker() is not None:
        return  # another attempt was started in place of this one and came first
    write_json(place.path / RESULTS, results)
    place.write_marker(
        content=digest([played, json.dumps(results, sort_keys=True)]),
        names=[RESULTS, EPISODES],
        summary={
            "episodes": len(work),
            "verdicts": len(rows["critic"]),
            **lost_steps(place.episodes),
            "attempt": attempt,
        },
    )


def actor_work(testset: ShardDir) -> list[Work]:
    """The frozen tasks of a shard."""
    return [
        Work(episode_id=one["episode_id"], task=Task.from_json(one["task"]), seed=one["seed"])
        for one in json.loads((testset.path / TASKS).read_bytes())
    ]


def _play(work: Sequence[Work], config: RunConfig, speaking: Speaking) -> Iterator[Played]:
    greedy = config.but(rollout=config.rollout.but(temperature=0.0))
    actor = Actor.of(greedy, speaking.generator, adapter=speaking.adapters[Role.ACTOR])
    with EnvironmentPool(config.env, num_slots=min(config.rollout.num_slots, len(work))) as pool:
        name = speaking.names[Role.ACTOR]
        yield from Players(pool, actor, config.env, model=config.model.base, adapter=name).play(work)


def critic_rows(testset: ShardDir, config: RunConfig, speaking: Speaking) -> list[Row]:
    """The plain verdict, asked once and greedily of every method, also where its own first one is a vote; the one the
    method's own procedure comes to; and whether the states the task speaks of are seen in the same picture, which is
    what a verdict could know. Each with its questions and the answers, so that a wrong one can be read."""
    judge = judge_of(_at_test(config), speaking.generator, adapter=speaking.adapters[Role.CRITIC])
    episodes = EpisodeReader(testset.episodes, verify=False)
    truths = TruthReader(testset.truth / TRUTH, purpose="evaluation")
    rows: list[Row] = []
    for first in range(0, len(episodes), EPISODES_AT_ONCE):
        some = cases(episodes, range(first, min(first + EPISODES_AT_ONCE, len(episodes))), config)
        interview = Interview(speaking.generator, speaking.adapters[Role.CRITIC], some)
        claims = [Claim(place, case.task) for place, case in enumerate(some)]
        plain = verdicts(interview, claims, config.critic.frames)
        seen = states(interview, claims, simulator=config.env.simulator)
        rows += [
            {
                "episode": case.episode_id,
                "verb": case.task.verb,
                "way": _way(episodes, first + at),
                "truth": truths[first + at].success,
                "first": plain[at],
                **_said(interview.exchanges[at][0]),
                "verdict": label.verdict,
                "own": [exchange.to_json() for exchange in label.exchanges],
                "states": all(state for _, state in seen[at]),
                "seen": [exchange.to_json() for exchange in interview.exchanges[at][1:]],
            }
            for at, (case, label) in enumerate(zip(some, judge.judge(some), strict=True))
        ]
    return rows


def _said(exchange: Exchange) -> Row:
    return {"question": exchange.question, "answer": exchange.answer, "taken": exchange.taken}


def _way(episodes: EpisodeReader, index: int) -> str:
    """The scripted actor that played a test episode: its words are its name (stages/scripted.py)."""
    name: str = episodes.meta(index)["actions"][0]["text"]
    return name


def _at_test(config: RunConfig) -> RunConfig:
    """Controls and scoring, which has no verdict of its own, judge by SELU's way; no test episode is relabelled."""
    critic = config.critic.but(mode=CriticMode.MODEL, hindsight=Hindsight.OFF)
    learning = Learning.SELU if config.learning is Learning.SCORING else config.learning
    return config.but(critic=critic, learning=learning)


def actor_rows(place: ShardDir) -> list[Row]:
    episodes = EpisodeReader(place.episodes, verify=False)
    truths = TruthReader(place.truth / TRUTH, purpose="evaluation")
    metas = [episodes.meta(index) for index in range(len(episodes))]
    return [
        {
            "episode": meta["episode_id"],
            "verb": Task.from_json(meta["task"]).verb,
            "scene": meta["task"]["scene"],
            "success": truths[index].success,
            "ever": any(truths[index].success_after),
            "ended": meta["ended"],
            "steps": len(meta["actions"]),
        }
        for index, meta in enumerate(metas)
    ]


def probe_rows(testset: ShardDir, config: RunConfig, speaking: Speaking) -> list[Row]:
    """What each adapter still sees of the world the base knows."""
    episodes = EpisodeReader(testset.path / PROBE, verify=False)
    truths = TruthReader(testset.truth / f"{Path(PROBE).stem}-{TRUTH}", purpose="evaluation").truths
    simulator = config.env.simulator
    questions = probe_questions(truths, simulator=simulator)
    pictures = [
        episodes.frame(index, episodes.num_frames(index) - 1, View.THIRD_PERSON) for index in range(len(episodes))
    ]
    requests = [Request(question.prompt, (pictures[question.place],)) for question in questions]
    rows: list[Row] = []
    for role in Role:
        answers = speaking.generator.generate(requests, adapter=speaking.adapters[role])
        rows += [
            {
                "role": str(role),
                "episode": truths[question.place].episode_id,
                "kind": question.kind,
                "question": question.prompt,
                "answer": clean(answer.text),
                "expected": question.expected,
                "right": is_right(question, answer.text, simulator=simulator),
            }
            for question, answer in zip(questions, answers, strict=True)
        ]
    return rows


def label_rows(run: RunDir, config: RunConfig, round_id: int, shard: int) -> list[Row]:
    """The round's own labels beside the truth; each evaluation shard takes its share of the sealed label shards."""
    if round_id == 0:
        return []
    sealed = sorted(Seal.read(run, round_id).shards)
    return [
        row
        for label_shard in sealed[shard :: config.evaluate.num_shards]
        for row in _compared(run, round_id, label_shard)
    ]


def _compared(run: RunDir, round_id: int, shard: int) -> Iterator[Row]:
    rollout, labelled = (run.shard(round_id, stage, shard) for stage in (Stage.ROLLOUT, Stage.LABEL))
    episodes = EpisodeReader(rollout.episodes, verify=False)
    truths = TruthReader(rollout.truth / TRUTH, purpose="evaluation").truths
    for index, (label, truth) in enumerate(zip(read_labels(labelled.labels), truths, strict=True)):
        yield {
            "episode": label.episode_id,
            "verb": Task.from_json(episodes.meta(index)["task"]).verb,
            "truth": truth.success,
            "first": label.first,
            "verdict": label.verdict,
            "relabelled": label.relabelled.instruction if label.relabelled else "",
            "relabelled_truth": bool(label.relabelled and _was_achieved(label.relabelled, truth)),
        }


def _was_achieved(task: Task, truth: Truth) -> bool:
    return all(goal in truth.achieved for goal in task.goals)


if __name__ == "__main__":
    entry.main([Stage.EVALUATE])
