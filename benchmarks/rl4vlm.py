"""RL4VLM: its code's way of playing and learning against ours, on the same weights, pictures and token counts.

    python benchmarks/rl4vlm.py [--quick] [--base pocket] [--steps 96] [--batch 8]

    play, theirs     one table; transformers' own `generate` at batch 1, then everything again for the log-probability
    play, ours       rl4vlm/playing.py: many tables, one batched generator; the update weighs all answers once
    learn, theirs    micro-batches of one answer, the whole picture and prompt through the model each time
    learn, ours      full micro-batches, LoRA and weight as one product

Answers have a fixed number of tokens and no two are alike, or ours would weigh them once for both. Playing counts the
weighing pass on both sides, learning one epoch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from _report import exit_code, report, run

from selu_hpc.config import GameConfig, ModelConfig
from selu_hpc.models.chat import Chat, stack_images
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.vlm import Request, load_backbone
from selu_hpc.records import FrameRef, View
from selu_hpc.rl4vlm import ppo
from selu_hpc.rl4vlm.playing import PlayedGame, Reply, Seat, play
from selu_hpc.rl4vlm.policy import Policy
from selu_hpc.rl4vlm.rows import TurnRows
from selu_hpc.rl4vlm.turns import Turn
from selu_hpc.terminal import positive
from selu_hpc.train import adapter
from selu_hpc.train.data import Pictures
from selu_hpc.train.shortcuts import merge_lora

TOKENS = 48
SETTINGS = GameConfig()
LORA = r".*(q_proj|k_proj|v_proj|o_proj|out_proj|fc1|fc2|gate_proj|up_proj|down_proj|linear_1|linear_2)"
TARGETS = {"play_ours_vs_theirs": ">=2", "learn_ours_vs_theirs": ">=1.5"}


class Ours:
    """The batched generator; what it said is kept for learning."""

    def __init__(self, generator: LocalGenerator) -> None:
        self.generator = generator
        self.seen: list[tuple[Seat, tuple[int, ...]]] = []

    def answer(self, seats: Sequence[Seat]) -> list[Reply]:
        requests = [Request(seat.prompt, (seat.picture,)) for seat in seats]
        answers = self.generator.generate(
            requests, adapter=None, temperature=1.0, seeds=[seat.seed for seat in seats], max_new_tokens=TOKENS
        )
        self.seen += [(seat, answer.ids) for seat, answer in zip(seats, answers, strict=True)]
        return [said(seat, answer.text, answer.ids) for seat, answer in zip(seats, answers, strict=True)]


class Theirs:
    """One answer at a time, twice through the model."""

    def __init__(self, generator: LocalGenerator) -> None:
        self.generator = generator
        self.count = 0

    @torch.inference_mode()
    def answer(self, seats: Sequence[Seat]) -> list[Reply]:
        [seat] = seats
        model, chat = self.generator.model, self.generator.chat
        encoded = chat.encode(seat.prompt, (seat.picture,))
        ids = torch.tensor([encoded.ids])
        pictures = stack_images(encoded.images)
        torch.manual_seed(seat.seed)
        banned = [[token] for token in chat.placeholder_ids()]
        whole = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            max_new_tokens=TOKENS,
            bad_words_ids=banned,
            **pictures,
        )
        logits = model(input_ids=whole, attention_mask=torch.ones_like(whole), **pictures).logits
        scores = logits[:, ids.shape[1] - 1 : -1].log_softmax(dim=-1)
        answer = whole[0, ids.shape[1] :]
        assert scores[0].gather(1, answer[:, None]).isfinite().all()
        self.count += 1
        return [said(seat, "", tuple(answer.tolist()))]


def said(seat: Seat, text: str, ids: tuple[int, ...]) -> Reply:
    """Both sides walk alike: the action follows from the seat's seed."""
    return Reply(text, ids, TOKENS // 2, seat.names[seat.seed % len(seat.names)], said=True)


def num_steps(games: Sequence[PlayedGame]) -> int:
    return sum(len(game.answers) for game in games)


class Kept:
    """The pictures of what was played, by number."""

    def __init__(self, seen: Sequence[tuple[Seat, tuple[int, ...]]]) -> None:
        self.seen = seen

    def read(self, ref: FrameRef) -> object:
        return self.seen[ref.episode][0].picture


def learner(base: str, seen: Sequence[tuple[Seat, tuple[int, ...]]], *, merge: bool) -> tuple[Policy, TurnRows]:
    config = ModelConfig(base=base, lora_rank=64, lora_alpha=128, lora_targets=LORA)
    backbone, processor = load_backbone(config)
    model = adapter.put_on(backbone, config, seed=0)
    if merge:
        merge_lora(model)
    chat = Chat(processor)
    turns = [
        Turn(
            episode_id=str(number),
            step=0,
            prompt=seat.prompt,
            answer_ids=ids,
            num_thought_tokens=len(ids) // 2,
            action="",
            said=True,
            reward=0.0,
            last=True,
            image=FrameRef(store="", episode=number, step=0, view=View.FIRST_PERSON),
        )
        for number, (seat, ids) in enumerate(seen)
    ]
    pictures = Pictures(Kept(seen), chat, None, None)  # type: ignore[arg-type]  # read() gives frames
    pictures.learn(pictures.look([turn.image for turn in turns]))
    rows = TurnRows(turns, pictures, chat, model.config, thought_weight=SETTINGS.thought_weight)
    if len(set(rows.kinds)) < len(turns):
        raise SystemExit("two of the answers are alike: take another --base, or another number of --steps")
    return Policy(model, temperature=SETTINGS.temperature, seed=0).train(), rows


def weigh(policy: Policy, rows: TurnRows, which: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.batch(which, stand_in=0).weighed_by(policy)


def learn(policy: Policy, rows: TurnRows, *, count: int, batch: int) -> float:
    """Seconds of one epoch's passes forward and back over `count` answers; the update itself is both sides' alike."""
    params = list(adapter.trainable(policy).values())
    begun = time.perf_counter()
    for start in range(0, count, batch):
        logprobs, values = weigh(policy, rows, range(start, min(start + batch, count)))
        ones = torch.ones_like(values)
        ppo.losses(
            logprobs,
            values,
            old_logprobs_t=logprobs.detach(),
            old_values_t=values.detach(),
            advantages_t=ones,
            returns_t=ones,
            settings=SETTINGS,
        ).total.backward()
    for param in params:
        param.grad = None
    return time.perf_counter() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--batch", type=positive, default=8)
    parser.add_argument("--steps", type=int, default=0)
    options = parser.parse_args()
    steps = options.steps or (32 if options.quick else 128)
    seeds = list(range(2, 2 + 2 * steps, 2))

    single = LocalGenerator.load(ModelConfig(base=options.base, batch_size=1), adapters={})
    single.model.generation_config.eos_token_id = None
    theirs = Theirs(single)
    list(play(SETTINGS, seeds[:1], theirs, num_tables=1))  # warm
    single.forget()
    theirs.count, begun = 0, time.perf_counter()
    list(play(SETTINGS, seeds[: max(1, steps // 32)], theirs, num_tables=1))
    play_theirs = theirs.count / (time.perf_counter() - begun)

    batched = LocalGenerator.load(ModelConfig(base=options.base, batch_size=options.batch), adapters={})
    batched._stop = frozenset()  # every answer has the same number of tokens
    ours = Ours(batched)
    list(play(SETTINGS, seeds[: options.batch], ours, num_tables=options.batch))
    batched.forget()
    ours.seen, begun = [], time.perf_counter()
    played = num_steps(list(play(SETTINGS, seeds[: steps // 2], ours, num_tables=2 * options.batch)))
    seconds = time.perf_counter() - begun
    policy, rows = learner(options.base, ours.seen, merge=True)
    count = min(len(ours.seen), steps)
    with torch.no_grad():
        weigh(policy, rows, range(options.batch))
        begun = time.perf_counter()
        for start in range(0, count, 16):
            weigh(policy, rows, range(start, min(start + 16, count)))
        weighing = (time.perf_counter() - begun) / count
    play_ours = 1 / (seconds / played + weighing)

    plain, same = learner(options.base, ours.seen, merge=False)
    few = max(4, count // 4)
    learn(plain, same, count=2, batch=1)
    learn_theirs = few / learn(plain, same, count=few, batch=1)
    learn(policy, rows, count=16, batch=16)
    learn_ours = count / learn(policy, rows, count=count, batch=16)

    measures = {
        "play_theirs_steps_per_s": round(play_theirs, 3),
        "play_ours_steps_per_s": round(play_ours, 3),
        "learn_theirs_answers_per_s": round(learn_theirs, 3),
        "learn_ours_answers_per_s": round(learn_ours, 3),
    }
    for name, value in measures.items():
        print(f"{name:>26}: {value}", flush=True)
    result = report(
        "rl4vlm",
        measures=measures,
        ratios={
            "play_ours_vs_theirs": play_ours / play_theirs,
            "learn_ours_vs_theirs": learn_ours / learn_theirs,
        },
        targets=TARGETS,
    )
    return exit_code(result)


if __name__ == "__main__":
    run(main)
