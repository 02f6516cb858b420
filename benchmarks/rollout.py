"""Rollouts: one environment at a time, lock-step batches, and ours, on the same weights, prompts and token counts.

    python benchmarks/rollout.py [--quick] [--base pocket] [--slots 16] [--batch 4]

    one_by_one   one environment, transformers' own `generate` at batch 1, and a second forward pass over picture,
                 prompt and answer for the action's log-probability, as RL4VLM does
    lock_step    as many environments as ours, stepped and answered all together; the batch waits for its longest
    ours         stages/playing.py: two groups of slots, refilled as episodes end, simulators and model side by side
    model_only   the limit: the same questions in full batches, no environment at all

Real simulators behind the official client. The model always writes the same number of tokens and a script says what is
done, so that every side plays the same steps; episodes last 4 to 10 of them. `idle` is the share of time in which the
model waits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass
class Side:
    """What one way of playing came to."""

    steps: int
    seconds: float
    model_s: float

    def measures(self) -> dict[str, float]:
        return {
            "env_steps_per_s": round(self.steps / self.seconds, 2),
            "tokens_per_s": round(self.steps * TOKENS / self.seconds, 1),
            "idle": round(1 - self.model_s / self.seconds, 3),
        }


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


def timed(play: Callable[[Voice], int], voice: Voice) -> Side:
    begun = time.perf_counter()
    steps = play(voice)
    return Side(steps, time.perf_counter() - begun, voice.model_s)


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


def model_only(generator: LocalGenerator, requests: Sequence[Request]) -> Side:
    """The same questions with nothing in between, in the order that fills batches best."""
    begun = time.perf_counter()
    generator.generate(requests, adapter=None, max_new_tokens=TOKENS)
    seconds = time.perf_counter() - begun
    return Side(len(requests), seconds, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--batch", type=positive, default=ModelConfig().batch_size)
    parser.add_argument("--episodes", type=int, default=0)
    options = parser.parse_args()
    count = options.episodes or (32 if options.quick else 96)
    config = EnvConfig()
    tasks = sample_tasks(config, scenes=train_scenes(config), count=16, seed=train_seed(0))
    work = [Work(episode_id=f"e{n}", task=tasks[n % len(tasks)], seed=train_seed(0, n)) for n in range(count)]

    def ours(pool: EnvironmentPool, some: Sequence[Work]) -> Callable[[Voice], int]:
        def play(voice: Voice) -> int:
            players = Players(pool, voice, config, model="benchmark", adapter="none")
            return sum(played.episode.num_steps for played in players.play(some))

        return play

    single, batched = generator_of(options.base, 1), generator_of(options.base, options.batch)
    with EnvironmentPool(config, 1, num_slots=1) as pool:
        some = work[: max(4, count // 8)]
        ours(pool, some[:2])(PlainVoice(single))  # warm: simulator up, kernels chosen
        single.forget()
        one_by_one = timed(ours(pool, some), PlainVoice(single))
    with EnvironmentPool(config, num_slots=options.slots) as pool:
        ours(pool, work[: options.slots])(Voice(batched))
        batched.forget()  # each side computes its own pictures: all play the same episodes
        together = timed(lambda voice: lock_step(pool, work, voice), Voice(batched))
        batched.forget()
        voice = Voice(batched)
        pipelined = timed(ours(pool, work), voice)
    limit = model_only(generator_of(options.base, options.batch), voice.asked)
    same = PlainVoice(single).answer(voice.asked[:16]) == Voice(single).answer(voice.asked[:16])
    sides = {"one_by_one": one_by_one, "lock_step": together, "ours": pipelined, "model_only": limit}
    rate = {name: side.steps / side.seconds for name, side in sides.items()}
    for name, side in sides.items():
        print(f"{name:>11}: {side.measures()}", flush=True)
    result = report(
        "rollout",
        measures={name: side.measures() for name, side in sides.items()},
        ratios={
            "ours_vs_one_by_one": rate["ours"] / rate["one_by_one"],
            "ours_vs_lock_step": rate["ours"] / rate["lock_step"],
            "ours_vs_model_only": rate["ours"] / rate["model_only"],
            "same_answers": float(same),
        },
        targets=TARGETS,
    )
    return exit_code(result)


if __name__ == "__main__":
    run(main)
