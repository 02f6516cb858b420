"""Rollouts: one environment at a time, lock-step batches, and ours, on the same weights, prompts and token counts.

    python benchmarks/rollout.py [--quick] [--base pocket] [--shards CORES] [--slots 16] [--batch 4]

Each side has the whole machine:

    one_by_one   one environment, transformers' own `generate` at batch 1, and a second forward pass over picture,
                 prompt and answer for the action's log-probability, as RL4VLM does; with one thread and with one a
                 core, the faster counts
    ours         stages/playing.py, as many shards side by side as the local engine runs here: one a core
    model_only   the limit: as many processes, the same questions in full batches, no environment at all

And one process of them, which uses a core and what its simulators take of others:

    lock_step    as many environments as a shard's, stepped and answered all together; the batch waits for its longest
    shard        one shard alone: two groups of slots, refilled as episodes end, simulators and model side by side
    shard_model  its limit: one process, no environment

Real simulators behind the official client. The model always writes the same number of tokens and a script says what is
done, so that every side plays the same steps; episodes last 4 to 10 of them. `idle` is the share of time in which the
model waits.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from queue import Empty
from typing import Any

import torch
from _report import exit_code, report, run

from selu_hpc.config import EnvConfig, ModelConfig, Simulator
from selu_hpc.envs.pool import EnvironmentPool
from selu_hpc.envs.splits import train_scenes, train_seed
from selu_hpc.envs.tasks import sample_tasks
from selu_hpc.models.chat import stack_images
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.vlm import Request
from selu_hpc.selu import wording
from selu_hpc.selu.actor import Actor, Situation
from selu_hpc.stages.playing import Players, Work
from selu_hpc.terminal import positive

TOKENS = 6
TURNS = ("turn left", "turn right", "look down", "look up")
TARGETS = {"ours_vs_one_by_one": ">=5", "ours_vs_model_only": ">=0.85", "same_answers": "==1"}


@dataclass(frozen=True, slots=True)
class Side:
    """What one way of playing came to. model_s: how long a model worked; of several processes, in the mean."""

    steps: int
    seconds: float
    model_s: float

    @classmethod
    def together(cls, spans: Sequence[Span]) -> Side:
        """Processes side by side: from the first one's begin to the last one's end."""
        seconds = max(one.ended for one in spans) - min(one.begun for one in spans)
        return cls(sum(one.steps for one in spans), seconds, sum(one.model_s for one in spans) / len(spans))

    def measures(self) -> dict[str, float]:
        return {
            "env_steps_per_s": round(self.steps / self.seconds, 2),
            "tokens_per_s": round(self.steps * TOKENS / self.seconds, 1),
            "idle": round(1 - self.model_s / self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Span:
    """What one process did of a side, by a clock that all processes share."""

    steps: int
    begun: float
    ended: float
    model_s: float


class Voice:
    """Asks the model as the actor does, times it, and says what the script says."""

    def __init__(self, generator: LocalGenerator) -> None:
        self.generator = generator
        self.model_s = 0.0
        self.asked: list[Request] = []
        self.batch_size = generator.config.batch_size
        self.shape = Actor(generator=generator, adapter=None, simulator=Simulator.THOR).shape

    def act(self, situations: Sequence[Situation]) -> list[str]:
        begun = time.perf_counter()
        requests = [
            Request(wording.actor_prompt(one.instruction, seen=one.seen, history=one.history), (one.first_person,))
            for one in situations
        ]
        self.answer(requests)
        self.model_s += time.perf_counter() - begun
        self.asked += requests
        return [said(one) for one in situations]

    def answer(self, requests: Sequence[Request]) -> list[str]:
        return [one.text for one in self.generator.generate(requests, adapter=None, max_new_tokens=TOKENS)]


class PlainVoice(Voice):
    """Nothing of ours but the prompt's ids: transformers generates, then reads everything again for probabilities."""

    def answer(self, requests: Sequence[Request]) -> list[str]:
        return [self._one(request) for request in requests]

    @torch.inference_mode()
    def _one(self, request: Request) -> str:
        model, chat = self.generator.model, self.generator.chat
        encoded = chat.encode(request.prompt, request.images)
        ids = torch.tensor([encoded.ids])
        pictures = stack_images(encoded.images)
        whole = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS, **pictures
        )
        logits = model(input_ids=whole, attention_mask=torch.ones_like(whole), **pictures).logits
        answer = whole[:, ids.shape[1] :]
        scores = logits[:, ids.shape[1] - 1 : -1].log_softmax(dim=-1)
        assert scores.gather(2, answer[:, :, None]).isfinite().all()
        return chat.decode(answer[0].tolist())


