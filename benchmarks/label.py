"""Labelling: one question at a time against ours, on the same weights, pictures and questions.

    python benchmarks/label.py [--quick] [--base pocket] [--frames last]

Five questions about each episode, as for one that is a "no" to its end: verdict, state, second verdict, which object,
consistency. Ours asks each kind in one batch over all episodes and reads an episode's pictures once; the other side
asks them one after another and reads the pictures every time. Answers are compared: they must be the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from _report import exit_code, report, run

from selu_hpc.config import CriticFrames, ModelConfig, Simulator
from selu_hpc.envs.goals import make_task
from selu_hpc.models.generate import LocalGenerator
from selu_hpc.models.vlm import Request
from selu_hpc.records import Goal, Purpose, View, clean
from selu_hpc.selu import wording
from selu_hpc.selu.interview import Case, Interview, Question, critic_steps
from selu_hpc.terminal import positive

NUM_FRAMES = 11
TARGETS = {"ours_vs_one_question_at_a_time": ">=3", "same_answers": "==1"}
VERBS = ("open", "close", "break", "pick up", "toggle on")
KINDS = ("Fridge", "Microwave", "Mug", "Apple", "Laptop")


def make_cases(count: int, frames: CriticFrames, size: int) -> list[Case]:
    draw = np.random.default_rng(0)
    steps = critic_steps(NUM_FRAMES, frames)
    found = []
    for number in range(count):
        goal = Goal(verb=VERBS[number % 5], target=KINDS[number % 5])
        task = make_task("FloorPlan16", (goal,), simulator=Simulator.THOR)
        shots = draw.integers(0, 256, (NUM_FRAMES, 2, size, size, 3), dtype=np.uint8)
        images = tuple(shots[step, View.THIRD_PERSON.axis] for step in steps)
        found.append(Case(episode_id=f"e{number}", task=task, images=images, seed=number))
    return found


def questions(case: Case, frames: CriticFrames) -> list[tuple[Purpose, str]]:
    goal, simulator = case.task.goals[0], Simulator.THOR
    state = wording.state_question(goal, simulator=simulator)
    return [
        (Purpose.VERDICT, wording.verdict_prompt(case.task.instruction, frames=frames)),
        (Purpose.STATE, wording.state_prompt(state)),
        (Purpose.SECOND_VERDICT, wording.verdict_prompt(case.task.instruction, frames=frames, answers=[(state, "no")])),
        (Purpose.WHICH, wording.which_prompt(wording.which_question(goal, simulator=simulator))),
        (Purpose.CONSISTENCY, wording.verdict_prompt("open the drawer", frames=frames)),
    ]


def ours(generator: LocalGenerator, cases: Sequence[Case], frames: CriticFrames) -> tuple[float, list[str]]:
    begun = time.perf_counter()
    interview = Interview(generator, None, cases)
    asked = [questions(case, frames) for case in cases]
    for kind in range(5):
        interview.ask([Question(at, *some[kind]) for at, some in enumerate(asked)], read=lambda text: text)
    seconds = time.perf_counter() - begun
    return seconds, [exchange.answer for exchanges in interview.exchanges for exchange in exchanges]


def one_at_a_time(generator: LocalGenerator, cases: Sequence[Case], frames: CriticFrames) -> tuple[float, list[str]]:
    from selu_hpc.models.prefix import PrefixCache

    begun = time.perf_counter()
    said = []
    for case in cases:
        for _, prompt in questions(case, frames):
            generator._prefixes = PrefixCache()
            said.append(clean(generator.generate([Request(prompt, case.images)], adapter=None)[0].text))
    return time.perf_counter() - begun, said


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--frames", type=CriticFrames, default=CriticFrames.LAST)
    parser.add_argument("--batch", type=positive, default=ModelConfig().batch_size)
    options = parser.parse_args()
    count = 32 if options.quick else 96
    cases = make_cases(count, options.frames, 96)
    single, batched = (
        LocalGenerator.load(ModelConfig(base=options.base, batch_size=size, max_new_tokens=4), adapters={})
        for size in (1, options.batch)
    )
    for generator in (single, batched):
        generator.forwards.stop = frozenset()  # every answer has the same number of tokens
    ours(batched, make_cases(options.batch, options.frames, 96), options.frames)
    one_at_a_time(single, cases[:2], options.frames)
    batched.forget()
    fast, fast_said = ours(batched, cases, options.frames)
    slow, slow_said = one_at_a_time(single, cases, options.frames)
    same = float(np.mean([a == b for a, b in zip(fast_said, slow_said, strict=True)]))
    result = report(
        "label",
        measures={
            "questions_per_s": {
                "ours": round(5 * count / fast, 2),
                "one_question_at_a_time": round(5 * count / slow, 2),
            },
            "frames": str(options.frames),
            "answers_that_agree": same,
        },
        ratios={"ours_vs_one_question_at_a_time": slow / fast, "same_answers": float(same >= 0.98)},
        targets=TARGETS,
    )
    return exit_code(result)


if __name__ == "__main__":
    run(main)