def said(one: Situation) -> str:
    """Looks around for 4 to 10 steps, as its seed says, and is done."""
    step = len(one.history)
    return "done" if step >= 3 + one.seed // 2 % 7 else TURNS[(one.seed // 16 + step) % len(TURNS)]


def generator_of(base: str, batch_size: int) -> LocalGenerator:
    made = LocalGenerator.load(ModelConfig(base=base, batch_size=batch_size), adapters={})
    made._stop = frozenset()  # every answer has the same number of tokens, here and in transformers' `generate`
    made.model.generation_config.eos_token_id = None
    return made


def timed(play: Callable[[Voice], int], voice: Voice) -> Span:
    begun = time.monotonic()
    steps = play(voice)
    return Span(steps, begun, time.monotonic(), voice.model_s)


def lock_step(pool: EnvironmentPool, work: Sequence[Work], voice: Voice) -> int:
    """Begin as many episodes as there are slots, step all that go on, begin the next when the last has ended."""
    steps = 0
    for start in range(0, len(work), pool.num_slots):
        running = dict(enumerate(work[start : start + pool.num_slots]))
        seen = pool.reset_many({slot: (one.task, one.seed) for slot, one in running.items()})
        history: dict[int, tuple[str, ...]] = dict.fromkeys(running, ())
        while running:
            situations = [
                Situation(
                    instruction=one.task.instruction,
                    first_person=seen[slot].first_person,
                    seen=seen[slot].text,
                    history=history[slot],
                    seed=one.seed,
                )
                for slot, one in running.items()
            ]
            texts = dict(zip(running, voice.act(situations), strict=True))
            steps += len(texts)
            for slot, result in pool.step(texts).items():
                seen[slot] = result.observation
                history[slot] += (result.parsed,)
                if result.said_done:
                    del running[slot]
    return steps


def ours(pool: EnvironmentPool, work: Sequence[Work], voice: Voice) -> int:
    players = Players(pool, voice, EnvConfig(), model="benchmark", adapter="none")
    return sum(played.episode.num_steps for played in players.play(work))


def model_only(generator: LocalGenerator, requests: Sequence[Request]) -> Span:
    """The same questions with nothing in between, in the order that fills batches best."""
    generator.forget()
    begun = time.monotonic()
    generator.generate(requests, adapter=None, max_new_tokens=TOKENS)
    ended = time.monotonic()
    return Span(len(requests), begun, ended, ended - begun)


def work_of(shard: int, count: int) -> list[Work]:
    """A shard's episodes: the same tasks, other starts."""
    config = EnvConfig()
    tasks = sample_tasks(config, scenes=train_scenes(config), count=16, seed=train_seed(0))
    return [
        Work(episode_id=f"e{shard}-{n}", task=tasks[n % len(tasks)], seed=train_seed(0, shard * count + n))
        for n in range(count)
    ]


def one_by_one(options: argparse.Namespace, work: Sequence[Work]) -> tuple[Side, int]:
    """The faster of one thread and one a core, and how many those were."""
    generator = generator_of(options.base, 1)
    found: list[tuple[Side, int]] = []
    with EnvironmentPool(EnvConfig(), 1, num_slots=1) as pool:
        for threads in sorted({1, options.shards}):
            torch.set_num_threads(threads)
            ours(pool, work[:2], PlainVoice(generator))  # warm: simulator up, kernels chosen
            generator.forget()
            found.append(
                (Side.together([timed(lambda voice: ours(pool, work, voice), PlainVoice(generator))]), threads)
            )
    torch.set_num_threads(1)
    return max(found, key=lambda one: one[0].steps / one[0].seconds)


def side_by_side(options: argparse.Namespace, count: int, shards: int) -> tuple[Side, Side]:
    """As many shards at once, each in a process of its own; then their models alone."""
    context = get_context("spawn")
    barrier, told = context.Barrier(shards), context.Queue()
    processes = [
        context.Process(target=shard_process, args=(options, count, n, barrier, told), daemon=False)
        for n in range(shards)
    ]
    for process in processes:
        process.start()
    try:
        spans = list(all_of(told, processes))
    finally:
        for process in processes:
            process.join(timeout=30)
            process.kill()
    return Side.together([played for played, _ in spans]), Side.together([alone for _, alone in spans])


def all_of(told: Queue[Any], processes: Sequence[BaseProcess]) -> Iterator[tuple[Span, Span]]:
    """What each process tells; one that ends with an error ends the benchmark."""
    for _ in processes:
        while True:
            with suppress(Empty):
                yield told.get(timeout=1)
                break
            if any(process.exitcode for process in processes):
                raise SystemExit("a shard's process ended with an error, see above")


def shard_process(options: argparse.Namespace, count: int, number: int, barrier: Barrier, told: Queue[Any]) -> None:
    generator = generator_of(options.base, options.batch)
    voice = Voice(generator)
    with EnvironmentPool(EnvConfig(), num_slots=options.slots) as pool:
        ours(pool, work_of(number, count)[: options.slots], Voice(generator))
        generator.forget()  # what the warm-up has seen would be for nothing
        barrier.wait(timeout=300)
        played = timed(lambda speaker: ours(pool, work_of(number, count), speaker), voice)
    barrier.wait(timeout=300)
    told.put((played, model_only(generator, voice.asked)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--shards", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--batch", type=positive, default=ModelConfig().batch_size)
    parser.add_argument("--episodes", type=int, default=0, help="a shard's; default 96, as a run's, 32 with --quick")
    options = parser.parse_args()
    count = options.episodes or (32 if options.quick else 96)
    work = work_of(0, count)
    alone, threads = one_by_one(options, work[: max(4, count // 8)])
    sides = {"one_by_one": alone}
    sides["ours"], sides["model_only"] = side_by_side(options, count, options.shards)
    batched = generator_of(options.base, options.batch)
    with EnvironmentPool(EnvConfig(), num_slots=options.slots) as pool:
        ours(pool, work[: options.slots], Voice(batched))
        batched.forget()
        voice = Voice(batched)
        sides["lock_step"] = Side.together([timed(lambda speaker: lock_step(pool, work, speaker), voice)])
    sides["shard"], sides["shard_model"] = side_by_side(options, count, 1)
    single = generator_of(options.base, 1)
    same = PlainVoice(single).answer(voice.asked[:16]) == Voice(single).answer(voice.asked[:16])
    rate = {name: side.steps / side.seconds for name, side in sides.items()}
    for name, side in sides.items():
        print(f"{name:>11}: {side.measures()}", flush=True)
    result = report(
        "rollout",
        measures={
            "shards": options.shards,
            "one_by_one_threads": threads,
            **{name: side.measures() for name, side in sides.items()},
        },
        ratios={
            "ours_vs_one_by_one": rate["ours"] / rate["one_by_one"],
            "ours_vs_model_only": rate["ours"] / rate["model_only"],
            "shard_vs_one_by_one": rate["shard"] / rate["one_by_one"],
            "shard_vs_lock_step": rate["shard"] / rate["lock_step"],
            "shard_vs_its_model": rate["shard"] / rate["shard_model"],
            "same_answers": float(same),
        },
        targets=TARGETS,
    )
    return exit_code(result)


if __name__ == "__main__":
    run(main)
